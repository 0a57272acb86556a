"""The vendor line of the emulated syringe driver: framing, log-in, commands, audit log (SD200-ICD 2)."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from syringe_device import PINS, Syringe, frame, values_of

OPERATOR, SERVICE = PINS["operator"], PINS["service"]


def test_it_says_who_it_is_and_for_how_long(syringe: Syringe) -> None:
    assert syringe.accept("identify").values == {"model": "SD-200", "serial": "SD200-0093", "version": "1.0.0"}
    first = int(syringe.accept("uptime").values["uptime_ms"])
    syringe.spoken("status")
    assert int(syringe.accept("uptime").values["uptime_ms"]) > first


@pytest.mark.parametrize(
    ("sent", "sequence", "reason"),
    [
        (b">17 identify*0000\r", "17", "checksum"),
        (b">17 identify\r", "--", "framing"),
        (b"17 identify*0000\r", "--", "framing"),
        (b">1g identify*0000\r", "--", "framing"),
        (b">17 identify*00\r", "--", "framing"),
        (b">17 identify*caFE\r", "--", "framing"),
        (b"xyzzy\r", "--", "framing"),
        (frame("17", "identi\x01fy"), "--", "bad-character"),
        (frame("17", "identify\xff"), "--", "bad-character"),
        (b">17 " + b"A" * 400 + b"*0000\r", "--", "line-too-long"),
        (b"A" * 9000 + b"\n", "--", "line-too-long"),
        (frame("17", "xyzzy"), "17", "unknown-command"),
        (frame("17", "identify now"), "17", "bad-argument"),
        (frame("17", "identify "), "17", "bad-argument"),
        (frame("17", " identify"), "17", "bad-argument"),
        (frame("17", "a b c d e f"), "17", "bad-argument"),
        (frame("17", ""), "--", "framing"),
    ],
)
def test_what_is_no_request_is_refused_with_a_reason(syringe: Syringe, sent: bytes, sequence: str, reason: str) -> None:
    syringe.send("vendor", sent)
    while (line := syringe.line())[0] == "!":
        pass
    assert line == ("<", f"{sequence} error {reason}")
    syringe.accept("identify")


def test_line_ends_empty_lines_and_unfinished_ones(syringe: Syringe) -> None:
    whole = frame("01", "identify")
    assert syringe.raw(b"\r\n\r\n" + whole[:-1] + b"\r\n").ok
    syringe.send("vendor", whole[:9])
    begin = int(syringe.spoken("status")["uptime_ms"])
    while int(syringe.spoken("status")["uptime_ms"]) < begin + 2300:
        pass
    assert syringe.raw(whole).ok, "an unfinished line is forgotten after 2 s"


def test_two_requests_at_once_get_two_answers(syringe: Syringe) -> None:
    syringe.send("vendor", frame("01", "identify") + frame("02", "session"))
    answers: list[str] = []
    while len(answers) < 2:
        mark, text = syringe.line()
        answers += [text] if mark == "<" else []
    assert [text[:5] for text in answers] == ["01 ok", "02 ok"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=310))
def test_any_printable_body_gets_one_answer(syringe: Syringe, body: str) -> None:
    answer = syringe.ask(body)
    assert answer.ok == (not answer.reason)
    assert b"FATAL" not in syringe.seen["console"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.binary(min_size=1, max_size=600))
def test_no_bytes_silence_it(syringe: Syringe, noise: bytes) -> None:
    syringe.send("vendor", noise + b"\r")
    syringe.send("vendor", frame("EE", "uptime"))
    while True:
        mark, text = syringe.line()
        if mark == "<" and text.startswith("EE ok"):
            break


def test_roles(syringe: Syringe) -> None:
    for command in ("rate 6.0", "start", "stop", "settings", "audit 1 5", "fw-status", "restart", "pin 1 2", "logout"):
        assert syringe.refuse(command) == "not-logged-in"
    syringe.log_in("operator")
    for command in ("settings", "set brightness 10", "audit 1 5", "unlock service", "fw-begin 5000", "restart", "set"):
        assert syringe.refuse(command) == "not-permitted"
    assert syringe.refuse(f"login service {SERVICE}") == "not-possible-now"
    syringe.accept("rate 6.5")
    assert syringe.spoken("status")["set"] == "6.5"
    syringe.accept("logout")
    syringe.log_in("service")
    assert syringe.refuse("rate 7.0") == "not-permitted"
    assert syringe.spoken("status")["set"] == "6.5"
    assert "help" not in syringe.accept("help").items
    assert {"fw-begin", "audit"} <= {*syringe.accept("help").items}


def test_rates(syringe: Syringe) -> None:
    syringe.log_in("operator")
    for wrong in ("0", "0.0", "200.1", "5.05", "-1", "5,0", "1e2", "5.", ".5", "99999999999"):
        assert syringe.refuse(f"rate {wrong}") == "bad-argument", wrong
    for right in ("0.1", "200.0", "12"):
        syringe.accept(f"rate {right}")
    assert syringe.accept("status").values["set"] == "12.0"


def test_the_flow_follows_the_rate(syringe: Syringe) -> None:
    syringe.log_in("operator")
    syringe.accept("rate 180.0")
    changed = int(syringe.accept("uptime").values["uptime_ms"])
    samples = [syringe.spoken("status") for _ in range(25)]
    judged = [each for each in samples if int(each["uptime_ms"]) > changed + 1000]
    assert len(judged) >= 10
    assert all(171.0 <= float(each["flow"]) <= 189.0 for each in judged)
    assert len({each["flow"] for each in judged}) > 3, "measured, not repeated"
    numbers = [int(each["seq"]) for each in samples]
    assert numbers == list(range(numbers[0], numbers[0] + 25))
    delivered = float(judged[-1]["volume_ml"]) - float(judged[0]["volume_ml"])
    seconds = (int(judged[-1]["uptime_ms"]) - int(judged[0]["uptime_ms"])) / 1000
    assert delivered == pytest.approx(180.0 / 3600 * seconds, rel=0.15)
    syringe.accept("stop")
    while float(syringe.spoken("status")["flow"]) > 0:
        pass
    assert syringe.accept("status").values["state"] == "idle"


def test_an_empty_syringe_raises_an_alarm_and_stops(syringe: Syringe) -> None:
    syringe.log_in("service")
    syringe.accept("set syringe_size 1")
    syringe.accept("logout")
    syringe.log_in("operator")
    syringe.accept("rate 200.0")
    while (status := syringe.spoken("status"))["state"] == "infusing":
        assert float(status["volume_ml"]) <= 1.01
    assert (status["state"], status["alarm"]) == ("alarm", "2")
    while float(syringe.spoken("status")["flow"]) > 0:
        pass
    if syringe.accept("session").values == {"role": "none"}:  # the idle time went by
        syringe.log_in("operator")
    syringe.accept("start")
    status = syringe.spoken("status")
    assert (status["state"], status["alarm"]) == ("infusing", "0")
    assert float(status["volume_ml"]) < 0.1, "started again: a full syringe was put in"


def test_lock_out_of_an_account_over_a_power_cut(syringe: Syringe) -> None:
    for _ in range(3):
        assert syringe.refuse("login operator 000000") == "login-refused"
    assert syringe.refuse(f"login operator {OPERATOR}") == "account-locked"
    syringe.cut()
    syringe.power_on()
    assert syringe.refuse(f"login operator {OPERATOR}") == "account-locked"
    syringe.log_in("service")
    syringe.accept("unlock operator")
    syringe.accept("logout")
    syringe.log_in("operator")


def test_a_lock_is_released_after_its_time(syringe: Syringe) -> None:
    for _ in range(3):
        syringe.refuse("login operator 000000")
    begin = int(syringe.accept("uptime").values["uptime_ms"])
    while (answer := syringe.ask(f"login operator {OPERATOR}")).reason == "account-locked":
        syringe.spoken("status")
    assert answer.ok
    assert 14_000 <= int(syringe.accept("uptime").values["uptime_ms"]) - begin <= 16_500


def test_two_refusals_and_a_right_pin_begin_anew(syringe: Syringe) -> None:
    for _ in range(2):
        for _ in range(2):
            assert syringe.refuse("login operator 000000") == "login-refused"
        syringe.log_in("operator")
        syringe.accept("logout")


def test_idle_log_off(syringe: Syringe) -> None:
    syringe.log_in("operator")
    begin = int(syringe.accept("uptime").values["uptime_ms"])
    assert syringe.spoken("logged-off") == {"role": "operator", "reason": "idle"}
    assert 19_000 <= int(syringe.accept("uptime").values["uptime_ms"]) - begin <= 22_000
    assert syringe.refuse("stop") == "not-logged-in"


def test_pins(syringe: Syringe) -> None:
    syringe.log_in("operator")
    for wrong in ("12345", "123456789", "123456", "654321", "777777", "41773a", OPERATOR):
        assert syringe.refuse(f"pin {OPERATOR} {wrong}") == "bad-argument", wrong
    assert syringe.refuse("pin 000001 280193") == "login-refused"
    syringe.accept(f"pin {OPERATOR} 280193")
    syringe.accept("logout")
    syringe.cut()
    syringe.power_on()
    assert syringe.refuse(f"login operator {OPERATOR}") == "login-refused"
    syringe.accept("login operator 280193")


def test_an_unknown_user_and_half_a_pin_are_refused_alike(syringe: Syringe) -> None:
    for account, pin in (("root", "417735"), ("operator", OPERATOR[:-1]), ("service", "000000"), ("service", "x")):
        assert syringe.refuse(f"login {account} {pin}") == "login-refused"


def test_settings_are_kept(syringe: Syringe) -> None:
    syringe.log_in("service")
    assert syringe.accept("settings").items == [
        "brightness=80",
        "alarm_volume=5",
        "occlusion_limit=600",
        "highest_rate=2000",
        "syringe_size=50",
    ]
    for wrong in ("brightness 101", "occlusion_limit 299", "nothing 1", "brightness 1.0"):
        assert syringe.refuse(f"set {wrong}") == "bad-argument"
    syringe.accept("set brightness 33")
    syringe.cut()
    syringe.power_on()
    syringe.log_in("service")
    assert "brightness=33" in syringe.accept("settings").items


def records(syringe: Syringe, start: int = 1) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    while True:
        answer = syringe.accept(f"audit {start + len(found)} 20")
        found += [{"number": each.split()[0], **values_of(each)} for each in answer.items]
        if answer.values["count"] == "0" or int(found[-1]["number"]) == int(answer.values["newest"]):
            return found


def test_the_audit_log_has_what_was_done(syringe: Syringe) -> None:
    syringe.refuse("login service 111111")
    syringe.log_in("operator")
    syringe.accept("rate 6.0")
    syringe.refuse("settings")
    syringe.accept("logout")
    syringe.modbus(bytes([6, 0, 16, 1, 200]))
    syringe.cut()
    syringe.power_on()
    syringe.log_in("service")
    seen = [(r["user"], r["surface"], r["event"], r["result"], r["detail"]) for r in records(syringe)]
    assert seen == [
        ("-", "system", "boot", "accepted", "power-on"),
        ("service", "vendor", "login", "refused", "-"),
        ("operator", "vendor", "login", "accepted", "-"),
        ("operator", "vendor", "rate", "accepted", "6.0"),
        ("operator", "vendor", "denied", "refused", "settings"),
        ("operator", "vendor", "logout", "accepted", "-"),
        ("-", "modbus", "write", "refused", "16"),
        ("-", "system", "boot", "accepted", "power-on"),
        ("service", "vendor", "login", "accepted", "-"),
    ]
    assert [int(r["number"]) for r in records(syringe)] == list(range(1, 10))


def test_the_audit_log_drops_the_oldest(syringe: Syringe) -> None:
    syringe.log_in("service")
    for _ in range(300):
        syringe.accept("unlock operator")
    answer = syringe.accept("audit 1 20")
    assert (answer.values["oldest"], answer.values["newest"]) == ("47", "302")
    numbers = [int(r["number"]) for r in records(syringe, 47)]
    assert numbers == list(range(47, 303))


def test_a_flood_of_refusals_does_not_wash_the_audit_log_away(syringe: Syringe) -> None:
    syringe.log_in("operator")
    begin = int(syringe.accept("uptime").values["uptime_ms"])
    for _ in range(200):
        assert syringe.refuse("settings") == "not-permitted"
    while (now := int(syringe.spoken("status")["uptime_ms"])) < begin + 1500:
        pass
    syringe.accept("logout")
    syringe.log_in("service")
    denied = [each["detail"] for each in records(syringe) if each["event"] == "denied"]
    counted = sum(int(each.removeprefix("more*")) if each.startswith("more*") else 1 for each in denied)
    assert counted == 200
    assert len(denied) <= 11 * ((now - begin) // 1000 + 2)


def test_restart_reset_line_and_therapy(syringe: Syringe) -> None:
    syringe.log_in("operator")
    syringe.accept("rate 44.0")
    syringe.accept("logout")
    syringe.log_in("service")
    syringe.accept("restart")
    assert syringe.spoken("boot")["cause"] == "restart"
    status = syringe.spoken("status")
    assert (status["state"], status["set"]) == ("infusing", "44.0")
    assert syringe.accept("session").values == {"role": "none"}
    syringe.monitor("system_reset")
    assert syringe.spoken("boot")["cause"] == "reset-line"


def test_a_store_that_cannot_be_read_lets_nobody_in(syringe: Syringe) -> None:
    syringe.cut()
    raw = syringe.folder / "raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", syringe.disk, raw], check=True)
    content = bytearray(raw.read_bytes())
    content[0x400 + 20] ^= 1
    content[0x800 + 20] ^= 1
    raw.write_bytes(content)
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, syringe.disk], check=True)
    syringe.power_on()
    assert syringe.refuse(f"login service {SERVICE}") == "login-refused"
    status = syringe.spoken("status")
    assert (status["state"], status["alarm"], status["flow"]) == ("alarm", "1", "0.0")
