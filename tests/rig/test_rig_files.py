"""Rig and device files: every mistake is named with file, line and key."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.rig.claims import AccountClaim, LockoutClaim, Status
from harness.rig.device_file import ModbusSurface
from harness.rig.loading import json_schemas, load_device, load_rig

ROOT = Path(__file__).parents[2]
RIG = """\
rig: bench
device: pump.yaml
item: {serial: S1, grade: emulated}
targets: [127.0.0.1]
links:
  modbus-tcp: {type: modbus-tcp, host: 127.0.0.1, port: 1502}
"""


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    """A minimal valid rig beside the pump's device file."""
    shutil.copy(ROOT / "rigs/devices/infusion-pump.yaml", tmp_path / "pump.yaml")
    path = tmp_path / "rig.yaml"
    path.write_text(RIG)
    return path


def edited(path: Path, old: str, new: str) -> Path:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return path


@pytest.mark.parametrize("rig", sorted(ROOT.glob("rigs/*.yaml")), ids=lambda path: path.stem)
def test_the_rigs_of_this_repository_are_valid(rig: Path) -> None:
    loaded = load_rig(rig)
    assert loaded.device.claims_of(LockoutClaim)["LOCKOUT"].threshold == 3
    assert all(claim.status is Status.APPROVED for claim in loaded.device.claims.values())


def test_anchors_and_hexadecimal_numbers_are_read(bench: Path) -> None:
    device = load_rig(bench).device
    rtu, tcp = device.surfaces["modbus-rtu"], device.surfaces["modbus-tcp"]
    assert isinstance(rtu, ModbusSurface)
    assert isinstance(tcp, ModbusSurface)
    assert rtu.registers == tcp.registers
    assert rtu.link == "modbus-rtu"
    assert list(device.claims_of(AccountClaim)) == ["ACCOUNTS"]


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("rig: bench", "rig: [bench", 2, "not valid YAML"),
        ("rig: bench", "rig: Bench!", 1, "rig"),
        ("device: pump.yaml", "device: none.yaml", 2, "does not exist"),
        ("grade: emulated", "grade: shiny", 3, "item.grade"),
        ("grade: emulated", "grade: emulated, colour: red", 3, "unknown key 'colour'"),
        ("serial: S1, ", "", 3, "'serial' is missing"),
        ("targets: [127.0.0.1]", "targets: []", 6, "127.0.0.1 is not among the targets"),
        ("  modbus-tcp: {type", "  modbus: {type", 6, "did you mean 'modbus-tcp'"),
        ("type: modbus-tcp, host", "type: carrier-pigeon, host", 6, "carrier-pigeon"),
        ("targets: [127.0.0.1]", "targets: [127.0.0.1, 192.168..1]", 1, "'192.168..1' is no address"),
        ("port: 1502", "port: 70000", 6, "links.modbus-tcp.port"),
        (
            "{type: modbus-tcp, host: 127.0.0.1, port: 1502}",
            "{type: https, host: 127.0.0.1, fingerprint: beef}",
            6,
            "beef",
        ),
        ("port: 1502", "port: '${env:NO_SUCH_VARIABLE_HERE}'", 6, "NO_SUCH_VARIABLE_HERE is not set"),
        *(
            ("targets:", f"control: {{{control}}}\ntargets:", 4, words)
            for control, words in (
                ("type: labgrid, place: +, coordinator: 'lab:20408'", "control.place"),
                ("type: labgrid, place: pump, coordinator: --config=x", "control.coordinator"),
                ("type: labgrid, place: pump, storage: {mux: sd-mux, path: card}", "control.storage.path"),
                ("type: labgrid, place: pump, storage: {mux: relay, path: /dev/sdb}", "control.storage.mux"),
                ("type: operator, storage: {put_back: Again.}", "'take_out' is missing"),
                (
                    "type: command, power_on: [a], power_off: [b], storage: {command: [dd, of=/tmp/x]}",
                    "the command names no `{image}`",
                ),
            )
        ),
        *(
            ("targets:", f"control: {{type: scpi, {supply}}}\ntargets:", 4, words)
            for supply, words in (
                ("resource: 'TCPIP::', identity: x, on_volts: {least: 1, most: 2}", "no VISA resource"),
                (
                    "resource: 'TCPIP::127.0.0.1::5025::SOCKET', identity: '(', on_volts: {least: 1, most: 2}",
                    "expression",
                ),
                (
                    "resource: 'TCPIP::127.0.0.1::5025::SOCKET', identity: x, on_volts: {least: 3, most: 2}",
                    "over most 2",
                ),
                ("resource: 'TCPIP::127.0.0.1::5025::SOCKET', identity: x", "'on_volts' is missing"),
                (
                    "resource: 'TCPIP::127.0.0.1::5025::SOCKET', identity: x, on_volts: {least: 1, most: 2}, "
                    'power_off: "OUTP OFF\\nOUTP ON"',
                    "control.power_off",
                ),
            )
        ),
        ("targets:", "photos: [rig.yaml, none.jpg]\ntargets:", 4, "photograph 'none.jpg' does not exist"),
        ("targets:", "equipment: [{name: PSU, calibration_due: 2027}]\ntargets:", 4, "not a date"),
        ("targets:", "equipment: [{name: PSU, calibration_due: 31.12.2027}]\ntargets:", 4, "calibration_due"),
        ("targets:", "control: {type: operator, power_on: ''}\ntargets:", 4, "control.power_on"),
        ("targets:", "reset_line: {link: modbus-tcp, line: dtr}\ntargets:", 4, "no serial link with control lines"),
        ("links:", "links:\n  console: {type: serial, port: 'usb:403:6001'}", 6, "not usb:VID:PID"),
        ("links:", "links:\n  console: {type: serial, port: /dev/x, stopbits: 3}", 6, "stopbits"),
        (
            "links:",
            "links:\n  modbus-rtu: {type: modbus-rtu, port: 'socket://h:1', rs485: {}}",
            6,
            "rs485 is for an adapter",
        ),
    ],
)
def test_a_mistake_is_named_with_file_line_and_key(bench: Path, old: str, new: str, line: int, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_rig(edited(bench, old, new))
    assert str(caught.value).startswith(f"{bench}:{line}")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("    source: {document: VP1-ICD, revision: '2.0', section: '2.3 and 11.2'}\n", "", "a claim needs a source"),
        ("surfaces: [console, ssh-menu, api]\n    scope", "surfaces: [consol]\n    scope", "no surface named 'consol'"),
        ("identity: modbus-tcp", "identity: smoke-signals", "no surface named 'smoke-signals'"),
        (
            "accounts: [operator, service, admin]\n    login",
            "accounts: [nobody]\n    login",
            "no account named 'nobody'",
        ),
        ("threshold: 3", "threshold: many", "claims.LOCKOUT.threshold"),
        ("  LOCKOUT:", "  lockout:", "claim id 'lockout'"),
        ("      token: token\n", "      token: token\n      cookie: sid\n", "either `token` or `cookie`"),
        ("body: {user: '{user}', role: '{role}',", "body: {user: '{user}',", "user-add: the operation has role"),
        (", rows: files, columns:", ", columns:", "`rows` and `columns` go together"),
        (
            "uptime: {action: status, name: uptime_ms",
            "uptime: {action: stats, name: uptime_ms",
            "no action named 'stats'",
        ),
        ("size_in: header length}", "size_in: length}", "no earlier part 'length'"),
        ("{name: salt, size: 16}", "{name: salt}", "either `size` or `size_in`"),
        ("    header: header\n", "    header: head\n", "no part named head"),
        ("    backup: BACKUP\n", "    backup: BACKUPS\n", "no claim named 'BACKUPS'"),
        ("banner: 'first use", "banner: '(first use", "not a regular expression for bytes"),
        ("pattern: '", "pattern: '[", "not a regular expression"),
        ("(?P<state>", "(?P<status>", "no group `state`"),
        ("user_prompt: 'login", "user_prompt: 'login|(?P<a>x)|(?P<a>y)", "not a regular expression"),
        ("password_prompt: 'p", "password_prompt: '(?i)p", "the prompts, joined by |"),
        ("closed: [api,", "closed: [app,", "no surface named 'app'"),
        ("    action: alarm-test\n", "    action: scream\n", "surface console has no action named 'scream'"),
        ("    acknowledge: start\n", "", "either `acknowledge` or `lasts`"),
        ("acknowledge: start", "acknowledge: begin", "surface console has no action named 'begin'"),
        ("performance: EP-RATE", "performance: PORTS", "'PORTS' is no claim about the essential performance"),
        ("- {field: alarm,", "- {field: alert,", "the claim `performance` has no field named 'alert'"),
        ("- {surface: modbus-tcp, field: alarm,", "- {surface: modbus, field: alarm,", "no surface named 'modbus'"),
        ("- {surface: api, field: alarm,", "- {surface: uds, field: alarm,", "uds has no field named 'alarm'"),
        ("classes: {patch: []", "classes: {tiny: []", "claims.UPDATE.classes"),
    ],
)
def test_a_mistake_in_the_device_file_is_named(bench: Path, old: str, new: str, words: str) -> None:
    edited(bench.parent / "pump.yaml", old, new)
    with pytest.raises(UsageError) as caught:
        load_rig(bench)
    assert str(bench.parent / "pump.yaml") in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("transfer", "words"),
    [
        ("upload: {by: xmodem, octets: none, within: 9}", "needs `ready_when`"),
        ("upload: {by: xmodem, ready_when: now, path: x, octets: none, within: 9}", "leave `path` out"),
        ("upload: {by: ymodem, ready_when: now, octets: none, within: 9}", "the name it gives the file"),
        ("upload: {by: sftp, octets: none, within: 9}", "needs a `path`"),
        ("upload: {by: sftp, path: x, link: smoke, octets: none, within: 9}", "no link named 'smoke'"),
        ("upload: {by: scp, path: x, ready_when: now, octets: none, within: 9}", "leave `ready_when` out"),
        ("upload: {by: zmodem, octets: none, within: 9}", "xmodem-1k"),
        ("upload: {by: sftp, path: x, octets: none}", "within"),
        ("download: {by: ymodem, ready_when: now, path: x, within: 9}", "the device names the file"),
        ("download: {by: xmodem, ready_when: now, link: ssh, within: 9}", "leave `link` out"),
        ("download: {by: sftp, path: x, within: 9}, upload: {by: sftp, path: x, octets: none, within: 9}", "either"),
    ],
)
def test_a_mistake_in_a_file_transfer_is_named(bench: Path, transfer: str, words: str) -> None:
    edited(bench.parent / "pump.yaml", "      config: {send: config}", f"      config: {{send: config, {transfer}}}")
    with pytest.raises(UsageError) as caught:
        load_rig(bench)
    assert words in str(caught.value)


def test_an_operation_of_a_dialogue_with_a_file_takes_its_arguments(bench: Path) -> None:
    made = "backup: {send: save, download: {by: sftp, path: x, within: 9}}"
    edited(bench.parent / "pump.yaml", "      config: {send: config}", f"      config: {{send: config}}\n      {made}")
    with pytest.raises(UsageError, match="the operation has passphrase"):
        load_rig(bench)


@pytest.mark.parametrize("due", ["2027-06-30", "'2027-06-30'", "not required", "''"])
def test_a_calibration_is_due_on_a_day_or_not_at_all(bench: Path, due: str) -> None:
    edited(bench, "targets:", f"equipment: [{{name: PSU, maker: Rigol, calibration_due: {due}}}]\ntargets:")
    (piece,) = load_rig(bench).file.equipment
    assert piece.model_dump(mode="json")["calibration_due"] == due.strip("'")


def test_environment_variables_are_filled_in(bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUMP_SERIAL", "S9")
    edited(bench, "serial: S1", "serial: '${env:PUMP_SERIAL}-${env:UNSET_HERE:-x}'")
    assert load_rig(bench).file.item.serial == "S9-x"


def test_a_missing_file_is_no_traceback(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_rig(tmp_path / "none.yaml")


@given(blob=st.binary(max_size=200))
def test_any_bytes_are_a_usage_error_or_a_rig(blob: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("any") / "rig.yaml"
    path.write_bytes(blob)
    with pytest.raises(UsageError):
        load_rig(path)


@pytest.mark.parametrize("scalar", ["2001-99-99", "!!int x", "0x_", "!!float .", "!!binary '%'", "!!timestamp z", "1_"])
def test_odd_scalars_are_no_traceback(bench: Path, scalar: str) -> None:
    with pytest.raises(UsageError):
        load_rig(edited(bench, "serial: S1", f"serial: {scalar}, extra: 1"))


@given(text=st.text(alphabet="{}[]:-,&*!|>'\"%@`#?\n ab1", max_size=60))
def test_any_yaml_like_text_is_a_usage_error(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("text") / "device.yaml"
    path.write_text(text)
    with pytest.raises(UsageError):
        load_device(path)


def test_the_schemas_in_the_tree_are_those_of_the_models() -> None:
    for name, schema in json_schemas().items():
        stored = json.loads((ROOT / f"rigs/schema/{name}.json").read_text())
        assert stored == schema, "run `make schema`"


@pytest.mark.parametrize("path", sorted(ROOT.glob("rigs/**/*.yaml")), ids=lambda path: path.stem)
def test_every_file_points_at_its_schema(path: Path) -> None:
    first = path.read_text().splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert (path.parent / first.split("=", 1)[1]).is_file()
