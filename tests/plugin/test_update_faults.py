"""Faults in the middle of an update: the verdict says whose they are, and the next testcase starts clean."""

from __future__ import annotations

from pathlib import Path

from impatient import impatient_rig
from runs import run

FIRMWARE = "effects=[Effect.FIRMWARE]"
HEAD = f"""
import socket
from harness.links.file_server import Offer
from harness.rig.bundles import load_bundles
from harness.procedures.updating import Updating
def begin(case):
    case.attack("api", "an update")
    case.check("the version", held=True, expected="1", observed="1", claim="VERSION")
    return Updating(case, "UPDATE"), load_bundles(case.bench.rig)["good"]
def fall_mute(case):
    with socket.socket(socket.AF_UNIX) as agent:
        agent.connect(str(case.bench.control.run_dir / "agent.sock"))
        agent.sendall(b"control lie mute\\n")
        assert agent.recv(100) == b"ok\\n"
@case_of("T-2", {FIRMWARE})
def test_2(case):
    updating, bundle = begin(case)
    case.check("as delivered", held=updating.now().state == "idle", expected="idle", observed="-", claim="UPDATE")
    updating.expect_ready("the update", updating.install(bundle), bundle)
"""


def test_a_device_that_dies_in_an_update_decides_nothing(tmp_path: Path) -> None:
    body = f"""
@case_of("T-1", {FIRMWARE})
def test_1(case):
    updating, bundle = begin(case)
    updating.half_sent(bundle.read(), name="good", first=2000)
    os.kill(case.bench.control.pid, signal.SIGKILL)
    updating.await_end()
{HEAD}"""
    outcome = run(tmp_path, body, rig=impatient_rig(tmp_path))
    assert outcome.verdicts == {"test_1": "INCONCLUSIVE", "test_2": "PASS"}, outcome.output


def test_a_server_of_bundles_that_stops_decides_nothing(tmp_path: Path) -> None:
    body = f"""
@case_of("T-1", {FIRMWARE})
def test_1(case):
    updating, bundle = begin(case)
    with updating.served(Offer(bundle.read(), first=2000, stall=True), name="good") as (_, url):
        answer = updating.do("update-url", url=url)
        case.value(answer, "the request")
    updating.twin("the update", updating.followed(answer), bundle)
{HEAD}"""
    outcome = run(tmp_path, body, rig=impatient_rig(tmp_path))
    assert outcome.verdicts == {"test_1": "INCONCLUSIVE", "test_2": "PASS"}, outcome.output
    assert "refused transfer" in outcome.reason("test_1")


def test_a_device_that_never_comes_back_fails_when_it_does_so_twice(tmp_path: Path) -> None:
    body = f"""
@case_of("T-1", {FIRMWARE})
def test_1(case):
    updating, bundle = begin(case)
    updating.twin("the update", updating.install(bundle), bundle)
    with case.expecting(IncidentKind.RESTART, within=5):
        _, started = updating.begin_restart()
        fall_mute(case)
        updating.await_restart(started, within=2)
{HEAD}"""
    outcome = run(tmp_path, body, rig=impatient_rig(tmp_path))
    assert outcome.verdicts == {"test_1": "FAIL", "test_2": "PASS"}, outcome.output
    assert "does not come back within 2 s" in outcome.reason("test_1")
    assert outcome.reason("test_1").startswith("UPDATE (VP1-ICD")
    broken = [entry for entry in outcome.journal.of("check") if entry.data["state"] == "broken"]
    assert [entry.data["claim"] for entry in broken] == ["UPDATE"]
