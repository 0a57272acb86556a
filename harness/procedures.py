"""Steps that testcases have in common: done by somebody who may, with an account of its own, over a restart."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event

from harness.case import Case
from harness.device.answer import Answer
from harness.device.http import HttpSession
from harness.device.outcomes import Accepted, Outcome, Refused
from harness.rig.claims import EndOfLifeClaim, FirstUseClaim, PermissionClaim
from harness.verdict import Undecided

__all__ = [
    "Newcomer",
    "acting",
    "add_account",
    "await_log_in",
    "await_restart",
    "do",
    "erase",
    "permitted",
    "prepare",
    "reads",
    "restart",
    "set_up",
    "trust_anew",
]

POLL = 0.25
"""Seconds between two looks at a device that restarts."""


def permitted(case: Case, surface: str, action: str) -> list[str]:
    """Return the accounts of a surface whose role may do `action` by the claims about permissions."""
    claims = [each for each in case.bench.rig.device.claims_of(PermissionClaim).values() if surface in each.surfaces]
    accounts = case.bench.log_in_surface(surface).accounts
    return [
        name
        for name, account in accounts.items()
        if any(action in claim.allowed.get(account.role, ()) for claim in claims)
    ]


@contextmanager
def acting(case: Case, surface: str, action: str) -> Iterator[HttpSession]:
    """Open a session of somebody who may do `action`, log out after the block.

    Raises:
        Undecided: nobody may, or the log-in is not accepted.
    """
    able = permitted(case, surface, action)
    if not able:
        raise Undecided(f"no declared account may do {action} on {surface}")
    # A declared account may be gone, after a restore or a reset: the next one that may will do.
    for account in able:
        opened = case.bench.http(surface).log_in(account)
        if not isinstance(opened, Refused):
            break
    session = case.value(opened, f"log-in of {account}")
    try:
        yield session
    finally:
        session.log_out()


def do(case: Case, surface: str, action: str, *, octets: bytes | None = None, **named: str) -> Outcome[Answer]:
    """Have somebody who may carry out an action, in a session of its own.

    Raises:
        Undecided: nobody may, or the log-in is not accepted.
    """
    with acting(case, surface, action) as session:
        return session.do(action, octets=octets, **named)


PREPARED = {
    "user-set-role": "user-add",
    "user-set-password": "user-add",
    "user-remove": "user-add",
    "patient-remove": "patient-add",
}
"""Operations that change what another one has to add before."""


def prepare(case: Case, surface: str, action: str) -> None:
    """Have somebody who may add what an action changes or removes with its declared harmless arguments.

    Raises:
        Undecided: it is not added.
    """
    if action in PREPARED:
        case.value(do(case, surface, PREPARED[action]), PREPARED[action])


def reads(case: Case, surface: str, action: str) -> tuple[dict[str, str], ...]:
    """Return the rows that an action answers to somebody who may.

    Raises:
        Undecided: it is not answered.
    """
    return tuple(dict(row) for row in case.value(do(case, surface, action), action).rows)


@dataclass(frozen=True, slots=True)
class Newcomer:
    """An account that a testcase has made: its name, its role, and the password it was made with."""

    user: str
    role: str
    password: str


def add_account(case: Case, surface: str, *, role: str = "") -> Newcomer:
    """Make the account that the device file declares harmless to make, in another role if one is given.

    Raises:
        Undecided: it is not made.
    """
    declared = {name: str(value) for name, value in case.bench.http(surface).spec.actions["user-add"].args.items()}
    newcomer = Newcomer(declared["user"], role or declared["role"], declared["password"])
    case.bench.wiring.hide(newcomer.password)
    added = do(case, surface, "user-add", user=newcomer.user, role=newcomer.role, password=newcomer.password)
    case.value(added, f"adding {newcomer.user}")
    return newcomer


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


def erase(case: Case, claim: EndOfLifeClaim) -> None:
    """Have a role that may reset the device to first use, and wait until it is there, its new certificate pinned.

    Said before: `case.expecting(IncidentKind.RESTART, …)`.

    Raises:
        Undecided: the reset is not taken, it does not restart, or does not come back.
    """

    def begin() -> None:
        api = case.bench.http(claim.surface)
        eraser = next(name for name, account in api.accounts.items() if account.role in claim.roles)
        session = case.value(api.log_in(eraser), f"log-in of {eraser}")
        confirm = claim.confirm.format(serial=case.bench.rig.file.item.serial)
        case.value(session.do("factory-reset", confirm=confirm), "the reset")
        session.drop()

    restart(case, begin, within=claim.within, renewed=claim.surface)


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
    fingerprint = case.value(shown, f"the certificate of {surface}")
    api.trust(fingerprint)
    return fingerprint


def set_up(case: Case, claim: FirstUseClaim, *, code: str | None = None) -> Outcome[Answer]:
    """Set a device in first use up, with the code of its label and the declared password of the account it makes."""
    item = case.bench.rig.file.item
    password = case.bench.rig.device.accounts[claim.account].password
    return case.bench.http(claim.surface).do("setup", code=item.setup_code if code is None else code, password=password)
