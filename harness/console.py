"""`proofrig console`: the engineer's recorded console. Ctrl-] ends it."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.bench import Bench
from harness.device.outcomes import NoAnswer
from harness.errors import BenchFault, UsageError
from harness.journal import Journal
from harness.rig.loading import load_rig
from harness.run import make_run_dir

__all__ = ["talk"]

ESCAPE = b"\x1d"
"""Ctrl-], as in telnet."""

_TICK = 0.2


def talk(path: Path) -> int:
    """Connect the terminal (or standard input) to the device's console until Ctrl-] or the end of input.

    Raises:
        UsageError: the device has no console, or the rig does not wire it.
        BenchFault: the link is gone.
    """
    rig = load_rig(path)
    link = rig.device.console
    if link is None or link not in rig.file.links:
        raise UsageError("this rig has no console link", where=str(path), hint="name it in the device file: console: …")
    run_dir = make_run_dir(Path("reports"), rig)
    journal = Journal(run_dir / "journal.jsonl")
    bench = Bench(rig, run_dir=run_dir, journal=journal, worker="console")
    try:
        bench.open()
        bench.fresh(watch=False)
        stream = bench.wiring.open_stream(link)
        if isinstance(stream, NoAnswer):
            raise BenchFault(f"console: {stream.reason}")
        sys.stderr.write(f"console of {rig.device.model}, recorded in {run_dir}; Ctrl-] ends it\n")
        unsubscribe = stream.subscribe(lambda data, _at: _show(data))
        try:
            with _raw_terminal():
                while not stream.lost:
                    typed = _typed()
                    if typed is None or ESCAPE in typed:
                        break
                    if typed:
                        stream.send(typed)
                else:
                    raise BenchFault("the console link is gone")
            if not sys.stdin.isatty():
                stream.wait_quiet(0.5, 5)
        finally:
            unsubscribe()
    finally:
        bench.close()
        journal.close()
    return 0


def _show(data: bytes) -> None:
    """Show what the device says, with the escape character made visible: it may not drive the terminal."""
    os.write(sys.stdout.fileno(), data.replace(b"\x1b", b"^["))


def _typed() -> bytes | None:
    readable, _, _ = select.select([sys.stdin], [], [], _TICK)
    if not readable:
        return b""
    data = os.read(sys.stdin.fileno(), 1024)
    return data or None


@contextmanager
def _raw_terminal() -> Iterator[None]:
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setraw(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
