"""The watch on the essential performance: signals of a CAN database, and a device whose frames cannot be read."""

from __future__ import annotations

import shutil
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import can
import pytest

from harness.capture import CaptureFile
from harness.links.can import CanLink, open_can
from harness.rig.claims import EssentialPerformanceClaim
from harness.rig.loading import load_device
from harness.watch import EssentialPerformanceWatch, IncidentKind

DEVICE = Path(__file__).parents[1] / "rig/ventilator.yaml"
BUSES = (f"ventilator{number}" for number in count())
LAST = 0x7FF


class Ventilator:
    """The device's end of a bus, and the watch at the other."""

    def __init__(self, link: CanLink, bus: can.BusABC, watch: EssentialPerformanceWatch) -> None:
        self.link, self.bus, self.watch = link, bus, watch

    def says(self, *frames: bytes, number: int = 0x100, extended: bool = False) -> None:
        """Send frames, and wait until the watch has had them: whoever subscribes after it hears of each after it."""
        heard = threading.Event()
        unsubscribe = self.link.subscribe(lambda frame: heard.set() if frame.can_id == LAST else None)
        for data in frames:
            self.bus.send(can.Message(arbitration_id=number, data=data, is_extended_id=extended))
        self.bus.send(can.Message(arbitration_id=LAST, is_extended_id=False))
        assert heard.wait(10)
        unsubscribe()

    def limits(self) -> list[str]:
        """What left its limit, in the watch's words."""
        self.watch.close()
        return [each.detail for each in self.watch.report().incidents if each.kind is IncidentKind.LIMIT]


@pytest.fixture
def ventilator(tmp_path: Path) -> Iterator[Ventilator]:
    channel = next(BUSES)
    tap = CaptureFile(tmp_path / "can.cap")
    link = open_can(interface="virtual", channel=channel, name="can", tap=tap)
    bus = can.Bus(interface="virtual", channel=channel)
    claim = load_device(DEVICE)[0].claims["EP-VOLUME"]
    assert isinstance(claim, EssentialPerformanceClaim)
    watch = EssentialPerformanceWatch(link, claim_id="EP-VOLUME", claim=claim)
    yield Ventilator(link, bus, watch)
    watch.close()
    link.close()
    bus.shutdown()
    tap.close()


def status(mode: int, wanted: float, volume: float) -> bytes:
    """A frame with volumes in millilitres."""
    return struct.pack(">BH", mode, round(wanted * 2)) + struct.pack("<h", round((volume + 10) * 2)) + bytes(3)


def test_within_its_limits_it_is_quiet(ventilator: Ventilator) -> None:
    ventilator.says(status(1, 500, 500), status(1, 500, 460), status(0, 500, 0))
    report = ventilator.watch.report()
    assert (report.fresh, report.samples, report.incidents) == (True, 3, ())
    assert ventilator.watch.values() == pytest.approx({"mode": 0, "set": 0.5, "volume": 0.0})


def test_outside_it_says_so(ventilator: Ventilator) -> None:
    ventilator.says(status(1, 500, 500), status(1, 500, 400), status(1, 500, 390))
    assert ventilator.limits() == ["volume 0.4 is not within 10 % of set 0.5"]


@pytest.mark.parametrize("length", range(5))
def test_a_frame_cut_short_is_outside(ventilator: Ventilator, length: int) -> None:
    """What was said before does not count for what is not said now."""
    ventilator.says(status(1, 500, 500), status(1, 500, 500)[:length])
    (said,) = ventilator.limits()
    assert "cannot be read" in said


def test_a_value_that_is_no_longer_sent_is_a_gap(ventilator: Ventilator, tmp_path: Path) -> None:
    """The heartbeat goes on, and the pressure in the other frame was good when it was last heard of."""
    with watching(ventilator, tmp_path, frame=0x102, max_age=0.2) as watch:
        for _ in range(2):
            ventilator.says(struct.pack(">H", 500), number=0x102)
            ventilator.says(status(1, 500, 500))
        assert (watch.report().samples, watch.report().incidents) == (2, ())
        late = time.monotonic() + 0.25
        while time.monotonic() < late:
            ventilator.says(status(1, 500, 500))
        (gap,) = watch.report().incidents
        assert (gap.kind, gap.limit) == (IncidentKind.GAP, 0.2)
        assert "ms without volume, limit 200 ms" in gap.detail
        counted = watch.report().samples
        ventilator.says(status(1, 500, 500))
        assert watch.report().samples == counted, "what is out of date is no sample"
        ventilator.says(struct.pack(">H", 500), number=0x102)
        ventilator.says(status(1, 500, 500))
        assert watch.report().samples == counted + 1
        assert len(watch.report().incidents) == 1


def test_what_does_not_apply_may_rest(ventilator: Ventilator, tmp_path: Path) -> None:
    with watching(ventilator, tmp_path, frame=0x102, max_age=0.1) as watch:
        ventilator.says(struct.pack(">H", 500), number=0x102)
        ventilator.says(status(0, 500, 0))
        late = time.monotonic() + 0.15
        while time.monotonic() < late:
            ventilator.says(status(0, 500, 0))
        assert watch.report().incidents == ()


@contextmanager
def watching(
    ventilator: Ventilator, folder: Path, *, frame: int, max_age: float
) -> Iterator[EssentialPerformanceWatch]:
    """Watch the volume in a frame of its own."""
    ventilator.watch.close()
    text = DEVICE.read_text()
    old = "volume: {signal: STATUS.Volume, scale: 0.001}"
    assert old in text
    new = f"volume: {{frame: {frame}, offset: 0, type: u16, scale: 0.001, max_age: {max_age}}}"
    (folder / "ventilator.yaml").write_text(text.replace(old, new))
    shutil.copy(DEVICE.with_suffix(".dbc"), folder)
    claim = load_device(folder / "ventilator.yaml")[0].claims["EP-VOLUME"]
    assert isinstance(claim, EssentialPerformanceClaim)
    watch = EssentialPerformanceWatch(ventilator.link, claim_id="EP-VOLUME", claim=claim)
    yield watch
    watch.close()


def test_a_heartbeat_alone_is_no_sample(ventilator: Ventilator) -> None:
    ventilator.says(status(1, 500, 500), number=0x101)
    ventilator.says(status(1, 500, 500), extended=True)
    report = ventilator.watch.report()
    assert (report.fresh, report.samples) == (False, 0), "neither another message nor one of 29 bits is the heartbeat"
