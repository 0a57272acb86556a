"""The files as YAML trees: the device file with a claim for everything that was seen, and the rig file.

Every text is quoted by ruamel; comments hold cleaned text of one line. Each claim has the status `observed`: the scan
says what the device is like, and nobody yet what it should be like.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from ruamel.yaml.comments import CommentedMap

from harness.device_init.log_in_drafts import dialogue_draft, http_draft
from harness.device_init.seen import ModbusSeen, Scanned, SshSeen, UdsSeen
from harness.device_init.wishes import Wishes
from harness.device_init.yaml_parts import comment, flow, in_hex, listed, one_line, quoted
from harness.errors import UsageError
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
        surfaces["console"] = dialogue_draft("console", seen.console)
    if seen.ssh and seen.ssh.host_key:
        surfaces["ssh"] = dialogue_draft("ssh", None)
        surfaces["ssh"]["closes"] = True
    for name in dict(_links(wishes, seen)):
        if name.startswith("https"):
            surfaces[name] = http_draft(name)
    for link in seen.modbus or _unscanned(wishes):
        _modbus(surfaces, claims, link, source)
    _network(claims, seen, source)

    draft = CommentedMap()
    draft["device"] = known["name"]
    for name in ("manufacturer", "model", "kind", "version"):
        draft[name] = quoted(known[name])
    draft["identity"] = _identity(surfaces)
    draft["accounts"] = flow({})
    draft["links"] = listed(link for link, _ in _links(wishes, seen))
    if wishes.console:
        draft["console"] = "console"
    draft["surfaces"] = surfaces
    draft["claims"] = claims if claims else flow({})
    draft.yaml_set_start_comment(
        f"{one_line(known['name'])}: written by `proofrig device init` on {day}. docs/device-file.md has every key.\n"
        "What a scan saw is a claim with `status: observed`: no testcase can pass on it. Compare each with a\n"
        "document, correct it where the device is not as it should be, then `proofrig device approve`.\n"
        "TO DO marks what no scan can know."
    )
    comment(draft, "identity", "Surface on which model, serial number and version are read before each testcase.")
    comment(draft, "accounts", "TO DO accounts testcases may log in with: NAME: {role: …, password: …}")
    comment(draft, "claims", *_remarks(seen))
    return draft


def rig_draft(
    known: Mapping[str, str],
    wishes: Wishes,
    seen: Scanned,
    *,
    device: str,
    control: Mapping[str, str | float],
    grade: str,
    day: str,
) -> Draft:
    """Return the rig file for the device file at `device`, a path relative to it."""
    draft = CommentedMap()
    draft["rig"] = known["name"]
    draft["device"] = quoted(device)
    item = flow({"serial": quoted(known["serial"]), "grade": grade})
    draft["item"] = item
    draft["control"] = flow(control)
    draft["permits"] = listed(())
    hosts = dict.fromkeys(filter(None, [wishes.address, wishes.modbus_tcp[0] if wishes.modbus_tcp else None]))
    draft["targets"] = listed(map(quoted, hosts))
    draft["links"] = CommentedMap(_links(wishes, seen))
    draft.yaml_set_start_comment(f"{one_line(known['name'])} on a bench: written by `proofrig device init` on {day}.")
    if control["type"] == "none":
        comment(draft, "control", "TO DO how the bench switches power and resets: docs/device-file.md, Controls.")
    comment(
        draft,
        "permits",
        "Effects testcases may have on this unit: accounts, configuration, data, firmware, irreversible.",
    )
    if "ssh" in draft["links"] or "https" in draft["links"]:
        comment(draft, "links", "Keys and certificates are those the scan saw: compare them with the unit's own.")
    return draft


# Surfaces


def _identity(surfaces: Mapping[str, Any]) -> str:
    """Return the surface that shows most of the identity.

    Raises:
        UsageError: there is none.
    """
    if not surfaces:
        raise UsageError(
            "no server answered on which the device could show model, serial number and version",
            hint="compare --address, --ssh-port and --tls-ports, or give another interface",
        )

    def shown(name: str) -> int:
        fields = surfaces[name].get("fields", surfaces[name].get("identifiers", {}))
        return sum(field in fields for field in _FIELDS)

    return max(surfaces, key=shown)


def _unscanned(wishes: Wishes) -> list[ModbusSeen]:
    """Return the Modbus links nobody was to ask: they have a surface, too."""
    links = ("modbus-tcp", wishes.modbus_tcp), ("modbus-rtu", wishes.modbus_rtu)
    return [ModbusSeen(name, "", problem="it was not scanned") for name, place in links if place]


def _modbus(surfaces: CommentedMap, claims: CommentedMap, link: ModbusSeen, source: Mapping[str, str]) -> None:
    for number, unit in enumerate(link.units):
        name = link.link if number == 0 else f"{link.link}-{unit.unit}"
        surfaces[name] = _modbus_surface(link.link, unit.unit)
        told = [f"{what}: {text}" for what, text in unit.names.items()]
        comment(surfaces[name], "type", *(f"It names its {each}" for each in told), indent=4)
        if unit.functions is not None:
            _claim(
                claims, f"{name.upper()}-MAP", "modbus-map", source,
                f"{link.link} unit {unit.unit}: every function code without parameters",
                surfaces=listed([name]), functions=listed(unit.functions),
            )  # fmt: skip
    if not link.units:
        surfaces[link.link] = _modbus_surface(link.link, 1)


def _modbus_surface(link: str, unit: int) -> CommentedMap:
    surface = CommentedMap(
        type="modbus",
        link=link,
        framing=link.removeprefix("modbus-"),
        unit=unit,
        registers=flow({}),
        fields=flow({}),
    )
    comment(
        surface, "registers", "TO DO the whole map: NAME: {table: input, address: 0, count: 2, type: u32}", indent=4
    )
    comment(surface, "fields", f"TO DO {', '.join(_FIELDS)}: the name of a register", indent=4)
    return surface


def _uds(
    surfaces: CommentedMap, claims: CommentedMap, seen: UdsSeen, source: Mapping[str, str], *, first: bool
) -> None:
    name = "uds" if first else f"uds-{seen.request_id:x}"
    identifiers = CommentedMap()
    for field, value in seen.fields.items():
        stated: dict[str, Any] = {"id": in_hex(value.id, 4), "type": value.type}
        identifiers[field] = flow(stated | ({"scale": value.scale} if value.scale is not None else {}))
    surface = CommentedMap(
        type="uds",
        link="can",
        request_id=in_hex(seen.request_id),
        response_id=in_hex(seen.response_id),
        sessions=flow({"default": 1}),
        identifiers=identifiers if identifiers else flow({}),
        unknown_identifier=in_hex(NO_IDENTIFIER if seen.absent is None else seen.absent, 4),
    )
    surfaces[name] = surface
    if missing := [field for field in _FIELDS if field not in seen.fields]:
        comment(surface, "identifiers", f"TO DO identifiers of {', '.join(missing)}", indent=4)
    others = [each for each in seen.values if each.id not in {field.id for field in seen.fields.values()}]
    comment(
        surface, "unknown_identifier",
        *(f"0x{each.id:04X} can be read too: {one_line(each.text)}" for each in others[:40]),
        "An identifier the device does not have.", indent=4,
    )  # fmt: skip
    if not seen.problem:
        _claim(
            claims, f"{name.upper()}-SERVICES", "uds-services", source, seen.how, surface=name,
            services=flow({"default": listed(in_hex(each, 2) for each in seen.services)}),
            identifiers=listed(in_hex(each, 4) for each in seen.identifiers),
        )  # fmt: skip
    if version := seen.fields.get("version"):
        _claim(
            claims, f"{name.upper()}-VERSION", "version", source, f"{seen.how}, identifier 0x{version.id:04X}",
            surfaces=listed([name]), pattern=quoted(re.escape(version.text)),
        )  # fmt: skip


def _network(claims: CommentedMap, seen: Scanned, source: Mapping[str, str]) -> None:
    if seen.host and seen.host.tcp is not None:  # a claim of ports is one of all of them
        ports = {
            "tcp": listed(seen.host.tcp),
            **({"udp": listed(seen.host.udp)} if seen.host.udp is not None else {}),
        }
        _claim(claims, "PORTS", "ports", source, seen.host.how, link="network", **ports)
        told = [f"TCP {port} says: {one_line(text)}" for port, text in seen.host.banners.items() if text]
        comment(claims["PORTS"], "tcp", *told[:40], indent=4)
    if seen.ssh and seen.ssh.host_key and seen.ssh.algorithms and seen.ssh.methods:
        algorithms = CommentedMap(
            {kind: listed(map(quoted, names)) for kind, names in seen.ssh.algorithms.items()}
        )  # fmt: skip
        _claim(
            claims, "SSH-POLICY", "ssh-policy", source, f"port {seen.ssh.port}: {seen.ssh.identification}",
            link="ssh", algorithms=algorithms, methods=listed(map(quoted, seen.ssh.methods)),
        )  # fmt: skip


def _claim(
    claims: CommentedMap, claim_id: str, kind: str, source: Mapping[str, str], section: str, /, **stated: Any
) -> None:
    claims[claim_id] = CommentedMap(type=kind, **stated)
    claims[claim_id]["source"] = flow({name: quoted(text) for name, text in {**source, "section": section}.items()})
    claims[claim_id]["status"] = Status.OBSERVED.value


# Links


def _links(wishes: Wishes, seen: Scanned) -> list[tuple[str, CommentedMap]]:
    found: list[tuple[str, dict[str, Any]]] = []
    if wishes.console:
        speed = seen.console.baudrate if seen.console and seen.console.baudrate else wishes.baudrates[0]
        found.append(("console", {"type": "serial", "port": quoted(wishes.console), "baudrate": speed}))
    if wishes.can:
        bus = {"type": "can", "interface": quoted(wishes.can_interface), "channel": quoted(wishes.can)}
        found.append(("can", bus | {"bitrate": wishes.bitrate}))
        if wishes.can_port:
            found[-1][1]["port"] = quoted(wishes.can_port)
    if wishes.modbus_tcp:
        host, port = wishes.modbus_tcp
        found.append(("modbus-tcp", {"type": "modbus-tcp", "host": quoted(host), "port": port}))
    if wishes.modbus_rtu:
        line = {"type": "modbus-rtu", "port": quoted(wishes.modbus_rtu), "baudrate": wishes.modbus_baudrate}
        found.append(("modbus-rtu", line | {"parity": wishes.modbus_parity}))
    if wishes.address:
        family = "ipv6" if _is_ipv6(wishes.address) else "ipv4"
        found.append(("network", {"type": "network", family: quoted(wishes.address)}))
        found += _secure_links(wishes, seen)
    return [(name, flow(link)) for name, link in found]


def _secure_links(wishes: Wishes, seen: Scanned) -> list[tuple[str, dict[str, Any]]]:
    """Return the links that are pinned to what the scan saw."""
    assert wishes.address is not None
    host = quoted(wishes.address)
    found: list[tuple[str, dict[str, Any]]] = []
    if seen.ssh and seen.ssh.host_key:
        there = {"type": "ssh", "host": host, "port": seen.ssh.port, "user": quoted(wishes.ssh_user)}
        found.append(("ssh", there | {"host_key": quoted(seen.ssh.host_key)}))
    for server in (each for each in seen.tls if each.fingerprint):
        name = "https" if not any(link == "https" for link, _ in found) else f"https-{server.port}"
        pinned = {"type": "https", "host": host, "port": server.port, "fingerprint": quoted(server.fingerprint)}
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
        told.append(f"TLS on port {server.port}: {one_line(server.problem or f'{server.version}, {server.cipher}')}")
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
    told = [f"SSH on port {seen.port}: {one_line(seen.identification)}"] if seen.identification else []
    if seen.host_key:
        digest = hashlib.sha256(base64.b64decode(seen.host_key.split(" ")[1])).digest()
        told.append(f"SSH host key SHA256:{base64.b64encode(digest).decode().rstrip('=')}")
    return [*told, *([f"SSH: {one_line(seen.problem)}"] if seen.problem else [])]
