"""A session nobody uses is logged off."""

from __future__ import annotations

from threading import Event

from harness.case import Case
from harness.device.outcomes import Accepted
from harness.rig.claims import IdleLogOffClaim
from harness.testcase import About, contributes, each_surface, testcase, verifies


@testcase(
    "AUTH-IDLE-LOGOFF",
    title="A session without input is logged off after the claimed time",
    tags=[
        verifies("NMPA-2022/ALOF", "NMPA-2020/IFU-access", "FDA-A1/B", "FDA-VC/REQ"),
        contributes("ANSM-2019/CRIT-C", "MDS2-2019/ALOF"),
    ],
    about=About(property="confidentiality", phase="design", method="function", threat="a session left open"),
    unqualified=True,
    slow=True,
)
@each_surface(IdleLogOffClaim)
def test_idle_log_off(case: Case, claim_id: str, surface: str) -> None:
    claim = case.bench.rig.device.claims_of(IdleLogOffClaim)[claim_id]
    door = case.bench.dialogue(surface)

    case.attack(surface, "a session left open")
    opened = door.log_in(next(iter(door.accounts)))
    session = case.value(opened, "log-in")
    with case.step("Input starts the time anew"):
        # Had the time run from the log-in on, the log-off would come too early to be within the tolerance.
        Event().wait(claim.tolerance + 1)
        case.twin("a command before the log-off", door.read_in(session, "uptime"))

    with case.step("The session is logged off"):
        ended = session.wait_logged_off(timeout=claim.after + 2 * claim.tolerance + 1)
        if ended is None:
            # A log-off that never came is one only if the session can still be used.
            still = door.read_in(session, "uptime")
            session.log_out()
            case.value(still, "neither logged off nor in use")
        case.timing(
            "time from the last input to the log-off",
            measured=ended.seconds if ended else None,
            low=claim.after - claim.tolerance,
            high=claim.after + claim.tolerance,
            uncertainty=ended.uncertainty if ended else 0.0,
            claim=claim_id,
        )
        if ended is None:
            return
        case.check(
            "the session is over",
            held=session.over(within=case.bench.wiring.answer_within) or None,
            expected="log-in prompt, or the connection closed",
            observed="as expected" if session.over(within=0) else "neither",
        )

    with case.step("A command no longer works"):
        codec = door.spec.fields["uptime"]
        after = session.do(codec.action)
        case.check(
            f"{codec.action} after the log-off",
            held=not isinstance(after, Accepted),
            expected="not carried out",
            observed="carried out" if isinstance(after, Accepted) else "not carried out",
            claim=claim_id,
        )
        session.drop()
