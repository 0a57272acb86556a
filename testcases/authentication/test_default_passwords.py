"""Default, empty, weak and guessable passwords open no account."""

from __future__ import annotations

from harness.case import Case
from harness.device.guesses import cut_short, guesses
from harness.device.log_in import Entrance
from harness.device.outcomes import Accepted, NoAnswer
from harness.rig.claims import AccountClaim
from harness.rig.rig_file import Effect
from harness.testcase import About, contributes, each_surface, testcase, verifies

CLAIM = "BASE-NO-DEFAULT-PASSWORD"


@testcase(
    "AUTH-DEFAULT-PASSWORD",
    title="No default, empty, weak or guessable password opens an account",
    tags=[
        verifies("NMPA-2022/PAUT", "NMPA-2020/IFU-access", "FDA-A1/A", "FDA-VC/REQ"),
        contributes("ANSM-2019/CRIT-C", "ANSM-2019/RISK-OBSC", "MDS2-2019/PAUT"),
    ],
    about=About(property="confidentiality", phase="first use", method="penetration", threat="password guessing"),
    effects=[Effect.ACCOUNTS],
    severity="blocker",
)
@each_surface(AccountClaim)
def test_default_passwords(case: Case, claim_id: str, surface: str) -> None:
    device = case.bench.rig.device
    claim = device.claims_of(AccountClaim)[claim_id]
    door = case.bench.log_in_surface(surface)
    serial = case.bench.rig.file.item.serial

    for known in device.accounts.values():
        for password in cut_short(known.password):
            case.bench.wiring.hide(password)  # it tells nearly all of the right one
    case.attack(surface, "log-ins with default and guessable passwords")
    with door.entrance() as prompt:
        for account in door.accounts:
            with case.step(f"Guessing the password of {account}"):
                passwords = guesses(device, account, serial=serial, claimed_weak=claim.weak_passwords)
                if not _guess(case, prompt, account, passwords, budget=max(1, door.accounts[account].failed_log_ins)):
                    return


def _guess(case: Case, prompt: Entrance, account: str, passwords: list[str], *, budget: int) -> bool:
    """Try the passwords; the right one in between is the twin, and keeps the account from being locked.

    False when the device no longer answers: whether it is alive is decided at the end.
    """
    for first in range(0, len(passwords), budget):
        for password in passwords[first : first + budget]:
            outcome = prompt.attempt(account, password)
            if isinstance(outcome, Accepted):
                outcome.value.log_out()
            case.expect_refused(f"{account} with password {password!r}", outcome, claim=CLAIM)
            if isinstance(outcome, NoAnswer):
                return False
        case.twin(f"{account} with the right password", prompt.visit(account))
    return True
