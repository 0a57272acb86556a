"""Who answers: model, serial number and version, read and compared with what device and rig file say."""

from __future__ import annotations

import time
from collections.abc import Sequence

from harness.clean import show_text
from harness.device.log_in import LogInSurface
from harness.device.outcomes import Accepted, Refused, Unintelligible, name_of
from harness.device.surface import Surface
from harness.errors import WrongDevice
from harness.journal import Journal
from harness.rig.loading import Rig
from harness.verdict import Undecided

__all__ = ["compare_identity"]


def compare_identity(
    surface: Surface, rig: Rig, *, journal: Journal, versions: Sequence[str], within: float | None
) -> bool:
    """Read the identity on `surface` and compare it, the version with each of `versions`.

    Returns:
        Whether somebody was let in on the way, got no answer, and cannot log out: that session is still open.

    Raises:
        Undecided: the device does not answer within `within` seconds (five answers' time when not given).
        WrongDevice: another unit, model or version answers.
    """
    device, item = rig.device, rig.file.item
    expected = {"model": device.model, "serial": item.serial, "version": " or ".join(versions)}
    deadline = time.monotonic() + (5 * rig.file.answer_within if within is None else within)
    # A refused log-in is not tried again: it counts towards the lock of the account.
    settled = (Accepted, Refused) if isinstance(surface, LogInSurface) else Accepted
    outcome = surface.read_all(list(expected))
    while not isinstance(outcome, settled) and time.monotonic() < deadline:
        outcome = surface.read_all(list(expected))
    if not isinstance(outcome, Accepted):
        hint = "is the device powered and the link wired? try `proofrig rig check`"
        if isinstance(outcome, Unintelligible):
            hint = (
                f"something answers, but not as the device file says: are the settings of the link right?\n    {hint}"
            )
        # A device that is silent is no fault of the bench: that would have the testcase repeated.
        raise Undecided(f"the identity cannot be read on {surface.name}: {name_of(outcome)}\n  → {hint}")
    observed = {field: str(value) for field, value in outcome.value.items()}
    shown_values = {field: show_text(value, limit=200) for field, value in observed.items()}
    journal.write("identity", expected=expected, observed=shown_values, surface=surface.name)
    wrong = [field for field in ("model", "serial") if observed[field] != expected[field]]
    wrong += ["version"] if observed["version"] not in versions else []
    if wrong:
        shown = ", ".join(f"{field} {shown_values[field]!r} instead of {expected[field]!r}" for field in wrong)
        raise WrongDevice(
            f"another device answers: {shown}", where=str(rig.path), hint="correct item or device in the rig file"
        )
    return isinstance(surface, LogInSurface) and surface.end_left_open() > 0
