"""A session nobody uses is logged off, however busy the rest of the device is."""

from __future__ import annotations

from threading import Event
from time import monotonic

from harness.case import Case
from harness.device.log_in import LogInSurface
from harness.device.outcomes import Accepted, name_of
from harness.procedures.elsewhere import Elsewhere
from harness.rig.claims import IdleLogOffClaim
from harness.testcase import About, contributes, each_surface, testcase, verifies

MARGIN = 0.3
"""Seconds before and after the claimed time at which a session is asked whether it is still open."""


@testcase(
    "AUTH-IDLE-LOGOFF",
    title="A session without input is logged off after the claimed time",
    tags=[
        verifies("NMPA-2022/ALOF", "NMPA-2020/IFU-access", "FDA-A1/B", "FDA-VC/REQ"),
        contributes("ANSM-2019/CRIT-C", "MDS2-2019/ALOF"),
    ],
    about=About(property="confidentiality", phase="design", method="function", threat="a session left open"),
    slow=True,
    version=2,
)
@each_surface(IdleLogOffClaim)
def test_idle_log_off(case: Case, claim_id: str, surface: str) -> None:
    claim = case.bench.rig.device.claims_of(IdleLogOffClaim)[claim_id]
    door = case.bench.log_in_surface(surface)

    case.attack(surface, "a session left open")
    if not door.announces_log_off:
        left_alone(case, claim_id, claim, door)
        return
    opened = door.log_in(next(iter(door.accounts)))
    session = case.value(opened, "log-in")
    with case.step("Input starts the time anew"):
        # Had the time run from the log-in on, the log-off would come too early to be within the tolerance.
        Event().wait(claim.tolerance + 1)
        case.twin("a command before the log-off", door.ask_inside(session))

    with case.step("The session is logged off"):
        elsewhere = Elsewhere(case, door)
        ended = elsewhere.await_log_off(session, timeout=claim.after + 2 * claim.tolerance + 1)
        elsewhere.expect_answers()
        if ended is None:
            # A log-off that never came is one only if the session can still be used.
            still = door.ask_inside(session)
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
        after = door.ask_inside(session)
        case.check(
            f"{door.inside_action} after the log-off",
            held=not isinstance(after, Accepted),
            expected="not carried out",
            observed="carried out" if isinstance(after, Accepted) else "not carried out",
            claim=claim_id,
        )
        session.drop()


def left_alone(case: Case, claim_id: str, claim: IdleLogOffClaim, door: LogInSurface) -> None:
    """Where the device says nothing by itself: of two sessions left alone one is asked early, the other one late.

    To ask is to use a session, so none can be watched; each tells of one side of the claimed time. Where only one can
    be open it is asked early, and late after that.
    """
    account = next(iter(door.accounts))
    elsewhere = Elsewhere(case, door)
    sessions = [case.value(door.log_in(account), "log-in") for _ in range(1 if door.one_session else 2)]
    early, late = sessions[0], sessions[-1]
    with case.step("Input starts the time anew"):
        # Had the time run from the log-in on, the first session would be over when it is asked.
        Event().wait(2 * claim.tolerance + 1)
        since = []
        for session in sessions:
            case.twin("a request before the log-off", door.ask_inside(session))
            since.append(monotonic())

    with case.step("A session is open up to the claimed time"):
        elsewhere.go_on(until=since[0] + claim.after - claim.tolerance - MARGIN)
        outcome = door.ask_inside(early)
        asked = monotonic()
        passed = asked - since[0]
        in_time = passed <= claim.after - claim.tolerance
        case.check(
            f"a session {claim.after - claim.tolerance:g} s after its last request",
            held=True if isinstance(outcome, Accepted) else False if door.ended(outcome) and in_time else None,
            expected="open",
            observed=f"{name_of(outcome)} after {passed:.2f} s",
            claim=claim_id,
        )
    with case.step("A session is over after the claimed time"):
        last = asked if late is early else since[1]
        elsewhere.go_on(until=last + claim.after + claim.tolerance + MARGIN)
        outcome = door.ask_inside(late)
        passed = monotonic() - last
        case.check(
            f"a session {claim.after + claim.tolerance:g} s after its last request",
            held=True if door.ended(outcome) else False if isinstance(outcome, Accepted) else None,
            expected="over",
            observed=f"{name_of(outcome)} after {passed:.2f} s",
            claim=claim_id,
        )
        elsewhere.expect_answers()
        case.twin("a new log-in", door.log_in(account))
    early.log_out()
    late.drop()
