"""Over a restart: wait until the device is up again, known to be the same unit, and lets people in."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event

from harness.case import Case
from harness.device.outcomes import Accepted
from harness.links.tls import fingerprint
from harness.verdict import Undecided

__all__ = ["await_log_in", "await_restart", "await_start", "restart", "trust_anew"]

POLL = 0.25
"""Seconds between two looks at a device that restarts."""


def restart(case: Case, begin: Callable[[], None], *, within: float, renewed: str = "") -> None:
    """Let the device restart and wait until it is up, watched again and known to be the same unit.

    Said before: `case.expecting(IncidentKind.RESTART, …)`. Surfaces taken before are taken anew afterwards.

    Args:
        case: the testcase.
        begin: has the device restart.
        within: seconds until it is up.
        renewed: a surface that shows another certificate afterwards, to be pinned.

    Raises:
        Undecided: it does not restart, or does not come back.
    """
    bench = case.bench
    case.judge_watches()
    at = time.monotonic()
    uptime = float(case.value(bench.surface(bench.rig.device.identity).read("uptime"), "uptime"))
    begin()
    bench.reconnect()
    if not await_restart(case, within=within, uptime=uptime, at=at):
        raise Undecided(f"no restart seen within {within:g} s")
    if renewed:
        trust_anew(case, renewed, within=within)
    bench.check_identity(within=within)
    bench.start_watches()
    case.await_watches()


def await_restart(case: Case, *, within: float, uptime: float, at: float) -> bool:
    """Wait until the device's clock, `uptime` at the monotonic instant `at`, has started again.

    False when that is not seen within so many seconds.
    """
    clock = case.bench.surface(case.bench.rig.device.identity)
    slack = case.bench.rig.device.clock_tolerance
    tick, deadline = Event(), time.monotonic() + within
    while time.monotonic() < deadline:
        asked = time.monotonic()
        outcome = clock.read("uptime")
        if isinstance(outcome, Accepted) and float(outcome.value) < uptime + asked - at - slack:
            return True
        tick.wait(POLL)
    return False


def await_start(case: Case, surface: str) -> None:
    """Wait after power-on until the same unit lets somebody in on a surface, and watch it again.

    Raises:
        Undecided: it does not within the `starts_within` of the device file.
    """
    within = case.bench.rig.device.starts_within
    case.bench.check_identity(within=within)
    if not await_log_in(case, surface, within=within):
        raise Undecided(f"nobody can log in {within:g} s after the power is back")
    case.bench.start_watches()
    case.await_watches()


def await_log_in(case: Case, surface: str, *, within: float) -> bool:
    """Wait until somebody can log in on a surface; False when nobody can within so many seconds."""
    door = case.bench.log_in_surface(surface)
    tick, deadline = Event(), time.monotonic() + within
    while time.monotonic() < deadline:
        with door.session() as opened:
            if isinstance(opened, Accepted):
                return True
        tick.wait(POLL)
    return False


def trust_anew(case: Case, surface: str, *, within: float) -> str:
    """Wait until the surface shows a certificate, pin it, and return its fingerprint.

    Raises:
        Undecided: none is shown within so many seconds.
    """
    api = case.bench.http(surface)
    tick, deadline = Event(), time.monotonic() + within
    shown = api.certificate()
    while not isinstance(shown, Accepted) and time.monotonic() < deadline:
        tick.wait(POLL)
        shown = api.certificate()
    pinned = fingerprint(case.value(shown, f"the certificate of {surface}"))
    api.trust(pinned)
    return pinned
