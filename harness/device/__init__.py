"""Surfaces, sessions, operations and outcomes, and the ready-made ways to carry them out."""

from __future__ import annotations

from harness.device.bus_commands import BusCommandSurface
from harness.device.custom import make_custom
from harness.device.dialogue import DialogueSurface
from harness.device.http import HttpSurface
from harness.device.messages import MessageSurface
from harness.device.modbus_map import ModbusSurface
from harness.device.surface import Surface, Wiring
from harness.device.uds import UdsSurface
from harness.rig import device_file as spec_of

__all__ = ["make_surface"]


def make_surface(name: str, wiring: Wiring, *, device: spec_of.DeviceFile) -> Surface:
    """Return the surface the device file calls `name`, on the links of `wiring`."""
    spec = device.surfaces[name]
    match spec:
        case spec_of.DialogueSurface():
            return DialogueSurface(name, wiring, spec=spec, accounts=device.accounts)
        case spec_of.HttpSurface():
            return HttpSurface(name, wiring, spec=spec, accounts=device.accounts)
        case spec_of.MessageSurface():
            return MessageSurface(name, wiring, spec=spec, accounts=device.accounts)
        case spec_of.ModbusSurface():
            return ModbusSurface(name, wiring, spec=spec)
        case spec_of.UdsSurface():
            return UdsSurface(name, wiring, spec=spec)
        case spec_of.BusCommandSurface():
            return BusCommandSurface(name, wiring, spec=spec)
        case spec_of.CustomSurface() | spec_of.CustomLogInSurface():
            return make_custom(name, wiring, spec=spec, accounts=device.accounts)
