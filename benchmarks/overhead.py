"""What the harness costs a testcase, with a device that answers at once.

`overhead_ms_per_test` is against plain pytest with the same assertions and no device at all;
`overhead_beyond_exchange_ms` against plain pytest that has the same exchange with the device by hand.
"""

from __future__ import annotations

import os
import socket
import socketserver
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

COUNT = 400
ROUNDS = 5

PLAIN = """
import pytest
@pytest.mark.parametrize("n", range({count}))
def test_plain(n):
    for _ in range(5):
        assert n == n
"""
# The same exchange with the device as a testcase has: identity, proof of life, contrast; then five assertions.
EXCHANGE = """
import socket, struct, pytest
@pytest.mark.parametrize("n", range({count}))
def test_plain(n):
    with socket.create_connection(("127.0.0.1", PORT)) as device:
        device.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for address, count in ((2, 7), (0, 2), (65535, 1)):
            device.sendall(struct.pack(">HHHBBHH", 1, 0, 6, 1, 4, address, count))
            assert device.recv(300)
    for _ in range(5):
        assert n == n
"""
CASES = """
from harness.testcase import About, Instance, each, testcase, verifies
ABOUT = About(property="integrity", phase="design", method="function", threat="none")
@testcase("BENCH", title="benchmark", tags=[verifies("NMPA-2022/VER-RULE")], about=ABOUT)
@each("n", lambda device: [Instance(str(n), (n,)) for n in range({count})])
def test_case(case, n):
    for _ in range(5):
        case.check("equal", held=n == n, expected=n, observed=n, claim="VERSION")
"""
DEVICE = """
device: prompt
manufacturer: none
model: ABCD
kind: benchmark
version: 1.0.0
identity: modbus
links: [modbus]
surfaces:
  modbus:
    type: modbus
    link: modbus
    registers:
      uptime: {table: input, address: 0, count: 2, type: u32, scale: 0.001}
      version: {table: input, address: 2, count: 3, type: dotted}
      serial: {table: input, address: 5, count: 2, type: ascii}
      model: {table: input, address: 7, count: 2, type: ascii}
    fields: {uptime: uptime, version: version, serial: serial, model: model}
claims:
  VERSION:
    {type: version, surfaces: [modbus], pattern: '.*', status: approved,
     source: {document: none, revision: '1', section: '1'}}
"""
RIG = """
rig: bench
device: device.yaml
item: {serial: S001, grade: emulated}
targets: [127.0.0.1]
links:
  modbus: {type: modbus-tcp, host: 127.0.0.1, port: PORT}
"""


class _Device(socketserver.BaseRequestHandler):
    """Answers function 4 from a small map, everything else with exception 2."""

    def handle(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while header := self.request.recv(12):
            transaction, _, _, unit, function, address, count = struct.unpack(">HHHBBHH", header)
            words = struct.pack(">I", int(time.monotonic() * 1000)) + struct.pack(">HHH", 1, 0, 0) + b"S001ABCD"
            data = words[2 * address : 2 * (address + count)]
            pdu = (
                bytes([4, len(data)]) + data
                if function == 4 and len(data) == 2 * count
                else bytes([function | 0x80, 2])
            )
            self.request.sendall(struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu)


def _seconds(folder: Path, *options: str) -> float:
    started = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    # Compiled modules are kept, as between any two runs, but in a folder of the benchmark's own.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(folder / "compiled")
    done = subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"the benchmark's own tests failed with {done.returncode}: {options}")
    return time.monotonic() - started


def overhead() -> Iterator[tuple[str, float]]:
    """Yield milliseconds a test more than each comparison: median of rounds, the start of pytest taken off."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pytest.ini").write_text("[pytest]\n")
        for count in (1, COUNT):
            (folder / f"test_case_{count}.py").write_text(CASES.format(count=count))
        (folder / "device.yaml").write_text(DEVICE)
        with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Device) as server:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, daemon=True).start()
            port = str(server.server_address[1])
            (folder / "rig.yaml").write_text(RIG.replace("PORT", port))
            for count in (1, COUNT):
                (folder / f"test_plain_{count}.py").write_text(PLAIN.format(count=count))
                (folder / f"test_exchange_{count}.py").write_text(EXCHANGE.format(count=count).replace("PORT", port))
            against: dict[str, list[float]] = {"plain": [], "exchange": []}
            for number in range(1 + ROUNDS):
                seconds = {}
                for kind in ("plain", "exchange", "case"):
                    for count in (1, COUNT):
                        rig = ["--rig", "rig.yaml", "--run-dir", f"run-{number}-{count}", "--no-html"]
                        options = [f"test_{kind}_{count}.py", *(rig if kind == "case" else [])]
                        seconds[kind, count] = _seconds(folder, *options)
                case = seconds["case", COUNT] - seconds["case", 1]
                if number == 0:
                    continue  # it compiled
                for kind, extra in against.items():
                    base = seconds[kind, COUNT] - seconds[kind, 1]
                    extra.append((case - base) / (COUNT - 1) * 1000)
            server.shutdown()
    yield "harness.overhead_ms_per_test", statistics.median(against["plain"])
    yield "harness.overhead_beyond_exchange_ms", statistics.median(against["exchange"])
