"""`proofrig device init` on real peers: the sham pump, hostile servers and consoles, a person on a terminal.

What it writes is valid, holds what was there, and no run passes on it until somebody approves it.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import socket
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.capture import NullTap, read_capture
from harness.clean import show_text
from harness.control.process import ProcessControl
from harness.device_init.command import _text_of
from harness.device_init.drafts import device_draft, rig_draft
from harness.device_init.options import as_ports
from harness.device_init.scan_buses import scan_modbus
from harness.device_init.scan_network import scan_ports, scan_ssh, scan_tls, spelled
from harness.device_init.seen import ConsoleSeen, HostSeen, ModbusSeen, Scanned, SshSeen, TlsSeen, UnitSeen, said
from harness.device_init.wishes import Wishes
from harness.errors import UsageError
from harness.journal import read_journal
from harness.links.modbus import open_modbus_tcp
from harness.rig.claims import ModbusMapClaim, PortsClaim, Status
from harness.rig.loading import load_rig
from harness.verdict import EXIT_INCONCLUSIVE, EXIT_USAGE

ROOT = Path(__file__).parents[2]
WHO = ["--name", "vp", "--manufacturer", "Meridian", "--kind", "infusion pump"]
UNIT = [*WHO, "--model", "VP-1", "--version", "1.0.0", "--serial", "VP1-000417"]


def proofrig(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "harness.cli", *words],
        cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "COLUMNS": "200"}, start_new_session=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def sham(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessControl]:
    """The honest sham pump, running all the time."""
    command = [sys.executable, str(ROOT / "tests/sham/device.py"), "--run-dir", "{run_dir}"]
    log = tmp_path_factory.mktemp("sham") / "sham.log"
    device = ProcessControl([*command, "--data", "{data_dir}/medium", "--address", "{address}"], log=log)
    device.power_on()
    yield device
    device.close()
    device.holder.close()


def on_the_bus(sham: ProcessControl) -> list[str]:
    port = f"unix:{sham.run_dir}/can.sock"
    return ["--can", "can1", "--can-interface", "socketcand", "--can-port", port, "--uds", "7E0:7E8"]


def test_from_the_scan_to_a_testcase_that_passes(sham: ProcessControl, tmp_path: Path) -> None:
    done = proofrig(tmp_path, "device", "init", "rigs", *WHO, *on_the_bus(sham), "--scan", "uds")
    assert done.returncode == 0, done.stderr
    rig = tmp_path / "rigs/vp.yaml"
    loaded = load_rig(rig)
    assert (loaded.device.model, loaded.device.version, loaded.file.item.serial) == ("VP-1", "1.0.0", "VP1-000417")
    assert {claim.status for claim in loaded.device.claims.values()} == {Status.OBSERVED}
    assert set(loaded.device.claims) == {"UDS-SERVICES", "UDS-VERSION"}
    (record,) = (tmp_path / "reports").iterdir()
    assert record.name in loaded.device.claims["UDS-SERVICES"].source.document
    assert any(frame.data for frame in read_capture(record / "uds.cap"))

    services = str(ROOT / "testcases/can/test_uds_services.py")
    first = proofrig(tmp_path, "run", str(rig), services, "--no-html", "--run-dir", "first", "-k", "test_services")
    assert first.returncode == EXIT_INCONCLUSIVE, first.stdout
    (result,) = read_journal(tmp_path / "first/journal.jsonl").of("result")
    assert result.data["verdict"] == "INCONCLUSIVE"
    assert "proofrig device approve vp.yaml UDS-SERVICES" in result.data["reason"]

    file = "rigs/devices/vp.yaml"
    approved = proofrig(
        tmp_path, "device", "approve", file, "UDS-SERVICES", "--by", "J. Doe", "--source", "VP1-ICD 2.0, 5"
    )
    assert approved.returncode == 0, approved.stderr
    second = proofrig(tmp_path, "run", str(rig), services, "--no-html", "--run-dir", "second", "-k", "test_services")
    assert second.returncode == 0, second.stdout
    journal = read_journal(tmp_path / "second/journal.jsonl")
    assert [entry.data["verdict"] for entry in journal.of("result")] == ["PASS"]
    (about,) = journal.of("rig")
    assert [(each["claim"], each["by"], each["record"]) for each in about.data["approvals"]] == [
        ("UDS-SERVICES", "J. Doe", "as approved")
    ]
    assert {check.data["approval"].partition(",")[0] for check in journal.of("check") if check.data["claim"]} == {
        "J. Doe"
    }
    summary = json.loads((tmp_path / "second/summary.json").read_text())
    assert [each["by"] for each in summary["approvals"]] == ["J. Doe"]
    assert [each["file"] for each in summary["device_files"]] == ["vp.yaml"]


def test_lines_and_buses_of_the_sham(sham: ProcessControl, tmp_path: Path) -> None:
    places = ["--console", f"unix:{sham.run_dir}/console.sock", "--modbus-rtu", f"unix:{sham.run_dir}/rtu.sock"]
    scans = ["--scan", "can,console,modbus", "--units", "1-2", "--listen", "1", "--timeout", "0.5"]
    done = proofrig(tmp_path, "device", "init", "vp.yaml", *UNIT, *on_the_bus(sham), *places, *scans)
    assert done.returncode == 0, done.stderr
    loaded = load_rig(tmp_path / "vp-rig.yaml")
    claim = loaded.device.claims["MODBUS-RTU-MAP"]
    assert isinstance(claim, ModbusMapClaim)
    assert claim.functions == (3, 4, 6, 16)
    text = (tmp_path / "vp.yaml").read_text()
    assert "0x100: " in text
    assert 'user_prompt: "login:' in text
    assert loaded.file.permits == ()


def test_the_network_of_the_sham(sham: ProcessControl) -> None:
    """By the sham's own network: its address is not reachable from here."""
    dialer, host, tap = sham.holder, "192.0.2.10", NullTap()
    ports = scan_ports(dialer, host, tcp=range(1, 600), udp=True, banners=True, timeout=1, tap=tap)
    assert ports.tcp == (22, 443, 502)
    assert ports.udp == ()
    assert ports.banners[22].startswith("SSH-2.0-")
    tls = scan_tls(dialer, host, 443, timeout=10, tap=tap)
    assert tls.fingerprint == "47054e22c41dc354d034e919ef85e82b956f7e2ce676be7d84aa577686a1cdea"
    assert scan_tls(dialer, host, 502, timeout=2, tap=tap).problem
    ssh = scan_ssh(dialer, host, 22, user="service", timeout=10, tap=tap)
    assert ssh.host_key == "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMW4Wk/iqba451gOrevJwh3CyhWlLYpBgcOIENDnZ559"
    assert ssh.methods == ("publickey",)
    assert ssh.algorithms["host_key"] == ("ssh-ed25519",)
    assert not any("kex-strict" in name for name in ssh.algorithms["kex"])
    assert scan_ssh(dialer, host, 23, user="service", timeout=2, tap=tap).problem
    link = open_modbus_tcp(dialer, host, 502, unit=1, name="modbus", tap=tap)
    modbus = scan_modbus(link, "modbus-tcp", units=[1], timeout=2)
    link.close()
    assert [(unit.unit, unit.functions) for unit in modbus.units] == [(1, (3, 4, 6, 16))]
    scanned = Scanned(host=ports, tls=[tls], ssh=ssh, modbus=[modbus])
    device, rig = drafts(scanned, address=host, modbus_tcp=(host, 502))
    assert 'host_key: "ssh-ed25519 AAAA' in rig
    assert f'fingerprint: "{tls.fingerprint}"' in rig
    assert "status: observed" in device
    assert "status: approved" not in device
    assert "status: proposed" not in device


# Hostile devices


def drafts(seen: Scanned, folder: Path | None = None, **where: object) -> tuple[str, str]:
    """Return both files as text; in `folder` they are loaded."""
    values: dict[str, object] = {
        "address": None, "ports": (1,), "ssh_port": 22, "ssh_user": "service", "tls_ports": (443,), "modbus_tcp": None,
        "modbus_rtu": None, "modbus_baudrate": 19200, "modbus_parity": "E", "units": (1,), "can": None,
        "can_interface": "socketcan", "can_port": None, "bitrate": 500000, "listen": 1.0, "uds": (), "console": None,
        "machine": None, "baudrates": (115200,), "timeout": 1.0, "scans": frozenset(),
    }  # fmt: skip
    wishes = Wishes(**{**values, **where})  # type: ignore[arg-type]
    known = {"name": "d", "manufacturer": "M", "model": "X", "kind": "k", "version": "1", "serial": "S"}
    known |= seen.identity()
    device = _text_of(device_draft(known, wishes, seen, scan="scan 1", day="2026-11-22"))
    rig = _text_of(
        rig_draft(known, wishes, seen, device="d.yaml", control={"type": "none"}, grade="engineering", day="2026-11-22")
    )
    if folder:
        (folder / "d.yaml").write_text(device, encoding="utf-8")
        (folder / "rig.yaml").write_text(rig, encoding="utf-8")
    return device, rig


TRICKS = ["${env:HOME}", "a: b\n  status: approved", "# x", "'\"", "\x1b[2J", "\u2028- x", "\x85y", "{[&*!|>%@`"]
NASTY = st.text(max_size=200) | st.sampled_from(TRICKS) | st.binary(max_size=200).map(said)


@settings(deadline=None, max_examples=40)
@given(texts=st.lists(NASTY, min_size=8, max_size=8))
def test_whatever_a_device_says_is_only_text(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("nasty")
    words = [said(text) for text in texts]
    names = {"manufacturer": words[0], "model": words[1], "version": words[2], "product code": words[3]}
    seen = Scanned(
        host=HostSeen("192.0.2.10", "TCP", tcp=(22,), banners={22: words[4]}),
        tls=[TlsSeen(443, problem=words[5])],
        ssh=SshSeen(22, words[6], "ssh-ed25519 AAAA", {"kex": (words[7],), "cipher": (words[0],)}, (words[1],)),
        modbus=[ModbusSeen("modbus-tcp", "units 1", (UnitSeen(1, (3,), names),))],
        console=ConsoleSeen(9600, tuple(words), words[3]),
    )
    device, _ = drafts(seen, folder, address="192.0.2.10", modbus_tcp=("192.0.2.10", 502), console="/dev/null")
    loaded = load_rig(folder / "rig.yaml").device
    assert (loaded.manufacturer, loaded.model, loaded.version) == (words[0], words[1], words[2])
    assert set(loaded.claims) == {"PORTS", "SSH-POLICY", "MODBUS-TCP-MAP"}
    assert {claim.status for claim in loaded.claims.values()} == {Status.OBSERVED}
    assert show_text(device, limit=1_000_000) == device, "something in it acts"


def test_what_is_said_is_one_harmless_line() -> None:
    assert said(b"\x1b[2J\r\nevil\xff ${env:HOME}\t\xe2\x80\xae") == "\\x1b[2J\\nevil\\xff $\\x7benv:HOME}\\t\\u202e"
    assert len(said("x" * 10_000)) < 200


@pytest.fixture
def listener() -> Iterator[Callable[[Callable[[socket.socket], None]], int]]:
    """Serve each connection to a loopback port with a function."""
    servers: list[socket.socket] = []

    def start(handler: Callable[[socket.socket], None]) -> int:
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(10)
                    try:
                        handler(connection)
                    except OSError:
                        continue

        threading.Thread(target=serve, daemon=True).start()
        return int(server.getsockname()[1])

    yield start
    for server in servers:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def test_a_hostile_server_breaks_neither_terminal_nor_files(
    listener: Callable[[Callable[[socket.socket], None]], int], tmp_path: Path
) -> None:
    evil = b"\x1b]0;owned\x07\x1b[2J\n  status: approved\nclaims: {X: 1}\n#${env:HOME}\xe2\x80\xa8- y\r\n" * 3

    def modbus(connection: socket.socket) -> None:
        while request := connection.recv(300):
            function = request[7]
            pdu = bytes([function | 0x80, 1])
            if function == 0x2B and len(request) > 9:
                objects = b"".join(bytes([number, 60]) + evil[:60] for number in (0, 2, 5))
                pdu = bytes([0x2B, 0x0E, request[9], 1, 0, 0, 3]) + objects
            connection.sendall(request[:4] + (len(pdu) + 1).to_bytes(2) + request[6:7] + pdu)

    port, greeting = listener(modbus), listener(lambda connection: connection.sendall(evil))
    done = proofrig(
        tmp_path, "device", "init", "d.yaml", "--name", "d", "--kind", "k", "--serial", "S",
        "--address", "127.0.0.1", "--ports", str(greeting), "--modbus-tcp", f"127.0.0.1:{port}", "--units", "1",
        "--scan", "ports,banners,modbus,ssh", "--ssh-port", str(greeting), "--timeout", "1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for shown in (done.stdout, (tmp_path / "d.yaml").read_text(), (tmp_path / "d-rig.yaml").read_text()):
        assert show_text(shown, limit=1_000_000) == shown, "something in it acts"
        assert os.environ["HOME"] not in shown.replace(str(tmp_path), "") or os.environ["HOME"] == "/"
    device = load_rig(tmp_path / "d-rig.yaml").device
    assert device.model.startswith("\\x1b]0;owned")
    assert set(device.claims) == {"PORTS", "MODBUS-TCP-MAP"}
    ports = device.claims["PORTS"]
    assert isinstance(ports, PortsClaim)
    assert ports.tcp == (greeting,)


@pytest.fixture
def line() -> Iterator[tuple[str, Callable[[bytes], None]]]:
    """A pseudo-terminal whose other end answers each input with the same bytes."""
    master, slave = os.openpty()
    tty.setraw(slave)
    stop = threading.Event()
    threads: list[threading.Thread] = []

    def answer(text: bytes) -> None:
        def run() -> None:
            while not stop.is_set():
                if select.select([master], [], [], 0.1)[0]:
                    os.read(master, 100)
                    os.write(master, text)

        threads.append(threading.Thread(target=run))
        threads[-1].start()

    yield os.ttyname(slave), answer
    stop.set()
    for thread in threads:
        thread.join()
    os.close(master)
    os.close(slave)


def test_a_console_that_prints_what_it_wants(line: tuple[str, Callable[[bytes], None]], tmp_path: Path) -> None:
    port, answer = line
    answer(b"\r\nInfusor \"7\" (c) 'x' # y: z\r\n(.*)+ Username: ")
    done = proofrig(tmp_path, "device", "init", "d.yaml", *UNIT, "--console", port, "--scan", "console")
    assert done.returncode == 0, done.stderr
    surface = load_rig(tmp_path / "d-rig.yaml").device.surfaces["console"]
    assert surface.login.user_prompt == r"\(\.\*\)\+ Username: \s*$"  # type: ignore[union-attr]
    assert "# It printed: Infusor \"7\" (c) 'x' # y: z" in (tmp_path / "d.yaml").read_text()


def test_a_mute_or_babbling_device_yields_no_claim(line: tuple[str, Callable[[bytes], None]], tmp_path: Path) -> None:
    port, answer = line
    answer(bytes(range(128, 256)))
    done = proofrig(
        tmp_path, "device", "init", "d.yaml", *UNIT, "--console", port, "--modbus-tcp", "127.0.0.1:9",
        "--scan", "all", "--timeout", "0.3", "--baudrates", "9600,115200",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert load_rig(tmp_path / "d-rig.yaml").device.claims == {}
    assert "It printed nothing that can be read" in (tmp_path / "d.yaml").read_text()


# Asking


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (UNIT, "no interface on which the device shows"),
        ([*WHO, "--console", "/dev/null"], "--model, --version, --serial"),
        ([*UNIT, "--uds", "7E0:7E8"], "needs a CAN bus"),
        ([*UNIT, "--can", "can0", "--uds", "xyz"], "no pair of CAN identifiers"),
        ([*UNIT, "--console", "/dev/null", "--scan", "world"], "no scan world"),
        ([*UNIT, "--console", "/dev/null", "--scan", "ports"], "nothing to scan: ports"),
        ([*UNIT, "--address", "a b"], "no address"),
        ([*UNIT, "--address", "192.0.2.1", "--ports", "0-70000"], "no list of numbers"),
        ([*UNIT[:1], "V P", *UNIT[2:], "--console", "/dev/null"], "no name of a device"),
    ],
)
def test_a_wrong_or_missing_answer_is_named_before_anything_is_written(
    words: list[str], told: str, tmp_path: Path
) -> None:
    done = proofrig(tmp_path, "device", "init", "d.yaml", *words)
    assert done.returncode == EXIT_USAGE
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_nothing_that_is_there_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "d-rig.yaml").write_text("mine")
    done = proofrig(tmp_path, "device", "init", "d.yaml", *UNIT, "--console", "/dev/null")
    assert done.returncode == EXIT_USAGE
    assert "d-rig.yaml: is there already" in done.stderr
    assert (tmp_path / "d-rig.yaml").read_text() == "mine"
    assert not (tmp_path / "d.yaml").exists()


def test_a_person_is_asked_and_only_yes_is_yes(line: tuple[str, Callable[[bytes], None]], tmp_path: Path) -> None:
    port, answer = line
    answer(b"\r\nhello> ")
    answers = {
        **{"Address": "none", "Modbus TCP": "not:a:port", "is no address": None, "Modbus TCP,": "", "Modbus RTU": ""},
        **{"CAN bus": "", "UDS": "", "Console": port, "Send a carriage return": "no", "Manufacturer": "Meridian"},
        **{"Model": "VP-1", "What is it": "pump", "Full software": "1.0", "Serial number": "S-1"},
    }
    code, shown = at_a_terminal(tmp_path, ["device", "init", "rigs"], answers)
    assert code == 0, shown
    loaded = load_rig(tmp_path / "rigs/vp-1.yaml")
    assert (loaded.device.device, loaded.file.item.serial) == ("vp-1", "S-1")
    assert not (tmp_path / "reports").exists(), "something was scanned"
    assert "hello" not in (tmp_path / "rigs/devices/vp-1.yaml").read_text()


def test_all_asks_about_each_claim(sham: ProcessControl, tmp_path: Path) -> None:
    assert proofrig(tmp_path, "device", "init", "d.yaml", *WHO, *on_the_bus(sham), "--scan", "uds").returncode == 0
    words = ["device", "approve", "d.yaml", "--all", "--by", "J. Doe", "--source", "ICD 2.0, 5"]
    answers = {"UDS-SERVICES": None, "approve it": "yes", "UDS-VERSION": None, "approve it?": "y e s"}
    code, shown = at_a_terminal(tmp_path, words, answers)
    assert code == 0, shown
    claims = load_rig(tmp_path / "d-rig.yaml").device.claims
    assert {name: claim.status.value for name, claim in claims.items()} == {
        "UDS-SERVICES": "approved",
        "UDS-VERSION": "observed",
    }


def at_a_terminal(folder: Path, words: list[str], answers: dict[str, str | None]) -> tuple[int, str]:
    """Run the command on a terminal; wait for each text in turn, and type what belongs to it."""
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover  (another process)
        os.chdir(folder)
        os.execv(sys.executable, [sys.executable, "-m", "harness.cli", *words])
    shown, seen, waiting = "", 0, list(answers.items())
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            shown += os.read(terminal, 4096).decode(errors="replace")
        except OSError:
            break
        while waiting and (place := shown.find(waiting[0][0], seen)) >= 0:
            text = waiting.pop(0)[1]
            seen = place + 1
            if text is not None:
                os.write(terminal, text.encode() + b"\n")
                seen = len(shown)
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert not waiting, (waiting, shown)
    return os.waitstatus_to_exitcode(status), shown


@given(ports=st.sets(st.integers(1, 65535), min_size=1, max_size=50))
def test_lists_of_ports_are_read_as_they_are_written(ports: set[int]) -> None:
    assert as_ports(spelled(ports)) == tuple(sorted(ports))


@given(text=st.text(alphabet="0123456789,- x", max_size=20))
def test_any_list_of_ports_is_understood_or_refused(text: str) -> None:
    understood: tuple[int, ...] = ()
    with contextlib.suppress(UsageError):
        understood = as_ports(text)
        assert understood
    assert all(1 <= port <= 65535 for port in understood)
