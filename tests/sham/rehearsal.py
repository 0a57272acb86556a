"""A good session recorded on a twin of the pump, for the replaying liar to play back when it heard none itself."""

from __future__ import annotations

import json
import random
import struct

from accounts import Attempt
from application import Application, Outside
from can_bus import authenticator
from http_message import Request
from mind import KeyOffer, Memory, RecordedMind
from state import GENUINE, TICK_S, Data, VirtualClock
from uds import key_for
from users import PASSWORDS

_COMMANDS = {
    "operator": ("status", "version", "help", "rate 50.0", "start", "logout"),
    "service": ("status", "version", "help", "diagnostics", "logout"),
    "admin": ("status", "version", "help", "audit", "config", "config alarm_volume 5", "logout"),
}
_API: dict[str, tuple[tuple[str, str, object], ...]] = {
    "operator": (
        ("GET", "/api/status", None), ("GET", "/api/version", None), ("PUT", "/api/rate", {"ml_per_hour": 50.0}),
        ("POST", "/api/start", {}), ("GET", "/api/patients", None),
        ("POST", "/api/patients", {"id": "P-1", "name": "A. Patient", "ward": "ICU-3", "note": ""}),
        ("DELETE", "/api/patients/P-1", None),
    ),
    "service": (
        ("GET", "/api/diagnostics", None), ("GET", "/api/equipment", None),
        ("GET", "/api/equipment/service-log.txt", None), ("GET", "/api/update", None),
    ),
    "admin": (
        ("GET", "/api/config", None), ("PUT", "/api/config", {"alarm_volume": 5}), ("GET", "/api/users", None),
        ("POST", "/api/users", {"user": "nurse", "role": "operator", "password": "Kettle-90-Birch"}),
        ("DELETE", "/api/users/nurse", None), ("POST", "/api/unlock", {"user": "service"}),
        ("GET", "/api/audit?last=200", None),
    ),
}  # fmt: skip
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
        outside=Outside(),
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
    _rehearse_api(mind)
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


def _rehearse_api(mind: RecordedMind) -> None:
    for user, password in PASSWORDS.items():
        log_in = json.dumps({"user": user, "password": password.decode()}).encode()
        token = json.loads(mind.api(Request(method="POST", target="/api/login", body=log_in)).body)["token"]
        headers = {"authorization": f"Bearer {token}"}
        for method, target, content in (*_API[user], ("POST", "/api/logout", {})):
            body = b"" if content is None else json.dumps(content).encode()
            mind.api(Request(method=method, target=target, headers=headers, body=body))
