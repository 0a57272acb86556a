"""The stall monitor sees a process that is kept from running, and nothing where nothing is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

from harness.watch import StallMonitor
from harness.watch.stall import STANDSTILL_SECONDS

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


def test_a_suspended_host_is_told_from_a_stopped_process() -> None:
    """The boot clock runs ahead of the monotonic one while the host is suspended: here by hand."""
    asleep = 0.0
    monitor = StallMonitor(boot_time=lambda: time.monotonic() + asleep)
    start = time.monotonic()
    threading.Event().wait(0.1)
    assert monitor.standstill(start) is None
    asleep = 60.0
    still = monitor.standstill(start)
    threading.Event().wait(0.1)
    worst = monitor.worst(start, time.monotonic())
    later = monitor.standstill(time.monotonic())
    monitor.close()
    assert still is not None
    assert still.suspended
    assert round(still.seconds) == 60
    assert "suspended for 60.0 s" in str(still)
    assert worst > 59, "a gap of the heartbeat meanwhile is the bench's"
    assert later is None, "it is told once"


def test_who_asks_first_after_a_stop_is_told() -> None:
    """The thread that judges may wake before the monitor's own."""
    script = """
import sys, threading, time
sys.setswitchinterval(10)
from harness.watch import StallMonitor
monitor = StallMonitor()
start = time.monotonic()
print("ready", flush=True)
while time.monotonic() - start < 60:
    now = time.monotonic()
    while time.monotonic() - now < 1.0: pass
    seen = monitor.standstill(start)
    if seen is not None:
        print("seen", flush=True)
        break
monitor.close()
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGSTOP)
        threading.Event().wait(STANDSTILL_SECONDS + 0.5)
        process.send_signal(signal.SIGCONT)
        assert process.stdout.readline() == b"seen\n"
