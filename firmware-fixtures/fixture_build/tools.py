"""Running the host's tools, with messages a builder can act on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

EPOCH = 1_700_000_000
"""Every time stamp in the image (2023-11-14T22:13:20Z)."""

_STARTED = time.monotonic()


class BuildError(Exception):
    """The device cannot be built; the message says what to do."""


def progress(text: str) -> None:
    """Print one progress line with the seconds since the start."""
    print(f"[{time.monotonic() - _STARTED:6.1f} s] {text}", file=sys.stderr, flush=True)


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    extra_env: Mapping[str, str] | None = None,
    deadline_s: float = 600.0,
) -> str:
    """Run a host tool and return its standard output.

    Raises:
        BuildError: the tool is missing, failed, or took longer than `deadline_s` seconds.
    """
    words = [str(word) for word in command]
    env = {**os.environ, "LC_ALL": "C", "TZ": "UTC", "SOURCE_DATE_EPOCH": str(EPOCH), **(extra_env or {})}
    env["PATH"] = env.get("PATH", "") + ":/usr/sbin:/sbin"
    if shutil.which(words[0], path=env["PATH"]) is None:
        raise BuildError(f"{words[0]} is not installed (the packages needed are listed in README.md)")
    try:
        done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, timeout=deadline_s)
    except subprocess.TimeoutExpired as slow:
        raise BuildError(f"{' '.join(words)}: not done within {deadline_s:.0f} s") from slow
    if done.returncode != 0:
        tail = (done.stdout + done.stderr).strip()[-3000:]
        raise BuildError(f"{' '.join(words)} failed ({done.returncode}):\n{tail}")
    return done.stdout
