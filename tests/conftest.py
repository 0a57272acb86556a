"""What every test of the harness shares."""

from __future__ import annotations

import signal

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """`make test` runs the quick and the declared testcases for the weaknesses, `make qualify` every one."""
    parser.addoption("--every-testcase", action="store_true", help="qualification with every testcase")
    parser.addoption("--alone", action="store_true", help="qualification: each weakness in a trial of its own")
    parser.addoption("--can", metavar="INTERFACE:CHANNEL", help="tests of CAN links on this bus: socketcan:vcan0")


def pytest_configure() -> None:
    """Let runs that tests interrupt be interrupted: a shell starts what it puts into the background deaf to SIGINT."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
