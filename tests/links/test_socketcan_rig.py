"""A rig file whose bus is SocketCAN: its surfaces, and the watch of essential performance, on a real interface.

Needs `--can socketcan:INTERFACE`, as `test_socketcan.py`.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from pathlib import Path

import pytest

from harness.device import make_surface
from harness.device.outcomes import Accepted, NoAnswer, Refused
from harness.links.dialer import HostDialer
from harness.rig.claims import EssentialPerformanceClaim
from harness.rig.loading import load_rig
from harness.watch import EssentialPerformanceWatch, IncidentKind
from harness.wiring import RigWiring

ROOT = Path(__file__).parents[2]
ANSWERS = {
    bytes.fromhex("22f18c"): bytes.fromhex("62f18c") + b"VP1-000417",
    bytes.fromhex("22f195"): bytes.fromhex("7f2233"),
}
INFUSING = struct.pack(">BBHHBB", 1, 0, 500, 500, 0, 0)


@pytest.fixture
def wiring(bus, tmp_path: Path):
    if bus.interface != "socketcan":
        pytest.skip("needs --can socketcan:INTERFACE; tests/socketcan runs this in a guest that has one")
    text = (ROOT / "rigs/pump-bench.yaml").read_text()
    rig = tmp_path / "rig.yaml"
    rig.write_text(
        text.replace("channel: can0", f"channel: {bus.channel}").replace("devices/", f"{ROOT}/rigs/devices/")
    )
    wiring = RigWiring(
        load_rig(rig), dialer=HostDialer(), port_of=str, break_of=lambda _: None, captures=tmp_path, prefix="test"
    )
    yield wiring
    wiring.close()


def test_diagnostics_over_the_interface_of_a_rig_file(bus, wiring):
    uds = make_surface("uds", wiring, device=wiring.rig.device)
    with socket.socket(socket.AF_CAN, socket.SOCK_DGRAM, socket.CAN_ISOTP) as device:
        device.bind((bus.channel, 0x7E0, 0x7E8))
        device.settimeout(30)
        answering = threading.Thread(target=lambda: [device.send(ANSWERS[device.recv(100)]) for _ in ANSWERS])
        answering.start()
        serial, version = uds.read("serial"), uds.read("version")
        answering.join()
    assert isinstance(serial, Accepted)
    assert serial.value == "VP1-000417"
    assert isinstance(version, Refused)
    assert isinstance(uds.read("serial"), NoAnswer), "nobody is there any more"
    assert not wiring.dropped()


def test_the_watch_of_essential_performance_on_the_interface(bus, wiring):
    claim = wiring.rig.device.claims["EP-RATE"]
    assert isinstance(claim, EssentialPerformanceClaim)
    watch = EssentialPerformanceWatch(wiring.can("can"), claim_id="EP-RATE", claim=claim)
    with socket.socket(socket.AF_CAN, socket.SOCK_RAW, socket.CAN_RAW) as device:
        device.bind((bus.channel,))

        def send(identifier: int) -> None:
            device.send(struct.pack("=IB3x8s", identifier, 8, INFUSING))

        send(0x100)
        assert wiring.can("can").wait_for(lambda frame: frame.can_id == 0x100, timeout=30, since_ns=0) is not None
        over = time.monotonic() + 3 * claim.max_gap
        while time.monotonic() < over:
            send(0x2000_0100)  # an error frame with the heartbeat's number is no heartbeat
            wiring.can("can").collect(claim.max_gap / 4)
        send(0x100)
        wiring.can("can").collect(0.2)
    report = watch.report()
    watch.close()
    assert IncidentKind.GAP in {incident.kind for incident in report.incidents}
    assert report.samples == 2
