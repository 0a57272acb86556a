"""Nobody but the declared accounts gets in, and a refusal does not tell which accounts exist."""

from __future__ import annotations

from harness.case import Case
from harness.device.guesses import FOREIGN_USERS
from harness.device.outcomes import Accepted, NoAnswer, Outcome, Refused, name_of
from harness.procedures.refused_log_ins import RefusedLogIns
from harness.rig.claims import AccountClaim
from harness.rig.rig_file import Effect
from harness.testcase import About, contributes, each_surface, testcase, verifies


@testcase(
    "AUTH-UNKNOWN-USER",
    title="Undeclared accounts are refused, in the words of a wrong password",
    tags=[
        verifies("NMPA-2022/PAUT", "NMPA-2020/IFU-access", "FDA-A1/A", "FDA-VC/THREAT"),
        contributes("ANSM-2019/CRIT-C", "ANSM-2019/RISK-OBSC"),
    ],
    about=About(property="confidentiality", phase="first use", method="penetration", threat="undeclared accounts"),
    effects=[Effect.ACCOUNTS],
    version=4,
)
@each_surface(AccountClaim)
def test_unknown_users(case: Case, claim_id: str, surface: str) -> None:
    device = case.bench.rig.device
    claim = device.claims_of(AccountClaim)[claim_id]
    door = case.bench.log_in_surface(surface)
    known = next(iter(door.accounts))

    case.attack(surface, "log-ins with user names that are not declared here")
    with door.entrance() as prompt:
        refused = RefusedLogIns(case, surface, prompt)
        with case.step("The words of a wrong password"):
            wrong = prompt.attempt(known, "not-the-password")
            case.expect_refused(f"{known} with a wrong password", wrong, claim=claim_id)
            case.twin(f"{known} with the right password", prompt.visit(known))

        with case.step("Accounts that are not declared here, with their right passwords"):
            declared = [name for name in door.accounts if name in claim.accounts]
            for account in [name for name in device.accounts if name not in declared]:
                outcome = prompt.attempt(account, device.accounts[account].password)
                _leave(outcome)
                refused.one_more()
                case.expect_refused(f"{account}, not declared on {surface}", outcome, claim=claim_id)

        with case.step("Accounts that systems are delivered with"):
            for user in [name for name in FOREIGN_USERS if name not in device.accounts]:
                for password in ("", user):  # an empty one may break the form of a request, and get other words
                    outcome = prompt.attempt(user, password)
                    _leave(outcome)
                    refused.one_more()
                    case.expect_refused(f"{user} with password {password!r}", outcome, claim=claim_id)
                if isinstance(outcome, NoAnswer):
                    return
                if claim.unknown_alike and isinstance(wrong, Refused) and not isinstance(outcome, Accepted):
                    alike: bool | None = isinstance(outcome, Refused) and door.words(outcome) == door.words(wrong)
                    if not alike:
                        # Other words count when both are said again: a device may say something by itself in between.
                        again, control = prompt.attempt(user, user), prompt.attempt(known, "not-the-password")
                        _leave(again)
                        case.twin(f"{known} with the right password", prompt.visit(known))
                        own = door.words(again) == door.words(outcome) != b""
                        alike = False if own and door.words(control) == door.words(wrong) else None
                    case.check(
                        f"{user} is refused in the words of a wrong password",
                        held=alike,
                        expected=door.words(wrong),
                        observed=door.words(outcome) or name_of(outcome),
                        claim=claim_id,
                    )
                    if not alike:
                        return
        case.twin(f"{known} after all these", prompt.visit(known))


def _leave(outcome: Outcome[object]) -> None:
    if isinstance(outcome, Accepted):
        outcome.value.log_out()  # type: ignore[attr-defined]
