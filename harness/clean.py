"""Showing what a hostile device sent: decode, escape, cap and mask before anybody reads it.

Bytes are kept as bytes everywhere else. Whatever leaves for a terminal, Allure, HTML or a file name goes
through here first: lone surrogates, control and ANSI sequences, bidi overrides and length are made harmless.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable
from urllib.parse import quote

__all__ = ["Masker", "file_name", "show", "show_text"]

#: Longest piece of device data shown in a report, in characters; the capture holds the whole.
LIMIT = 4000

_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


class _Escapes(dict[int, str]):
    """A table for `str.translate`: what may act is spelled out. Filled as characters are met."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        if char in "\n\t" or unicodedata.category(char) not in _UNSAFE_CATEGORIES:
            shown = char
        else:
            shown = f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
        self[code] = shown
        return shown


_ESCAPES = _Escapes()


def show_text(text: str, *, limit: int = LIMIT) -> str:
    """Return `text` with every invisible, directional or control character spelled out and the length capped.

    Line feed and tab stay. Escapes are `\\xNN` or `\\uNNNN`.
    """
    if len(text) <= limit:
        return text.translate(_ESCAPES)
    return text[: limit + 1].translate(_ESCAPES)[:limit] + f"… ({len(text) - limit} more)"


def show(data: bytes, *, limit: int = LIMIT) -> str:
    """Return device bytes as text that is safe to show; bytes that are not UTF-8 appear as `\\xNN`."""
    head = data[: limit * 4]
    text = show_text(head.decode("utf-8", errors="backslashreplace").replace("\r\n", "\n"), limit=limit)
    return text if len(head) == len(data) else f"{text}… ({len(data) - len(head)} more bytes)"


def file_name(text: str) -> str:
    """Return `text` as a file name: letters, digits, dot, dash and underscore, at most 80 characters, never empty."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:80]
    return name or "unnamed"


class Masker:
    """Replaces known secrets by as many asterisks, in text and bytes."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets: list[str] = []
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """Mask `secret`, from now on, as JSON and URLs write it too; under four characters it would mask any text."""
        forms = {secret, json.dumps(secret)[1:-1], quote(secret, safe="", errors="replace")}
        self._secrets += [form for form in forms if len(secret) >= 4 and form not in self._secrets]
        self._secrets.sort(key=len, reverse=True)

    def mask(self, text: str) -> str:
        """Return `text` with each secret masked at equal length."""
        for secret in self._secrets:
            text = text.replace(secret, "*" * len(secret))
        return text

    def mask_bytes(self, data: bytes) -> bytes:
        """Return `data` with each secret masked: before a cut, after which the begin of one would be none any more."""
        for secret in self._secrets:
            data = data.replace(secret.encode("utf-8", "surrogatepass"), b"*" * len(secret))
        return data

    def lengths(self, text: str) -> list[int]:
        """Return the length of each secret that stands in `text`, so that every masking can be recorded."""
        return [len(secret) for secret in self._secrets if secret in text]
