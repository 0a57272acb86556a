"""The device's clock as two readings of an uptime show it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.device.surface import Clock
from harness.device.values import wraps_after

SLACK = 0.5


@given(before=st.integers(0, 65535), passed=st.integers(0, 300_000), asked=st.floats(0, 1e6), took=st.floats(0, 3))
def test_a_number_that_begins_again_for_its_width_goes_on(before: int, passed: int, asked: float, took: float) -> None:
    one = Clock(uptime=float(before), asked=asked, answered=asked, wraps=wraps_after("u16"))
    other = Clock(float((before + passed) % 65536), asked + passed, asked + passed + took, wraps=65536.0)
    assert other.since(one, slack=SLACK) == pytest.approx(passed)


@given(before=st.integers(100, 60000), passed=st.integers(1, 60))
def test_a_clock_that_starts_again_does_not_go_on(before: int, passed: int) -> None:
    one = Clock(uptime=float(before), asked=0, answered=0, wraps=65536.0)
    other = Clock(uptime=1.0, asked=passed, answered=passed, wraps=65536.0)
    assert other.since(one, slack=SLACK) < 0


def test_without_a_known_width_it_starts_again() -> None:
    assert Clock(uptime=4, asked=10, answered=10).since(Clock(65530, 0, 0), slack=SLACK) < 0


@pytest.mark.parametrize(("kind", "scale", "seconds"), [("u32", 0.001, 4294967.296), ("u16", None, 65536.0)])
def test_the_width_of_a_number(kind: str, scale: float | None, seconds: float) -> None:
    assert wraps_after(kind, scale) == pytest.approx(seconds)


def test_a_text_has_none() -> None:
    assert wraps_after("ascii") is None
