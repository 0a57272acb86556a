"""The open network ports are those that are declared, and no others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from harness.case import Case
from harness.device.outcomes import Accepted, NoAnswer, Outcome
from harness.errors import UsageError
from harness.links.modbus import ModbusReply, open_modbus_tcp, read_registers
from harness.links.network import PortState, UdpState, probe_udp, scan_tcp, tcp_banner, usual_udp_ports
from harness.links.ssh import SshNoConnection, offered_algorithms
from harness.rig.claims import PortsClaim
from harness.rig.device_file import DeviceFile
from harness.rig.rig_file import ModbusTcpLinkSpec, SshLinkSpec
from harness.testcase import About, Instance, contributes, each, testcase, verifies

Family = Literal["ipv4", "ipv6"]

ALL_PORTS = range(1, 65536)
ATTEMPTS = 3
"""Times a silent UDP port is asked."""


def families(device: DeviceFile) -> Iterable[Instance]:
    """Each claim of ports, over both versions of the protocol."""
    for claim_id in device.claims_of(PortsClaim):
        for family in ("ipv4", "ipv6"):
            yield Instance(family, (claim_id, family))


@testcase(
    "NET-TCP-PORTS",
    title="All 65,535 TCP ports: open are the declared ones and no others",
    tags=[
        verifies("NMPA-2022/IF-NET", "NMPA-2022/SAHD", "NMPA-2022/CNFS", "NMPA-2020/IFU-iface", "FDA-VC/VULN-SURF"),
        contributes("ANSM-2019/CRIT-C", "ANSM-2019/RISK-OBSC", "MDS2-2019/CONN"),
    ],
    about=About(property="confidentiality", phase="design", method="scan", threat="undeclared way in"),
    slow=True,
)
@each("claim_id, family", families)
def test_tcp_ports(case: Case, claim_id: str, family: Family) -> None:
    claim = case.bench.rig.device.claims_of(PortsClaim)[claim_id]
    host = address(case, claim, family)
    dialer, within = case.bench.wiring.dialer, case.bench.wiring.answer_within

    case.attack(case.bench.rig.device.identity, f"connecting to all TCP ports of {host}")
    with case.step("The declared ports answer in their own protocol"):
        declared_ports_answer(case, claim, host)

    with case.step("Connect to every port"):
        states = scan_tcp(dialer, host, ALL_PORTS, timeout=within)
        opened = [port for port, state in states.items() if state is PortState.OPEN]
        silent = [port for port, state in states.items() if state is PortState.FILTERED]

    for port in claim.tcp:
        held = True if states[port] is PortState.OPEN else False if states[port] is PortState.CLOSED else None
        case.check(f"TCP {port} is open", held=held, expected="open", observed=states[port].value, claim=claim_id)
    case.check(
        "every TCP port was asked",
        held=len(states) == len(ALL_PORTS) or None,
        expected=f"{len(ALL_PORTS)} ports",
        observed=f"{len(states)} ports, {len(silent)} of them silent twice",
    )
    undeclared = [port for port in opened if port not in claim.tcp]
    case.check(
        "no other TCP port is open",
        held=not undeclared,
        expected=f"open: {numbers(claim.tcp)}",
        observed=f"open: {numbers(opened)}{greetings(case, host, undeclared)}",
        claim=claim_id,
        repeat=f"connect to {host}, TCP {numbers(undeclared)}" if undeclared else "",
    )
    with case.step("The declared ports still answer"):
        declared_ports_answer(case, claim, host)


@testcase(
    "NET-UDP-PORTS",
    title="The usual UDP ports: open are the declared ones and no others",
    tags=[
        verifies("NMPA-2022/IF-NET", "NMPA-2022/SAHD", "NMPA-2020/IFU-iface", "FDA-VC/VULN-SURF"),
        contributes("ANSM-2019/CRIT-C", "ANSM-2019/RISK-OBSC", "MDS2-2019/CONN"),
    ],
    about=About(property="confidentiality", phase="design", method="scan", threat="undeclared way in"),
    unqualified=True,
    slow=True,
)
@each("claim_id, family", families)
def test_udp_ports(case: Case, claim_id: str, family: Family) -> None:
    claim = case.bench.rig.device.claims_of(PortsClaim)[claim_id]
    host = address(case, claim, family)
    wiring = case.bench.wiring

    case.attack(case.bench.rig.device.identity, f"asking the usual UDP ports of {host}")
    with case.step("The host is there: its declared TCP ports answer in their own protocol"):
        declared_ports_answer(case, claim, host)

    with case.step("Ask each port in its own protocol"):
        states = probe_udp(
            wiring.dialer,
            host,
            [*usual_udp_ports, *claim.udp],
            timeout=wiring.answer_within,
            attempts=ATTEMPTS,
            tap=wiring.tap(claim.link),
        )

    for port in claim.udp:
        # A service need not answer what it does not understand: only "unreachable" says that it is not there.
        held = {UdpState.OPEN: True, UdpState.CLOSED: False}.get(states[port])
        case.check(f"UDP {port} is open", held=held, expected="open", observed=states[port].value, claim=claim_id)
    others = {port: state for port, state in states.items() if port not in claim.udp}
    opened = [port for port, state in others.items() if state is UdpState.OPEN]
    silent = [port for port, state in others.items() if state is UdpState.OPEN_OR_FILTERED]
    unreachable = len(others) - len(opened) - len(silent)
    case.check(
        "no other UDP port is open",
        held=False if opened else None if silent else True,
        expected="every port asked is reported unreachable by the device",
        observed=f"answered: {numbers(opened)}; silent: {numbers(silent)}; unreachable: {unreachable}",
        claim=claim_id,
        repeat=f"ask {host}, UDP {numbers(opened)}" if opened else "",
    )


def address(case: Case, claim: PortsClaim, family: Family) -> str:
    """Return the device's address of that family."""
    host: str | None = getattr(case.bench.wiring.network(claim.link), family)
    if host is None:
        raise UsageError(
            f"the rig names no {family} address of the device, which claims its ports for both",
            where=str(case.bench.rig.path),
            hint=f"add links.{claim.link}.{family}",
        )
    return host


def declared_ports_answer(case: Case, claim: PortsClaim, host: str) -> None:
    """Twin: behind each declared TCP port something speaks its protocol, on the surfaces and at this very address."""
    rig = case.bench.rig
    for port in claim.tcp:
        for link, spec in rig.file.links.items():
            if isinstance(spec, SshLinkSpec | ModbusTcpLinkSpec) and spec.port == port:
                case.twin(f"TCP {port} of {host} speaks {spec.type}", speaks(case, spec, host))
                surfaces = [name for name, surface in rig.device.surfaces.items() if surface.link == link]
                for surface in surfaces:
                    case.twin(f"{surface} answers", case.bench.surface(surface).probe())


def speaks(case: Case, spec: SshLinkSpec | ModbusTcpLinkSpec, host: str) -> Outcome[None]:
    """Say whether the port answers in its protocol over this address."""
    wiring = case.bench.wiring
    if isinstance(spec, SshLinkSpec):
        offered = offered_algorithms(wiring.dialer, host, spec.port, timeout=wiring.answer_within)
        return NoAnswer(offered.reason) if isinstance(offered, SshNoConnection) else Accepted(None)
    tap = wiring.tap(f"modbus {host}")
    link = open_modbus_tcp(wiring.dialer, host, spec.port, unit=1, name=f"modbus {host}", tap=tap)
    try:
        reply = link.request(read_registers(4, 0, 1), timeout=wiring.answer_within)
    finally:
        link.close()
    return Accepted(None) if isinstance(reply, ModbusReply) else NoAnswer("no Modbus answer")


def greetings(case: Case, host: str, ports: list[int]) -> str:
    """Return what the first undeclared ports say unasked."""
    said = []
    for port in ports[:5]:
        try:
            banner = tcp_banner(case.bench.wiring.dialer, host, port, timeout=case.bench.wiring.answer_within, limit=80)
        except OSError as error:
            banner = str(error).encode()
        said.append(f"; {port} says {banner!r}")
    return "".join(said)


def numbers(ports: Iterable[int]) -> str:
    """Return port numbers as text."""
    return ", ".join(map(str, ports)) or "none"
