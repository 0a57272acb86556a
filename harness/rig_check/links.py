"""Every link of a rig opened once: what was seen of it, and what is wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from harness.bench import Bench
from harness.device.outcomes import Accepted, NoAnswer, Refused, name_of
from harness.errors import BenchFault, UsageError
from harness.links.dialer import connect
from harness.links.http import HttpConnection, HttpSilence
from harness.links.ssh import SshHostKeyMismatch, SshLink, SshNoConnection, SshRefused
from harness.links.tls import TlsIdentityMismatch
from harness.rig import rig_file as spec_of
from harness.rig.loading import Rig

__all__ = ["LinkFinding", "look_at"]

QUIET = 1.5
"""Seconds a bus or console gets to show a sign of life by itself."""


@dataclass(frozen=True, slots=True)
class LinkFinding:
    """What one link came to: `alive` is None where it opens but nothing could be seen."""

    link: str
    address: str
    alive: bool | None
    how: str
    hint: str = ""


def look_at(bench: Bench) -> list[LinkFinding]:
    """Ask the power supply and open every link of an open bench once; say what was seen."""
    rig = bench.rig
    findings = _look_power(bench)
    for name, spec in rig.file.links.items():
        where = f"{rig.path}: links.{name}"
        try:
            alive, how = _LOOKS[type(spec)](bench, name)
            findings.append(LinkFinding(name, _address(spec), alive, how))
        except (BenchFault, UsageError) as error:
            findings.append(LinkFinding(name, _address(spec), False, f"{where}: {error.message}", error.hint or ""))
    return findings


def _look_power(bench: Bench) -> list[LinkFinding]:
    """Ask a power supply or a power port, the controls that can say something of the power."""
    match bench.rig.file.control:
        case spec_of.ScpiControlSpec() as supply:
            where, how = supply.resource, "the output is {}, as measured"
        case spec_of.LabgridControlSpec() as place:
            where = f"{place.place} at {place.coordinator}"
            how = "the port is {}, as it says" if place.reads_back else "acquired; the port cannot say whether it is on"
        case _:
            return []
    try:
        on = bench.control.alive()
    except BenchFault as error:
        return [LinkFinding("(power)", where, False, error.message, error.hint or "")]
    return [LinkFinding("(power)", where, True, how.format("on" if on else "off"))]


def _surface_on(rig: Rig, link: str, kind: str) -> str | None:
    return next((n for n, s in rig.device.surfaces.items() if s.link == link and s.type == kind), None)


def _look_serial(bench: Bench, name: str) -> tuple[bool | None, str]:
    surface = _surface_on(bench.rig, name, "dialogue")
    stream = bench.wiring.open_stream(name)
    if isinstance(stream, NoAnswer):
        return False, stream.reason
    if surface is None and (messages := _surface_on(bench.rig, name, "messages")) is not None:
        return _look_messages(bench, messages)
    if surface is not None:
        at_prompt = bench.dialogue(surface).conversation.at_log_in_prompt(stream)
        return (True, "stands at the log-in prompt") if at_prompt else (False, "opens, but shows no log-in prompt")
    heard = stream.wait_quiet(0.2, QUIET)
    return (True, f"{len(heard)} bytes heard") if heard else (None, "opens; nothing heard")


def _look_tcp(bench: Bench, name: str) -> tuple[bool | None, str]:
    surface = _surface_on(bench.rig, name, "messages")
    if surface is not None:
        return _look_messages(bench, surface)
    stream = bench.wiring.open_stream(name)
    if isinstance(stream, NoAnswer):
        return False, stream.reason
    bench.wiring.close_stream(name, stream)
    return True, "connects"


def _look_messages(bench: Bench, surface: str) -> tuple[bool | None, str]:
    with bench.messages(surface).entrance() as entrance:
        outcome = entrance.ask_unknown()
    if isinstance(outcome, Refused):
        return True, "refuses a message that does not exist"
    return False, f"opens; a message that does not exist: {name_of(outcome)}"


def _look_can(bench: Bench, name: str) -> tuple[bool | None, str]:
    since = time.monotonic_ns()
    frame = bench.wiring.can(name).wait_for(lambda f: not f.error, timeout=QUIET, since_ns=since)
    return (True, f"frame 0x{frame.can_id:03X} heard") if frame else (None, f"opens; no frame in {QUIET:g} s")


def _look_modbus(bench: Bench, name: str) -> tuple[bool | None, str]:
    surface = _surface_on(bench.rig, name, "modbus")
    if surface is None:
        return None, "no surface of the device uses it"
    outcome = bench.surface(surface).read("version")
    seen = f"version {outcome.value}" if isinstance(outcome, Accepted) else name_of(outcome)
    return isinstance(outcome, Accepted), seen


def _look_ssh(bench: Bench, name: str) -> tuple[bool | None, str]:
    match bench.wiring.connect_ssh(name):
        case SshLink() as connection:
            connection.close()
            return True, "host key as pinned, logged in"
        case SshRefused(method=method):
            return False, f"host key as pinned, but the log-in by {method} is refused"
        case SshNoConnection(reason=reason):
            return False, f"no connection: {reason}"
        case SshHostKeyMismatch():
            return False, "another host key is shown than the pinned one"


def _look_http(bench: Bench, name: str) -> tuple[bool | None, str]:
    made = bench.wiring.http(name).connect()
    match made:
        case HttpConnection():
            made.close()
            return True, "connects" + (", certificate as pinned" if made.fingerprint else "")
        case HttpSilence(reason=reason):
            return False, reason
        case TlsIdentityMismatch(seen=seen):
            return False, f"another certificate is shown: {seen}"


def _look_network(bench: Bench, name: str) -> tuple[bool | None, str]:
    spec = bench.wiring.network(name)
    seen = []
    for address in filter(None, (spec.ipv4, spec.ipv6)):
        ports = [p for claim in bench.rig.device.claims.values() for p in getattr(claim, "tcp", ())]
        if not ports:
            return None, "no open port declared to try"
        try:
            connect(bench.wiring.dialer, address, ports[0], timeout=3).close()
        except OSError as error:
            return False, f"{address} port {ports[0]}: {error}"
        seen.append(f"{address} answers on port {ports[0]}")
    return True, ", ".join(seen)


def _address(spec: spec_of.LinkSpec) -> str:
    match spec:
        case spec_of.CanLinkSpec():
            return f"{spec.interface} {spec.channel}" + (f" at {spec.port}" if spec.port else "")
        case spec_of.ModbusTcpLinkSpec() | spec_of.SshLinkSpec() | spec_of.TcpLinkSpec() | spec_of.HttpLinkSpec():
            return f"{spec.host}:{spec.port}"
        case spec_of.NetworkLinkSpec():
            return " ".join(filter(None, (spec.ipv4, spec.ipv6)))
        case spec_of.SerialLinkSpec() | spec_of.ModbusRtuLinkSpec():
            return f"{spec.port} {spec.baudrate} 8{spec.parity}{spec.stopbits}" + (" RS-485" if spec.rs485 else "")


_LOOKS: dict[type, Callable[[Bench, str], tuple[bool | None, str]]] = {
    spec_of.SerialLinkSpec: _look_serial,
    spec_of.CanLinkSpec: _look_can,
    spec_of.ModbusTcpLinkSpec: _look_modbus,
    spec_of.ModbusRtuLinkSpec: _look_modbus,
    spec_of.SshLinkSpec: _look_ssh,
    spec_of.TcpLinkSpec: _look_tcp,
    spec_of.NetworkLinkSpec: _look_network,
    spec_of.HttpLinkSpec: _look_http,
}
