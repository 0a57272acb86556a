"""A cable falls out in mid test and is put back: named, awaited, repeated, and never the device's fault.

The device is the sham pump, running all the time; between it and the bench stand adapters that fail (`adapters.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from adapters import Adapter, RawServer, Rfc2217Server, SlcanAdapter, SocketcandServer
from faulty_bench import FaultyBench, a_bench, attempts
from runs import Outcome

from harness.links.modbus import crc16

NOTICED_WITHIN, BACK_WITHIN = 1.0, 3.0
"""Seconds: the bench sees that a link is gone; it goes on once the cable is back."""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[FaultyBench]:
    with a_bench(tmp_path) as made:
        yield made


def faults(outcome: Outcome, link: str) -> list[dict[str, str]]:
    return [dict(entry.data) for entry in outcome.journal.of("fault") if entry.data.get("link") == link]


def check_repeated(outcome: Outcome, link: str, adapter: Adapter) -> None:
    """The testcase was repeated and passed, and the record says which link was away, from when to when."""
    assert outcome.verdicts == {"test_1": "PASS", "test_2": "PASS"}, outcome.output
    assert attempts(outcome, "test_1") == [(1, "INCONCLUSIVE"), (2, "PASS")]
    assert attempts(outcome, "test_2") == [(1, "PASS")]
    first = next(entry for entry in outcome.journal.of("case.end") if entry.data["attempt"] == 1)
    assert f"link '{link}' was lost" in first.data["reason"]
    (fault,) = faults(outcome, link)
    assert f"link '{link}' was lost at" in outcome.output
    lost, back = datetime.fromisoformat(fault["lost"]), datetime.fromisoformat(fault["back"])
    assert 0 <= (lost - adapter.gone[0]).total_seconds() < NOTICED_WITHIN
    assert 0 <= (back - adapter.there[1]).total_seconds() < BACK_WITHIN


USED = """
@case_of("T-1")
def test_1(case):
    attacked(case, {surface!r})
    ATTEMPTS.append(1)
    if len(ATTEMPTS) == 1:
        unplug({surface!r}, 0.5)
        use(case, {surface!r}, 5)
@case_of("T-2")
def test_2(case): attacked(case, {surface!r})
"""


@pytest.mark.parametrize("kind", [Adapter, RawServer, Rfc2217Server])
def test_a_serial_line_unplugged_under_a_testcase(bench: FaultyBench, kind: type[Adapter]) -> None:
    adapter = bench.wire("modbus-rtu", kind)
    check_repeated(bench.run(USED.format(surface="modbus-rtu")), "modbus-rtu", adapter)


@pytest.mark.parametrize("kind", [Adapter, RawServer])
def test_a_console_unplugged_under_a_testcase(bench: FaultyBench, kind: type[Adapter]) -> None:
    bench.wire("modbus-rtu", RawServer)
    adapter = bench.wire("console", kind)
    check_repeated(bench.run(USED.format(surface="console")), "console", adapter)


@pytest.mark.parametrize("kind", [SocketcandServer, SlcanAdapter])
def test_a_bus_unplugged_under_a_testcase(bench: FaultyBench, kind: type[Adapter]) -> None:
    bench.wire("modbus-rtu", Adapter)
    adapter = bench.wire("can", kind)
    check_repeated(bench.run(USED.format(surface="uds").replace("unplug('uds'", "unplug('can'")), "can", adapter)


def test_a_line_that_is_only_watched_is_missed_too(bench: FaultyBench) -> None:
    bench.wire("modbus-rtu", Adapter)
    adapter = bench.wire("console", Adapter)
    body = """
@case_of("T-1")
def test_1(case):
    attacked(case, "modbus-rtu")
    ATTEMPTS.append(1)
    if len(ATTEMPTS) == 1:
        unplug("console", 0.5)
        use(case, "modbus-rtu", 0.4)
@case_of("T-2")
def test_2(case): attacked(case, "modbus-rtu")
"""
    check_repeated(bench.run(body), "console", adapter)


def test_who_finds_a_link_away_too_long_goes_on_when_it_is_back(bench: FaultyBench) -> None:
    bench.wire("modbus-rtu", Adapter)
    body = """
@case_of("T-1")
def test_1(case):
    attacked(case, "modbus-rtu")
    unplug("modbus-rtu", 6)
    use(case, "modbus-rtu", 5)
@case_of("T-2")
def test_2(case): attacked(case, "modbus-rtu")
def test_until_it_is_back():
    end = time.monotonic() + 30
    while not Path("modbus-rtu").exists():
        assert time.monotonic() < end
        time.sleep(0.05)
@case_of("T-3")
def test_3(case): attacked(case, "modbus-rtu")
"""
    outcome = bench.run(body, patience=0.3)
    verdicts = outcome.verdicts
    assert verdicts == {"test_1": "INCONCLUSIVE", "test_2": "INCONCLUSIVE", "test_3": "PASS"}, outcome.output
    for name in ("test_1", "test_2"):
        assert "link 'modbus-rtu' is away since" in outcome.reason(name)
    assert "baseline" not in outcome.reason("test_2"), "the device is not to blame"
    assert len(faults(outcome, "modbus-rtu")) == 1
    assert "Traceback" not in outcome.output


def test_a_device_that_dies_while_its_cable_is_out_does_not_pass(bench: FaultyBench) -> None:
    bench.wire("modbus-rtu", Adapter)
    body = f"""
import socket
def tell(request):
    with socket.socket(socket.AF_UNIX) as agent:
        agent.connect("{bench.device.run_dir}/agent.sock")
        agent.sendall(f"control {{request}}\\n".encode())
        assert agent.recv(100) == b"ok\\n"
@case_of("T-1")
def test_1(case):
    attacked(case, "modbus-rtu")
    tell("lie mute")
    unplug("modbus-rtu", 0.3)
    use(case, "modbus-rtu", 2)
@case_of("T-2")
def test_2(case): attacked(case, "modbus-rtu")
"""
    outcome = bench.run(body)
    assert set(outcome.verdicts.values()) == {"INCONCLUSIVE"}, outcome.output
    assert "the identity cannot be read" in outcome.reason("test_1")


def test_what_was_broken_before_the_cable_fell_out_stands(bench: FaultyBench) -> None:
    bench.wire("modbus-rtu", Adapter)
    body = """
@case_of("T-1")
def test_1(case):
    attacked(case, "modbus-rtu")
    case.check("before", held=False, expected=1, observed=2, claim="VERSION")
    unplug("modbus-rtu", 0.5)
    use(case, "modbus-rtu", 5)
@case_of("T-2")
def test_2(case):
    attacked(case, "modbus-rtu")
    ATTEMPTS.append(1)
    if len(ATTEMPTS) == 1:
        unplug("modbus-rtu", 0.5)
        end = time.monotonic() + 5
        while case.bench.wiring.shared_links["modbus-rtu"].lost is None:
            assert time.monotonic() < end
            time.sleep(0.01)
        case.check("after", held=False, expected="an answer", observed="silence", claim="VERSION")
"""
    outcome = bench.run(body)
    assert outcome.verdicts == {"test_1": "FAIL", "test_2": "PASS"}, outcome.output
    assert attempts(outcome, "test_1") == [(1, "FAIL")]
    assert attempts(outcome, "test_2") == [(1, "INCONCLUSIVE"), (2, "PASS")]


def test_a_late_answer_of_the_old_connection_is_none_in_the_new_one(bench: FaultyBench) -> None:
    """A serial server hands over what it kept: a whole answer to what the bench asks first, from before the loss."""
    adapter = bench.wire("modbus-rtu", RawServer)
    adapter.delay = 0.3

    def keep(answer: bytes) -> bytes:
        if b"VP-1" in answer and not adapter.stale_after_loss and not adapter.gone:
            other = answer[:-2].replace(b"VP-1", b"XX-9")
            adapter.stale_after_loss = other + crc16(other)
        return answer

    adapter.bend = keep
    check_repeated(bench.run(USED.format(surface="modbus-rtu")), "modbus-rtu", adapter)
    assert adapter.gone
    assert adapter.stale_after_loss == b"", "it was handed over"


def test_a_controller_off_its_bus_is_no_silent_device(bench: FaultyBench) -> None:
    bench.wire("modbus-rtu", Adapter)
    adapter = bench.wire("can", SocketcandServer)
    assert isinstance(adapter, SocketcandServer)
    body = """
@case_of("T-1")
def test_1(case):
    attacked(case, "uds")
    unplug("can", "bus-off")
    use(case, "uds", 3)
@case_of("T-2")
def test_2(case): attacked(case, "modbus-rtu")
"""
    outcome = bench.run(body, patience=1)
    assert set(outcome.verdicts.values()) == {"INCONCLUSIVE"}, "no gap of the heartbeat is the device's"
    assert "off the bus" in outcome.reason("test_1"), outcome.output
    assert "link 'can' is away" in outcome.reason("test_2")


def test_a_bus_that_recovers_is_used_again(bench: FaultyBench) -> None:
    bench.wire("modbus-rtu", Adapter)
    adapter = bench.wire("can", SocketcandServer)
    assert isinstance(adapter, SocketcandServer)
    adapter.recovers_after = 1.0
    body = USED.format(surface="uds").replace("unplug('uds', 0.5)", "unplug('can', 'bus-off')")
    outcome = bench.run(body)
    assert outcome.verdicts == {"test_1": "PASS", "test_2": "PASS"}, outcome.output
    assert attempts(outcome, "test_1") == [(1, "INCONCLUSIVE"), (2, "PASS")]
    assert "off the bus" in faults(outcome, "can")[0]["what"]
