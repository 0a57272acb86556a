"""A pytest plugin for trials on the sham pump: honest up to the baseline, then it lies.

`SHAM_THEN` names the lie, or is `afterN` to fall mute after up to N more messages. A testcase that ends before
the lie begins is INCONCLUSIVE: it says nothing about liars.
"""

from __future__ import annotations

import os
import random
import socket
import zlib
from collections.abc import Generator
from pathlib import Path

import pytest

from harness.bench import Bench
from harness.verdict import Undecided

NOT_REACHED = "the device had not begun to lie when the testcase ended"


def tell(bench: Bench, request: str) -> str:
    """Say one line to the sham's agent and return its answer."""
    path = f"{bench.control.run_dir}/agent.sock"  # type: ignore[attr-defined]
    with socket.socket(socket.AF_UNIX) as agent:
        agent.settimeout(5)
        agent.connect(path)
        agent.sendall(f"control {request}\n".encode())
        return agent.recv(100).decode().strip()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Have the sham lie from the first instant of the body, over restarts too; honest again at the end."""
    case = getattr(item, "funcargs", {}).get("case")
    if case is None:
        return (yield)
    bench: Bench = case.bench
    kept = Path(bench.control.run_dir).parent / "lie"  # type: ignore[attr-defined]
    lie = os.environ["SHAM_THEN"]
    if lie.startswith("after"):
        # Another point in each testcase, the same in each run.
        most = int(lie.removeprefix("after"))
        request = f"lie-after {random.Random(zlib.crc32(item.nodeid.encode())).randrange(1, most)}"
    else:
        request = f"lie {lie}"
    try:
        answer = tell(bench, request)
        assert answer == "ok", f"the sham did not take {request!r}: {answer}"
        result = yield
        if tell(bench, "mode") == "mode: honest":
            raise Undecided(NOT_REACHED)
        return result
    finally:
        kept.unlink(missing_ok=True)
