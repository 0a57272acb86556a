"""What the interfaces of a device offer, measured: to be compared before and after a change of its software.

An inventory has areas, as `tcp ports of network` or `actions of console by service`, and in each the items that are
there. The index of update bundles says in the same words what a bundle adds and removes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from harness.case import Case
from harness.device.outcomes import Accepted, Refused
from harness.procedures.scanning import (
    READ_FUNCTIONS,
    modbus_functions,
    open_ports,
    readable_identifiers,
    readable_registers,
    uds_services,
)
from harness.procedures.server_keys import shown_key
from harness.rig.claims import ModbusMapClaim, PermissionClaim, PortsClaim, UdsServicesClaim
from harness.rig.rig_file import HttpLinkSpec, SshLinkSpec
from harness.verdict import Undecided

__all__ = ["Inventory", "changed", "take_inventory"]

Inventory = Mapping[str, frozenset[str]]
"""Area → items."""

_IDENTIFIERS = (*range(0x0000, 0x0300), *range(0xF180, 0xF200))
"""Where makers put identifiers, and where ISO 14229-1 annex C puts those of identification."""
_REGISTERS = range(32)
"""Addresses tried beside the declared ones: a register map begins at its base."""


def take_inventory(case: Case) -> Inventory:
    """Measure what is claimed of the device's interfaces, and what can be read of their keys. It changes nothing.

    Open TCP ports; diagnostic services and identifiers of each session; function codes and registers; actions that
    only read, by each role on each surface with a claim about permissions; keys of SSH and HTTPS servers.

    Raises:
        Undecided: something is neither there nor refused.
    """
    parts: Iterable[Callable[[Case], Iterable[tuple[str, frozenset[str]]]]] = (
        _ports, _diagnostics, _registers, _actions, _keys,
    )  # fmt: skip
    return {area: items for part in parts for area, items in part(case)}


def changed(inventory: Inventory, changes: Mapping[str, Mapping[str, frozenset[str]]]) -> Inventory:
    """Return the inventory as it must be after `changes`: what is added, then what is removed, by area."""
    adds, removes = changes.get("adds", {}), changes.get("removes", {})
    none: frozenset[str] = frozenset()
    return {
        area: (inventory.get(area, none) | adds.get(area, none)) - removes.get(area, none)
        for area in (*inventory, *(set(adds) | set(removes)) - set(inventory))
    }


def _ports(case: Case) -> Iterable[tuple[str, frozenset[str]]]:
    for claim in case.bench.rig.device.claims_of(PortsClaim).values():
        yield f"tcp ports of {claim.link}", _items(open_ports(case, claim.link))


def _diagnostics(case: Case) -> Iterable[tuple[str, frozenset[str]]]:
    for claim in case.bench.rig.device.claims_of(UdsServicesClaim).values():
        door = case.bench.uds(claim.surface)
        for session in claim.services:
            case.value(door.enter(session), f"session {session}")
            there = uds_services(case, door)
            yield f"services of {claim.surface} in {session}", _items(f"0x{service:02X}" for service in there)
            case.value(door.enter(session), f"session {session}")
            read = readable_identifiers(case, door, {*_IDENTIFIERS, *claim.identifiers})
            yield f"identifiers of {claim.surface} in {session}", _items(f"0x{number:04X}" for number in read)
        case.value(door.enter(next(iter(claim.services))), "back in the first session")


def _registers(case: Case) -> Iterable[tuple[str, frozenset[str]]]:
    for claim in case.bench.rig.device.claims_of(ModbusMapClaim).values():
        for surface in claim.surfaces:
            door = case.bench.modbus(surface)
            functions = modbus_functions(case, door)
            yield f"functions of {surface}", _items(functions)
            for table, function in READ_FUNCTIONS.items():
                tried = {*_REGISTERS, *door.addresses(table)} if function in functions else set()
                yield f"{table} registers of {surface}", _items(readable_registers(case, door, table, tried))


def _actions(case: Case) -> Iterable[tuple[str, frozenset[str]]]:
    for claim in case.bench.rig.device.claims_of(PermissionClaim).values():
        for surface in claim.surfaces:
            door = case.bench.log_in_surface(surface)
            for account, declared in door.accounts.items():
                answered: set[str] = set()
                with door.session(account) as opened:
                    session = case.value(opened, f"log-in of {account} on {surface}")
                    for name, action in door.actions.items():
                        if action.stake or not action.ready:
                            continue
                        outcome = session.do(name)
                        if isinstance(outcome, Refused) and door.ended(outcome):
                            raise Undecided(f"the session of {account} on {surface} is over")
                        if not isinstance(outcome, Refused):
                            case.value(outcome, f"{name} on {surface}")
                        if isinstance(outcome, Accepted):
                            answered.add(name)
                yield f"actions of {surface} by {declared.role}", _items(answered)


def _keys(case: Case) -> Iterable[tuple[str, frozenset[str]]]:
    used = {surface.link for surface in case.bench.rig.device.surfaces.values()}
    for link, spec in case.bench.rig.file.links.items():
        keyed = isinstance(spec, SshLinkSpec) or (isinstance(spec, HttpLinkSpec) and spec.type == "https")
        if link in used and keyed:
            yield f"key of {link}", _items([shown_key(case, link)])


def _items(found: Iterable[object]) -> frozenset[str]:
    return frozenset(map(str, found))
