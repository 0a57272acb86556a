"""Checksums of line protocols by name. None of them is an authenticator: whoever writes on the line can make one.

Parameters of the CRCs as in the catalogue of parametrised CRC algorithms (CRC RevEng): `crc16-modbus` CRC-16/MODBUS,
`crc16-ccitt` CRC-16/IBM-3740 (start value FFFF, also called CCITT-FALSE), `crc16-xmodem` CRC-16/XMODEM (start value
0), `crc32` CRC-32/ISO-HDLC.
"""

from __future__ import annotations

import binascii
import zlib
from collections.abc import Callable, Mapping
from functools import reduce
from operator import xor

from harness.links.modbus import crc16
from harness.rig.message_surface import Algorithm

__all__ = ["ALGORITHMS"]

ALGORITHMS: Mapping[Algorithm, tuple[int, Callable[[bytes], int]]] = {
    "xor8": (1, lambda data: reduce(xor, data, 0)),
    "sum8": (1, lambda data: sum(data) & 0xFF),
    "lrc8": (1, lambda data: -sum(data) & 0xFF),
    "crc16-modbus": (2, lambda data: int.from_bytes(crc16(data), "little")),
    "crc16-ccitt": (2, lambda data: binascii.crc_hqx(data, 0xFFFF)),
    "crc16-xmodem": (2, lambda data: binascii.crc_hqx(data, 0)),
    "crc32": (4, zlib.crc32),
}
"""Name → how many bytes it has, and how it is worked out."""
