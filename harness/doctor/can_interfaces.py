"""CAN interfaces of the host, and whether its kernel has SocketCAN at all."""

from __future__ import annotations

import socket
from pathlib import Path

from harness.doctor.finding import Finding, State
from harness.links.can_interface import bit_rate, set_up_of

__all__ = ["can_interface", "can_interfaces", "socketcan"]

_ARPHRD_CAN = "280"
"""Type of a CAN interface (linux/if_arp.h)."""

_NETWORK = Path("/sys/class/net")
_IFF_UP = 1


def socketcan() -> Finding:
    """Ask the kernel for a CAN socket."""
    try:
        socket.socket(socket.AF_CAN, socket.SOCK_RAW, socket.CAN_RAW).close()
    except OSError as error:
        remedy = "modprobe can can_raw; a kernel built without CAN needs another kernel, or an adapter over socketcand"
        return Finding("SocketCAN", State.MISSING, f"the kernel gives no CAN socket: {error.strerror}", remedy)
    return Finding("SocketCAN", State.GOOD, "the kernel gives CAN sockets")


def can_interfaces() -> list[Finding]:
    """Look at every CAN interface of the host, needed or not."""
    kernel = socketcan()
    if kernel.state is State.MISSING:
        return [Finding(kernel.what, State.UNNEEDED, kernel.seen)]
    names = sorted(each.parent.name for each in _NETWORK.glob("*/type") if each.read_text().strip() == _ARPHRD_CAN)
    if not names:
        return [kernel, Finding("CAN interfaces", State.UNNEEDED, "none is there")]
    found = [can_interface(f"CAN {name}", name) for name in names]
    # Nobody has asked for these: they cannot be missing.
    return [
        kernel,
        *(Finding(o.what, State.DOUBTFUL if o.state is State.MISSING else o.state, o.seen, o.remedy) for o in found),
    ]


def can_interface(what: str, name: str, *, bitrate: int | None = None) -> Finding:
    """Say of a CAN interface whether it is there and up, and at which bit rate.

    `bitrate`: bits a second that the rig file wants.
    """
    set_up = f"ip link set {name} up type can bitrate {bitrate or 500000}"
    kinds = {each.parent.name: each.read_text().strip() for each in _NETWORK.glob("*/type")}
    if name not in kinds:
        there = sorted(each for each, kind in kinds.items() if kind == _ARPHRD_CAN)
        seen = f"no interface {name}; CAN interfaces: {', '.join(there) or 'none'}"
        return Finding(what, State.MISSING, seen, f"plug the adapter in, then {set_up}")
    if kinds[name] != _ARPHRD_CAN:
        return Finding(what, State.MISSING, f"{name} is no CAN interface", "correct links in the rig file")
    if not int((_NETWORK / name / "flags").read_text(), 16) & _IFF_UP:
        return Finding(what, State.MISSING, f"{name} is down", set_up)
    set_up_as = set_up_of(name)
    real = bit_rate(set_up_as)
    controller = str(set_up_as.get("state", ""))
    if bitrate is not None and real is not None and real != bitrate:
        seen = f"{name} is up at {real} bit/s, the rig file says {bitrate}"
        return Finding(what, State.MISSING, seen, f"ip link set {name} down, then {set_up}")
    if controller.endswith(("PASSIVE", "OFF")):
        remedy = "look at the wiring, the termination and the bit rate of the bus"
        return Finding(what, State.DOUBTFUL, f"{name} is up, its controller says {controller}", remedy)
    seen = f"{name} is up" + (f" at {real} bit/s" if real is not None else ", with no bit rate of its own")
    return Finding(what, State.GOOD, seen)
