"""How claims about interfaces are falsified: ports, boot loader, buses, registers, version, alarms, performance."""

from __future__ import annotations

from collections.abc import Iterator

from harness.qualify.falsification import Falsification, changed, shorter
from harness.rig.claims import (
    AlarmClaim,
    AvailabilityClaim,
    BootLockedClaim,
    BusCommandClaim,
    EssentialPerformanceClaim,
    ModbusMapClaim,
    PortsClaim,
    SecurityAccessClaim,
    UdsServicesClaim,
    VersionClaim,
)
from harness.rig.device_file import BusCommandSurface, DeviceFile, ModbusSurface, SurfaceSpec

__all__ = [
    "alarms",
    "availability",
    "boot_locked",
    "bus_commands",
    "essential_performance",
    "modbus_map",
    "ports",
    "security_access",
    "uds_services",
    "version",
]

SHUT = (9, 7, 19, 13)
"""Discard, echo, chargen and daytime: services of old that devices do not have."""


def ports(claim: PortsClaim) -> Iterator[Falsification]:
    """An open port is dropped from the list, a shut one is put on it."""
    if claim.tcp:
        how = f"TCP {claim.tcp[-1]} is no longer declared"
        yield Falsification(name="tcp", how=how, claim=changed(claim, tcp=claim.tcp[:-1]))
    for port in [port for port in SHUT if port not in claim.udp][:1]:
        how = f"UDP {port} is declared open"
        yield Falsification(name="udp", how=how, claim=changed(claim, udp=(*claim.udp, port)))


def boot_locked(claim: BootLockedClaim) -> Iterator[Falsification]:
    """The boot loader's banner is taken for its prompt; a hundredth of the time."""
    how = "what must never be shown is the boot loader's banner, which always is"
    yield Falsification(name="prompt", how=how, claim=changed(claim, loader_prompt=claim.loader_banner))
    soon = claim.up_within / 100
    how = f"up within {soon:g} s instead of {claim.up_within:g} s"
    yield Falsification(name="up-within", how=how, claim=changed(claim, up_within=soon))


def bus_commands(claim: BusCommandClaim, device: DeviceFile) -> Iterator[Falsification]:
    """The range of a command ends one below the last argument that is taken."""
    spec = device.surfaces[claim.surface]
    if not isinstance(spec, BusCommandSurface):
        return
    for name, (low, high) in list(spec.ranges.items())[:1]:
        narrow = spec.model_copy(update={"ranges": {**spec.ranges, name: (low, high - 1)}})
        how = f"{name} takes {low} to {high - 1} instead of {low} to {high}"
        yield Falsification(name="range", how=how, surfaces={claim.surface: narrow})


def uds_services(claim: UdsServicesClaim) -> Iterator[Falsification]:
    """A service and an identifier that are there are no longer declared."""
    for session, services in [each for each in claim.services.items() if each[1]][:1]:
        how = f"service 0x{services[-1]:02X} of session {session} is no longer declared"
        fewer = {**claim.services, session: services[:-1]}
        yield Falsification(name="service", how=how, claim=changed(claim, services=fewer))
    if claim.identifiers:
        how = f"identifier 0x{claim.identifiers[-1]:04X} is no longer declared"
        yield Falsification(name="identifier", how=how, claim=changed(claim, identifiers=claim.identifiers[:-1]))


def security_access(claim: SecurityAccessClaim) -> Iterator[Falsification]:
    """Another number of wrong keys, half the delay."""
    other = claim.attempts - 1 or 2
    how = f"the delay starts after {other} wrong keys instead of {claim.attempts}"
    yield Falsification(name="attempts", how=how, claim=changed(claim, attempts=other))
    sooner = shorter(claim, "delay")
    how = f"a delay of {sooner.delay:g} s instead of {claim.delay:g} s"
    yield Falsification(name="delay", how=how, claim=sooner)


def modbus_map(claim: ModbusMapClaim, device: DeviceFile) -> Iterator[Falsification]:
    """A function that is there is no longer declared; a register that can be written is declared not to be."""
    if claim.functions:
        how = f"function {claim.functions[-1]} is no longer declared"
        yield Falsification(name="function", how=how, claim=changed(claim, functions=claim.functions[:-1]))
    specs = {name: spec for name in claim.surfaces if isinstance(spec := device.surfaces[name], ModbusSurface)}
    writable = [name for spec in specs.values() for name, each in spec.registers.items() if each.access == "read-write"]
    for register in writable[:1]:
        locked: dict[str, SurfaceSpec] = {
            name: spec.model_copy(update={"registers": {**spec.registers, register: _read_only(spec, register)}})
            for name, spec in specs.items()
            if register in spec.registers
        }
        how = f"register {register!r} is declared not writable"
        yield Falsification(name="not-writable", how=how, surfaces=locked)


def _read_only(spec: ModbusSurface, register: str) -> object:
    return spec.registers[register].model_copy(update={"access": "read", "range": None})


def version(claim: VersionClaim) -> Iterator[Falsification]:
    """A naming rule that no version of the device follows."""
    how = "the naming rule wants '-none' at the end"
    yield Falsification(name="pattern", how=how, claim=changed(claim, pattern=f"(?:{claim.pattern})-none"))


def availability(claim: AvailabilityClaim) -> Iterator[Falsification]:
    """A recovery faster than any answer."""
    soon = claim.recovery / 10_000
    how = f"recovers within {soon * 1000:g} ms instead of {claim.recovery:g} s"
    yield Falsification(name="recovery", how=how, claim=changed(claim, recovery=soon))


def alarms(claim: AlarmClaim) -> Iterator[Falsification]:
    """An alarm that reads otherwise than any of the device's."""
    shown = [{**place.model_dump(), "raised": f"{place.raised}-none"} for place in claim.shown]
    how = "an alarm reads '-none' at the end in every place"
    yield Falsification(name="shown", how=how, claim=changed(claim, shown=shown))


def essential_performance(claim: EssentialPerformanceClaim) -> Iterator[Falsification]:
    """A value beyond its limit, and a heartbeat that comes too seldom."""
    factor = 1 + claim.percent / 25
    signal = claim.fields[claim.value]
    fields = {**claim.fields, claim.value: signal.model_copy(update={"scale": signal.scale * factor})}
    how = f"{claim.value} counts {factor:g} times what it is, with a limit of {claim.percent:g} %"
    yield Falsification(name="limit", how=how, claim=claim.model_copy(update={"fields": fields}))
    gap = claim.max_gap / 10
    how = f"{gap * 1000:g} ms between two heartbeats at most, instead of {claim.max_gap * 1000:g} ms"
    yield Falsification(name="gap", how=how, claim=changed(claim, max_gap=gap))
