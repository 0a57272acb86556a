"""While an update is received, verified and written an alarm is shown as at any other time, and the therapy goes on."""

from __future__ import annotations

from collections.abc import Iterable

from harness.case import Case
from harness.instances import partable
from harness.links.http import HttpConnection
from harness.procedures.alarms import Alarms
from harness.procedures.updating import Updating
from harness.rig.bundles import newest_update
from harness.rig.claims import AlarmClaim, UpdateClaim
from harness.rig.device_file import DeviceFile
from harness.rig.rig_file import Effect
from harness.testcase import About, Instance, contributes, each, testcase, verifies

MOST = 3
"""Updates that are begun until the alarm was raised in the stage that matters most."""


def alarms_in_updates(device: DeviceFile) -> Iterable[Instance]:
    """Each surface on which an alarm can be raised, for each claim about updates."""
    for claim_id, claim in device.claims_of(UpdateClaim).items():
        for alarm_id, alarm in device.claims_of(AlarmClaim).items():
            for surface in alarm.surfaces if "upload" in claim.ways else ():
                yield Instance(surface, (claim_id, alarm_id, surface))


@testcase(
    "ALARM-DURING-UPDATE",
    title="While an update is received, verified and written an alarm is shown in time, and the therapy goes on",
    tags=[verifies("ANSM-2019/CRIT-D"), contributes("ANSM-2019/SAFE-FIRST", "NMPA-2022/CSUP", "FDA-A1/H")],
    about=About(property="availability", phase="monitoring", method="function", threat="an update keeps alarms back"),
    effects=[Effect.FIRMWARE, Effect.CONFIGURATION],
    slow=True,
    severity="blocker",
)
@each("claim_id, alarm_id, surface", alarms_in_updates)
def test_alarm_during_update(case: Case, claim_id: str, alarm_id: str, surface: str) -> None:
    raising = Raising(case, Updating(case, claim_id), Alarms(case, alarm_id, surface))
    case.attack(raising.updating.claim.surface, "alarms during an update")
    with case.step("Twin: no update is under way"):
        if not raising.twin():
            return
    for number in range(MOST):
        with case.step(f"Update {number + 1}"):
            raising.update(stages=("receiving", "verifying", "writing") if number == 0 else ("writing",))
        if raising.broken or "writing" in raising.caught:
            break
    if not raising.broken:
        caught = ", ".join(raising.caught) or "none"
        case.check("stages in which the alarm was raised", held="writing" in raising.caught or None,
                   expected="writing, before and after", observed=caught)  # fmt: skip
    raising.alarms.close()
    raising.updating.close()


class Raising:
    """Alarms raised in the stages of updates.

    `caught` are the stages that the device said it was in before and after; `broken` says that in one of them it was
    not shown as claimed, which more of them would not mend.
    """

    def __init__(self, case: Case, updating: Updating, alarms: Alarms) -> None:
        self.case = case
        self.updating = updating
        self.alarms = alarms
        self.caught: list[str] = []
        self.broken = False

    def twin(self) -> bool:
        """The alarm is shown while no update is under way: else what follows proves nothing."""
        now = self.updating.now()
        self.case.check("no update is under way", held=now.state == "idle" or None, expected="idle", observed=now)
        self.alarms.expect_quiet()
        for what, sightings in (("shown", self.alarms.provoke()), ("ended", self.alarms.end())):
            late = [each.place for each in sightings if each.took is None]
            observed = f"not: {', '.join(late)}" if late else "everywhere"
            title = f"the alarm is {what} without an update"
            if not self.case.check(title, held=not late or None, expected="everywhere (twin)", observed=observed):
                return False
        return True

    def update(self, *, stages: Iterable[str]) -> None:
        """Give the device an update, and raise the alarm in these stages as far as they can be caught."""
        case, updating, good = self.case, self.updating, newest_update(self.case.bench.rig)
        updating.listen()
        self.alarms.expect_quiet()
        connection: HttpConnection | None = None
        if "receiving" in stages and partable(case.bench.rig.device, updating.claim.surface):
            data = good.read()
            connection, request = updating.half_sent(data, name=good.path.name, first=len(data) // 2)
            self.raise_in("receiving")
            connection.upload(request, timeout=updating.within["receiving"], start=len(data) // 2)
        else:
            told = {"name": good.path.name} if updating.names_bundles else {}
            case.twin("the upload is taken", updating.do("update-upload", octets=good.read(), **told))
        within = sum(updating.within.get(name, 0) for name in ("verifying", "writing"))
        for stage in ("verifying", "writing"):
            if stage in stages and not self.broken and updating.await_stage(stage, within=within):
                self.raise_in(stage)
        last = updating.await_end()
        case.check("the update is taken", held=last.state == "ready" or None, expected="ready (twin)", observed=last)
        if connection is not None:
            connection.close()

    def raise_in(self, stage: str) -> None:
        """Raise the alarm in a stage and end it; judged where the device says it was in the stage all the time."""
        sightings = self.alarms.provoke()
        now = self.updating.now()
        if now.state != stage:
            with self.case.step(f"Not judged: {stage} was over, {now.state} after the alarm"):
                self._end(stage)
            return
        self.caught.append(stage)
        self.broken |= not self.alarms.expect(f"while {stage}", sightings)
        self._end(stage)

    def _end(self, stage: str) -> None:
        """End the alarm: a place that goes on showing it would show the next one, too."""
        late = [each.place for each in self.alarms.end() if each.took is None]
        observed = f"not: {', '.join(late)}" if late else "everywhere"
        title = f"the alarm raised while {stage} is ended"
        self.case.check(title, held=not late or None, expected="everywhere (twin)", observed=observed)
