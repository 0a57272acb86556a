"""A restore that the power leaves in the middle: the old state is there afterwards, or the new one, never a third."""

from __future__ import annotations

import time
from threading import Event

from harness.case import Case
from harness.device.outcomes import NoAnswer
from harness.instances import partable
from harness.procedures.restarts import await_start
from harness.procedures.restoring import Restoring, State
from harness.rig.claims import RestoreClaim
from harness.rig.device_file import DeviceFile
from harness.rig.rig_file import Effect
from harness.testcase import About, Instance, contributes, each, testcase, verifies
from harness.verdict import Undecided
from harness.watch import IncidentKind

TAGS = [
    verifies("NMPA-2022/DTBK", "NMPA-2022/IGAU", "ANSM-2019/CRIT-I"),
    contributes("MDS2-2019/DTBK", "ANSM-2019/CRIT-D", "FDA-A1/G"),
]
ABOUT = About(property="integrity", phase="monitoring", method="penetration", threat="power lost in a restore")
EFFECTS = [Effect.ACCOUNTS, Effect.CONFIGURATION, Effect.DATA]
FEW, MANY = 3, 20
"""Moments at which the power is cut."""


def atomic(device: DeviceFile) -> list[Instance]:
    """Claims about restores that say so, where a restore can be cut in its middle."""
    claims = device.claims_of(RestoreClaim).items()
    return [
        Instance(claim.surface, (claim_id,))
        for claim_id, claim in claims
        if claim.atomic and partable(device, claim.surface)
    ]


@testcase(
    "RESTORE-POWER-CUT",
    title="The power cut at some moments of a restore leaves the state of before or the restored one",
    tags=TAGS,
    about=ABOUT,
    effects=EFFECTS,
    needs=["power", "cut"],
    slow=True,
)
@each("claim_id", atomic)
def test_power_cut(case: Case, claim_id: str) -> None:
    cut_at_moments(case, claim_id, moments=FEW)


@testcase(
    "RESTORE-POWER-CUT-MANY",
    title="The power cut at many moments of a restore, closest where it takes effect, leaves one of the two states",
    tags=TAGS,
    about=ABOUT,
    effects=EFFECTS,
    needs=["power", "cut"],
    slow=True,
    long=True,
)
@each("claim_id", atomic)
def test_power_cut_many(case: Case, claim_id: str) -> None:
    cut_at_moments(case, claim_id, moments=MANY)


def cut_at_moments(case: Case, claim_id: str, *, moments: int) -> None:
    """Restore one of two backups and cut the power, again and again, nearing the moment at which it takes effect."""
    restoring = Restoring(case, claim_id)
    with case.step("Two states and their backups"):
        first, second = restoring.two_states()
        started = time.monotonic()
        case.value(restoring.restore(second[0]), "a restore with power")
        whole = time.monotonic() - started
        restoring.expect_state("after a restore with power", second[1])
        case.value(restoring.restore(first[0]), "the first state again")
        present, other = first, second
    case.attack(restoring.claim.surface, f"the power is cut at {moments} moments of restores of {whole:.2f} s")
    # What is cut in the first half has not taken effect, what is cut after the answer has.
    early, late = 0.0, whole * 1.1
    with case.expecting(IncidentKind.RESTART, within=moments * (case.bench.rig.device.starts_within + 60)):
        for number in range(moments):
            moment = whole if number == 0 else (early + late) / 2
            with case.step(f"The power is cut {moment * 1000:.0f} ms after the request"):
                cut(case, restoring, other[0], after=moment)
                come_back(case, restoring)
                found = name_state(restoring.state(), old=present[1], new=other[1])
                case.check(
                    f"after a cut at {moment * 1000:.0f} ms", held=found in ("the old state", "the new state"),
                    expected="the old state or the new state", observed=found, claim=claim_id,
                )  # fmt: skip
            if found == "the new state":
                late, (present, other) = moment, (other, present)
            elif found == "the old state":
                early = moment
            else:
                return
            if late - early < whole / 500:
                # Too close for what the bench can time: once more from the wider range.
                early, late = max(0.0, moment - whole / 10), moment + whole / 10
        with case.step("Twin: a restore that nothing disturbs"):
            case.twin("a restore that nothing disturbs", restoring.restore(other[0]))
            restoring.expect_state("after a restore that nothing disturbs", other[1])
    restoring.close()


def cut(case: Case, restoring: Restoring, blob: bytes, *, after: float) -> None:
    """Send a restore and take the power away `after` seconds later."""
    restoring.close()
    door = case.bench.http(restoring.claim.surface)
    session = case.value(door.log_in(restoring.account), f"log-in of {restoring.account}")
    request = session.request("restore", octets=blob, passphrase=restoring.passphrase)
    session.drop()
    connection = door.connect()
    if isinstance(connection, NoAnswer):
        raise Undecided(f"no connection for the restore: {connection.reason}")
    # The watches do not outlive the cut; judged now, so that its moment waits for nothing.
    case.judge_watches()
    started = time.monotonic()
    sent = connection.upload(request, timeout=10)
    case.check("the request is out", held=sent == len(blob) or None, expected=len(blob), observed=sent)
    # Nothing can be awaited: the moment itself is what is tried.
    Event().wait(max(0.0, started + after - time.monotonic()))
    case.bench.control.cut()
    connection.close()


def come_back(case: Case, restoring: Restoring) -> None:
    """Give the device its power again and wait until somebody can log in."""
    case.bench.power_cycle()
    restoring.forget()
    await_start(case, restoring.claim.surface)


def name_state(state: State, *, old: State, new: State) -> str:
    """Say which of two states it is, or in what it is neither."""
    if state in (old, new):
        return "the old state" if state == old else "the new state"
    apart = {name: state.get(name) for name in {*state, *old, *new} if state.get(name) != old.get(name)}
    return f"neither; unlike the old one: {apart}"
