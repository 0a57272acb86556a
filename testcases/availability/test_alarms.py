"""An alarm is shown in time wherever it is claimed to be, and the therapy goes on."""

from __future__ import annotations

from harness.case import Case
from harness.procedures.alarms import Alarms
from harness.rig.claims import AlarmClaim
from harness.rig.rig_file import Effect
from harness.testcase import About, contributes, each_surface, testcase


@testcase(
    "ALARM-SHOWN",
    title="An alarm is shown in the claimed time in every place, ends everywhere, and the therapy goes on",
    tags=[contributes("ANSM-2019/SAFE-FIRST", "ANSM-2019/CRIT-D")],
    about=About(property="availability", phase="design", method="function", threat="an alarm that nobody sees"),
    effects=[Effect.CONFIGURATION],
)
@each_surface(AlarmClaim)
def test_alarm(case: Case, claim_id: str, surface: str) -> None:
    alarms = Alarms(case, claim_id, surface)
    case.attack(surface, "an alarm")
    with case.step("Before"):
        alarms.expect_quiet()
    with case.step("The alarm"):
        alarms.expect("shown", alarms.provoke())
    with case.step("Its end"):
        alarms.expect_end("ended")
    alarms.close()
