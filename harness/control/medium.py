"""The image of a device's media: read once, read-only, within limits of size and time.

It holds whatever the device holds, patients and keys too: only its owner may read it, and it goes with the run.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from harness.control.base import Deadline
from harness.errors import ControlFault
from harness.record_file import SPARE
from harness.rig.control_specs import StorageLimits

__all__ = ["MediumImage", "medium_there"]

_PIECE = 2**20
_ABSENT = (errno.ENOENT, errno.ENXIO, errno.ENODEV, errno.ENOMEDIUM)


class MediumImage:
    """The image in a folder of its own; each new one takes the place of the one before.

    `note` is told of each image: an event and its fields, `bytes` and `sha256` among them.
    """

    def __init__(self, folder: Path, *, limits: StorageLimits, note: Callable[[str, dict[str, Any]], None]) -> None:
        self.path = folder / "storage.raw"
        self._limits = limits
        self._note = note

    def check(self, source: Path) -> None:
        """Make sure that an image of a medium, or of a file of its bytes, can be taken.

        Raises:
            ControlFault: it is not there, is in use by this computer, holds nothing, or is too large.
        """
        with _opened(source) as medium:
            self._measure(medium, source)

    def copy(self, source: Path) -> Path:
        """Read a medium or a file of its bytes; return the image.

        Raises:
            ControlFault: it cannot be taken, cannot be read to its end, or that takes too long.
        """
        deadline = Deadline(self._limits.within)
        self._clear()
        with _opened(source) as medium:
            size = self._measure(medium, source)
            os.lseek(medium, 0, os.SEEK_SET)
            done = 0
            try:
                with self.path.open("xb") as image:
                    while done < size:
                        if not deadline.left():
                            raise _unread(source, f"{done} of {size} bytes were read in {self._limits.within:g} s")
                        piece = os.read(medium, min(_PIECE, size - done))
                        if not piece:
                            raise _unread(source, f"it ended at byte {done} of {size}")
                        done += image.write(piece)
            except OSError as error:
                raise _unread(source, f"{error.strerror} at byte {done}") from error
        return self._taken(str(source))

    def make(self, program: Callable[[Path, int], None]) -> Path:
        """Have a program leave the image at a path, of so many bytes at most; return the image.

        Raises:
            ControlFault: it leaves no file, an empty one, or one that is too large.
        """
        self._clear()
        most = self._room()
        program(self.path, most)
        if not self.path.is_file() or self.path.is_symlink():
            raise ControlFault("the command for the storage left no image", hint="it must write the file `{image}`")
        if not 0 < (size := self.path.stat().st_size) <= most:
            raise ControlFault(f"the command for the storage left {size} bytes, between 1 and {most} may be")
        self.path.chmod(stat.S_IRUSR | stat.S_IWUSR)
        return self._taken("command")

    def close(self) -> None:
        """Remove the image."""
        shutil.rmtree(self.path.parent, ignore_errors=True)

    def _clear(self) -> None:
        self.close()
        self.path.parent.mkdir(mode=stat.S_IRWXU, parents=True)

    def _measure(self, medium: int, source: Path) -> int:
        size = os.lseek(medium, 0, os.SEEK_END)
        if not size:
            raise _unread(source, "it holds nothing")
        if size > (room := self._room()):
            raise _unread(source, f"it has {size} bytes, and the image may have {room}")
        return size

    def _room(self) -> int:
        """Bytes that the image may have: the limit, or less where the disk has not so much."""
        room = min(self._limits.most_bytes, shutil.disk_usage(self.path.parent.parent).free - SPARE)
        if room <= 0:
            raise ControlFault(f"there is no room for an image of the media at {self.path.parent}", hint="make room")
        return room

    def _taken(self, source: str) -> Path:
        with self.path.open("rb") as image:
            digest = hashlib.file_digest(image, "sha256").hexdigest()
        self._note("storage", {"medium": source, "bytes": self.path.stat().st_size, "sha256": digest})
        return self.path


def medium_there(path: Path) -> bool:
    """Whether a medium is at a path. A card reader without a card has none; one that is in use is there."""
    try:
        with _opened(path) as medium:
            return os.lseek(medium, 0, os.SEEK_END) > 0
    except ControlFault as fault:
        return not (isinstance(fault.__cause__, OSError) and fault.__cause__.errno in _ABSENT)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Open a medium so that nothing can be written to it, and that nothing else of this computer uses it."""
    try:
        # O_EXCL without O_CREAT (open(2)): EBUSY for a block device that is mounted, or used in another way.
        descriptor = os.open(path, os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _unread(path, error.strerror or str(error)) from error
    try:
        kind = os.fstat(descriptor).st_mode
        if not stat.S_ISBLK(kind) and not stat.S_ISREG(kind):
            raise _unread(path, "it is neither a block device nor a file")
        yield descriptor
    finally:
        os.close(descriptor)


def _unread(path: Path, why: str) -> ControlFault:
    return ControlFault(
        f"the medium at {path} cannot be read: {why}",
        hint="is it the right path, is the medium in the reader and not mounted, and may you read it?",
    )
