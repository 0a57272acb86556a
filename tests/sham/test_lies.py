"""Every liar lies, visibly and in the way its name says; and the lie can be switched at run time."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko
import pytest
from clients import CanBus, Sham, Wire
from lies import LIES
from users import PASSWORDS

UPTIME = bytes.fromhex("0400060002")
MBAP = bytes.fromhex("00010000000601")
OUTSIDE = bytes.fromhex("0400ff0001")
PROTECTED = bytes.fromhex("0600020064")
UDS_UPTIME = b"\x22\x01\x00"
UDS_SERIAL = b"\x22\xf1\x8c"
FORGED = struct.pack(">BHH", 2, 0, 5) + b"\1\2\3"
SILENCE_S = 0.15


@pytest.fixture(scope="module")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sham]:
    sham = Sham(tmp_path_factory.mktemp("liar") / "log", "--seed", "2")
    sham.console().until_text("login: ")
    yield sham
    sham.close()


@pytest.fixture
def lying(_running: Sham) -> Iterator[Callable[[str], Sham]]:
    """Switches from honest to a lie; connections made before stay."""

    def lie(mode: str) -> Sham:
        assert _running.agent(f"control lie {mode}") == "ok"
        return _running

    lie("honest")
    assert _running.agent("control restore") == "ok"
    yield lie
    lie("honest")
    _running.hang_up()


@pytest.fixture
def sham(_running: Sham, lying: Callable[[str], Sham]) -> Sham:
    """The same unit while still honest; `lying` makes it lie."""
    del lying
    return _running


def assert_silent(wire: Wire, request: bytes = b"") -> None:
    wire.send(request)
    assert wire.everything_for(SILENCE_S) == b""


def uds_uptime(can: CanBus) -> int:
    answer = can.uds(UDS_UPTIME)
    assert answer[:3] == b"\x62\x01\x00"
    return int.from_bytes(answer[3:], "big")


def test_there_are_tests_for_every_liar() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert [mode for mode in LIES if f'"{mode}"' not in source] == []


def test_dead(sham: Sham, lying: Callable[[str], Sham]) -> None:
    modbus, menu = sham.modbus(), sham.menu()
    lying("dead")
    for port in (22, 502):
        with pytest.raises(ConnectionRefusedError):
            sham.tcp(port)
    assert_silent(sham.console(), b"operator\r")
    assert_silent(sham.rtu(), bytes.fromhex("01040006000291ca"))
    assert_silent(sham.can())
    assert modbus.everything_for(SILENCE_S) == menu.everything_for(SILENCE_S) == b""
    assert sham.agent("ping") == "pong"


def test_mute(sham: Sham, lying: Callable[[str], Sham]) -> None:
    can, modbus, menu = sham.can(), sham.modbus(), sham.menu()
    lying("mute")
    can.everything_for(0.02)
    assert_silent(can)
    assert_silent(menu, b"service\r")
    for wire in (modbus, sham.modbus()):
        assert_silent(wire, MBAP + UPTIME)
    assert_silent(sham.tcp(22))
    assert_silent(sham.console(), b"operator\r")


def test_frozen_but_broadcasting(sham: Sham, lying: Callable[[str], Sham]) -> None:
    can = sham.can()
    lying("frozen-but-broadcasting")
    assert can.of(0x100) != can.of(0x100)
    for identifier, data, answer in ((0x200, FORGED, 0x201), (0x7E0, b"\x03" + UDS_UPTIME, 0x7E8)):
        can.put(identifier, data)
        with pytest.raises(TimeoutError):
            can.of(answer, wait=SILENCE_S)
    assert_silent(sham.console(), b"operator\r")
    assert_silent(sham.modbus(), MBAP + UPTIME)


def test_echo(sham: Sham, lying: Callable[[str], Sham]) -> None:
    can, menu = sham.can(), sham.menu()
    lying("echo")
    for wire in (sham.console(), sham.rtu(), sham.tcp(502), sham.tcp(22), menu):
        wire.send(b"any bytes\r")
        assert wire.until_text("\r") == "any bytes\r"
    can.everything_for(0.02)
    can.put(0x200, FORGED)
    assert can.next() == (0x200, FORGED)
    assert_silent(can)


def test_babble(sham: Sham, lying: Callable[[str], Sham]) -> None:
    can, menu = sham.can(), sham.menu()
    lying("babble")
    for wire in (sham.console(), sham.rtu(), sham.tcp(502), sham.tcp(22), menu):
        answers = set()
        for _ in range(4):
            wire.send(b"any bytes\r")
            answers.add(wire.until(len))
        assert len(answers) > 1
    frames = [can.next() for _ in range(6)]
    assert len({data for _, data in frames}) > 3


@pytest.mark.parametrize("mode", ["replay", "replay-stale"])
def test_replay_of_what_was_heard(sham: Sham, lying: Callable[[str], Sham], mode: str) -> None:
    can, modbus, console = sham.can(), sham.modbus(), sham.console()
    modbus.ask(UPTIME, transaction=3)
    uds_uptime(can)
    assert console.log_in("operator", PASSWORDS["operator"].decode()).startswith("ok")
    status = console.ask("status")
    lying(mode)
    first, second = (modbus.ask(UPTIME, transaction=number) for number in (900, 901))
    assert first[1] == second[1]
    assert (first[0] == 900) is (mode == "replay")
    stale = uds_uptime(can)
    assert console.ask("status") == console.ask("status")
    assert len(status) == 10
    ages = [struct.unpack(">II", can.of(0x101))[1] for _ in range(3)]
    assert sorted(ages) == ages
    assert uds_uptime(can) == stale


def test_replay_from_the_start_has_a_good_session_to_play(tmp_path: Path) -> None:
    sham = Sham(tmp_path / "log", "--lie", "replay")
    try:
        console = sham.console()
        console.until_text("login: ")
        assert console.log_in("operator", PASSWORDS["operator"].decode()) == "ok: logged in as operator"
        uptimes = [console.fields("status")["uptime_ms"] for _ in range(2)]
        assert uptimes[0] == uptimes[1]
        assert sham.modbus().ask(UPTIME)[1] == sham.modbus().ask(UPTIME)[1]
        menu = sham.menu()
        assert menu.log_in("admin", PASSWORDS["admin"].decode()) == "ok: logged in as admin"
    finally:
        sham.close()


@pytest.mark.parametrize("mode", ["refuse", "refuse-live"])
def test_refuse(sham: Sham, lying: Callable[[str], Sham], mode: str) -> None:
    can, modbus = sham.can(), sham.modbus()
    lying(mode)
    for user, password in PASSWORDS.items():
        console = sham.console()
        assert console.log_in(user, password.decode()) == "error: login refused"
    with pytest.raises(paramiko.AuthenticationException):
        sham.ssh(authenticated=True)
    assert modbus.ask(OUTSIDE)[1] == b"\x84\x02"
    assert modbus.ask(bytes.fromhex("0600000032"))[1] == b"\x86\x02"
    can.put(0x200, FORGED)
    assert can.of(0x201)[1] == 1
    assert can.uds(b"\x10\x03")[0] == 0x7F
    if mode == "refuse":
        assert modbus.ask(UPTIME)[1] == b"\x84\x02"
        assert can.uds(UDS_SERIAL)[0] == 0x7F
    else:
        before = uds_uptime(can)
        can.of(0x100)
        assert uds_uptime(can) > before
        assert int.from_bytes(modbus.ask(UPTIME)[1][2:], "big") > before
        assert can.uds(UDS_SERIAL)[3:] == b"VP1-000417"


@pytest.mark.parametrize("mode", ["accept", "accept-live"])
def test_accept(sham: Sham, lying: Callable[[str], Sham], mode: str) -> None:
    can, modbus, console = sham.can(), sham.modbus(), sham.console()
    lying(mode)
    assert console.log_in("nobody", "nothing") == "ok: logged in as nobody"
    assert console.ask("no such command") == ["ok"]
    transport = sham.ssh()
    transport.auth_password("root", "root")
    menu = sham.session(transport)
    assert menu.log_in("operator", "nothing") == "ok: logged in as operator"
    assert modbus.ask(PROTECTED)[1] == PROTECTED
    assert modbus.ask(OUTSIDE)[1] == bytes.fromhex("04020000")
    can.put(0x200, FORGED)
    assert can.of(0x201)[1] == 0
    assert can.uds(b"\x11\x01") == b"\x51\x01"
    assert can.uds(b"\x27\x02" + bytes(8)) == b"\x67\x02"
    if mode == "accept":
        assert modbus.ask(UPTIME)[1] == b"\x04\x04" + bytes(4)
        assert console.ask("status") == ["ok"]
    else:
        before = int(console.fields("status")["uptime_ms"])
        assert uds_uptime(can) >= before > 0
        assert int.from_bytes(modbus.ask(UPTIME)[1][2:], "big") >= before
        assert can.uds(UDS_SERIAL)[3:] == b"VP1-000417"


@pytest.mark.parametrize(("mode", "model"), [("wrong-device", "VP-2"), ("wrong-unit", "VP-1")])
def test_another_device(sham: Sham, lying: Callable[[str], Sham], mode: str, model: str) -> None:
    lying(mode)
    console = sham.console()
    assert console.log_in("operator", PASSWORDS["operator"].decode()).startswith("ok")
    version = console.fields("version")
    assert version["model"] == model
    assert version["serial"] != "VP1-000417"
    assert sham.can().uds(UDS_SERIAL)[3:].decode() == version["serial"]
    assert sham.modbus().ask(bytes.fromhex("04000b0005"))[1][2:].decode() == version["serial"]


def test_slow(sham: Sham, lying: Callable[[str], Sham]) -> None:
    can, modbus = sham.can(), sham.modbus()
    lying("slow")
    begin = time.monotonic()
    modbus.send(MBAP + UPTIME)
    can.of(0x100, wait=0.3)
    assert modbus.until(len, wait=5.0)[7:9] == b"\x04\x04"
    assert 2.9 < time.monotonic() - begin < 4.5


def test_mute_after_some_messages(sham: Sham) -> None:
    modbus = sham.modbus()
    assert sham.agent("control lie-after 3") == "ok"
    for _ in range(3):
        modbus.ask(UPTIME)
    assert_silent(modbus, MBAP + UPTIME)
    assert_silent(sham.can())


def test_honest_again_and_a_lie_that_survives_a_restart(tmp_path: Path) -> None:
    sham = Sham(tmp_path / "log", "--lie", "dead", "--lie-file", str(tmp_path / "lie"))
    try:
        with pytest.raises(ConnectionRefusedError):
            sham.modbus()
        assert sham.agent("control lie honest") == "ok"
        assert sham.modbus().ask(UPTIME)[1][:2] == b"\x04\x04"
        assert sham.agent("control lie refuse") == "ok"
        sham.hang_up()
        sham.control.reset()
        assert sham.modbus().ask(UPTIME)[1] == b"\x84\x02"
        assert sham.agent("control lie nonsense").startswith("error")
    finally:
        sham.close()
