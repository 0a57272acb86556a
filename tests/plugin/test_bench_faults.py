"""What goes wrong on a bench besides a cable that falls out: no pass, and no failure of the device's, comes of it."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from adapters import Adapter, RawServer, SocketcandServer
from faulty_bench import BODY, FaultyBench, a_bench, attempts
from runs import Outcome, command, run
from test_faults import _until

from harness.links.modbus import crc16

TWO = """
@case_of("T-1")
def test_1(case):
    attacked(case, {surface!r})
    ATTEMPTS.append(1)
    if len(ATTEMPTS) == 1:
        {fault}
        case.check("the same version", held=isinstance(read(case, {surface!r}), Accepted) or None,
                   expected="accepted", observed="", claim="VERSION")
@case_of("T-2")
def test_2(case):
    attacked(case, {surface!r})
"""
ACCEPTED = "from harness.device.outcomes import Accepted\n"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[FaultyBench]:
    with a_bench(tmp_path) as made:
        yield made


def when(bench: FaultyBench, mark: str) -> str:
    """What a testcase does to have an adapter misbehave: it makes a file that the adapter looks for at each byte."""
    return f'open("{bench.folder}/{mark}", "w").close()'


def test_garbage_as_of_a_wrong_speed_decides_nothing(bench: FaultyBench) -> None:
    adapter = bench.wire("modbus-rtu", Adapter)
    bench.wire("console", Adapter)
    wrong = bench.folder / "wrong-speed"
    # What an 8N1 receiver at twice the speed makes of each bit pattern: zeros, ones, and nothing of the message.
    adapter.bend = lambda data: bytes(byte & 0xF0 | 0x0E for byte in data) if wrong.exists() else data
    fault = when(bench, "wrong-speed")
    body = ACCEPTED + TWO.format(surface="modbus-rtu", fault=fault)
    outcome = bench.run(body)
    assert outcome.verdicts == {"test_1": "INCONCLUSIVE", "test_2": "INCONCLUSIVE"}, outcome.output
    assert "are the settings of the link right?" in outcome.reason("test_2")


@pytest.mark.parametrize("surface", ["modbus-rtu", "modbus-tcp"])
def test_a_slave_that_answers_for_another_is_not_taken_for_the_device(bench: FaultyBench, surface: str) -> None:
    other = bench.folder / "another-answers"

    def another_unit(data: bytes) -> bytes:
        answer = bytes([7]) + data[1:-2]
        return answer + crc16(answer) if other.exists() else data

    def another_transaction(data: bytes) -> bytes:
        return bytes([data[0] ^ 0x40]) + data[1:] if other.exists() else data

    bench.wire("modbus-rtu", Adapter).bend = another_unit if surface == "modbus-rtu" else bytes
    if surface == "modbus-tcp":
        bench.wire_modbus_tcp().bend = another_transaction
    fault = f"{when(bench, other.name)}; os.remove('{other}') if read(case, {surface!r}) is None else None"
    last = f"""
def test_between(): os.remove("{other}")
@case_of("T-3")
def test_3(case): attacked(case, {surface!r})
"""
    outcome = bench.run(ACCEPTED + TWO.format(surface=surface, fault=fault).split('@case_of("T-2")')[0] + last)
    assert outcome.verdicts == {"test_1": "INCONCLUSIVE", "test_3": "PASS"}, outcome.output
    said = [entry.data["outcome"] for entry in outcome.journal.of("operation")]
    assert any("not a reply to this request" in each for each in said)


@pytest.mark.parametrize("after", [0.0, 0.15, 0.4, 0.75, 1.1])
def test_a_device_that_reboots_at_any_moment_does_not_pass(bench: FaultyBench, after: float) -> None:
    bench.wire("modbus-rtu", Adapter)
    body = f"""
import socket, threading
def reboot():
    with socket.socket(socket.AF_UNIX) as agent:
        agent.connect("{bench.device.run_dir}/agent.sock")
        agent.sendall(b"control power-cycle\\n")
        assert agent.recv(100) == b"ok\\n"
@case_of("T-1")
def test_1(case):
    attacked(case, "modbus-rtu")
    timer = threading.Timer({after}, reboot)
    timer.start()
    use(case, "modbus-rtu", 1.0)
    timer.join()
@case_of("T-2")
def test_2(case): attacked(case, "modbus-rtu")
"""
    outcome = bench.run(body)
    assert outcome.verdicts["test_1"] in ("FAIL", "INCONCLUSIVE"), outcome.output
    assert outcome.verdicts["test_2"] == "PASS", outcome.output


@pytest.mark.parametrize(("delay", "verdict"), [(0.25, "PASS"), (1.6, "INCONCLUSIVE")])
def test_a_link_that_lags(bench: FaultyBench, delay: float, verdict: str) -> None:
    adapter = bench.wire("modbus-rtu", RawServer)
    bench.wire("can", SocketcandServer)
    adapter.delay = 0.0
    adapter.delays_from(bench.folder / "lags", delay)
    fault = when(bench, "lags")
    outcome = bench.run(ACCEPTED + TWO.format(surface="modbus-rtu", fault=fault))
    assert outcome.verdicts["test_1"] == verdict, outcome.output
    assert "FAIL" not in outcome.verdicts.values()


def test_a_late_answer_is_not_taken_for_that_of_the_next_command(bench: FaultyBench) -> None:
    bench.wire("modbus-rtu", Adapter)
    bench.wire("console", RawServer).delays_from(bench.folder / "lags", 1.6)
    body = f"""
@case_of("T-1")
def test_1(case):
    attacked(case, "modbus-rtu")
    with case.bench.dialogue("console").session("service") as opened:
        session = case.value(opened, "log-in")
        {when(bench, "lags")}
        session.do("version")
        case.expect_refused("an unknown command", session.unknown(), claim="BASE-DENY")
"""
    outcome = bench.run(body)
    assert outcome.verdicts == {"test_1": "INCONCLUSIVE"}, outcome.output
    assert "an unknown command" in outcome.reason("test_1")


def test_a_bus_that_lags_has_no_gap(bench: FaultyBench) -> None:
    """Frames that arrive late were not late on the bus: the gateway says when they were there."""
    bench.wire("modbus-rtu", Adapter)
    bench.wire("can", SocketcandServer).delays_from(bench.folder / "lags", 0.5)
    fault = f"{when(bench, 'lags')}; time.sleep(0.38)"  # asked now, the watch hears nothing for longer than its limit
    outcome = bench.run(ACCEPTED + TWO.format(surface="modbus-rtu", fault=fault))
    assert outcome.verdicts == {"test_1": "PASS", "test_2": "PASS"}, outcome.output


def test_a_run_that_is_stopped_for_a_while_goes_on(bench: FaultyBench) -> None:
    bench.wire("modbus-rtu", Adapter)
    bench.wire("can", SocketcandServer)
    body = """
@case_of("T-1")
def test_1(case):
    attacked(case, "modbus-rtu")
    ATTEMPTS.append(1)
    if len(ATTEMPTS) == 1:
        open("waiting", "w").close()
        use(case, "uds", 5)
@case_of("T-2")
def test_2(case): attacked(case, "modbus-rtu")
"""
    with started(bench, body, bench.rig()) as process:
        process.send_signal(signal.SIGSTOP)
        threading.Event().wait(4)  # the time itself is what is tried
        process.send_signal(signal.SIGCONT)
        process.wait(60)
    outcome = Outcome(process.returncode, (bench.folder / "output").read_text(), bench.folder / "run")
    assert outcome.verdicts == {"test_1": "PASS", "test_2": "PASS"}, outcome.output
    assert "the bench itself stood still for" in outcome.output
    assert [verdict for _, verdict in attempts(outcome, "test_1")] in (["PASS"], ["INCONCLUSIVE", "PASS"])


def test_a_rig_is_free_again_when_its_run_was_killed(bench: FaultyBench) -> None:
    bench.wire("modbus-rtu", Adapter)
    holding = """
@case_of("T-1")
def test_1(case):
    attacked(case, "modbus-rtu")
    open("waiting", "w").close()
    use(case, "modbus-rtu", 60)
"""
    rig = bench.rig()
    with started(bench, holding, rig) as process:
        second, third = bench.folder / "second", bench.folder / "third"
        for folder in (second, third):
            folder.mkdir()
        body = BODY + '@case_of("T-1")\ndef test_1(case): attacked(case, "modbus-rtu")\n'
        refused = run(second, body, rig=rig)
        assert refused.verdicts == {"test_1": "INCONCLUSIVE"}
        assert f"rig 'faults' is in use by process {process.pid} (Li Na)" in refused.reason("test_1")
        process.kill()
        process.wait(10)
        assert run(third, body, rig=rig).verdicts == {"test_1": "PASS"}


@contextmanager
def started(bench: FaultyBench, body: str, rig: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a run and hand it over when one of its testcases says that it waits."""
    argv = command(bench.folder, BODY + body, rig=rig)
    with (bench.folder / "output").open("wb") as output:
        process = subprocess.Popen(argv, cwd=bench.folder, stdout=output, stderr=subprocess.STDOUT)
    try:
        _until(lambda: (bench.folder / "waiting").exists() or process.poll() is not None, 60)
        assert process.poll() is None, (bench.folder / "output").read_text()
        yield process
    finally:
        process.kill()
        process.wait(10)
