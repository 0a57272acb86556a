"""The files as YAML trees: the device file with a claim for everything that was seen, and the rig file.

Every text is quoted by ruamel; comments hold cleaned text of one line. Each claim has the status `observed`: the scan
says what the device is like, and nobody yet what it should be like.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarint import HexCapsInt
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from harness.device_init.seen import ConsoleSeen, ModbusSeen, Scanned, SshSeen, UdsSeen
from harness.device_init.wishes import Wishes
from harness.rig.claims import Status

__all__ = ["Draft", "device_draft", "rig_draft"]

_FIELDS = ("model", "serial", "version", "uptime")
"""What an identity surface must show, and with `uptime` every surface that is attacked."""
NO_IDENTIFIER = 0x0FFF
"""Taken for an identifier that is not there, where the scan found none."""

Draft = CommentedMap


def device_draft(known: Mapping[str, str], wishes: Wishes, seen: Scanned, *, scan: str, day: str) -> Draft:
    """Return the device file: `known` of the device, `scan` and `day` are the source of what was seen."""
    surfaces, claims = CommentedMap(), CommentedMap()
    source = {"document": scan, "revision": day}
    for server in seen.uds:
        _uds(surfaces, claims, server, source, first=server is seen.uds[0])
    if wishes.console:
        surfaces["console"] = _dialogue("console", seen.console)
    if seen.ssh and seen.ssh.host_key:
        surfaces["ssh"] = _dialogue("ssh", None)
        surfaces["ssh"]["closes"] = True
    for link in seen.modbus or _unscanned(wishes):
        _modbus(surfaces, claims, link, source)
    _network(claims, seen, source)

    draft = CommentedMap()
    draft["device"] = known["name"]
    for name in ("manufacturer", "model", "kind", "version"):
        draft[name] = _text(known[name])
    draft["identity"] = _identity(surfaces)
    draft["accounts"] = _flow({})
    draft["links"] = _listed(link for link, _ in _links(wishes, seen))
    if wishes.console:
        draft["console"] = "console"
    draft["surfaces"] = surfaces
    draft["claims"] = claims if claims else _flow({})
    draft.yaml_set_start_comment(
        f"{_line(known['name'])}: written by `proofrig device init` on {day}. docs/device-file.md has every key.\n"
        "What a scan saw is a claim with `status: observed`: no testcase can pass on it. Compare each with a\n"
        "document, correct it where the device is not as it should be, then `proofrig device approve`.\n"
        "TO DO marks what no scan can know."
    )
    _before(draft, "identity", "Surface on which model, serial number and version are read before each testcase.")
    _before(draft, "accounts", "TO DO accounts testcases may log in with: NAME: {role: …, password: …}")
    _before(draft, "claims", *_remarks(seen))
    return draft


def rig_draft(known: Mapping[str, str], wishes: Wishes, seen: Scanned, *, device: str, grade: str, day: str) -> Draft:
    """Return the rig file for the device file at `device`, a path relative to it."""
    draft = CommentedMap()
    draft["rig"] = known["name"]
    draft["device"] = _text(device)
    item = _flow({"serial": _text(known["serial"]), "grade": grade})
    draft["item"] = item
    draft["control"] = _flow({"type": "none"})
    draft["permits"] = _listed(())
    hosts = dict.fromkeys(filter(None, [wishes.address, wishes.modbus_tcp[0] if wishes.modbus_tcp else None]))
    draft["targets"] = _listed(map(_text, hosts))
    draft["links"] = CommentedMap(_links(wishes, seen))
    draft.yaml_set_start_comment(f"{_line(known['name'])} on a bench: written by `proofrig device init` on {day}.")
    _before(draft, "control", "TO DO how the bench switches power and resets: docs/device-file.md, Controls.")
    _before(
        draft,
        "permits",
        "Effects testcases may have on this unit: accounts, configuration, data, firmware, irreversible.",
    )
    if "ssh" in draft["links"] or "https" in draft["links"]:
        _before(draft, "links", "Keys and certificates are those the scan saw: compare them with the unit's own.")
    return draft


# Surfaces


def _identity(surfaces: Mapping[str, Any]) -> str:
    """Return the surface that shows most of the identity."""

    def shown(name: str) -> int:
        fields = surfaces[name].get("fields", surfaces[name].get("identifiers", {}))
        return sum(field in fields for field in _FIELDS)

    return max(surfaces, key=shown)


def _dialogue(link: str, seen: ConsoleSeen | None) -> CommentedMap:
    prompt = seen.prompt if seen else ""
    asks_for_name = bool(re.search(r"(?i)(login|user(name)?|name) ?: ?$", prompt))
    login = CommentedMap(
        user_prompt=_text(_ends_with(prompt) if asks_for_name else "[Ll]ogin: ?$"),
        password_prompt=_text("[Pp]assword: ?$"),
        accepted_when=_text("TO DO logged in"),
        refused_when=_text("TO DO refused"),
        locked_when=_text("TO DO locked"),
        logged_off_when=_text("TO DO logged off"),
        log_out="logout",
    )
    surface = CommentedMap(
        type="dialogue",
        link=link,
        accounts=_listed(()),
        login=login,
        prompt=_text(_ends_with(prompt) if prompt and not asks_for_name else "TO DO prompt> $"),
        accepted_when=_text("TO DO ok"),
        refused_when=_text("TO DO error: (?P<reason>.*)"),
        actions=CommentedMap({"version": _flow({"send": "version"}), "status": _flow({"send": "status"})}),
        fields=CommentedMap(
            {name: _flow({"action": "version", "name": name}) for name in ("model", "serial", "version")}
            | {"uptime": _flow({"action": "status", "name": "uptime", "scale": 1.0})}
        ),
    )
    if seen:
        shown = [f"It printed: {line}" for line in map(_line, seen.lines)] or ["It printed nothing that can be read."]
        _before(surface, "type", *shown, indent=4)
    _before(surface, "login", "TO DO regular expressions of how a log-in goes.", indent=4)
    _before(surface, "accepted_when", "TO DO how an answer to a command looks, accepted and refused.", indent=4)
    _before(surface, "actions", "TO DO commands, and where the values of their answers are.", indent=4)
    return surface


def _ends_with(prompt: str) -> str:
    return f"{re.escape(prompt)}\\s*$"


def _unscanned(wishes: Wishes) -> list[ModbusSeen]:
    """Return the Modbus links nobody was to ask: they have a surface, too."""
    links = ("modbus-tcp", wishes.modbus_tcp), ("modbus-rtu", wishes.modbus_rtu)
    return [ModbusSeen(name, "", problem="it was not scanned") for name, place in links if place]


def _modbus(surfaces: CommentedMap, claims: CommentedMap, link: ModbusSeen, source: Mapping[str, str]) -> None:
    for number, unit in enumerate(link.units):
        name = link.link if number == 0 else f"{link.link}-{unit.unit}"
        surfaces[name] = _modbus_surface(link.link, unit.unit)
        told = [f"{what}: {text}" for what, text in unit.names.items()]
        _before(surfaces[name], "type", *(f"It names its {each}" for each in told), indent=4)
        if unit.functions is not None:
            _claim(
                claims, f"{name.upper()}-MAP", "modbus-map", source,
                f"{link.link} unit {unit.unit}: every function code without parameters",
                surfaces=_listed([name]), functions=_listed(unit.functions),
            )  # fmt: skip
    if not link.units:
        surfaces[link.link] = _modbus_surface(link.link, 1)


def _modbus_surface(link: str, unit: int) -> CommentedMap:
    surface = CommentedMap(
        type="modbus",
        link=link,
        framing=link.removeprefix("modbus-"),
        unit=unit,
        registers=_flow({}),
        fields=_flow({}),
    )
    _before(
        surface, "registers", "TO DO the whole map: NAME: {table: input, address: 0, count: 2, type: u32}", indent=4
    )
    _before(surface, "fields", f"TO DO {', '.join(_FIELDS)}: the name of a register", indent=4)
    return surface


def _uds(
    surfaces: CommentedMap, claims: CommentedMap, seen: UdsSeen, source: Mapping[str, str], *, first: bool
) -> None:
    name = "uds" if first else f"uds-{seen.request_id:x}"
    identifiers = CommentedMap()
    for field, value in seen.fields.items():
        stated: dict[str, Any] = {"id": _hex(value.id, 4), "type": value.type}
        identifiers[field] = _flow(stated | ({"scale": value.scale} if value.scale is not None else {}))
    surface = CommentedMap(
        type="uds",
        link="can",
        request_id=_hex(seen.request_id),
        response_id=_hex(seen.response_id),
        sessions=_flow({"default": 1}),
        identifiers=identifiers if identifiers else _flow({}),
        unknown_identifier=_hex(NO_IDENTIFIER if seen.absent is None else seen.absent, 4),
    )
    surfaces[name] = surface
    if missing := [field for field in _FIELDS if field not in seen.fields]:
        _before(surface, "identifiers", f"TO DO identifiers of {', '.join(missing)}", indent=4)
    others = [each for each in seen.values if each.id not in {field.id for field in seen.fields.values()}]
    _before(
        surface, "unknown_identifier",
        *(f"0x{each.id:04X} can be read too: {_line(each.text)}" for each in others[:40]),
        "An identifier the device does not have.", indent=4,
    )  # fmt: skip
    if not seen.problem:
        _claim(
            claims, f"{name.upper()}-SERVICES", "uds-services", source, seen.how, surface=name,
            services=_flow({"default": _listed(_hex(each, 2) for each in seen.services)}),
            identifiers=_listed(_hex(each, 4) for each in seen.identifiers),
        )  # fmt: skip
    if version := seen.fields.get("version"):
        _claim(
            claims, f"{name.upper()}-VERSION", "version", source, f"{seen.how}, identifier 0x{version.id:04X}",
            surfaces=_listed([name]), pattern=_text(re.escape(version.text)),
        )  # fmt: skip


def _network(claims: CommentedMap, seen: Scanned, source: Mapping[str, str]) -> None:
    if seen.host and seen.host.tcp is not None:  # a claim of ports is one of all of them
        ports = {
            "tcp": _listed(seen.host.tcp),
            **({"udp": _listed(seen.host.udp)} if seen.host.udp is not None else {}),
        }
        _claim(claims, "PORTS", "ports", source, seen.host.how, link="network", **ports)
        told = [f"TCP {port} says: {_line(text)}" for port, text in seen.host.banners.items() if text]
        _before(claims["PORTS"], "tcp", *told[:40], indent=4)
    if seen.ssh and seen.ssh.host_key and seen.ssh.algorithms and seen.ssh.methods:
        algorithms = CommentedMap(
            {kind: _listed(map(_text, names)) for kind, names in seen.ssh.algorithms.items()}
        )  # fmt: skip
        _claim(
            claims, "SSH-POLICY", "ssh-policy", source, f"port {seen.ssh.port}: {seen.ssh.identification}",
            link="ssh", algorithms=algorithms, methods=_listed(map(_text, seen.ssh.methods)),
        )  # fmt: skip


def _claim(
    claims: CommentedMap, claim_id: str, kind: str, source: Mapping[str, str], section: str, /, **stated: Any
) -> None:
    claims[claim_id] = CommentedMap(type=kind, **stated)
    claims[claim_id]["source"] = _flow({name: _text(text) for name, text in {**source, "section": section}.items()})
    claims[claim_id]["status"] = Status.OBSERVED.value


# Links


def _links(wishes: Wishes, seen: Scanned) -> list[tuple[str, CommentedMap]]:
    found: list[tuple[str, dict[str, Any]]] = []
    if wishes.console:
        speed = seen.console.baudrate if seen.console and seen.console.baudrate else wishes.baudrates[0]
        found.append(("console", {"type": "serial", "port": _text(wishes.console), "baudrate": speed}))
    if wishes.can:
        bus = {"type": "can", "interface": _text(wishes.can_interface), "channel": _text(wishes.can)}
        found.append(("can", bus | {"bitrate": wishes.bitrate}))
        if wishes.can_port:
            found[-1][1]["port"] = _text(wishes.can_port)
    if wishes.modbus_tcp:
        host, port = wishes.modbus_tcp
        found.append(("modbus-tcp", {"type": "modbus-tcp", "host": _text(host), "port": port}))
    if wishes.modbus_rtu:
        line = {"type": "modbus-rtu", "port": _text(wishes.modbus_rtu), "baudrate": wishes.modbus_baudrate}
        found.append(("modbus-rtu", line | {"parity": wishes.modbus_parity}))
    if wishes.address:
        family = "ipv6" if _is_ipv6(wishes.address) else "ipv4"
        found.append(("network", {"type": "network", family: _text(wishes.address)}))
        found += _secure_links(wishes, seen)
    return [(name, _flow(link)) for name, link in found]


def _secure_links(wishes: Wishes, seen: Scanned) -> list[tuple[str, dict[str, Any]]]:
    """Return the links that are pinned to what the scan saw."""
    assert wishes.address is not None
    host = _text(wishes.address)
    found: list[tuple[str, dict[str, Any]]] = []
    if seen.ssh and seen.ssh.host_key:
        there = {"type": "ssh", "host": host, "port": seen.ssh.port, "user": _text(wishes.ssh_user)}
        found.append(("ssh", there | {"host_key": _text(seen.ssh.host_key)}))
    for server in (each for each in seen.tls if each.fingerprint):
        name = "https" if not any(link == "https" for link, _ in found) else f"https-{server.port}"
        pinned = {"type": "https", "host": host, "port": server.port, "fingerprint": _text(server.fingerprint)}
        found.append((name, pinned))
    return found


def _is_ipv6(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).version == 6
    except ValueError:
        return False


# Remarks


def _remarks(seen: Scanned) -> list[str]:
    """Return what was seen and is no claim of any kind, or could not be seen."""
    told: list[str] = []
    if seen.can:
        told.append(f"On the CAN bus within {seen.can.seconds:g} s:")
        for each in seen.can.identifiers[:100]:
            every = f", every {each.period * 1000:.0f} ms" if each.period else ""
            lengths = "/".join(map(str, each.lengths))
            number = f"0x{each.can_id:08X}" if each.extended else f"0x{each.can_id:03X}"
            told.append(f"  {number}: {each.frames} frames of {lengths} bytes{every}")
        if not seen.can.identifiers:
            told.append("  nothing")
    for server in seen.tls:
        told.append(f"TLS on port {server.port}: {_line(server.problem or f'{server.version}, {server.cipher}')}")
    told += _ssh_remarks(seen.ssh) if seen.ssh else []
    if seen.host and seen.host.tcp is None:
        told.append(f"Answered on UDP: {', '.join(map(str, seen.host.udp or ())) or 'nothing'} ({seen.host.how})")
    if seen.host and seen.host.silent:
        told.append(f"{seen.host.silent} TCP ports did not answer at all.")
    told += [f"{link.link}: {link.problem} ({link.how})" for link in seen.modbus if link.problem]
    for link in seen.modbus:
        mute = [unit.unit for unit in link.units if unit.functions is None]
        told += [
            f"{link.link} unit {unit}: it did not answer for every function code, so none is claimed." for unit in mute
        ]
    told += [f"UDS 0x{server.request_id:X}: {server.problem}" for server in seen.uds if server.problem]
    return told


def _ssh_remarks(seen: SshSeen) -> list[str]:
    told = [f"SSH on port {seen.port}: {_line(seen.identification)}"] if seen.identification else []
    if seen.host_key:
        digest = hashlib.sha256(base64.b64decode(seen.host_key.split(" ")[1])).digest()
        told.append(f"SSH host key SHA256:{base64.b64encode(digest).decode().rstrip('=')}")
    return [*told, *([f"SSH: {_line(seen.problem)}"] if seen.problem else [])]


# YAML


def _text(text: str) -> str:
    quoted: str = DoubleQuotedScalarString(text)
    return quoted


def _line(text: str) -> str:
    """Return text for a comment: one line, whatever it was."""
    return " ".join(text.split())


def _hex(number: int, width: int | None = None) -> int:
    written: int = HexCapsInt(number, width=width)
    return written


def _flow(values: Mapping[str, Any]) -> CommentedMap:
    node = CommentedMap(values)
    node.fa.set_flow_style()
    return node


def _listed(values: Any) -> CommentedSeq:
    node = CommentedSeq(values)
    node.fa.set_flow_style()
    return node


def _before(node: CommentedMap, key: str, *lines: str, indent: int = 0) -> None:
    """Put comments before a key."""
    told: Sequence[str] = [_line(line) if line[:1] != " " else f"  {_line(line)}" for line in lines]
    if told:
        node.yaml_set_comment_before_after_key(key, before="\n".join(told), indent=indent)
