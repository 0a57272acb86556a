"""A good session recorded on a twin of the pump, for the replaying liar to play back when it heard none itself."""

from __future__ import annotations

import random
import struct

from accounts import PASSWORDS, Attempt
from application import Application
from can_bus import authenticator
from mind import KeyOffer, Memory, RecordedMind
from state import GENUINE, TICK_S, Data, VirtualClock
from uds import key_for

_COMMANDS = {
    "operator": ("status", "version", "help", "rate 50.0", "start", "logout"),
    "service": ("status", "version", "help", "diagnostics", "logout"),
    "admin": ("status", "version", "help", "audit", "config", "config alarm_volume 5", "logout"),
}
_MODBUS = ("0400000012", "0400060002", "0400080003", "04000b0005", "0400100002", "0300000005", "0600000050",
           "1000000002040050 0005")  # fmt: skip
_UDS = ("3e00", "22f18c", "22f195", "22f197", "220100", "220101", "220102", "1003")


def rehearse(memory: Memory, *, rng: random.Random, authorised_key: bytes) -> None:
    """Record a good session into `memory`; what is there already stays."""
    clock = VirtualClock()
    twin = Application(
        clock=clock,
        data=Data(),
        rng=rng,
        weaknesses=frozenset(),
        identity=GENUINE,
        authorised_key=authorised_key,
        started_by="power-on",
        reset=lambda: None,
        crash=lambda: None,
    )
    mind = RecordedMind(twin, memory)
    for tick in range(Memory.STATUS_TICKS):
        mind.status(tick)
        clock.advance(TICK_S)
    mind.ssh(KeyOffer(user="service", method="publickey", secret=authorised_key))
    for user, password in PASSWORDS.items():
        mind.log_in(Attempt(user=user, password=password, surface="console", connection="console"))
        for line in _COMMANDS[user]:
            mind.command(user, "console", line)
    for request in _MODBUS:
        mind.modbus(bytes.fromhex(request))
    mind.transaction(1)
    for request in _UDS:
        mind.uds(bytes.fromhex(request))
    seed = mind.uds(b"\x27\x01") or b""
    mind.uds(b"\x27\x02" + key_for(seed[2:]))
    for counter, (opcode, argument) in enumerate(((4, 0), (3, 500), (1, 0)), start=1):
        command = struct.pack(">BHH", opcode, argument, counter)
        mind.can(command + authenticator(twin.can.session, command))
