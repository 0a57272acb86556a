"""A pytest plugin for trials on the sham pump: honest up to the baseline, then it lies.

`SHAM_THEN` names the lie, or is `afterN` to fall mute after up to N more messages. A testcase that ends before
the lie begins is INCONCLUSIVE: it says nothing about liars.
"""

from __future__ import annotations

import os
import random
import socket
import zlib
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


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Have the sham lie from the first instant of the body, in each attempt; honest again for the next baseline."""
    body = item.runtest

    def lied_to() -> None:
        case = getattr(item, "funcargs", {}).get("case")
        if case is None:
            return body()
        bench: Bench = case.bench
        try:
            answer = tell(bench, _request(item.nodeid))
            assert answer == "ok", f"the sham did not lie: {answer}"
            body()
            if tell(bench, "mode") == "mode: honest":
                raise Undecided(NOT_REACHED)
        finally:
            kept = Path(bench.control.run_dir).parent / "lie"  # type: ignore[attr-defined]
            kept.unlink(missing_ok=True)

    item.runtest = lied_to  # type: ignore[method-assign]


def _request(nodeid: str) -> str:
    """What to ask of the sham; `lie-after` another point in each testcase, the same in each run."""
    lie = os.environ["SHAM_THEN"]
    if not lie.startswith("after"):
        return f"lie {lie}"
    most = int(lie.removeprefix("after"))
    return f"lie-after {random.Random(zlib.crc32(nodeid.encode())).randrange(1, most)}"
