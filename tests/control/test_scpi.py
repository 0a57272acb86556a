"""Power by a SCPI supply on a loopback socket: honest, lying, mute, closing, babbling."""

from __future__ import annotations

import os
import threading
import time
import tty
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scpi_supply import IDENTITY, Lie, Supply, SupplyServer, readable, told

from harness.control.base import Capability, EventKind
from harness.control.scpi import ScpiControl
from harness.errors import BenchFault, ControlFault
from harness.rig.control_specs import ScpiControlSpec

Bench = Callable[..., tuple[ScpiControl, Supply]]


@pytest.fixture
def notes() -> list[tuple[str, dict[str, Any]]]:
    return []


@pytest.fixture
def bench(notes: list[tuple[str, dict[str, Any]]]) -> Iterator[Bench]:
    """A supply with one lie, and the control that uses it."""
    closing: list[Any] = []

    def make(lie: Lie = "", **settings: Any) -> tuple[ScpiControl, Supply]:
        server = SupplyServer(lie)
        control = ScpiControl(spec(server.resource, **settings), note=lambda event, data: notes.append((event, data)))
        closing.extend([server, control])
        return control, server.supply

    yield make
    for each in reversed(closing):
        each.close()


def spec(resource: str, **settings: Any) -> ScpiControlSpec:
    given: dict[str, Any] = {
        "identity": r"PSU-3005,PSU0042",
        "on_volts": {"least": 4.75, "most": 5.25},
        "on_amps": {"least": 0.0, "most": 1.0},
        "settle": 0.3,
        "timeout": 0.5,
        **settings,
    }
    return ScpiControlSpec(resource=resource, **given)


def test_power_is_switched_read_back_and_noted(bench: Bench, notes: list[tuple[str, dict[str, Any]]]) -> None:
    control, supply = bench(select="INST:NSEL 1")
    assert control.capabilities == {Capability.POWER, Capability.CUT}
    assert not control.alive()
    control.power_on()
    assert supply.on
    assert control.alive()
    control.cut()
    assert not supply.on
    assert not control.alive()
    assert [event.kind for event in control.events] == [EventKind.SHUTDOWN]
    assert supply.said[:4] == ["*IDN?", "*CLS", "INST:NSEL 1", "OUTP?"]
    assert notes == [
        ("supply", {"identity": IDENTITY}),
        ("power on", {"output": True, "volts": 5.0, "amps": 0.25}),
        ("power off", {"output": False, "volts": 0.0012, "amps": 0.25}),
    ]


@pytest.mark.parametrize("operation", ["power_off", "cut"])
def test_power_that_is_off_but_still_shows_a_voltage_is_a_fault_of_the_bench(bench: Bench, operation: str) -> None:
    control, _ = bench("still live")
    with pytest.raises(BenchFault, match=r"still measures a voltage \(output OFF, 5 V"):
        getattr(control, operation)()
    assert control.events == ()
    with pytest.raises(BenchFault, match="still measures a voltage"):
        control.alive()


@pytest.mark.parametrize(
    ("lie", "operation", "words"),
    [
        ("stays on", "power_off", "says the output is ON"),
        ("stays off", "power_on", "says the output is OFF"),
        ("brown", "power_on", r"voltage is not within 4.75 … 5.25 V \(output ON, 3.1 V"),
        ("over", "power_on", r"output ON, 24 V"),
        ("thirsty", "power_on", r"current is not within 0 … 1 A \(output ON, 5 V, 9 A"),
        ("mute", "power_on", r"did not answer \*IDN\? within 0.5 s"),
        ("mute on measuring", "power_off", r"did not answer MEAS:VOLT\? within 0.5 s"),
        ("closes", "power_on", r"\*IDN\?"),
        ("garbage", "alive", r"answered OUTP\? with '.*maybe"),
        ("bytes", "alive", "which is no text"),
        ("endless", "power_on", "without an end"),
        ("drips", "power_on", "without an end|did not answer"),
        ("not a number", "power_off", r"MEAS:VOLT\? with '9.91E\+37', not with a number"),
        ("infinite", "power_off", "not with a number"),
        ("refuses", "power_off", "refused to switch the output off: -221"),
        ("other", "power_on", "another instrument answers: 'Other Works,LOAD-1,9,1'"),
    ],
)
def test_a_supply_that_misbehaves_is_a_fault_of_the_bench(bench: Bench, lie: Lie, operation: str, words: str) -> None:
    control, supply = bench(lie)
    supply.on = lie == "stays on"
    started = time.monotonic()
    with pytest.raises(ControlFault, match=words) as caught:
        getattr(control, operation)()
    assert time.monotonic() - started < 10
    assert "\x1b" not in str(caught.value)
    assert "\x07" not in str(caught.value)
    if lie == "other":
        assert told(supply) == [], "another instrument was told to switch"


def test_power_that_came_on_wrong_is_taken_away_again(bench: Bench) -> None:
    control, supply = bench("over")
    with pytest.raises(ControlFault):
        control.power_on()
    assert told(supply) == ["OUTP ON", "OUTP OFF"]


def test_a_voltage_that_decays_is_awaited(bench: Bench) -> None:
    control, supply = bench("still live", settle=10.0)
    threading.Timer(0.3, lambda: setattr(supply, "lie", "")).start()
    control.power_off()
    assert len([line for line in supply.said if line == "MEAS:VOLT?"]) > 1


def test_an_absent_supply_is_a_fault_of_the_bench(notes: list[tuple[str, dict[str, Any]]]) -> None:
    server = SupplyServer()
    server.close()
    control = ScpiControl(spec(server.resource), note=lambda event, data: notes.append((event, data)))
    with pytest.raises(ControlFault, match="refused"):
        control.power_on()
    control.close()
    control.close()
    assert notes == []


def test_what_a_supply_has_no_means_for(bench: Bench) -> None:
    control, _ = bench()
    for operation in (control.reset, control.restore, control.storage, lambda: control.send_break("console")):
        with pytest.raises(ControlFault, match="no means"):
            operation()


def test_a_supply_on_a_serial_line(notes: list[tuple[str, dict[str, Any]]]) -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    supply, done = Supply(), threading.Event()

    def read() -> bytes:
        while not done.is_set():
            if readable(master, 0.05):
                return os.read(master, 4096)
        return b""

    thread = threading.Thread(target=supply.serve, args=(read, lambda data: os.write(master, data)), daemon=True)
    thread.start()
    control = ScpiControl(spec(f"ASRL{os.ttyname(slave)}::INSTR"), note=lambda event, data: notes.append((event, data)))
    control.power_on()
    assert control.alive()
    control.power_off()
    assert told(supply) == ["OUTP ON", "OUTP OFF"]
    control.close()
    done.set()
    thread.join(5)
    os.close(master)
    os.close(slave)


@given(st.binary(max_size=40).filter(lambda said: b"\n" not in said))
def test_no_answer_is_taken_for_a_number_that_is_none(said: bytes) -> None:
    control = ScpiControl(spec("TCPIP::127.0.0.1::1::SOCKET"), note=lambda event, data: None)
    text = said.decode("latin-1").strip()
    try:
        value = control._number("MEAS:VOLT?", text)
    except ControlFault:
        return
    assert value == float(text)
    assert abs(value) < 9e36
    assert not set(text.lower()) & set("nai_")
