"""Running the host's tools, with messages a builder can act on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_STARTED = time.monotonic()
_DEADLINE_S = 120.0


class BuildError(Exception):
    """The device cannot be built; the message says what to do."""


def progress(text: str) -> None:
    """Print one progress line with the seconds since the start."""
    print(f"[{time.monotonic() - _STARTED:6.1f} s] {text}", file=sys.stderr, flush=True)


def run(command: Sequence[str | Path], *, cwd: Path | None = None) -> str:
    """Run a host tool and return its standard output.

    Raises:
        BuildError: the tool is missing, failed, or took too long.
    """
    words = [str(word) for word in command]
    if shutil.which(words[0]) is None:
        raise BuildError(f"{words[0]} is not installed (the packages needed are listed in README.md)")
    env = {**os.environ, "LC_ALL": "C", "TZ": "UTC", "SOURCE_DATE_EPOCH": "1700000000"}
    try:
        done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, timeout=_DEADLINE_S)
    except subprocess.TimeoutExpired as slow:
        raise BuildError(f"{' '.join(words)}: not done within {_DEADLINE_S:.0f} s") from slow
    if done.returncode != 0:
        tail = (done.stdout + done.stderr).strip()[-3000:]
        raise BuildError(f"{' '.join(words)} failed ({done.returncode}):\n{tail}")
    return done.stdout
