"""Case sources on models of a real device file; boofuzz as the program it is."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import harness
from harness.errors import UsageError
from harness.fuzz.grammar import Model
from harness.fuzz.models import LOG_IN, PASSWORD, dialogue_model, modbus_model, uds_model
from harness.fuzz.mutators import MutatorSource
from harness.fuzz.sources import BoofuzzSource, case_sources, draw
from harness.rig.claims import UdsServicesClaim
from harness.rig.device_file import DeviceFile, DialogueSurface, ModbusSurface, UdsSurface
from harness.rig.loading import load_device

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def device() -> DeviceFile:
    return load_device(ROOT / "rigs/devices/infusion-pump.yaml")[0]


def diagnostic_model(device: DeviceFile) -> Model:
    spec = device.surfaces["uds"]
    assert isinstance(spec, UdsSurface)
    (claim,) = device.claims_of(UdsServicesClaim).values()
    return uds_model(spec, claim)


@pytest.mark.parametrize("tcp", [True, False], ids=["tcp", "rtu"])
def test_every_declared_function_code_is_a_well_formed_request(device: DeviceFile, tcp: bool) -> None:
    spec = device.surfaces["modbus-tcp"]
    assert isinstance(spec, ModbusSurface)
    model = modbus_model(spec, [3, 4, 6, 16, 43], tcp=tcp)
    pdus = {m.name: m.render()[7 if tcp else 1 :] for m in model.messages}
    assert [pdu[0] for pdu in pdus.values()] == [3, 4, 6, 16, 43]
    assert pdus["function-04"] == bytes.fromhex("0400000001")
    assert pdus["function-16"] == bytes.fromhex("10 0000 0001 02 0000")
    if tcp:
        for message in model.messages:
            adu = message.render()
            assert int.from_bytes(adu[4:6]) == len(adu) - 6


def test_every_declared_service_is_asked_in_every_session_it_is_declared_for(device: DeviceFile) -> None:
    model = diagnostic_model(device)
    (claim,) = device.claims_of(UdsServicesClaim).values()
    asked = {(message.state, message.render()[0]) for message in model.messages}
    assert asked == {(session, service) for session, services in claim.services.items() for service in services}


def test_a_dialogue_is_asked_at_every_prompt_and_for_every_account(device: DeviceFile) -> None:
    spec = device.surfaces["console"]
    assert isinstance(spec, DialogueSurface)
    accounts = {name: device.accounts[name] for name in spec.accounts}
    model = dialogue_model(spec, accounts)
    assert {message.state for message in model.messages} == {LOG_IN, PASSWORD, *accounts}
    assert not any(account.password.encode() in m.render() for m in model.messages for account in accounts.values())


@pytest.mark.parametrize("source", [BoofuzzSource(), MutatorSource()], ids=["boofuzz", "mutators"])
def test_long_lists_of_identifiers_are_among_few_cases(
    device: DeviceFile, source: BoofuzzSource | MutatorSource
) -> None:
    """What overruns a buffer must not be left to luck: 150 cases are half a campaign."""
    for seed in range(3):
        drawn = source.draw(diagnostic_model(device), 150, seed=seed).cases
        assert len(drawn) == 150
        long = [case for case in drawn if case.data[:1] == b"\x22" and len(case.data) > 40]
        assert len(long) >= 3


def test_boofuzz_gives_the_same_cases_for_the_same_seed(device: DeviceFile) -> None:
    model = diagnostic_model(device)
    first, again, other = (BoofuzzSource().draw(model, 60, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.cases != other.cases
    assert first.available > 1000
    good = {(m.state, m.render()) for m in model.messages}
    assert not any((case.state, case.data) in good for case in first.cases)


def test_a_length_field_follows_what_boofuzz_makes_of_the_rest(device: DeviceFile) -> None:
    spec = device.surfaces["modbus-tcp"]
    assert isinstance(spec, ModbusSurface)
    drawn = BoofuzzSource().draw(modbus_model(spec, [16], tcp=True), 300, seed=1).cases
    values = [case for case in drawn if "/values:" in case.id]
    assert values
    for case in values:
        assert int.from_bytes(case.data[4:6]) == len(case.data) - 6


def test_sources_are_plug_ins_and_share_the_work(device: DeviceFile) -> None:
    sources = case_sources()
    assert [source.name for source in sources] == ["boofuzz", "mutators"]
    cases, share = draw(diagnostic_model(device), 41, seed=3, sources=sources)
    assert len(cases) == 41
    assert share == {"boofuzz": 21, "mutators": 20}
    assert len({case.id for case in cases}) == 41


def test_what_a_source_cannot_give_the_next_one_does() -> None:
    class Poor(MutatorSource):
        name = "poor"

        def draw(self, model: Model, count: int, *, seed: int):  # type: ignore[no-untyped-def]
            return super().draw(model, min(count, 3), seed=seed)

    model = Model.from_json(
        '{"name": "m", "messages": [{"name": "a", "state": "", "fields":'
        ' [{"name": "f", "kind": "bytes", "value": "0102", "longest": 64}]}]}'
    )
    cases, share = draw(model, 20, seed=1, sources=[Poor(), MutatorSource()])
    assert share == {"poor": 3, "mutators": 17}
    assert len(cases) == 20


def test_without_boofuzz_the_user_is_told_what_to_install(
    device: DeviceFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A package of that name which cannot be imported stands for one that is not there.
    (tmp_path / "boofuzz.py").write_text("raise ImportError('no boofuzz here')\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(UsageError, match="no boofuzz here") as caught:
        BoofuzzSource().draw(diagnostic_model(device), 5, seed=1)
    assert "proofrig[fuzz]" in str(caught.value)


def test_the_program_names_a_model_it_cannot_read() -> None:
    command = [sys.executable, "-m", "harness.fuzz.boofuzz_source", "--count=1", "--seed=1", "-"]
    done = subprocess.run(command, input=b"{}", capture_output=True, timeout=30, check=False)
    assert done.returncode == 2
    assert b"no fuzz model" in done.stderr


def test_only_the_separate_program_imports_boofuzz_and_nothing_imports_it() -> None:
    package = Path(harness.__file__).parent
    importers: dict[str, set[str]] = {}
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                importers.setdefault(name.split(".")[0], set()).add(path.name)
                importers.setdefault(name, set()).add(path.name)
    assert importers["boofuzz"] == {"boofuzz_source.py"}
    assert "harness.fuzz.boofuzz_source" not in importers
