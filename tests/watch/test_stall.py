"""The stall monitor sees a process that is kept from running, and nothing where nothing is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

from harness.watch import StallMonitor

BUSY = "import os\nos.sched_setaffinity(0, {0})\nprint('on', flush=True)\nwhile True: pass\n"


def test_a_starved_process_is_noticed() -> None:
    """Three busy processes on one processor: each waits for most of the time."""
    busy = [subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE) for _ in range(3)]
    monitor = StallMonitor()
    try:
        for process in busy:
            assert process.stdout is not None
            assert process.stdout.readline() == b"on\n"
        monitor.watch_process(busy[0].pid)
        start = time.monotonic()
        threading.Event().wait(1.5)
        starved = monitor.worst(start, time.monotonic())
    finally:
        monitor.close()
        for process in busy:
            os.kill(process.pid, signal.SIGKILL)
            process.wait(5)
            assert process.stdout is not None
            process.stdout.close()
    assert starved > 0.3


def test_a_process_that_sleeps_is_not_starved() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as quiet:
        monitor = StallMonitor()
        monitor.watch_process(quiet.pid)
        start = time.monotonic()
        threading.Event().wait(0.5)
        starved = monitor.worst(start, start)
        monitor.close()
        quiet.communicate(b"\n", timeout=5)
    assert starved < 0.3
