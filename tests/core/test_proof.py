"""The proof of life at the end of a testcase, on a surface whose answers a test makes up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import repeat
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.device.outcomes import Accepted
from harness.device.surface import Clock
from harness.proof import Proof, Proven
from harness.verdict import Undecided
from harness.watch import IncidentKind


def proof_of(uptimes: Iterator[float]) -> Proof:
    """A proof on one surface that answers these uptimes, one after the other."""

    def probe() -> Accepted[Clock]:
        asked = time.monotonic()
        return Accepted(Clock(next(uptimes), asked=asked, answered=time.monotonic()))

    bench = SimpleNamespace(
        rig=SimpleNamespace(device=SimpleNamespace(clock_tolerance=0.2, claims_of=lambda *_, **__: {}, identity="it")),
        surface=lambda _: SimpleNamespace(probe=probe),
        control=SimpleNamespace(events=[]),
        wiring=SimpleNamespace(dropped=lambda: {}),
    )
    case = SimpleNamespace(bench=bench, record=lambda *_, **__: None)
    proof = Proof(cast("Proven", case))
    proof.see_before("it")
    return proof


def prove(proof: Proof) -> None:
    surface: Any = "it"
    proof._prove_surface(surface, proof._before[surface])


def test_a_clock_that_started_again_may_show_the_same_number_by_chance() -> None:
    began = time.monotonic()
    proof = proof_of(iter([5.0, 5.0, *(5.1 + number / 10 for number in range(100))]))
    proof.exempt(frozenset({IncidentKind.RESTART}), within=10)
    proof._before["it"] = Clock(5.0, asked=began - 60, answered=began - 60)
    proof._exemptions[0].start = began - 60
    prove(proof)
    assert proof._exemptions[0].seen == {IncidentKind.RESTART}


def test_a_clock_that_stands_is_an_old_answer() -> None:
    proof = proof_of(repeat(5.0))
    with pytest.raises(Undecided, match=r"its uptime stands at 5\.000 s"):
        prove(proof)
