"""One run at a time on a rig that has one device."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

from harness.errors import BenchFault, UsageError
from harness.rig.loading import Rig

__all__ = ["lock_file", "lock_rig"]


def lock_file(rig: Rig) -> Path:
    """Return the file that a run locks as long as it has the rig."""
    return rig.path.with_suffix(".lock")


def lock_rig(rig: Rig) -> IO[str] | None:
    """Lock a rig until the file returned is closed, or the process ends. None for emulated rigs: one a process.

    Raises:
        BenchFault: another run has it; the message says whose.
        UsageError: the lock cannot be written beside the rig file.
    """
    if rig.cloneable:
        return None
    path = lock_file(rig)
    try:
        lock = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"the lock of the rig cannot be written: {error.strerror}",
            where=str(path),
            hint="put the rig file into a folder you may write to",
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        owner = lock.read().strip() or "somebody"
        lock.close()
        raise BenchFault(f"rig {rig.file.rig!r} is in use by {owner}", hint="wait, or stop that run") from error
    lock.truncate(0)
    lock.write(f"process {os.getpid()} ({rig.file.operator})\n")
    lock.flush()
    return lock
