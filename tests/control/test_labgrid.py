"""Control by a place of a labgrid coordinator: labgrid's own programs, a power unit with a socket."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.control.base import Capability, EventKind
from harness.control.labgrid import LabgridControl
from harness.control.labgrid_place import LabgridPlace
from harness.control.medium import MediumImage
from harness.errors import ControlFault, UsageError
from harness.rig.control_specs import LabgridControlSpec

sys.path.insert(0, str(Path(__file__).parent))
from labgrid_lab import CLIENT, Lab  # noqa: E402 - found by the line above


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("lab"))
    yield lab
    lab.close()


@pytest.fixture
def lab(running: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """The lab with every place free and its power on; its `ssh` is found."""
    monkeypatch.setenv("PATH", running.environment["PATH"])
    monkeypatch.setenv("no_proxy", running.environment["no_proxy"])
    running.unit.lie = ""
    running.unit.on = {3: True, 4: True}
    running.unit.told.clear()
    running.medium.write_bytes(b"")
    running.switched()
    yield running
    (running.folder / "stuck").unlink(missing_ok=True)
    running.card.unlink(missing_ok=True)
    assert running.owner() == running.owner("desk") == "None", "a place was kept"


Make = Callable[..., LabgridControl]


@pytest.fixture
def control(lab: Lab, tmp_path: Path) -> Iterator[Make]:
    """Makes controls of the place `pump`; `notes` is what they noted."""
    made: list[LabgridControl] = []

    def make(*, notes: list[tuple[str, dict[str, Any]]] | None = None, **settings: Any) -> LabgridControl:
        spec = specified(lab, **settings)

        def note(event: str, data: dict[str, Any]) -> None:
            if notes is not None:
                notes.append((event, data))

        image = MediumImage(tmp_path / "storage", limits=spec.storage, note=note) if spec.storage else None
        made.append(LabgridControl(spec, place=LabgridPlace(spec, client=str(CLIENT)), note=note, image=image))
        return made[-1]

    yield make
    for each in made:
        each.close()


def specified(lab: Lab, **settings: Any) -> LabgridControlSpec:
    return LabgridControlSpec.model_validate(
        {"place": "pump", "coordinator": lab.coordinator, "settle": 0.0, "off_seconds": 0.0, **settings}
    )


def test_the_power_of_a_place_is_switched_and_read_back(control: Make, lab: Lab) -> None:
    notes: list[tuple[str, dict[str, Any]]] = []
    pump = control(notes=notes)
    assert lab.owner() == notes[0][1]["user"]
    assert pump.capabilities == {Capability.POWER, Capability.CUT, Capability.RESET}
    assert pump.alive()
    pump.power_off()
    assert not pump.alive()
    pump.power_on()
    assert pump.alive()
    pump.reset()
    assert lab.unit.told == [(3, False), (3, True), (3, False), (3, True)]
    assert [event.kind for event in pump.events] == [EventKind.SHUTDOWN, EventKind.RESET]
    pump.close()
    pump.close()
    assert lab.owner() == "None"
    assert [event for event, _ in notes] == ["acquired", "power off", "power on", "power cycle", "released"]
    assert re.fullmatch(r"\d+\.\d.*", notes[0][1]["labgrid"])


def test_a_place_that_somebody_has_is_refused_with_the_name(control: Make, lab: Lab) -> None:
    lab.client("pump", "acquire", user="kim")
    try:
        with pytest.raises(ControlFault, match=r"place 'pump' at 127\.0\.0\.1:\d+ is acquired by \S+/kim\n"):
            control()
        with pytest.raises(UsageError, match="is acquired by .*/kim"):
            LabgridPlace(specified(lab), client=str(CLIENT)).check_free()
        assert "/kim" in lab.owner(), "it was taken away"
    finally:
        lab.client("pump", "release", user="kim")
    assert lab.unit.told == []


def test_a_place_taken_by_ourselves_elsewhere_is_refused_and_kept(control: Make, lab: Lab) -> None:
    first = control()
    with pytest.raises(ControlFault, match=r"is acquired by \S+ \(you\)"):
        control()
    assert lab.owner() != "None"
    first.close()


def test_the_name_of_a_place_is_its_whole_name(lab: Lab) -> None:
    for other in ("pum", "esk", "nowhere"):
        with pytest.raises(UsageError, match=f"has no place '{other}'"):
            LabgridPlace(specified(lab, place=other), client=str(CLIENT)).acquire()


def test_a_place_taken_away_during_a_run_is_a_fault(control: Make, lab: Lab) -> None:
    pump, blind = control(), control(place="desk", reads_back=False)
    for place in ("pump", "desk"):
        lab.client(place, "release", "--kick", user="kim")
        lab.client(place, "acquire", user="kim")
    for each in (pump, blind):
        with pytest.raises(ControlFault, match="not acquired by your user, acquired by kim"):
            each.alive()
        with pytest.raises(ControlFault, match="acquired by kim"):
            each.power_off()
        each.close()
    assert "/kim" in lab.owner(), "it is not ours to release"
    assert lab.unit.told == []
    for place in ("pump", "desk"):
        lab.client(place, "release", user="kim")


KILLED = """
import sys, time
from harness.control.labgrid_place import LabgridPlace
from harness.rig.control_specs import LabgridControlSpec
place = LabgridPlace(LabgridControlSpec(place="pump", coordinator=sys.argv[1]), client=sys.argv[2])
place.acquire()
print("acquired", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_run_gives_the_place_back(lab: Lab, how: signal.Signals) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", KILLED, lab.coordinator, CLIENT],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    assert run.stdout is not None
    assert run.stdout.readline() == b"acquired\n"
    assert lab.owner() != "None"
    os.killpg(run.pid, how)
    run.communicate()
    deadline = time.monotonic() + 30
    while lab.owner() != "None":
        assert time.monotonic() < deadline, "the place is still acquired"


@pytest.mark.parametrize(
    ("lie", "says"),
    [
        ("stuck", r"the port was told `off`, but 0 s later it says that it is on"),
        ("broken", r"`labgrid-client power off` ended with 2: .*500"),
        ("mute", r"did not end within 10 s and was killed"),
    ],
)
def test_a_power_unit_that_lies_or_is_silent_is_a_fault(control: Make, lab: Lab, lie: str, says: str) -> None:
    pump = control(timeout=10)
    lab.unit.lie = lie
    with pytest.raises(ControlFault, match=f"(?s){says}"):
        pump.power_off()
    assert pump.events == ()


def test_what_is_not_there_is_named(lab: Lab) -> None:
    with pytest.raises(UsageError, match="labgrid's client, and /nowhere/labgrid-client is not there"):
        LabgridPlace(specified(lab), client="/nowhere/labgrid-client")
    away = LabgridPlace(specified(lab, coordinator="127.0.0.1:9"), client=str(CLIENT))
    with pytest.raises(ControlFault, match=r"(?s)at 127\.0\.0\.1:9: the coordinator does not say .*unavailable"):
        away.check_free()


def test_labgrid_in_our_own_environment_is_refused(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, *map(str, CLIENT.parents[1].glob("lib/python3*/site-packages"))])
    with pytest.raises(UsageError, match="fork of pyserial .* is in Proofrig's own environment"):
        LabgridPlace(specified(lab), client=str(CLIENT))


def test_settings_of_labgrid_do_not_come_from_the_shell(
    control: Make, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LG_PLACE", "desk")
    monkeypatch.setenv("LG_ENV", "/nowhere.yaml")
    monkeypatch.setenv("LG_USERNAME", "jd")
    pump = control()
    assert lab.owner().endswith("/jd")
    assert pump.alive()


# Storage


@pytest.mark.parametrize(("mux", "tool"), [("sd-mux", "usbsdmux /dev/mux-7 "), ("usb-mux", "usbmuxctl ")])
def test_a_medium_is_switched_to_the_bench_read_and_switched_back(control: Make, lab: Lab, mux: str, tool: str) -> None:
    bytes_ = os.urandom(3 * 2**20 + 17)
    lab.medium.write_bytes(bytes_)
    notes: list[tuple[str, dict[str, Any]]] = []
    pump = control(notes=notes, storage={"mux": mux, "path": str(lab.card)})
    assert Capability.STORAGE in pump.capabilities
    with pytest.raises(ControlFault, match="without power"):
        pump.storage()
    assert lab.switched() == []
    pump.power_off()
    image = pump.storage()
    assert image.read_bytes() == bytes_
    told = lab.switched()
    assert [line.startswith(tool) for line in told] == [True] * 3, told
    assert [bool(re.search(r" host$|--host-device", line)) for line in told] == [False, True, False]
    assert not lab.card.exists()
    kept = next(data for event, data in notes if event == "storage")
    assert kept == {"medium": str(lab.card), "bytes": len(bytes_), "sha256": hashlib.sha256(bytes_).hexdigest()}
    pump.close()
    assert not image.exists()


def test_a_medium_that_cannot_be_read_is_switched_back(control: Make, lab: Lab) -> None:
    lab.medium.write_bytes(bytes(4096))
    pump = control(storage={"mux": "sd-mux", "path": str(lab.card), "most_bytes": 1000})
    pump.power_off()
    with pytest.raises(ControlFault, match="it has 4096 bytes, and the image may have 1000"):
        pump.storage()
    assert [line.split()[-1] for line in lab.switched()] == ["dut", "host", "dut"]


def test_a_multiplexer_that_does_not_switch_is_a_fault(control: Make, lab: Lab) -> None:
    lab.medium.write_bytes(b"x")
    pump = control(storage={"mux": "sd-mux", "path": str(lab.card), "switch_within": 0.3})
    pump.power_off()
    (lab.folder / "stuck").touch()
    with pytest.raises(ControlFault, match="switched to the bench, but 0.3 s later there is no medium at"):
        pump.storage()
    lab.card.symlink_to(lab.medium)
    with pytest.raises(ControlFault, match="switched to the device, but 0.3 s later there is a medium at"):
        pump.storage()
