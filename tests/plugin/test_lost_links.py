"""A cable falls out in mid test and is put back: named, awaited, repeated, and never the device's fault.

The device is the sham pump, running all the time; between it and the bench stand adapters that fail (`adapters.py`).
"""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest
from adapters import Adapter, RawServer, Rfc2217Server, SlcanAdapter, SocketcandServer
from runs import ROOT, Outcome, run

from harness.control.process import ProcessControl
from harness.links.modbus import crc16

NOTICED_WITHIN, BACK_WITHIN = 1.0, 3.0
"""Seconds: the bench sees that a link is gone; it goes on once the cable is back."""

BODY = """
from pathlib import Path
ATTEMPTS = []
def unplug(link, seconds):
    Path(f"unplug-{link}").write_text(str(seconds))
def read(case, surface):
    return case.bench.surface(surface).read("version")
def attacked(case, surface):
    case.attack(surface, "a read")
    case.check("the version", held=True, expected="1", observed="1", claim="VERSION")
def use(case, surface, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        read(case, surface)
"""
RIG = """\
rig: faults
device: pump.yaml
item: {{serial: VP1-000417, grade: engineering}}
answer_within: 1.0
link_back_within: {patience}
links:
{links}
"""


@dataclass
class Bench:
    """A running pump, the adapters in front of it, and the rig file that names them."""

    folder: Path
    device: ProcessControl
    adapters: list[Adapter] = field(default_factory=list)
    links: list[str] = field(default_factory=list)

    def pump_line(self, name: str) -> Callable[[], socket.socket]:
        """Return what opens a line of the pump."""

        def opened() -> socket.socket:
            line = socket.socket(socket.AF_UNIX)
            line.connect(f"{self.device.run_dir}/{name}.sock")
            return line

        return opened

    def wire(self, link: str, kind: type[Adapter]) -> Adapter:
        """Put an adapter in front of a line of the pump, and into the rig file."""
        line = {"modbus-rtu": "rtu"}.get(link, link)
        adapter = kind(self.pump_line(line), self.folder / link)
        self.adapters.append(adapter)
        match adapter:
            case SocketcandServer():
                spec = f"{{type: can, interface: socketcand, channel: can1, port: '{adapter.url}'}}"
            case SlcanAdapter():
                spec = f"{{type: can, interface: slcan, channel: '{adapter.url}', options: {{sleep_after_open: 0}}}}"
            case _:
                kind_of = "modbus-rtu" if link == "modbus-rtu" else "serial"
                # A pseudo-terminal has no parity.
                spec = f"{{type: {kind_of}, port: '{adapter.url}', parity: N, stopbits: 1}}"
        self.links.append(f"  {link}: {spec}")
        return adapter

    def rig(self, *, patience: float = 10.0) -> Path:
        path = self.folder / "rig.yaml"
        path.write_text(RIG.format(links="\n".join(self.links), patience=patience))
        return path

    def run(self, body: str, *options: str, patience: float = 10.0) -> Outcome:
        return run(self.folder, BODY + body, *options, rig=self.rig(patience=patience))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    sham = [sys.executable, str(ROOT / "tests/sham/device.py"), "--run-dir", "{run_dir}"]
    device = ProcessControl([*sham, "--data", "{data_dir}/medium", "--address", "{address}"], log=tmp_path / "sham.log")
    device.power_on()
    text = (ROOT / "rigs/devices/infusion-pump.yaml").read_text()
    text = re.sub(r"(?m)^identity: .*", "identity: modbus-rtu", text)
    (tmp_path / "pump.yaml").write_text(text.replace("surface: modbus-tcp, field", "surface: modbus-rtu, field"))
    made = Bench(tmp_path, device)
    yield made
    for adapter in made.adapters:
        adapter.close()
    device.close()
    device.holder.close()


def attempts(outcome: Outcome, name: str) -> list[tuple[int, str]]:
    ends = [entry.data for entry in outcome.journal.of("case.end") if entry.data["testcase"].endswith(name)]
    return [(end["attempt"], end["verdict"]) for end in ends]


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
def test_a_serial_line_unplugged_under_a_testcase(bench: Bench, kind: type[Adapter]) -> None:
    adapter = bench.wire("modbus-rtu", kind)
    check_repeated(bench.run(USED.format(surface="modbus-rtu")), "modbus-rtu", adapter)


@pytest.mark.parametrize("kind", [Adapter, RawServer])
def test_a_console_unplugged_under_a_testcase(bench: Bench, kind: type[Adapter]) -> None:
    bench.wire("modbus-rtu", RawServer)
    adapter = bench.wire("console", kind)
    check_repeated(bench.run(USED.format(surface="console")), "console", adapter)


@pytest.mark.parametrize("kind", [SocketcandServer, SlcanAdapter])
def test_a_bus_unplugged_under_a_testcase(bench: Bench, kind: type[Adapter]) -> None:
    bench.wire("modbus-rtu", Adapter)
    adapter = bench.wire("can", kind)
    check_repeated(bench.run(USED.format(surface="uds").replace("unplug('uds'", "unplug('can'")), "can", adapter)


def test_a_line_that_is_only_watched_is_missed_too(bench: Bench) -> None:
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


def test_who_finds_a_link_away_too_long_goes_on_when_it_is_back(bench: Bench) -> None:
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


def test_a_device_that_dies_while_its_cable_is_out_does_not_pass(bench: Bench) -> None:
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


def test_what_was_broken_before_the_cable_fell_out_stands(bench: Bench) -> None:
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
        while case.bench.wiring.shared_links["modbus-rtu"].lost is None: time.sleep(0.01)
        case.check("after", held=False, expected="an answer", observed="silence", claim="VERSION")
"""
    outcome = bench.run(body)
    assert outcome.verdicts == {"test_1": "FAIL", "test_2": "PASS"}, outcome.output
    assert attempts(outcome, "test_1") == [(1, "FAIL")]
    assert attempts(outcome, "test_2") == [(1, "INCONCLUSIVE"), (2, "PASS")]


def test_a_late_answer_of_the_old_connection_is_none_in_the_new_one(bench: Bench) -> None:
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


def test_a_controller_off_its_bus_is_no_silent_device(bench: Bench) -> None:
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


def test_a_bus_that_recovers_is_used_again(bench: Bench) -> None:
    bench.wire("modbus-rtu", Adapter)
    adapter = bench.wire("can", SocketcandServer)
    assert isinstance(adapter, SocketcandServer)
    adapter.recovers_after = 1.0
    body = USED.format(surface="uds").replace("unplug('uds', 0.5)", "unplug('can', 'bus-off')")
    outcome = bench.run(body)
    assert outcome.verdicts == {"test_1": "PASS", "test_2": "PASS"}, outcome.output
    assert attempts(outcome, "test_1") == [(1, "INCONCLUSIVE"), (2, "PASS")]
    assert "off the bus" in faults(outcome, "can")[0]["what"]
