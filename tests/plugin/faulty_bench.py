"""A bench that can fail: the sham pump, running all the time, behind adapters, and the rig file that names them."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from adapters import Adapter, RawServer, SlcanAdapter, SocketcandServer
from runs import ROOT, Outcome, run

from harness.control.process import ProcessControl

BODY = """
from pathlib import Path
ATTEMPTS = []
def unplug(link, seconds):
    Path(f"unplug-{link}").write_text(str(seconds))
def read(case, surface):
    return case.bench.surface(surface).read("version")
def attacked(case, surface):
    case.attack(surface, "a read")
    case.check("the version", held=True, expected="1", observed="1", claim="VERSION")
def use(case, surface, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        read(case, surface)
"""
RIG = """\
rig: faults
operator: Li Na
device: pump.yaml
item: {{serial: VP1-000417, grade: engineering}}
targets: [127.0.0.1]
answer_within: 1.0
link_back_within: {patience}
links:
{links}
"""


@dataclass
class FaultyBench:
    """A running pump, the adapters in front of it, and the rig file that names them."""

    folder: Path
    device: ProcessControl
    adapters: list[Adapter] = field(default_factory=list)
    links: list[str] = field(default_factory=list)

    def pump_line(self, name: str) -> Callable[[], socket.socket]:
        """Return what opens a line of the pump."""

        def opened() -> socket.socket:
            line = socket.socket(socket.AF_UNIX)
            line.connect(f"{self.device.run_dir}/{name}.sock")
            return line

        return opened

    def wire(self, link: str, kind: type[Adapter]) -> Adapter:
        """Put an adapter in front of a line of the pump, and into the rig file."""
        line = {"modbus-rtu": "rtu"}.get(link, link)
        adapter = kind(self.pump_line(line), self.folder / link)
        self.adapters.append(adapter)
        match adapter:
            case SocketcandServer():
                spec = f"{{type: can, interface: socketcand, channel: can1, port: '{adapter.url}'}}"
            case SlcanAdapter():
                spec = f"{{type: can, interface: slcan, channel: '{adapter.url}', options: {{sleep_after_open: 0}}}}"
            case _:
                kind_of = "modbus-rtu" if link == "modbus-rtu" else "serial"
                # A pseudo-terminal has no parity.
                spec = f"{{type: {kind_of}, port: '{adapter.url}', parity: N, stopbits: 1}}"
        self.links.append(f"  {link}: {spec}")
        return adapter

    def wire_modbus_tcp(self) -> Adapter:
        """Put a relay in front of the pump's Modbus TCP port."""

        def opened() -> socket.socket:
            (line,) = self.device.holder.sockets(1, socket.AF_INET, socket.SOCK_STREAM)
            line.settimeout(5)
            line.connect((self.device.address, 502))
            return line

        relay = RawServer(opened, self.folder / "modbus-tcp")
        self.adapters.append(relay)
        self.links.append(f"  modbus-tcp: {{type: modbus-tcp, host: 127.0.0.1, port: {relay.port}}}")
        return relay

    def rig(self, *, patience: float = 10.0) -> Path:
        path = self.folder / "rig.yaml"
        path.write_text(RIG.format(links="\n".join(self.links), patience=patience))
        return path

    def run(self, body: str, *options: str, patience: float = 10.0) -> Outcome:
        return run(self.folder, BODY + body, *options, rig=self.rig(patience=patience))


@contextmanager
def a_bench(folder: Path) -> Iterator[FaultyBench]:
    """Start a pump for adapters to be put in front of."""
    sham = [sys.executable, str(ROOT / "tests/sham/device.py"), "--run-dir", "{run_dir}"]
    device = ProcessControl([*sham, "--data", "{data_dir}/medium", "--address", "{address}"], log=folder / "sham.log")
    device.power_on()
    text = (ROOT / "rigs/devices/infusion-pump.yaml").read_text()
    text = re.sub(r"(?m)^identity: .*", "identity: modbus-rtu", text)
    (folder / "pump.yaml").write_text(text.replace("surface: modbus-tcp, field", "surface: modbus-rtu, field"))
    made = FaultyBench(folder, device)
    try:
        yield made
    finally:
        for adapter in made.adapters:
            adapter.close()
        device.close()
        device.holder.close()


def attempts(outcome: Outcome, name: str) -> list[tuple[int, str]]:
    ends = [entry.data for entry in outcome.journal.of("case.end") if entry.data["testcase"].endswith(name)]
    return [(end["attempt"], end["verdict"]) for end in ends]
