"""Verdicts of testcases as pytest runs them: exit codes, what earns a pass, what is left out, what was not run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from impatient import impatient_rig
from runs import RIG, ROOT, run

from harness.journal import read_journal
from harness.verdict import EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_NOT_RUN, EXIT_USAGE

GOOD = """
@case_of("T-GOOD")
def test_good(case): good(case)
"""


def test_a_pass_is_earned_and_exits_with_0(tmp_path: Path) -> None:
    outcome = run(tmp_path, GOOD)
    assert (outcome.code, outcome.verdicts) == (0, {"test_good": "PASS"}), outcome.output
    assert outcome.journal.broken_at is None
    alive = [entry for entry in outcome.journal.of("alive") if entry.data["seen"]]
    assert len(alive) == 2, "seen alive before and after the attack"
    assert outcome.journal.of("watch")[-1].data["state"] == "held"


@pytest.mark.parametrize(
    ("body", "verdict", "code"),
    [
        ('case.check("c", held=False, expected=1, observed=2, claim="VERSION")', "FAIL", EXIT_FAIL),
        ('case.check("c", held=None, expected=1, observed=2, claim="VERSION")', "INCONCLUSIVE", EXIT_INCONCLUSIVE),
        ('case.check("c", held=False, expected=1, observed=2)', "INCONCLUSIVE", EXIT_INCONCLUSIVE),
        ('case.check("c", held=True, expected=1, observed=1)', "INCONCLUSIVE", EXIT_INCONCLUSIVE),
        ("pass", "INCONCLUSIVE", EXIT_INCONCLUSIVE),
        ("assert 1 == 2", "INCONCLUSIVE", EXIT_INCONCLUSIVE),
        ("raise RuntimeError('mistake')", "INCONCLUSIVE", EXIT_INCONCLUSIVE),
        ("good(case); raise RuntimeError('mistake')", "INCONCLUSIVE", EXIT_INCONCLUSIVE),
        (
            'case.check("c", held=False, expected=1, observed=2, claim="VERSION"); raise RuntimeError("later")',
            "FAIL",
            EXIT_FAIL,
        ),
        ('case.claim("NO-SUCH-CLAIM")', "INCONCLUSIVE", EXIT_INCONCLUSIVE),
    ],
)
def test_what_does_not_earn_a_pass(tmp_path: Path, body: str, verdict: str, code: int) -> None:
    outcome = run(tmp_path, f'@case_of("T-X")\ndef test_x(case):\n    {body}\n')
    assert (outcome.verdicts, outcome.code) == ({"test_x": verdict}, code), outcome.output


def test_a_testcase_without_effects_may_not_change_the_baseline(tmp_path: Path) -> None:
    body = """
@case_of("T-CHANGE")
def test_change(case):
    good(case)
    case.bench.bus_commands("can-commands").do("set-rate", 700)
"""
    outcome = run(tmp_path, body)
    assert outcome.verdicts == {"test_change": "FAIL"}
    assert "BASE-UNCHANGED" in outcome.reason("test_change")


def test_an_exemption_must_be_seen(tmp_path: Path) -> None:
    body = """
@case_of("T-EXPECT")
def test_expect(case):
    good(case)
    with case.expecting(IncidentKind.DEATH, within=0.5):
        pass
"""
    outcome = run(tmp_path, body)
    assert outcome.verdicts == {"test_expect": "INCONCLUSIVE"}
    assert "expected but not seen: death" in outcome.reason("test_expect")


def test_an_exemption_excuses_no_later_restart(tmp_path: Path) -> None:
    body = """
import threading, time
from harness.procedures.acting import do
from harness.procedures.restarts import restart
def again(case): restart(case, lambda: case.value(do(case, "api", "reboot"), "reboot"), within=10)
@case_of("T-ONCE", effects=[Effect.FIRMWARE])
def test_once(case):
    good(case)
    with case.expecting(IncidentKind.RESTART, within=10):
        again(case)
@case_of("T-TWICE", effects=[Effect.FIRMWARE])
def test_twice(case):
    threading.Event().wait(2)  # or the uptime after the restart is above the one of now: also a stale answer's
    good(case)
    begun = time.monotonic()
    with case.expecting(IncidentKind.RESTART, within=5):
        again(case)
    threading.Event().wait(max(0, begun + 5.5 - time.monotonic()))
    again(case)
"""
    outcome = run(tmp_path, body)
    assert outcome.verdicts == {"test_once": "PASS", "test_twice": "FAIL"}, outcome.output
    assert "BASE-NO-CRASH" in outcome.reason("test_twice")


def test_a_claim_nobody_stands_up_for_cannot_pass(tmp_path: Path) -> None:
    device = (ROOT / "rigs/devices/infusion-pump.yaml").read_text()
    before, after = device.split("  VERSION:", 1)
    (tmp_path / "device.yaml").write_text(before + "  VERSION:" + after.replace("approved", "observed", 1))
    rig = RIG.read_text().replace("../../rigs/devices/infusion-pump.yaml", "device.yaml")
    (tmp_path / "rig.yaml").write_text(
        rig.replace("{rig_dir}", str(RIG.parent)).replace("keys/", f"{RIG.parent}/keys/")
    )
    outcome = run(tmp_path, GOOD, rig=tmp_path / "rig.yaml")
    assert outcome.verdicts == {"test_good": "INCONCLUSIVE"}, outcome.output
    assert "status observed" in outcome.reason("test_good")


def test_left_out_and_not_run_are_named_apart(tmp_path: Path) -> None:
    body = """
@case_of("T-1")
def test_1(case): case.check("c", held=False, expected=1, observed=2, claim="VERSION")
@case_of("T-2")
def test_2(case): good(case)
@case_of("T-3", effects=[Effect.FIRMWARE])
def test_3(case): good(case)
@case_of("T-4")
def test_4(case): good(case)
"""
    rig = impatient_rig(tmp_path)
    rig.write_text(rig.read_text().replace(" firmware,", ""))
    outcome = run(tmp_path, body, "-x", "--deselect", "test_some.py::test_4", rig=rig)
    assert outcome.verdicts == {"test_1": "FAIL", "test_2": "NOT RUN"}
    assert outcome.code == EXIT_FAIL
    left = outcome.journal.of("deselected")[0].data["testcases"]
    assert left["test_some.py::test_3"] == "the rig does not permit effects on firmware"
    assert left["test_some.py::test_4"] == "deselected"
    assert outcome.journal.of("run.end")[0].data["totals"]["NOT RUN"] == 1


def test_not_applicable_needs_a_reason_in_the_device_file(tmp_path: Path) -> None:
    body = """
@case_of("T-NONE")
@each("surface", lambda device: [])
def test_none(case, surface): good(case)
@case_of("T-NOTHING-AT-ALL")
@each("surface", lambda device: [])
def test_nothing(case, surface): good(case)
"""
    outcome = run(tmp_path, body)
    assert outcome.code == EXIT_USAGE
    assert "nothing declared for 2 testcases" in outcome.output
    assert "T-NONE: …" in outcome.output
    assert "T-NOTHING-AT-ALL: …" in outcome.output
    assert "Traceback" not in outcome.output

    device = (ROOT / "rigs/devices/infusion-pump.yaml").read_text()
    (tmp_path / "device.yaml").write_text(
        device.replace(
            "not_applicable:\n", "not_applicable:\n  T-NONE: it has none of these\n  T-NOTHING-*: nor of those\n"
        )
    )
    rig = RIG.read_text().replace("../../rigs/devices/infusion-pump.yaml", "device.yaml")
    (tmp_path / "rig.yaml").write_text(
        rig.replace("{rig_dir}", str(RIG.parent)).replace("keys/", f"{RIG.parent}/keys/")
    )
    again = tmp_path / "again"
    again.mkdir()
    outcome = run(again, body, "-rs", rig=tmp_path / "rig.yaml")
    assert set(outcome.verdicts.values()) == {"NOT APPLICABLE"}, outcome.output
    assert "it has none of these" in outcome.reason("test_none[not-applicable]")
    assert "nor of those" in outcome.reason("test_nothing[not-applicable]")
    assert outcome.code == 0


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('@case_of("T", tag="NMPA-2022/PAUTH")\ndef test_t(case): good(case)\n', "NMPA-2022/PAUT"),
        ('@testcase("T", title="t", tags=[], about=ABOUT)\ndef test_t(case): good(case)\n', "no clause it verifies"),
        ('@case_of("T", tag="ANSM-2019/DES-ACC")\ndef test_t(case): good(case)\n', "ANSM-2019/DES-ACC"),
    ],
)
def test_a_wrong_tag_stops_collection(tmp_path: Path, body: str, words: str) -> None:
    outcome = run(tmp_path, body)
    assert outcome.code == EXIT_USAGE
    assert words in outcome.output
    assert "Traceback" not in outcome.output


def test_mistakes_of_the_user_are_messages(tmp_path: Path) -> None:
    without = run(tmp_path, GOOD, rig=None)
    assert (without.code, "--rig" in without.output) == (EXIT_USAGE, True)
    missing = run(tmp_path, GOOD, rig=tmp_path / "none.yaml")
    assert (missing.code, "cannot be read" in missing.output) == (EXIT_USAGE, True)
    for outcome in (without, missing):
        assert "Traceback" not in outcome.output


def test_without_a_rig_the_plugin_is_inert(tmp_path: Path) -> None:
    outcome = run(tmp_path, "def test_plain(): pass\n", rig=None)
    assert outcome.code == 0
    assert not list(tmp_path.glob("run*"))
    assert not list(tmp_path.glob("reports*"))


def test_workers_have_devices_of_their_own_and_are_sealed_in(tmp_path: Path) -> None:
    body = "".join(f'@case_of("T-{n}")\ndef test_{n}(case): good(case)\n' for n in range(4))
    outcome = run(tmp_path, body, "-n", "2")
    assert outcome.verdicts == {f"test_{n}": "PASS" for n in range(4)}, outcome.output
    ends = {entry.data["worker"]: entry.data for entry in outcome.journal.of("worker.end")}
    starts = {entry.data["worker"]: entry.data for entry in outcome.journal.of("worker.start")}
    assert ends.keys() == {"gw0", "gw1"}
    for worker, end in ends.items():
        journal = read_journal(outcome.run_dir / f"journal-{worker}.jsonl")
        assert (journal.head, len(journal.entries)) == (end["last"], end["lines"])
        assert journal.entries[1].prev == starts[worker]["first"]


def test_a_crashed_worker_leaves_not_run(tmp_path: Path) -> None:
    body = """
@case_of("T-1")
def test_1(case): os._exit(9)
@case_of("T-2")
def test_2(case): good(case)
"""
    outcome = run(tmp_path, body, "-n", "1")
    assert outcome.verdicts == {"test_1": "NOT RUN", "test_2": "PASS"}, outcome.output
    assert outcome.code == EXIT_NOT_RUN


def test_hostile_text_does_not_stop_the_run(tmp_path: Path) -> None:
    body = """
EVIL = "\\udc80 \\x1b[31m \\u202e <script>alert(1)</script> \\x00"
@case_of("T-1")
def test_1(case):
    with case.step(EVIL):
        case.check(EVIL, held=False, expected=EVIL, observed=EVIL, claim="VERSION", repeat=EVIL)
@case_of("T-2")
def test_2(case): good(case)
"""
    outcome = run(tmp_path, body)
    assert outcome.verdicts == {"test_1": "FAIL", "test_2": "PASS"}, outcome.output
    assert "\x1b[31m \u202e" not in outcome.output
    results = [json.loads(path.read_text()) for path in (tmp_path / "run/allure-results").glob("*-result.json")]
    assert sorted(result["status"] for result in results) == ["failed", "passed"]


@pytest.mark.parametrize(
    ("faults", "verdict"),
    [
        (["BenchFault", "BenchFault"], "PASS"),
        (["BenchFault"] * 3, "INCONCLUSIVE"),
        (["SilenceAfterAttack"], "INCONCLUSIVE"),
        (["SilenceAfterAttack", "SilenceAfterAttack"], "FAIL"),
        (["BenchFault", "BenchFault", "SilenceAfterAttack"], "INCONCLUSIVE"),
        (["BenchFault", "SilenceAfterAttack", "BenchFault"], "INCONCLUSIVE"),
    ],
)
def test_a_repetition_never_makes_a_pass_of_silence(tmp_path: Path, faults: list[str], verdict: str) -> None:
    body = f"""
from harness.errors import BenchFault
from harness.verdict import SilenceAfterAttack
FAULTS = [{", ".join(faults)}]
@case_of("T-1")
def test_1(case):
    good(case)
    if FAULTS:
        raise FAULTS.pop(0)("as planned")
"""
    outcome = run(tmp_path, body)
    assert outcome.verdicts == {"test_1": verdict}, outcome.output
    attempts = [entry.data["attempt"] for entry in outcome.journal.of("case.end")]
    assert attempts == sorted(set(attempts)), "every attempt is in the record once"


@pytest.mark.parametrize(
    "first",
    [
        'tell("lie frozen-but-broadcasting"); case.bench.check_identity(within=0.5)',
        'case.check("an answer", held=None, expected="an answer", observed="silence"); raise BenchFault("as planned")',
    ],
)
def test_a_silent_device_is_no_fault_of_the_bench(tmp_path: Path, first: str) -> None:
    body = f"""
import socket
from harness.errors import BenchFault
ATTEMPTS = []
@case_of("T-1")
def test_1(case):
    def tell(request):
        with socket.socket(socket.AF_UNIX) as agent:
            agent.connect(f"{{case.bench.control.run_dir}}/agent.sock")
            agent.sendall(f"control {{request}}\\n".encode())
            assert agent.recv(100) == b"ok\\n"
    good(case)
    ATTEMPTS.append(1)
    if len(ATTEMPTS) == 1:
        {first}
"""
    outcome = run(tmp_path, body)
    assert outcome.verdicts == {"test_1": "INCONCLUSIVE"}, outcome.output
    assert [entry.data["attempt"] for entry in outcome.journal.of("case.end")] == [1]


def test_the_next_baseline_is_no_part_of_a_testcase_that_is_over(tmp_path: Path) -> None:
    outcome = run(
        tmp_path,
        """
@case_of("T-1")
def test_1(case): good(case)
@case_of("T-2")
def test_2(case): good(case)
""",
    )
    assert outcome.verdicts == {"test_1": "PASS", "test_2": "PASS"}, outcome.output
    kinds = [(entry.kind, entry.data.get("testcase", "")) for entry in outcome.journal.entries]
    first = next(index for index, (kind, name) in enumerate(kinds) if kind == "case.end" and name.endswith("test_1"))
    assert not [kind for kind, name in kinds[first + 1 :] if kind == "operation" and name.endswith("test_1")]


def test_several_fields_are_read_in_one_go_where_the_surface_can(tmp_path: Path) -> None:
    body = """
@case_of("T-1")
def test_1(case):
    good(case)
    for surface in ("modbus-tcp", "modbus-rtu", "console", "uds"):
        for fields in (["version", "serial", "model"], ["model", "uptime"]):
            read = case.bench.surface(surface).read_all(fields)
            one_by_one = {field: case.bench.surface(surface).read(field).value for field in fields if field != "uptime"}
            got = {field: value for field, value in read.value.items() if field != "uptime"}
            case.check(f"{surface} {fields}", held=got == one_by_one and list(read.value) == fields,
                       expected=one_by_one, observed=got, claim="VERSION")
"""
    outcome = run(tmp_path, body)
    assert outcome.verdicts == {"test_1": "PASS"}, outcome.output
    read = [entry.data["operation"] for entry in outcome.journal.of("operation")]
    assert read.count("read version, serial, model") == 2, "one request over TCP, one over RTU"
