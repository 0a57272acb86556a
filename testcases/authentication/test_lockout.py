"""Lock-out after refused log-ins, and its release."""

from __future__ import annotations

import threading
import time

from harness.case import Case
from harness.device.outcomes import Accepted, Refused, name_of
from harness.rig.claims import LockoutClaim
from harness.rig.rig_file import Effect
from harness.testcase import About, contributes, each_surface, testcase, verifies

WRONG = "not-the-password-{}"


@testcase(
    "AUTH-LOCKOUT",
    title="An account is locked after the claimed number of refused log-ins and released after the claimed time",
    tags=[
        verifies("NMPA-2022/PAUT", "NMPA-2020/IFU-access", "FDA-VC/REQ"),
        contributes("ANSM-2019/CRIT-C"),
    ],
    about=About(property="confidentiality", phase="design", method="function", threat="password guessing"),
    effects=[Effect.ACCOUNTS],
)
@each_surface(LockoutClaim)
def test_lockout(case: Case, claim_id: str, surface: str) -> None:
    claim = case.bench.rig.device.claims_of(LockoutClaim)[claim_id]
    door = case.bench.dialogue(surface)
    account = list(door.accounts)[-1]

    case.attack(surface, f"{claim.threshold} log-ins of {account} with wrong passwords")
    with case.step("Below the threshold the right password still opens"):
        for number in range(claim.threshold - 1):
            case.expect_refused("a wrong password", door.try_log_in(account, WRONG.format(number)), claim=claim_id)
        opened = door.log_in(account)
        case.twin("the right password below the threshold", opened)
        if isinstance(opened, Accepted):
            opened.value.log_out()

    with case.step("At the threshold the account is locked"):
        for number in range(claim.threshold):
            case.expect_refused("a wrong password", door.try_log_in(account, WRONG.format(number)), claim=claim_id)
        locked_at = time.monotonic()
        locked = door.log_in(account)
        if isinstance(locked, Accepted):
            locked.value.log_out()
        case.expect_refused("the right password while locked", locked, claim=claim_id)
    if not isinstance(locked, Refused):
        return

    with case.step("Other accounts stay open" if claim.scope == "account" else "Scope"):
        others = [other for other in door.accounts if other != account] if claim.scope == "account" else []
        for other in others[:1]:
            outcome = door.log_in(other)
            if isinstance(outcome, Accepted):
                outcome.value.log_out()
            case.expect_accepted(f"{other} while {account} is locked", outcome, claim=claim_id)

    with case.step("The lock is released after the claimed time"):
        tick = threading.Event()
        released: float | None = None
        while released is None and time.monotonic() - locked_at < claim.release + 2 * claim.tolerance + 1:
            before = time.monotonic()
            outcome = door.log_in(account)
            if isinstance(outcome, Accepted):
                released = (before + time.monotonic()) / 2 - locked_at
                outcome.value.log_out()
            elif not isinstance(outcome, Refused):
                case.check("the log-in answers", held=None, expected="refused or accepted", observed=name_of(outcome))
                return
            else:
                tick.wait(0.25)
        case.timing(
            "time from lock to release",
            measured=released,
            low=claim.release - claim.tolerance,
            high=claim.release + claim.tolerance,
            uncertainty=0.5,
            claim=claim_id,
        )
