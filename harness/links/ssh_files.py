"""Files over an SSH connection by SFTP and SCP, recorded as everything else, with a deadline and a bound.

SFTP is paramiko's, on a stream of ours. SCP (`scp -t`, `scp -f`: one file and its few answers) is here: the package scp
makes directories and sets modes as the other side says, and the OpenSSH client knows neither the device's network nor
the record.
"""

from __future__ import annotations

import logging
import re
import shlex
import struct
from collections.abc import Callable
from typing import Any, Literal, cast

import paramiko

from harness.errors import LinkLost
from harness.links.base import Deadline, LinkStalled
from harness.links.ssh import SshLink, SshNoConnection, SshRefused
from harness.links.stream import StreamLink
from harness.links.transfer_values import TransferFailed

__all__ = ["SshProtocol", "get_file", "put_file"]

SshProtocol = Literal["sftp", "scp"]

PIECE = 32 * 1024
"""Bytes asked for, or sent, at once: what every SFTP server takes (draft-ietf-secsh-filexfer-02, section 3)."""
WORDS = 1024
"""Longest line of an SCP dialogue that is looked at."""
_FILE = re.compile(rb"C[0-7]{3,5} ([0-9]{1,18}) [^\n]*\n")
_ODD = (EOFError, ValueError, struct.error, paramiko.SSHException, paramiko.SFTPError)
"""What paramiko raises about an answer that is none."""


# The log of paramiko is filled by what a hostile server says; what comes of it says what matters.
logging.getLogger("paramiko.sftp").setLevel(logging.CRITICAL + 1)


def put_file(link: SshLink, data: bytes, path: str, *, by: SshProtocol, within: float) -> TransferFailed | None:
    """Write a file to a path of the device within so many seconds; None when the device has taken all of it."""

    def put(pipe: _Pipe) -> None:
        if by == "scp":
            _scp_put(pipe, data, path)
            return
        with paramiko.SFTPClient(cast(Any, pipe)) as client, client.open(path, "wb") as file:
            for start in range(0, len(data), PIECE):
                file.write(data[start : start + PIECE])
            file.flush()
            if file.stat().st_size != len(data):
                raise _Stop(TransferFailed("the file on the device has another length"))

    return _over(link, put, by=by, command=f"scp -t {shlex.quote(path)}", within=within, most=len(data) + PIECE)


def get_file(link: SshLink, path: str, *, by: SshProtocol, most: int, within: float) -> bytes | TransferFailed:
    """Read a file of at most `most` bytes from a path of the device within so many seconds."""
    got = bytearray()

    def get(pipe: _Pipe) -> None:
        if by == "scp":
            got.extend(_scp_get(pipe, most))
            return
        with paramiko.SFTPClient(cast(Any, pipe)) as client, client.open(path, "rb") as file:
            while piece := file.read(PIECE):
                got.extend(piece)
                if len(got) > most:
                    raise _Stop(TransferFailed(f"the file has more than {most} bytes"))

    command = f"scp -f {shlex.quote(path)}"
    return _over(link, get, by=by, command=command, within=within, most=2 * most + PIECE) or bytes(got)


class _Stop(Exception):  # noqa: N818 - the end of a transfer, no error
    def __init__(self, failed: TransferFailed) -> None:
        self.failed = failed


def _over(
    link: SshLink, transfer: Callable[[_Pipe], None], *, by: SshProtocol, command: str, within: float, most: int
) -> TransferFailed | None:
    """Carry a transfer out on a channel of its own and say why it failed, if it did."""
    deadline = Deadline(within)
    opened = link.exec(command, timeout=within) if by == "scp" else link.subsystem("sftp", timeout=within)
    match opened:
        case None:
            return TransferFailed(f"no answer to the request for {by}", "silent")
        case SshRefused(reason=reason):
            return TransferFailed(f"{by} is not served: {reason or 'refused'}", "refused")
        case SshNoConnection(reason=reason):
            return TransferFailed(reason, "silent")
    pipe = _Pipe(opened, deadline, within=within, most=most)
    try:
        transfer(pipe)
    except _Stop as stop:
        return stop.failed
    except LinkStalled as error:
        return TransferFailed(error.message)
    except LinkLost as error:
        return TransferFailed(error.message, "cancelled")
    except OSError as error:  # paramiko's way to hand on what the server said
        return TransferFailed(f"{by}: {error.strerror or error}", "refused")
    except _ODD as error:
        return TransferFailed(f"no answer of {by}: {error}")
    finally:
        opened.close()
    return None


class _Pipe:
    """A stream as a socket for paramiko, until the deadline and the bound.

    Who sends faster than this is read has its file given up: a stream remembers only so much.
    """

    def __init__(self, stream: StreamLink, deadline: Deadline, *, within: float, most: int) -> None:
        self._stream = stream
        self._deadline = deadline
        self._within = within
        self._most = most
        self._at = 0

    def get_name(self) -> str:
        """Return what paramiko calls it in its log."""
        return self._stream.name

    def send(self, data: bytes) -> int:
        """Send all of `data`."""
        self._stream.send(data, timeout=max(0.1, self._deadline.remaining))
        return len(data)

    def recv(self, size: int) -> bytes:
        """Return up to `size` bytes, at least one.

        Raises:
            _Stop: the transfer is over.
            LinkLost: the device ended the channel.
        """
        data = self._stream.read_at_least(1, since=self._at, timeout=self._deadline.remaining)[:size]
        self._at += len(data)
        if not data:
            kind: Literal["broken", "silent"] = "broken" if self._at else "silent"
            raise _Stop(TransferFailed(f"no end of the transfer within {self._within:g} s", kind))
        if not self._stream.remembers(self._at - len(data)):
            raise _Stop(TransferFailed("the device sends faster than the bench can read"))
        if self._at > self._most:
            raise _Stop(TransferFailed(f"the device sent more than {self._most} bytes"))
        return data

    @property
    def ahead(self) -> bool:
        """Whether more has arrived than was read."""
        return self._stream.mark() > self._at

    def exactly(self, size: int) -> bytes:
        """Return `size` bytes."""
        data = bytearray()
        while len(data) < size:
            data += self.recv(size - len(data))
        return bytes(data)

    def line(self) -> bytes:
        """Return a line with its end, as much of it as is looked at."""
        data = bytearray()
        while not data.endswith(b"\n") and len(data) < WORDS:
            data += self.recv(1)
        return bytes(data)

    def close(self) -> None:
        """Close the channel."""
        self._stream.close()


def _scp_put(pipe: _Pipe, data: bytes, path: str) -> None:
    _scp_answer(pipe)
    name = path.rsplit("/", 1)[-1].encode("utf-8", errors="surrogateescape").replace(b"\n", b"_")
    pipe.send(b"C0600 %d %b\n" % (len(data), name or b"file"))
    _scp_answer(pipe)
    for start in range(0, len(data), PIECE):
        pipe.send(data[start : start + PIECE])
    pipe.send(b"\0")
    _scp_answer(pipe)


def _scp_answer(pipe: _Pipe) -> None:
    """Read what the device says to a step: a zero byte, or 1 or 2 and the reason in a line."""
    said = pipe.recv(1)
    if said == b"\0" and pipe.ahead:
        raise _Stop(TransferFailed("scp: an answer to what was not sent yet"))
    if said == b"\0":
        return
    words = said + pipe.line()
    if said in (b"\1", b"\2"):
        raise _Stop(TransferFailed(_shown(words[1:]), "refused"))
    raise _Stop(TransferFailed(f"no answer of scp: {_shown(words)}"))


def _scp_get(pipe: _Pipe, most: int) -> bytes:
    pipe.send(b"\0")
    said = pipe.line()
    if said[:1] in (b"\1", b"\2"):
        raise _Stop(TransferFailed(_shown(said[1:]), "refused"))
    file = _FILE.fullmatch(said)
    if file is None:
        raise _Stop(TransferFailed(f"no answer of scp: {_shown(said)}"))
    size = int(file[1])
    if size > most:
        raise _Stop(TransferFailed(f"the device announces {size} bytes, {most} are taken at most"))
    pipe.send(b"\0")
    data = pipe.exactly(size)
    _scp_answer(pipe)
    pipe.send(b"\0")
    return data


def _shown(words: bytes) -> str:
    return words.decode("utf-8", errors="backslashreplace").strip()[:200]
