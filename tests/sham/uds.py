"""UDS diagnostics (VP1-ICD §5)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.cmac import CMAC
from state import UDS_KEY

if TYPE_CHECKING:
    from application import Application

SESSION_S = 5.0
DELAY_S = 10.0
WRONG_KEYS = 3
SUPPRESS = 0x80
"""Bit of the sub-function that asks for no positive answer (ISO 14229-1)."""

CONSTANT_SEED = bytes.fromhex("0102030405060708")


class Negative(Exception):  # noqa: N818 - the standard's word
    """A negative response code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"0x{code:02X}")
        self.code = code


def key_for(seed: bytes) -> bytes:
    """The key that answers a seed."""
    mac = CMAC(AES128(UDS_KEY))
    mac.update(seed)
    return mac.finalize()[:8]


class UdsServer:
    """One diagnostic server; state lives as long as the application."""

    def __init__(self, application: Application) -> None:
        self._app = application
        self._extended = False
        self._unlocked = False
        self._seed: bytes | None = None
        self._wrong_keys = 0
        self._delay_until = 0.0
        self._last_request = 0.0
        self.requests = 0
        self._services = {
            0x10: self._session_control,
            0x11: self._reset,
            0x22: self._read,
            0x27: self._security,
            0x3E: self._tester_present,
        }

    def answer(self, request: bytes) -> bytes | None:
        """Answer one request; None where the standard wants silence (or the application just died)."""
        self.requests += 1
        self._app.asked_on_a_bus()
        now = self._app.clock.monotonic()
        if now - self._last_request > SESSION_S:
            self._enter(extended=False)
        self._last_request = now
        service = request[0]
        if service == 0x22 and len(request) > 40 and "uds-memory-bug" in self._app.weaknesses:
            self._app.outside.crash()
            return None
        silent = service != 0x22 and len(request) > 1 and bool(request[1] & SUPPRESS)
        if silent:
            request = request[:1] + bytes([request[1] & ~SUPPRESS]) + request[2:]
        try:
            if service not in self._services or (service == 0x3E and self._lacks_tester_present):
                raise Negative(0x11)
            if service in (0x11, 0x27) and not self._extended:
                raise Negative(0x7F)
            answer = self._services[service](request)
        except Negative as refusal:
            return bytes([0x7F, service, refusal.code])
        return None if silent else answer

    @property
    def _lacks_tester_present(self) -> bool:
        return "minor-drops-service" in self._app.weaknesses and self._app.identity.version[1] != 0

    def _enter(self, *, extended: bool) -> None:
        self._extended, self._unlocked, self._seed = extended, False, None

    def _session_control(self, request: bytes) -> bytes:
        if len(request) != 2:
            raise Negative(0x13)
        if request[1] not in (1, 3):
            raise Negative(0x12)
        self._enter(extended=request[1] == 3)
        return bytes([0x50, request[1]]) + bytes.fromhex("003201F4")

    def _reset(self, request: bytes) -> bytes:
        if not self._unlocked:
            raise Negative(0x33)
        if len(request) != 2:
            raise Negative(0x13)
        if request[1] != 1:
            raise Negative(0x12)
        self._app.audit.record("reset", surface="uds")
        self._app.outside.reset()
        return b"\x51\x01"

    def _read(self, request: bytes) -> bytes:
        if len(request) != 3:
            raise Negative(0x13)
        identity, therapy = self._app.identity, self._app.therapy
        values = {
            0xF18C: identity.serial.encode(),
            0xF195: self._version().encode(),
            0xF197: identity.model.encode(),
            0x0100: struct.pack(">I", therapy.uptime_ms),
            0x0101: bytes([therapy.state]),
            0x0102: struct.pack(">H", therapy.set_rate),
            0x0110: self._app.data.ward_name.encode(),
        }
        if identity.version >= (1, 1, 0):
            values[0x0103] = bytes([therapy.alarm])
        identifier = int.from_bytes(request[1:3], "big")
        if identifier not in values:
            raise Negative(0x31)
        return b"\x62" + request[1:3] + values[identifier]

    def _version(self) -> str:
        differs = "version-differs" in self._app.weaknesses and self._app.identity.version < (1, 1, 0)
        return "1.0.1" if differs else self._app.identity.version_text

    def _security(self, request: bytes) -> bytes:
        if len(request) < 2:
            raise Negative(0x13)
        if request[1] not in (1, 2):
            raise Negative(0x12)
        if len(request) != (2 if request[1] == 1 else 10):
            raise Negative(0x13)
        return self._give_seed() if request[1] == 1 else self._check_key(request[2:])

    def _give_seed(self) -> bytes:
        if self._app.clock.monotonic() < self._delay_until:
            raise Negative(0x37)
        if self._unlocked:
            return b"\x67\x01" + bytes(8)
        constant = "uds-constant-seed" in self._app.weaknesses
        self._seed = CONSTANT_SEED if constant else self._app.rng.randbytes(8)
        return b"\x67\x01" + self._seed

    def _check_key(self, key: bytes) -> bytes:
        seed, self._seed = self._seed, None
        if seed is None:
            raise Negative(0x24)
        self._unlocked = key == key_for(seed)
        self._app.audit.record("security", surface="uds", result="accepted" if self._unlocked else "refused")
        if self._unlocked:
            self._wrong_keys = 0
            return b"\x67\x02"
        self._app.audit.record("security", surface="uds", result="refused", detail="key")
        self._wrong_keys += 1
        if self._wrong_keys < WRONG_KEYS:
            raise Negative(0x35)
        self._wrong_keys = 0
        self._delay_until = self._app.clock.monotonic() + DELAY_S
        raise Negative(0x36)

    def _tester_present(self, request: bytes) -> bytes:
        if len(request) != 2:
            raise Negative(0x13)
        if request[1] != 0:
            raise Negative(0x12)
        return b"\x7e\x00"
