"""SocketCAN: a CAN interface of Linux through a raw socket of the link's own.

Not through python-can's `socketcan` bus, because that cannot be asked what the kernel dropped, is silent once the
interface was set down or its adapter pulled, fails at once when the interface's queue is full, and swallows a
misspelt option. Sources: the kernel's Documentation/networking/can.rst, linux/can.h, linux/can/raw.h, socket(7).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harness.errors import BenchFault, LinkLost, UsageError
from harness.links.base import Deadline, LinkStalled
from harness.links.can_errors import error_text, receiver_overflowed
from harness.links.can_interface import bit_rate, set_up_of
from harness.links.canframe import (
    ERROR_FLAG,
    EXTENDED_FLAG,
    EXTENDED_MASK,
    REMOTE_FLAG,
    STANDARD_MASK,
    TRANSIENT_SECONDS,
    CanFrame,
)

__all__ = ["SocketcanTransport", "open_interface"]

_CLASSIC = struct.Struct("=IB3x8s")
_FLEXIBLE = struct.Struct("=IB3x64s")
"""`struct can_frame` and `struct canfd_frame`: identifier with flags, length, data."""

_CAN_RAW_ERR_FILTER = 2
"""linux/can/raw.h; Python has no name for it."""
_SO_RCVBUFFORCE, _SO_TIMESTAMPNS, _SO_MEMINFO = 33, 35, 55
_MEMINFO = struct.Struct("=9I")
_MEMINFO_DROPS = 8
"""Place of SK_MEMINFO_DROPS (linux/sock_diag.h): frames that found the socket's buffer full."""
_TIMESPEC = struct.Struct("@ll")
_ANCILLARY = socket.CMSG_SPACE(_TIMESPEC.size)
_SIOCGIFFLAGS, _SIOCGIFMTU = 0x8913, 0x8921
_IFREQ = struct.Struct("=16si20x")
_IFF_UP = 1

RECEIVE_BUFFER = 16 * 1024 * 1024
"""Bytes of receive buffer asked for: about 20,000 frames, two seconds of a full bus at 1 Mbit/s. Without
CAP_NET_ADMIN the kernel gives what net.core.rmem_max allows."""

_BATCH = 256
"""Most frames taken in one read, so that subscribers hear of them soon."""
_CLOSE_WITHIN = 0.1
"""Longest wait in seconds before a close or a trouble of the bus is looked for."""
_FULL_QUEUE_WAIT = 0.001
"""Seconds until a full queue of the interface is tried again: a few frame times; the kernel tells nobody."""

_SWITCHES = ("fd", "receive_own_messages", "local_loopback", "ignore_rx_error_frames")


def open_interface(
    channel: str, *, name: str, options: Mapping[str, object], bitrate: int | None = None
) -> SocketcanTransport:
    """Open the CAN interface `channel`; `options` are those that python-can's `socketcan` has.

    They are `fd`, `receive_own_messages`, `local_loopback` (on by default), `ignore_rx_error_frames` and
    `can_filters`, a list of mappings with `can_id`, `can_mask` and perhaps `extended`. The bits a second that the
    interface was set up for must be `bitrate`; one without a rate of its own (vcan) has any.

    Raises:
        UsageError: an option that does not exist, or with a wrong value.
        BenchFault: the kernel has no CAN, the interface is absent or down, set up for another bit rate, or not for
            CAN FD.
    """
    switches, filters = _read_options(options, name=name)
    try:
        sock = socket.socket(socket.AF_CAN, socket.SOCK_RAW, socket.CAN_RAW)
    except OSError as error:
        raise BenchFault(
            f"{name}: the kernel gives no CAN socket: {error.strerror}",
            hint="modprobe can can_raw; or use an adapter over socketcand",
        ) from error
    try:
        for option, value in (
            (socket.CAN_RAW_FD_FRAMES, int(switches["fd"])),
            (socket.CAN_RAW_RECV_OWN_MSGS, int(switches["receive_own_messages"])),
            (socket.CAN_RAW_LOOPBACK, int(switches["local_loopback"])),
            (_CAN_RAW_ERR_FILTER, 0 if switches["ignore_rx_error_frames"] else EXTENDED_MASK),
        ):
            sock.setsockopt(socket.SOL_CAN_RAW, option, value)
        if filters is not None:
            sock.setsockopt(socket.SOL_CAN_RAW, socket.CAN_RAW_FILTER, filters)
        sock.bind((channel,))
        _check_interface(sock, channel, name=name, fd=switches["fd"], bitrate=bitrate)
    except OSError as error:
        sock.close()
        raise BenchFault(
            f"{name}: cannot open {channel}: {error.strerror or error}",
            hint="is the adapter plugged in and its driver there?",
        ) from error
    except BenchFault:
        sock.close()
        raise
    return SocketcanTransport(sock, channel=channel, what=name, fd=switches["fd"])


@dataclass(frozen=True)
class _Trouble:
    """Why nothing can arrive, how long that is borne, and how to see that it is over."""

    reason: str
    hint: str
    until: Deadline
    over: Callable[[], bool]


class SocketcanTransport:
    """A raw CAN socket that is bound to an interface; takes the socket over.

    An interface that is down longer than `TRANSIENT_SECONDS` is a loss, not silence.
    """

    notices_loss_within = TRANSIENT_SECONDS + _CLOSE_WITHIN

    def __init__(self, sock: socket.socket, *, channel: str, what: str, fd: bool = False) -> None:
        self._socket = sock
        self._channel = channel
        self._what = what
        self._fd = fd
        self._closed = threading.Event()
        self._reading = threading.Lock()
        self._trouble: _Trouble | None = None
        self._last_error = ""
        self._overflows = 0
        self._drops = 0
        _ask_for_room(sock)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    @property
    def dropped(self) -> int:
        """Frames lost at the bench: that found the socket's buffer full, plus one for each overflow of the adapter."""
        self._count_drops()
        return self._drops + self._overflows

    def read(self, timeout: float) -> Sequence[CanFrame]:
        """Return the frames that are there or arrive within `timeout` seconds.

        Raises:
            LinkLost: the adapter is gone, or the interface stays down.
        """
        with self._reading:
            if self._closed.is_set():
                raise LinkLost(f"{self._what} was closed by the bench")
            ready = self._poll.poll(min(timeout, _CLOSE_WITHIN) * 1000)
            frames = self._take() if ready else []
            if not frames:
                self._look_at_trouble()
            return frames

    def write(self, frame: CanFrame, timeout: float) -> None:
        """Hand one frame to the interface.

        Raises:
            UsageError: the frame is of CAN FD and the link is not.
            LinkStalled: the interface did not take it within `timeout` seconds.
            LinkLost: the interface is gone.
        """
        flexible = frame.fd or len(frame.data) > 8
        if flexible and not self._fd:
            raise UsageError(f"{self._what}: a frame of CAN FD on a classic bus", hint="set options.fd of the link")
        data = (_FLEXIBLE if flexible else _CLASSIC).pack(frame.word, len(frame.data), frame.data)
        deadline = Deadline(timeout)
        while True:
            if self._closed.is_set():
                raise LinkLost(f"{self._what} was closed by the bench")
            try:
                self._socket.send(data, socket.MSG_DONTWAIT)
                return
            except OSError as error:
                if error.errno in (errno.ENODEV, errno.ENXIO):
                    raise LinkLost(
                        f"{self._what}: {self._channel} is gone", hint="is the adapter plugged in?"
                    ) from error
                if error.errno not in (errno.ENOBUFS, errno.EAGAIN) or deadline.passed:
                    says = f"; the bus says: {self._last_error}" if self._last_error else ""
                    raise LinkStalled(
                        f"{self._what} did not take a frame: {error.strerror}{says}",
                        hint="is the bus up, terminated and powered, and is another node on it?",
                    ) from error
            self._closed.wait(_FULL_QUEUE_WAIT)

    def close(self) -> None:
        """Close the socket once the read under way has ended; idempotent."""
        self._closed.set()
        with self._reading:
            self._count_drops()
            self._socket.close()

    def _count_drops(self) -> None:
        # Without the lock of `read`, which its thread hardly ever lets go; once closed, the last count stands.
        with contextlib.suppress(OSError):
            asked = self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
            self._drops = _MEMINFO.unpack(asked)[_MEMINFO_DROPS]

    def _take(self) -> list[CanFrame]:
        frames: list[CanFrame] = []
        for _ in range(_BATCH):
            try:
                data, ancillary, _, _ = self._socket.recvmsg(_FLEXIBLE.size, _ANCILLARY, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError as error:
                self._failed(error)
                continue  # it is told before the frames that still wait
            frame = _decode(data, ancillary)
            if frame.error:
                self._note_error(frame)
            frames.append(frame)
        return frames

    def _failed(self, error: OSError) -> None:
        # The kernel says it once; from then on a read would be silent for ever.
        if error.errno == errno.ENETDOWN:
            self._trouble = _Trouble(
                f"{self._channel} is down",
                hint=f"ip link set {self._channel} up",
                until=Deadline(TRANSIENT_SECONDS),
                over=lambda: _is_up(self._socket, self._channel),
            )
        else:
            reason = f"{self._channel}: {error.strerror}"
            self._trouble = _Trouble(reason, "is the adapter plugged in?", Deadline(0), over=lambda: False)

    def _note_error(self, frame: CanFrame) -> None:
        self._last_error = error_text(frame)
        self._overflows += receiver_overflowed(frame)

    def _look_at_trouble(self) -> None:
        if self._trouble is None or not self._trouble.until.passed:
            return
        if not self._trouble.over():
            raise LinkLost(f"{self._what}: {self._trouble.reason}", hint=self._trouble.hint)
        self._trouble = None


def _read_options(options: Mapping[str, object], *, name: str) -> tuple[dict[str, bool], bytes | None]:
    switches = dict.fromkeys(_SWITCHES, False) | {"local_loopback": True}
    filters = None
    for option, value in options.items():
        if option in switches:
            if not isinstance(value, bool):
                raise UsageError(f"{name}: option {option} is {value!r}", hint="write true or false")
            switches[option] = value
        elif option == "can_filters":
            filters = _pack_filters(value, name=name)
        else:
            there = ", ".join((*_SWITCHES, "can_filters"))
            raise UsageError(f"{name}: SocketCAN has no option {option!r}", hint=f"there are {there}")
    return switches, filters


def _pack_filters(filters: object, *, name: str) -> bytes:
    """An array of `struct can_filter`. With `extended` only frames of that kind pass, else both do."""
    wrong = UsageError(
        f"{name}: can_filters is {filters!r}",
        hint="write a list like [{can_id: 0x100, can_mask: 0x7ff, extended: false}]",
    )
    if not isinstance(filters, list) or not all(isinstance(each, dict) for each in filters):
        raise wrong
    packed = b""
    for each in filters:
        can_id, mask, extended = each.get("can_id"), each.get("can_mask"), each.get("extended")
        in_range = all(isinstance(word, int) and 0 <= word <= EXTENDED_MASK for word in (can_id, mask))
        if not in_range or each.keys() - {"can_id", "can_mask", "extended"} or extended not in (None, True, False):
            raise wrong
        kind = 0 if extended is None else EXTENDED_FLAG
        packed += struct.pack("=II", can_id | (EXTENDED_FLAG if extended else 0), mask | kind)
    return packed


def _decode(data: bytes, ancillary: list[tuple[int, int, bytes]]) -> CanFrame:
    flexible = len(data) == _FLEXIBLE.size
    word, length, payload = (_FLEXIBLE if flexible else _CLASSIC).unpack(data)
    remote = bool(word & REMOTE_FLAG)
    extended = bool(word & EXTENDED_FLAG)
    error = bool(word & ERROR_FLAG)
    stamp = None
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
            seconds, nanoseconds = _TIMESPEC.unpack_from(value)
            stamp = seconds + nanoseconds * 1e-9
    return CanFrame(
        word & (EXTENDED_MASK if extended or error else STANDARD_MASK),
        bytes(length) if remote else payload[:length],
        extended=extended,
        remote=remote,
        error=error,
        at_ns=time.monotonic_ns(),
        fd=flexible,
        stamp=stamp,
    )


def _ask_for_room(sock: socket.socket) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)


def _check_interface(sock: socket.socket, channel: str, *, name: str, fd: bool, bitrate: int | None) -> None:
    set_up = f"ip link set {channel} up type can bitrate {bitrate or 500000}"
    if not _is_up(sock, channel):
        raise BenchFault(f"{name}: {channel} is down", hint=set_up)
    real = bit_rate(set_up_of(channel))
    if None not in (bitrate, real) and real != bitrate:
        # At a wrong rate the bench is off the bus in no time, or disturbs it.
        raise BenchFault(
            f"{name}: {channel} is set up for {real} bit/s, the rig file says {bitrate}",
            hint=f"ip link set {channel} down, then {set_up}; or correct `bitrate` in the rig file",
        )
    if fd and _ask(sock, channel, _SIOCGIFMTU) < _FLEXIBLE.size:
        raise BenchFault(
            f"{name}: {channel} is not set up for CAN FD",
            hint=f"{set_up} dbitrate 2000000 fd on",
        )


def _is_up(sock: socket.socket, channel: str) -> bool:
    try:
        return bool(_ask(sock, channel, _SIOCGIFFLAGS) & 0xFFFF & _IFF_UP)
    except OSError:
        return False


def _ask(sock: socket.socket, channel: str, request: int) -> int:
    """Ask for a number that the kernel keeps of an interface (netdevice(7))."""
    answer = fcntl.ioctl(sock, request, _IFREQ.pack(os.fsencode(channel), 0))
    return int(_IFREQ.unpack(answer)[1])
