"""Each weakness of the emulated syringe driver shows, and does not show on the hardened device."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from syringe_device import BUILT, PINS, MakeSyringe, Syringe, bundle, frame, rtu

from harness.qualify.weaknesses import load_weaknesses

FIXTURE = Path(__file__).parents[2] / "firmware-fixtures" / "syringe-driver"
BITS = json.loads((BUILT / "device.json").read_text())["weaknesses"]


def default_pin(syringe: Syringe) -> bool:
    return syringe.ask("login service 000000").ok


def locks(syringe: Syringe) -> bool:
    for _ in range(3):
        syringe.refuse("login operator 000000")
    return syringe.ask(f"login operator {PINS['operator']}").reason == "account-locked"


def no_lockout(syringe: Syringe) -> bool:
    return not locks(syringe)


def lockout_per_power_cycle(syringe: Syringe) -> bool:
    assert locks(syringe)
    syringe.cut()
    syringe.power_on()
    return syringe.ask(f"login operator {PINS['operator']}").ok


def checksum_unchecked(syringe: Syringe) -> bool:
    return syringe.raw(b">01 identify*0000\r").ok


def pin_prefix_accepted(syringe: Syringe) -> bool:
    return syringe.ask(f"login operator {PINS['operator'][:-2]}").ok


def pin_rule_unchecked(syringe: Syringe) -> bool:
    syringe.log_in("operator")
    return syringe.ask(f"pin {PINS['operator']} 1111").ok


def modbus_protected_write(syringe: Syringe) -> bool:
    syringe.modbus(bytes.fromhex("06 0010 0190"))
    return syringe.registers(3, 16, 1) == [400]


def modbus_checksum_unchecked(syringe: Syringe) -> bool:
    syringe.send("modbus", rtu(b"\x03\x00\x00\x00\x01")[:-2] + b"\x00\x00")
    return syringe.silent("modbus", seconds=1) != b""


def session_never_ends(syringe: Syringe) -> bool:
    syringe.log_in("operator")
    begin = int(syringe.accept("uptime").values["uptime_ms"])
    while int(syringe.spoken("status")["uptime_ms"]) < begin + 23_000:
        pass
    return syringe.accept("session").values == {"role": "operator"}


def role_unchecked(syringe: Syringe) -> bool:
    syringe.log_in("operator")
    return syringe.ask("settings").ok


def user_enumeration(syringe: Syringe) -> bool:
    return syringe.refuse("login nobody 417735") != syringe.refuse("login operator 000000")


def taken(syringe: Syringe, name: str, *, version: str) -> bool:
    """The image is installed, starts and stays."""
    syringe.log_in("service")
    if not syringe.upload(bundle(name)).ok:
        return False
    syringe.expect("console", b"update: ready")
    syringe.accept("restart")
    syringe.expect("console", b"update: idle confirmed")
    return syringe.accept("identify").values["version"] == version


def unsigned_update_accepted(syringe: Syringe) -> bool:
    return taken(syringe, "unsigned", version="1.1.0")


def downgrade_accepted(syringe: Syringe) -> bool:
    return taken(syringe, "older", version="0.9.0")


def update_model_unchecked(syringe: Syringe) -> bool:
    return taken(syringe, "wrong-device", version="1.1.0")


def self_test_skipped(syringe: Syringe) -> bool:
    syringe.log_in("service")
    syringe.install("fails-self-test")
    said = syringe.expect("console", b"SD-200 up")
    while not re.search(rb"update: idle confirmed|back to the slot before", said):
        said += syringe.expect("console", b"\n")
    return b"confirmed" in said


def line_overflow(syringe: Syringe) -> bool:
    syringe.accept("identify")
    syringe.send("vendor", frame("01", "A" * 300))
    syringe.send("vendor", frame("02", "uptime"))
    while True:
        mark, text = syringe.line()
        if mark == "!" and text.startswith("boot"):
            assert "cause=fault" in text
            syringe.expect("console", b"FATAL: HardFault")
            return True
        if text.startswith("02 ok"):
            return False


def audit_record_missing(syringe: Syringe) -> bool:
    syringe.refuse("login service 111111")
    syringe.log_in("service")
    return not any("result=refused" in each for each in syringe.accept("audit 1 20").items)


def version_differs(syringe: Syringe) -> bool:
    shown = ".".join(map(str, syringe.registers(4, 16, 3)))
    return shown != syringe.accept("identify").values["version"]


def debug_command(syringe: Syringe) -> bool:
    assert "peek" not in syringe.accept("help").items
    return syringe.ask("peek 00000000").ok


def flow_drifts_during_update(syringe: Syringe) -> bool:
    syringe.log_in("service")
    syringe.accept("fw-begin 5000")
    begin = int(syringe.accept("uptime").values["uptime_ms"])
    while int((status := syringe.spoken("status"))["uptime_ms"]) < begin + 1500:
        pass
    return float(status["flow"]) < 0.95 * float(status["set"])


SHOWS: dict[str, Callable[[Syringe], bool]] = {
    each.__name__.replace("_", "-"): each
    for each in (
        default_pin,
        no_lockout,
        lockout_per_power_cycle,
        checksum_unchecked,
        pin_prefix_accepted,
        pin_rule_unchecked,
        modbus_protected_write,
        modbus_checksum_unchecked,
        session_never_ends,
        role_unchecked,
        user_enumeration,
        unsigned_update_accepted,
        downgrade_accepted,
        update_model_unchecked,
        self_test_skipped,
        line_overflow,
        audit_record_missing,
        version_differs,
        debug_command,
        flow_drifts_during_update,
    )
}


def test_every_weakness_is_tried_and_described() -> None:
    assert set(SHOWS) == set(BITS)
    assert [each.name for each in load_weaknesses(FIXTURE / "weaknesses.yaml")] == list(BITS)
    described = re.findall(r"(?m)^\| `([a-z-]+)` \|", (FIXTURE / "INTERFACES.md").read_text().split("## 7")[1])
    assert described == list(BITS)


@pytest.mark.parametrize("name", SHOWS)
def test_a_weakness_shows_when_it_is_on(device: MakeSyringe, name: str) -> None:
    weak = device(name)
    assert weak.weaknesses() == f"weaknesses: {name}"
    assert SHOWS[name](weak)


@pytest.mark.parametrize("name", SHOWS)
def test_the_hardened_device_does_not_show_it(syringe: Syringe, name: str) -> None:
    assert syringe.weaknesses() == "weaknesses: -"
    assert not SHOWS[name](syringe)


def test_several_at_once(device: MakeSyringe) -> None:
    both = device("default-pin", "flow-drifts-during-update")
    assert both.weaknesses() == "weaknesses: default-pin,flow-drifts-during-update"
    both.monitor("system_reset")
    both.expect("console", b"SD-200 up")
    assert both.weaknesses() == "weaknesses: default-pin,flow-drifts-during-update"
