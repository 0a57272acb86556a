"""Files of the record: appended to, each piece whole or not at all, on a disk that fills up too.

Beside the files of a run lies a reserve. When the disk is full it is given up, so that what is known by then can be
written down: the verdict of the testcase in progress, and the names of those that were not run.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from harness.errors import BenchFault, DiskFull

__all__ = ["RESERVE", "SPARE", "RecordFile", "expect_space", "make_reserve", "remove_reserve"]

SPARE = 64 * 1024 * 1024
"""Bytes that must be free before and after a testcase: far more than one leaves in captures and attachments."""
RESERVE = "reserve"
"""Name of the reserve in the folder of a run."""
_RESERVE_BYTES = 4 * 1024 * 1024


class RecordFile:
    """A file that is only appended to; not safe to share between threads.

    `reserve` is given up when there is no room for a piece. `keep`: the file is there already, and its first `keep`
    bytes stay; what is behind them, a piece torn by a kill, goes.

    Raises:
        FileExistsError: `path` exists already, and `keep` was not given.
    """

    def __init__(self, path: Path, *, reserve: Path | None = None, keep: int | None = None) -> None:
        self.path = path
        self._file = path.open("xb" if keep is None else "r+b", buffering=0)
        self._reserve = reserve
        self._size = keep or 0
        if keep is not None:
            self._file.truncate(keep)
            self._file.seek(keep)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._file.closed

    def append(self, piece: bytes) -> None:
        """Append a piece.

        Raises:
            BenchFault: it cannot be written; the file ends with the piece before.
        """
        try:
            try:
                self._write(piece)
            except OSError:
                if self._reserve is None:
                    raise
                self._reserve.unlink(missing_ok=True)
                self._write(piece)
        except OSError as error:
            raise BenchFault(f"the record cannot be kept: {error.strerror}", where=str(self.path)) from error

    def sync(self) -> None:
        """Have what was appended written to the disk, so that it outlives a loss of power too."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, piece: bytes) -> None:
        rest = memoryview(piece)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            self._file.truncate(self._size)
            self._file.seek(self._size)
            raise
        self._size += len(piece)


def make_reserve(folder: Path) -> None:
    """Put the reserve into the folder of a run.

    Raises:
        BenchFault: it cannot be written there.
    """
    try:
        with (folder / RESERVE).open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, _RESERVE_BYTES)
    except OSError as error:
        raise BenchFault(f"nothing can be recorded there: {error.strerror}", where=str(folder)) from error


def remove_reserve(folder: Path) -> None:
    """Take the reserve away: the record is whole."""
    (folder / RESERVE).unlink(missing_ok=True)


def expect_space(folder: Path) -> None:
    """Make sure that what a testcase leaves has a place.

    Raises:
        DiskFull: less than `SPARE` is free where `folder` is.
    """
    free = shutil.disk_usage(folder).free
    if free < SPARE:
        raise DiskFull(
            f"the disk is full: {free // 2**20} MB are left, {SPARE // 2**20} MB must be",
            where=str(folder),
            hint="make room, or give another --run-dir, and run again",
        )
