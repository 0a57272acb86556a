"""Lock-out after refused log-ins, and its release."""

from __future__ import annotations

from threading import Event
from time import monotonic

from harness.case import Case
from harness.device.log_in import Entrance
from harness.device.outcomes import Accepted, Refused
from harness.rig.claims import LockoutClaim
from harness.rig.rig_file import Effect
from harness.testcase import About, contributes, each_surface, testcase, verifies
from harness.verdict import Undecided

WRONG = "not-the-password-{}"


@testcase(
    "AUTH-LOCKOUT",
    title="An account is locked after the claimed number of refused log-ins and released after the claimed time",
    tags=[
        verifies("NMPA-2022/PAUT", "NMPA-2020/IFU-access", "FDA-A1/A", "FDA-VC/REQ"),
        contributes("ANSM-2019/CRIT-C"),
    ],
    about=About(property="confidentiality", phase="design", method="function", threat="password guessing"),
    effects=[Effect.ACCOUNTS],
    version=3,
    slow=True,
)
@each_surface(LockoutClaim)
def test_lockout(case: Case, claim_id: str, surface: str) -> None:
    device = case.bench.rig.device
    claim = device.claims_of(LockoutClaim)[claim_id]
    door = case.bench.log_in_surface(surface)
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
        # Each attempt on a connection of its own where the surface has connections: a new one is no fresh start.
        asked = answered = monotonic()
        for number in range(claim.threshold):
            asked = monotonic()
            case.expect_refused("a wrong password", door.try_log_in(account, WRONG.format(number)), claim=claim_id)
            answered = monotonic()
        locked = door.log_in(account)
        if isinstance(locked, Accepted):
            locked.value.log_out()
        case.expect_refused("the right password while locked", locked, claim=claim_id)
    if not isinstance(locked, Refused):
        return

    with case.step(f"The lock is on the {claim.scope}"):
        for other in [name for name in door.accounts if name != account][:1]:
            outcome = door.log_in(other)
            if isinstance(outcome, Accepted):
                outcome.value.log_out()
            if claim.scope == "account":
                case.expect_accepted(f"{other} while {account} is locked", outcome, claim=claim_id)
            else:
                case.expect_refused(f"{other} while the {claim.scope} is locked", outcome, claim=claim_id)
        for elsewhere in [name for name in claim.surfaces if name != surface and claim.scope == "account"]:
            if account in case.bench.log_in_surface(elsewhere).accounts:
                outcome = case.bench.log_in_surface(elsewhere).log_in(account)
                if isinstance(outcome, Accepted):
                    outcome.value.log_out()
                case.expect_refused(f"{account} on {elsewhere} while locked", outcome, claim=claim_id)

    with case.step("The lock is released after the claimed time"), door.entrance() as prompt:
        measured: float | None = None
        uncertainty = 0.0
        refused_at = monotonic()
        while measured is None and monotonic() - answered < claim.release + 2 * claim.tolerance + 1:
            before = monotonic()
            outcome = prompt.visit(account)
            if isinstance(outcome, Refused):
                refused_at = before
                Event().wait(0.25)
                continue
            case.value(outcome, "log-in while waiting for the release")
            # Locked between `asked` and `answered`, released between the last refusal and now.
            released = monotonic()
            measured = (refused_at + released) / 2 - (asked + answered) / 2
            uncertainty = (released - refused_at) / 2 + (answered - asked) / 2
        if measured is None and counts_from_the_last(prompt, claim, account):
            raise Undecided(f"{account} gets in {claim.release:g} s after the last log-in, not after the lock")
        case.timing(
            "time from lock to release",
            measured=measured,
            low=claim.release - claim.tolerance,
            high=claim.release + claim.tolerance,
            uncertainty=uncertainty,
            claim=claim_id,
        )


def counts_from_the_last(prompt: Entrance, claim: LockoutClaim, account: str) -> bool:
    """Whether each log-in while it is locked begins the time anew: left alone the lock is released in time."""
    left_alone = claim.release + claim.tolerance
    Event().wait(left_alone)
    if not isinstance(prompt.visit(account), Accepted):
        return False
    for number in range(claim.threshold):
        prompt.attempt(account, WRONG.format(number))
    Event().wait(left_alone)
    return isinstance(prompt.visit(account), Accepted)
