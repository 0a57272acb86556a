"""The ends of a device's life: erased to first use, set up again."""

from __future__ import annotations

from harness.case import Case
from harness.device.answer import Answer
from harness.device.outcomes import Outcome
from harness.procedures.acting import in_role
from harness.procedures.restarts import restart
from harness.rig.claims import EndOfLifeClaim, FirstUseClaim

__all__ = ["erase", "set_up"]


def erase(case: Case, claim: EndOfLifeClaim) -> None:
    """Have a role that may reset the device to first use, and wait until it is there, its new certificate pinned.

    Said before: `case.expecting(IncidentKind.RESTART, …)`.

    Raises:
        Undecided: nobody may, the reset is not taken, it does not restart, or does not come back.
    """

    def begin() -> None:
        api = case.bench.http(claim.surface)
        eraser = in_role(case, claim.surface, claim.roles, to="reset the device to first use")
        session = case.value(api.log_in(eraser), f"log-in of {eraser}")
        confirm = claim.confirm.format(serial=case.bench.rig.file.item.serial)
        case.value(session.do("factory-reset", confirm=confirm), "the reset")
        session.drop()

    restart(case, begin, within=claim.within, renewed=claim.surface)


def set_up(case: Case, claim: FirstUseClaim, *, code: str | None = None) -> Outcome[Answer]:
    """Set a device in first use up, with the code of its label and the declared password of the account it makes."""
    item = case.bench.rig.file.item
    password = case.bench.rig.device.accounts[claim.account].password
    return case.bench.http(claim.surface).do("setup", code=item.setup_code if code is None else code, password=password)
