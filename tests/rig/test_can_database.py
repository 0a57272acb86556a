"""CAN databases: a device file calls messages and signals by name, and no frame makes the decoding stumble."""

from __future__ import annotations

import hashlib
import math
import shutil
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.qualify.falsify_interfaces import essential_performance
from harness.rig.can_database import CanSignal, Neighbours
from harness.rig.claims import EssentialPerformanceClaim
from harness.rig.device_file import BusCommandSurface, UdsSurface
from harness.rig.loading import load_device, read_device

HERE = Path(__file__).parent


def signal(name: str) -> CanSignal:
    beside = Neighbours(HERE)
    beside.add("ventilator.dbc")
    return beside.signal(name)


SIGNALS = {
    name: signal(name)
    for name in ("STATUS.Mode", "STATUS.SetVolume", "STATUS.Volume", "AIRWAY.Pressure", "PAGES.Hours", "PAGES.Battery")
}


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """The ventilator's files, to be edited."""
    for name in ("ventilator.yaml", "ventilator.dbc"):
        shutil.copy(HERE / name, tmp_path / name)
    return tmp_path / "ventilator.yaml"


def edited(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_what_a_base_names_lies_beside_the_base(device: Path) -> None:
    variants = device.parent / "variants"
    variants.mkdir()
    (variants / "small.yaml").write_text("base: ../ventilator.yaml\nmodel: V2\n")
    loaded = read_device(variants / "small.yaml")
    assert loaded.files[-1].path == device.parent / "ventilator.dbc"
    # A variant with a database of that name has its own.
    shutil.copy(device.parent / "ventilator.dbc", variants)
    assert read_device(variants / "small.yaml").files[-1].path == variants / "ventilator.dbc"


def test_names_become_numbers() -> None:
    loaded, _ = load_device(HERE / "ventilator.yaml")
    commands, diagnosis = loaded.surfaces["commands"], loaded.surfaces["diagnosis"]
    assert isinstance(commands, BusCommandSurface)
    assert isinstance(diagnosis, UdsSurface)
    assert (commands.command_id, commands.session_id, commands.known_ids) == (512, 257, (256, 257, 512, 0x201))
    assert (diagnosis.request_id, diagnosis.response_id) == (0x98DA10F1, 0x98DAF110), "29 bits: bit 31 is set"
    claim = loaded.claims["EP-VOLUME"]
    assert isinstance(claim, EssentialPerformanceClaim)
    assert (claim.heartbeat, claim.fields["mode"].word) == (256, 256)
    names = ("ventilator.yaml", "ventilator.dbc")
    assert [file.path.name for file in read_device(HERE / names[0]).files] == [*names]
    assert [file.sha256 for file in read_device(HERE / names[0]).files] == [
        hashlib.sha256((HERE / name).read_bytes()).hexdigest() for name in names
    ]


def test_a_claim_with_signals_can_be_falsified() -> None:
    claim = load_device(HERE / "ventilator.yaml")[0].claims["EP-VOLUME"]
    assert isinstance(claim, EssentialPerformanceClaim)
    limit, gap = essential_performance(claim)
    assert isinstance(limit.claim, EssentialPerformanceClaim)
    assert isinstance(gap.claim, EssentialPerformanceClaim)
    frame = struct.pack("<BHhxxx", 1, 0, 1020)
    assert claim.fields["volume"].decode(frame) == pytest.approx(0.5)
    assert limit.claim.fields["volume"].decode(frame) == pytest.approx(0.7)
    assert gap.claim.fields == claim.fields


@pytest.mark.parametrize(
    ("name", "data", "value"),
    [
        ("STATUS.Mode", "01", 1.0),
        ("STATUS.Mode", "01 03e8 fc03 000000", 1.0),
        ("STATUS.Mode", "c8 00", 200.0),  # beyond its range: as it is said
        ("STATUS.SetVolume", "01 03e8 fc03", 500.0),
        ("STATUS.SetVolume", "01 03", math.nan),
        ("STATUS.Volume", "01 03e8 fc03" + "00" * 60, 500.0),  # longer than the message
        ("STATUS.Volume", "01 03e8 ffff", -10.5),
        ("STATUS.Volume", "", math.nan),
        ("AIRWAY.Pressure", struct.pack("<f", 12.5).hex(), 12.5),
        ("AIRWAY.Pressure", struct.pack("<f", math.inf).hex(), math.inf),
        ("PAGES.Hours", "01 1000", 16.0),
        ("PAGES.Hours", "02 10", None),  # another page
        ("PAGES.Battery", "02 10", 16.0),
        ("PAGES.Hours", "09 1000", math.nan),  # a page that there is not
        ("PAGES.Hours", "01 10", math.nan),
        ("PAGES.Hours", "", math.nan),
    ],
)
def test_signals_are_decoded(name: str, data: str, value: float | None) -> None:
    assert SIGNALS[name].decode(bytes.fromhex(data)) == (value if value is None else pytest.approx(value, nan_ok=True))


@settings(deadline=None)
@given(name=st.sampled_from(sorted(SIGNALS)), data=st.binary(max_size=64))
def test_any_frame_is_a_number_or_none(name: str, data: bytes) -> None:
    value = SIGNALS[name].decode(data)
    assert value is None or isinstance(value, float)


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("heartbeat: STATUS", "heartbeat: STATU", "claims.EP-VOLUME", "did you mean 'STATUS'"),
        ("STATUS.Volume", "STATUS.Volum", "fields.volume.signal", "no signal 'Volum', did you mean 'Volume'"),
        ("STATUS.Volume", "STATUS", "fields.volume.signal", "write MESSAGE.SIGNAL"),
        ("STATUS.Volume", "NOTHING.Volume", "fields.volume.signal", "no message named 'NOTHING'"),
        ("{signal: STATUS.Mode}", "{signal: STATUS.Mode, offset: 1}", "fields.mode", "`signal`, or all of"),
        ("{signal: STATUS.Mode}", "{frame: STATUS, offset: 1}", "fields.mode", "`signal`, or all of"),
        ("dbc: [ventilator.dbc]\n", "", "commands.command_id", "no database is under `dbc`"),
        ("dbc: [ventilator.dbc]", "dbc: [none.dbc]", "dbc.0", "relative to the device file"),
        ("dbc: [ventilator.dbc]", "dbc: [ventilator.yaml]", "dbc.0", "is no DBC"),
        ("dbc: [ventilator.dbc]", "dbc: [ventilator.dbc, ventilator.dbc]", "dbc.1", "in another database already"),
        ("command_id: COMMAND", "command_id: AIRWAY", "commands.command_id", "11 bits"),
        ("command_id: COMMAND", "command_id: 0x800", "commands.command_id", "11 bits"),
        ("request_id: 0x18DA10F1", "request_id: 0x7E0", "surfaces.diagnosis", "different width"),
        ("request_id: 0x18DA10F1", "request_id: 0x20000000", "diagnosis.request_id", "11 bits, or 29"),
    ],
)
def test_a_mistake_is_named_with_file_line_and_key(device: Path, old: str, new: str, line: str, words: str) -> None:
    edited(device, old, new)
    with pytest.raises(UsageError) as caught:
        load_device(device)
    first = str(caught.value).splitlines()[0]
    assert first.startswith(f"{device}:")
    assert line in first
    assert words in first


@settings(deadline=None)  # the first one imports the parser
@given(blob=st.binary(max_size=120) | st.text(alphabet='BO_SG :|@+-(),[]"0123456789M\n', max_size=120).map(str.encode))
def test_any_bytes_are_a_database_or_a_mistake(blob: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("dbc")
    (folder / "any.dbc").write_bytes(blob)
    beside = Neighbours(folder)
    try:
        beside.add("any.dbc")
    except ValueError:
        assert not beside.read


@pytest.mark.parametrize("cut", range(0, 900, 23))
def test_a_database_cut_short_is_a_database_or_a_mistake(cut: int, tmp_path: Path) -> None:
    (tmp_path / "any.dbc").write_bytes((HERE / "ventilator.dbc").read_bytes()[:cut])
    beside = Neighbours(tmp_path)
    try:
        beside.add("any.dbc")
    except ValueError:
        assert not beside.read
