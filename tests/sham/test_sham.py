"""The honest sham against VP1-ICD: each interface with a raw client, and each weakness."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko
import pytest
from can_bus import authenticator
from clients import ADDRESS6, CanBus, Sham, Terminal, client_key
from uds import key_for
from users import PASSWORDS

BOOT_TEXT_END = "login: "
WRONG = "Wrong-1-Word"


@pytest.fixture(scope="module")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sham]:
    sham = Sham(tmp_path_factory.mktemp("sham") / "log", "--seed", "1")
    sham.console().until_text(BOOT_TEXT_END)
    yield sham
    sham.close()


@pytest.fixture
def sham(_running: Sham) -> Iterator[Sham]:
    """The honest sham in its state as delivered."""
    assert _running.agent("control restore") == "ok"
    yield _running
    _running.hang_up()


@pytest.fixture
def weak(tmp_path: Path) -> Iterator[Callable[[str], Sham]]:
    """Starts a sham with weaknesses; the console's boot text is still to come."""
    started: list[Sham] = []

    def start(names: str) -> Sham:
        started.append(Sham(tmp_path / "log", "--weakness", names))
        return started[-1]

    yield start
    for each in started:
        each.close()


def logged_in(sham: Sham, user: str) -> Terminal:
    console = sham.console()
    assert console.log_in(user, PASSWORDS[user].decode()) == f"ok: logged in as {user}"
    return console


def unlock_uds(can: CanBus) -> None:
    assert can.uds(b"\x10\x03") == bytes.fromhex("5003003201F4")
    seed = can.uds(b"\x27\x01")[2:]
    assert can.uds(b"\x27\x02" + key_for(seed)) == b"\x67\x02"


def signed(session: bytes, opcode: int, argument: int, counter: int) -> bytes:
    command = struct.pack(">BHH", opcode, argument, counter)
    return command + authenticator(session, command)


# -- console ---------------------------------------------------------------------------------------------------


def test_the_first_console_client_sees_the_boot(tmp_path: Path) -> None:
    begin = time.monotonic()
    sham = Sham(tmp_path / "log")
    took = time.monotonic() - begin
    try:
        text = sham.console().until_text(BOOT_TEXT_END)
    finally:
        sham.close()
    assert "U-Boot 2023.01" in text
    assert "Hit any key" not in text
    assert "Linux version" in text
    assert "Authorised users only. Activity is recorded.\r\nlogin: " in text
    assert took < 3.0


def test_console_dialogue(sham: Sham) -> None:
    console = sham.console()
    console.send(b"operatorX\x7f\r\n")
    assert console.until_text("password: ") == "operatorX\b \b\r\npassword: "
    console.send(PASSWORDS["operator"] + b"\r\n")
    assert console.until_text("VP-1> ") == "\r\nok: logged in as operator\r\nVP-1> "
    status = console.fields("status")
    assert (status["model"], status["serial"], status["version"]) == ("VP-1", "VP1-000417", "1.0.0")
    assert (status["state"], status["set_rate"], status["alarm"]) == ("infusing", "50.0", "0")
    assert abs(float(status["flow"]) - 50) <= 2.5
    console.send(b"stat\x03")
    assert console.until_text("VP-1> ") == "stat\r\nVP-1> "
    assert console.ask("x" * 121)[-1] == "error: line too long"
    assert console.ask("rate 0") == ["error: bad argument"]
    assert console.ask("rate 1200.1") == ["error: bad argument"]
    assert console.ask("rate 75.5") == ["ok"]
    assert console.fields("status")["set_rate"] == "75.5"
    assert console.ask("reboot") == ["error: unknown command"]
    console.send(b"logout\r")
    assert console.until_text("login: ") == "logout\r\nok\r\nlogin: "
    assert console.log_in("operator", "") == "error: login refused"
    assert console.log_in("nobody", WRONG) == "error: login refused"


def test_roles_and_audit(sham: Sham) -> None:
    allowed = {
        "operator": {"status", "version", "start", "stop", "rate 50.0", "help"},
        "service": {"status", "version", "diagnostics", "help"},
        "admin": {"status", "version", "audit", "config", "config ward_name ICU-4", "unlock service", "help"},
    }
    for user, mine in allowed.items():
        console = logged_in(sham, user)
        for command in set.union(*allowed.values()):
            expected = "ok" if command in mine else "error: not permitted"
            assert console.ask(command)[-1] == expected, (user, command)
        console.send(b"logout\r")
        console.until_text("login: ")
    records = logged_in(sham, "admin").ask("audit 200")[:-1]
    numbers = [int(record.split()[1]) for record in records]
    assert numbers == list(range(1, len(records) + 1))
    assert "surface=system event=boot result=accepted detail=power-on" in records[0]
    assert any("user=service surface=console event=denied result=refused detail=rate" in each for each in records)


def test_lock_out_holds_on_all_surfaces_and_is_lifted_by_the_administrator(sham: Sham) -> None:
    console, menu = sham.console(), sham.menu()
    assert console.log_in("service", WRONG) == "error: login refused"
    assert menu.log_in("service", WRONG) == "error: login refused"
    assert console.log_in("service", WRONG) == "error: login refused"
    assert menu.log_in("service", PASSWORDS["service"].decode()) == "error: account locked"
    assert logged_in(sham, "admin").ask("unlock service") == ["ok"]
    assert menu.log_in("service", PASSWORDS["service"].decode()) == "ok: logged in as service"


def test_the_console_session_outlives_its_client(sham: Sham) -> None:
    logged_in(sham, "operator").socket.close()
    assert sham.console().ask("version")[-1] == "ok"


# -- SSH -------------------------------------------------------------------------------------------------------


def test_ssh_lets_only_the_key_in_and_only_to_the_menu(sham: Sham) -> None:
    for user, password in (("service", "Valve-31-Copper"), ("root", "root")):
        with pytest.raises(paramiko.BadAuthenticationType):
            sham.ssh().auth_password(user, password)
    for user, key in (("root", client_key()), ("service", paramiko.ECDSAKey.generate())):
        with pytest.raises(paramiko.AuthenticationException):
            sham.ssh().auth_publickey(user, key)
    transport = sham.ssh()
    assert transport.remote_version.startswith("SSH-2.0-dropbear")
    transport.auth_publickey("service", client_key())
    channel = transport.open_session(timeout=2)
    channel.exec_command("id")
    menu = Terminal(channel)  # type: ignore[arg-type]
    assert "Meridian VP-1" in menu.until_text("login: ")
    assert menu.log_in("operator", PASSWORDS["operator"].decode()) == "error: login refused"
    assert menu.log_in("admin", PASSWORDS["admin"].decode()) == "ok: logged in as admin"
    assert menu.ask("status")[-1] == "ok"
    menu.send(b"logout\r")
    assert menu.everything_for(1.0) == b"logout\r\nok\r\n"
    with pytest.raises(paramiko.ChannelException):
        sham.ssh(authenticated=True).open_channel("direct-tcpip", ("192.0.2.10", 502), ("192.0.2.1", 1), timeout=2)


# -- CAN and UDS -----------------------------------------------------------------------------------------------


def test_can_status_is_regular_and_the_flow_right(sham: Sham) -> None:
    can = sham.can()
    end = time.monotonic() + 1.05
    frames = []
    while (left := end - time.monotonic()) > 0:
        try:
            frames.append(can.next(wait=left))
        except TimeoutError:
            break
    status = [data for identifier, data in frames if identifier == 0x100]
    assert 9 <= len(status) <= 12
    assert sum(identifier == 0x102 for identifier, _ in frames) in (1, 2)
    for before, after in zip(status, status[1:], strict=False):
        state, alarm, rate, flow, sequence, _ = struct.unpack(">BBHHBB", after)
        assert (state, alarm, rate) == (1, 0, 500)
        assert abs(flow - rate) <= 25
        assert sequence == (before[6] + 1) & 0xFF
    uptimes = [struct.unpack(">II", data)[1] for identifier, data in frames if identifier == 0x101]
    assert 700 < uptimes[-1] - uptimes[0] < 1200


def test_can_commands(sham: Sham) -> None:
    can = sham.can()
    session = can.of(0x102)

    def ask(command: bytes) -> tuple[int, ...]:
        can.put(0x200, command)
        answer: tuple[int, ...] = struct.unpack(">BBHI", can.of(0x201))
        return answer

    assert ask(signed(session, 3, 600, 1)) == (3, 0, 1, 600)
    assert ask(signed(session, 3, 600, 1)) == (3, 2, 1, 0)
    assert ask(signed(session, 3, 600, 2)[:7] + b"\0")[1] == 1
    assert ask(signed(session, 3, 12001, 2))[1] == 3
    assert ask(signed(session, 9, 0, 2))[1] == 4
    assert ask(signed(session, 2, 0, 2)) == (2, 0, 2, 0)
    assert ask(signed(session, 4, 0, 9))[3] > 0
    for identifier, data in ((0x200, b"\x01\x00"), (0x201, bytes(8)), (0x1FFFF200, signed(session, 1, 0, 10))):
        can.put(identifier, data)
        with pytest.raises(TimeoutError):
            can.of(0x201, wait=0.15)
    records = logged_in(sham, "admin").ask("audit")
    assert any("user=- surface=can event=command result=refused detail=counter" in each for each in records)


def test_uds(sham: Sham) -> None:
    can = sham.can()
    expected = {
        "22f18c": b"\x62\xf1\x8cVP1-000417",
        "22f195": b"\x62\xf1\x951.0.0",
        "22f197": b"\x62\xf1\x97VP-1",
        "220102": b"\x62\x01\x02\x01\xf4",
        "22ffff": b"\x7f\x22\x31",
        "22": b"\x7f\x22\x13",
        "22" + "f18c" * 30: b"\x7f\x22\x13",
        "3101": b"\x7f\x31\x11",
        "1101": b"\x7f\x11\x7f",
        "2701": b"\x7f\x27\x7f",
        "1002": b"\x7f\x10\x12",
        "3e00": b"\x7e\x00",
        "1003": bytes.fromhex("5003003201F4"),
        "1101 ": b"\x7f\x11\x33",
        "2702" + "00" * 8: b"\x7f\x27\x24",
    }
    for request, answer in expected.items():
        assert can.uds(bytes.fromhex(request)) == answer, request
    can.put(0x7E0, b"\x02\x3e\x80")
    with pytest.raises(TimeoutError):
        can.of(0x7E8, wait=0.15)
    for code in (0x35, 0x35, 0x36):
        assert len(set(can.uds(b"\x27\x01")[2:])) > 1
        assert can.uds(b"\x27\x02" + bytes(8)) == bytes([0x7F, 0x27, code])
    assert can.uds(b"\x27\x01") == b"\x7f\x27\x37"


def test_uds_reset_restarts_the_application(sham: Sham) -> None:
    can, modbus, console = sham.can(), sham.modbus(), sham.console()
    unlock_uds(can)
    assert can.uds(b"\x27\x01") == b"\x67\x01" + bytes(8)
    before = int.from_bytes(can.uds(b"\x22\x01\x00")[3:], "big")
    old = can.of(0x102)
    assert can.uds(b"\x11\x01") == b"\x51\x01"
    assert "vp1d: restarting" in console.until_text("login: ", wait=3.0)
    with pytest.raises(EOFError):
        modbus.ask(b"\x04\x00\x06\x00\x02")
    assert can.of(0x102) != old
    assert int.from_bytes(can.uds(b"\x22\x01\x00")[3:], "big") < max(before, 1000)
    records = logged_in(sham, "admin").ask("audit")
    assert any("surface=uds event=reset" in each for each in records)
    assert any("event=boot result=accepted detail=restart" in each for each in records)


# -- Modbus ----------------------------------------------------------------------------------------------------

MODBUS = {
    "0400080003": "0406000100000000",
    "04000b0005": "040a" + b"VP1-000417".hex(),
    "0400100002": "0404" + b"VP-1".hex(),
    "0300000005": "030a 0050 0005 01f4 2ee0 0258",
    "0400110002": "8402",
    "0300000000": "8303",
    "03000000fa": "8303",
    "0600000064": "0600000064",
    "0600000065": "8603",
    "060001000b": "8603",
    "0600020064": "8602",
    "0600050064": "8602",
    "10000000020400320003": "1000000002",
    "1000000003060032000301f4": "9002",
    "10000000020300320003": "9003",
    "2b0e0100": "ab01",
    "07": "8701",
}


@pytest.mark.parametrize("way", ["tcp", "tcp6", "rtu"])
def test_modbus(sham: Sham, way: str) -> None:
    tcp = sham.modbus(**({"address": ADDRESS6} if way == "tcp6" else {}))
    rtu = sham.rtu()
    for number, (request, answer) in enumerate(MODBUS.items()):
        pdu = bytes.fromhex(request)
        if way == "rtu":
            got = rtu.ask(pdu)
        else:
            transaction, got = tcp.ask(pdu, transaction=number)
            assert transaction == number
        assert got == bytes.fromhex(answer), request
    records = logged_in(sham, "admin").ask("audit")
    assert any("surface=modbus event=write result=refused detail=2" in each for each in records)


def test_modbus_takes_eight_connections_and_drops_what_is_no_modbus(sham: Sham) -> None:
    connections = [sham.modbus() for _ in range(8)]
    for each in connections:
        each.ask(b"\x04\x00\x00\x00\x01")
    with pytest.raises((EOFError, ConnectionError)):
        sham.modbus().ask(b"\x04\x00\x00\x00\x01")
    connections[0].send(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises((EOFError, ConnectionError)):
        connections[0].until(len)


# -- weaknesses ------------------------------------------------------------------------------------------------


def test_weak_log_in(weak: Callable[[str], Sham]) -> None:
    sham = weak("default-password,no-lockout")
    assert sham.agent("weaknesses") == "weaknesses: default-password,no-lockout"
    console = sham.console()
    for _ in range(4):
        assert console.log_in("admin", WRONG) == "error: login refused"
    assert console.log_in("admin", "admin") == "ok: logged in as admin"


def test_weak_lock_out_per_connection(weak: Callable[[str], Sham]) -> None:
    sham = weak("lockout-per-connection")
    menu = sham.menu()
    for _ in range(3):
        assert menu.log_in("service", WRONG) == "error: login refused"
    assert menu.log_in("service", WRONG) == "error: account locked"
    assert sham.menu().log_in("service", WRONG) == "error: login refused"


def test_weak_buses(weak: Callable[[str], Sham]) -> None:
    names = "can-no-auth,can-counter-unchecked,modbus-protected-write,undeclared-port,uds-constant-seed,uds-memory-bug"
    sham = weak(names)
    can, modbus, console = sham.can(), sham.modbus(), sham.console()
    for _ in range(2):
        can.put(0x200, struct.pack(">BHH", 2, 0, 0) + bytes(3))
        assert can.of(0x201)[1] == 0
    assert modbus.ask(bytes.fromhex("06000203e8"))[1] == bytes.fromhex("06000203e8")
    assert modbus.ask(bytes.fromhex("0400020001"))[1] == bytes.fromhex("040203e8")
    assert sham.tcp(2323).everything_for(0.3)
    assert sham.tcp(2323, address=ADDRESS6).everything_for(0.3)
    can.uds(b"\x10\x03")
    assert can.uds(b"\x27\x01") == b"\x67\x01\x01\x02\x03\x04\x05\x06\x07\x08"
    console.until_text(BOOT_TEXT_END)
    assert can.uds(b"\x22" + bytes(39)) == b"\x7f\x22\x13"
    with pytest.raises(TimeoutError):
        can.uds(b"\x22" + bytes(40), wait=0.3)
    assert "vp1d: terminated by signal 11" in console.until_text("login: ")
    assert int.from_bytes(can.uds(b"\x22\x01\x00")[3:], "big") < 1000


def test_weak_boot_loader(weak: Callable[[str], Sham]) -> None:
    sham = weak("bootloader-prompt")
    console = sham.console()
    console.until_text("Hit any key to stop autoboot:  2 ")
    with pytest.raises(ConnectionRefusedError):
        sham.modbus()
    console.send(b" ")
    console.until_text("=> ")
    console.send(b"printenv\r")
    assert "bootdelay" in console.until_text("=> ")
    console.send(b"boot\r")
    console.until_text(BOOT_TEXT_END)
    assert console.log_in("admin", PASSWORDS["admin"].decode()).startswith("ok")


def test_the_data_partition_survives_with_a_file(tmp_path: Path) -> None:
    sham = Sham(tmp_path / "log", "--data", str(tmp_path / "data.json"))
    try:
        sham.console().until_text(BOOT_TEXT_END)
        assert logged_in(sham, "operator").ask("rate 61.0") == ["ok"]
        sham.hang_up()
        sham.control.reset()
        console = sham.console()
        console.until_text(BOOT_TEXT_END)
        assert console.log_in("admin", PASSWORDS["admin"].decode()).startswith("ok")
        assert console.fields("status")["set_rate"] == "61.0"
        assert any("event=rate" in each for each in console.ask("audit"))
    finally:
        sham.close()
