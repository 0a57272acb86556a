"""What the maker puts into one unit: burnt into the boot loader, and written to the EEPROM."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from building.images import read_key

EEPROM_SIZE = 0x10000
SLOT_SIZE = 0x6000
_BOOT_RECORD, _SETTINGS, _SLOT_A = 0x0000, 0x0400, 0x4000
_NO_SLOT = 0xFF
_ACCOUNTS = ("operator", "service")
_SETTING_NAMES = ("brightness", "alarm_volume", "occlusion_limit", "highest_rate", "syringe_size")
"""Layout and order of src/common/eeprom.h and src/app/settings.h."""


@dataclass(frozen=True)
class Unit:
    """The delivered state of `unit/unit.json`."""

    data: dict[str, Any]

    @property
    def serial(self) -> str:
        """Serial number."""
        return str(self.data["serial"])

    def source(self, maker_key: Path) -> str:
        """The C source burnt into the boot loader: serial number, secret, the maker's public key."""
        public = read_key(maker_key).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        secret = bytes.fromhex(self.data["secret"])
        return (
            '#include "unit.h"\n'
            f'const char unit_serial[] = "{self.serial}";\n'
            f"const uint8_t unit_secret[32] = {{{_bytes(secret)}}};\n"
            f"const uint8_t maker_key[32] = {{{_bytes(public)}}};\n"
        )

    def eeprom(self, image: bytes) -> bytes:
        """The EEPROM as delivered: settings, no audit record, `image` in slot A, slot B erased."""
        content = bytearray(b"\xff" * EEPROM_SIZE)
        for address, record in ((_BOOT_RECORD, _boot_record()), (_SETTINGS, self._settings()), (_SLOT_A, image)):
            content[address : address + len(record)] = record
        return bytes(content)

    def _settings(self) -> bytes:
        """`struct kept`, first bank (sequence number 0)."""
        values = [self.data["settings"][name] for name in _SETTING_NAMES]
        record = struct.pack("<4sIII", b"SDST", 0, 0, self.data["rate_tenths"])
        record += struct.pack("<B2BB5HH", self.data["running"], 0, 0, 0, *values, 0)
        for account in _ACCOUNTS:
            salt = hashlib.sha256(f"{self.serial}/{account}".encode()).digest()[:16]
            pin = self.data["pins"][account].encode()
            secret = bytes.fromhex(self.data["secret"])
            record += salt + hashlib.blake2b(salt + pin, key=secret, digest_size=32).digest()
        return _sealed(record)


def load_unit(file: Path) -> Unit:
    """Read `unit.json`."""
    return Unit(json.loads(file.read_text()))


def _boot_record() -> bytes:
    """`struct boot_record`: slot A, nothing on trial, no floor."""
    return _sealed(struct.pack("<4sIQBBBBII", b"SDBT", 0, 0, 0, _NO_SLOT, 0, 0, 0, 0))


def _sealed(record: bytes) -> bytes:
    return record + struct.pack("<I", zlib.crc32(record))


def _bytes(content: bytes) -> str:
    return ", ".join(f"0x{byte:02x}" for byte in content)
