"""Values inside bytes: the types device files use for registers, identifiers and signals. Big-endian throughout."""

from __future__ import annotations

from typing import TypeAlias

__all__ = ["Value", "decode_value", "wraps_after"]

Value: TypeAlias = str | float

_SIZES = {"u8": 1, "u16": 2, "u32": 4}


def wraps_after(kind: str, scale: float | None = None) -> float | None:
    """Return the value at which a number of `kind` begins again at 0; None for what is no number."""
    return (1 << 8 * _SIZES[kind]) * (1.0 if scale is None else scale) if kind in _SIZES else None


def decode_value(data: bytes, kind: str, scale: float | None = None) -> Value | None:
    """Return `data` as a value of `kind`, or `None` when it cannot be one.

    Args:
        data: the bytes, whole.
        kind: `u8`, `u16`, `u32`, `ascii` (trailing NUL and spaces dropped), `dotted` (u16 numbers joined by
            dots) or `hex`.
        scale: a factor for the number kinds.
    """
    if kind in _SIZES:
        if len(data) != _SIZES[kind]:
            return None
        return int.from_bytes(data) * (1.0 if scale is None else scale)
    if kind == "dotted":
        if not data or len(data) % 2:
            return None
        return ".".join(str(int.from_bytes(data[i : i + 2])) for i in range(0, len(data), 2))
    if kind == "hex":
        return data.hex()
    text = data.rstrip(b"\0 ")
    if not text or any(not 0x20 <= byte < 0x7F for byte in text):
        return None
    return text.decode("ascii")
