"""What a link takes in without losing anything: a serial line, a CAN bus.

A sender in a process of its own numbers what it sends; the link receives and records as in a run; what is missing is
counted from the numbers. `…against_rate` is how many times the rate the link takes when nothing slows the sender.

A host whose kernel has no CAN has the bus in a guest with emulated processors (`tests/socketcan`). That shows that
nothing is lost unseen, at a rate that the guest bears and at the full one, but not how fast the link is: this is what
a local socket in place of the bus shows. On a host with CAN: `python -m benchmarks.receive vcan0 8000`.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import tty
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import NUMBER, WORD
from harness.capture import CaptureFile
from harness.links.can import CanFrame, CanLink, open_can
from harness.links.serial import open_serial
from harness.links.socketcan import SocketcanTransport

ROOT = Path(__file__).resolve().parent.parent
BAUDRATE = 921_600
SERIAL_RATE = BAUDRATE // 10 // WORD.size
"""Words of four bytes a second on a full line: ten bits a byte."""
CAN_RATE = 8000
"""Frames a second: a full bus at 1 Mbit/s with frames of eight bytes carries about as many."""
GUEST_RATE = 200
"""Frames a second that emulated processors bear, on a busy host too."""
SECONDS = 60.0
FLAT_OUT_SECONDS = 5.0
QUIET = 2.0
"""Seconds without anything after which nothing more will come."""


@dataclass
class Tally:
    """Counts what arrives and what is missing between it; the numbers start at 0."""

    received: int = 0
    missing: int = 0
    _next: int = 0
    _rest: bytes = b""
    _first_ns: int = 0
    _last_ns: int = 0

    def data(self, data: bytes, at_ns: int) -> None:
        """Take bytes, words of four, however cut."""
        data = self._rest + data
        whole = len(data) - len(data) % WORD.size
        for (number,) in WORD.iter_unpack(data[:whole]):
            self._take(number, at_ns)
        self._rest = data[whole:]

    def frame(self, frame: CanFrame) -> None:
        """Take a frame."""
        self._take(NUMBER.unpack(frame.data)[0], frame.at_ns)

    def settle(self, sent: int) -> int:
        """Wait until all that was sent has come, or nothing comes any more; return how many are missing in all."""
        tick, seen, since = threading.Event(), -1, time.monotonic()
        while self._next < sent and time.monotonic() - since < QUIET:
            if self._next != seen:
                seen, since = self._next, time.monotonic()
            tick.wait(0.02)
        return self.missing + sent - self._next

    @property
    def per_second(self) -> float:
        """How many arrived a second, from the first to the last."""
        return self.received / max(1, self._last_ns - self._first_ns) * 1e9

    def _take(self, number: int, at_ns: int) -> None:
        self._first_ns = self._first_ns or at_ns
        self._last_ns = at_ns
        self.received += 1
        self.missing += number - self._next
        self._next = number + 1


@dataclass(frozen=True)
class Received:
    """How many numbers a second were sent and arrived, and how many in all did not."""

    sent_per_second: float
    per_second: float
    missing: int


def _load(kind: str, where: str, *, rate: int, seconds: float, tally: Tally, pass_on: tuple[int, ...] = ()) -> Received:
    command = [sys.executable, "-m", "benchmarks.load", kind, where, str(rate), str(seconds)]
    load = subprocess.run(command, cwd=ROOT, pass_fds=pass_on, stdout=subprocess.PIPE, text=True, check=True)
    sent = int(load.stdout)
    missing = tally.settle(sent)
    return Received(sent / seconds, tally.per_second, missing)


def _serial_line(*, rate: int, seconds: float) -> Received:
    with tempfile.TemporaryDirectory() as folder:
        tap = CaptureFile(Path(folder) / "serial.cap")
        device, line = os.openpty()
        tty.setraw(line)
        link = open_serial(os.ttyname(line), baudrate=BAUDRATE, name="serial", tap=tap)
        tally = Tally()
        link.subscribe(tally.data)
        try:
            return _load("serial", str(device), rate=rate, seconds=seconds, tally=tally, pass_on=(device,))
        finally:
            link.close()
            os.close(device)
            os.close(line)
            tap.close()


def serial() -> Iterator[tuple[str, float]]:
    """Yield what a full line at 921,600 baud leaves out, and how much more the link could take."""
    paced = _serial_line(rate=SERIAL_RATE, seconds=SECONDS)
    yield "serial.bytes_per_s", paced.per_second * WORD.size
    yield "serial.missing_words", paced.missing
    flat_out = _serial_line(rate=0, seconds=FLAT_OUT_SECONDS)
    yield "serial.against_rate", flat_out.per_second / SERIAL_RATE


def _bus(kind: str, where: str, link: CanLink, *, rate: int, seconds: float, pass_on: tuple[int, ...] = ()) -> Received:
    tally = Tally()
    leave = link.subscribe(tally.frame)
    try:
        return _load(kind, where, rate=rate, seconds=seconds, tally=tally, pass_on=pass_on)
    finally:
        leave()


def can_socket() -> Iterator[tuple[str, float]]:
    """Yield what the link takes from a local socket in place of the bus; who is slow there slows the sender."""
    with tempfile.TemporaryDirectory() as folder:
        tap = CaptureFile(Path(folder) / "can.cap")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        link = CanLink("can", SocketcanTransport(ours, channel="none", what="can"), tap)
        descriptor = theirs.fileno()
        for rate, seconds in ((CAN_RATE, SECONDS), (0, FLAT_OUT_SECONDS)):
            seen = _bus("socket", str(descriptor), link, rate=rate, seconds=seconds, pass_on=(descriptor,))
            if rate:
                yield "can.socket_frames_per_s", seen.per_second
                yield "can.socket_missing_frames", seen.missing
            else:
                yield "can.socket_against_rate", seen.per_second / CAN_RATE
        link.close()
        theirs.close()
        tap.close()


def can_interface(channel: str, rates: tuple[int, ...]) -> Iterator[tuple[str, float]]:
    """Yield what arrives on a CAN interface of this kernel, and how much of what is missing the link did not count."""
    for rate in rates:
        with tempfile.TemporaryDirectory() as folder:
            tap = CaptureFile(Path(folder) / "can.cap")
            link = open_can(interface="socketcan", channel=channel, name="can", tap=tap)
            seen = _bus("can", channel, link, rate=rate, seconds=SECONDS)
            yield f"can.at_{rate}_sent_per_s", seen.sent_per_second
            yield f"can.at_{rate}_received_per_s", seen.per_second
            yield f"can.at_{rate}_missing_frames", seen.missing
            yield f"can.at_{rate}_uncounted_frames", seen.missing - (link.dropped or 0)
            link.close()
            tap.close()


def can() -> Iterator[tuple[str, float]]:
    """Yield both: what the link takes on this processor, and what arrives on a CAN interface of the guest."""
    yield from can_socket()
    command = [sys.executable, "-m", "benchmarks.receive", "vcan0", str(GUEST_RATE), str(CAN_RATE)]
    guest = [sys.executable, "tests/socketcan/guest.py", *command]
    done = subprocess.run(guest, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    for line in done.stdout.splitlines():
        name, _, value = line.partition(": ")
        yield name, float(value)


if __name__ == "__main__":
    for name, value in can_interface(sys.argv[1], tuple(map(int, sys.argv[2:]))):
        print(f"{name}: {value:g}", flush=True)
