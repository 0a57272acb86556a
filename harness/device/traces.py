"""Traces of a text in bytes: in every form it could have been written in, and credentials known by their shape.

The forms: UTF-8, UTF-16, UTF-32 and GB 18030 (which GBK is part of), in capitals and small letters; hexadecimal;
base64 and its URL alphabet at each alignment; the escapes of JSON, URL and HTML; digits as packed BCD, also with
swapped half-bytes. What is compressed is looked into where it is asked for; what is encrypted cannot be.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import string
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from mmap import mmap

from harness.device.unpacking import unpacked

__all__ = ["Trace", "canary", "credential_texts", "credentials", "forms", "traces", "within"]

CREDENTIALS: Mapping[str, re.Pattern[bytes]] = {
    "private key": re.compile(
        rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\r?\n(?:[A-Za-z0-9-]+: [^\n]*\n|\r?\n){0,8}[A-Za-z0-9+/=]{40}"
    ),
    "password hash": re.compile(
        rb"\$(?:1|2[abxy]|5|6|7|y|gy|sha1|scrypt|pbkdf2[a-z0-9-]*|argon2(?:i|d|id))\$[A-Za-z0-9./$=,+-]{0,64}[A-Za-z0-9./+]{22}"
    ),
}
"""Credentials as they are written everywhere: PEM, and the hashes of crypt(5) and PHC.

The lines of a header are bounded: each could be where a key begins, and the time would be quadratic.
"""

_CHINESE = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高梁郑谢唐许韩邓冯曹彭曾肖田董潘袁蔡蒋余于杜叶程魏苏吕丁任卢姚沈钟姜"
    "崔谭陆范汪廖石金韦贾夏付方邹熊白孟秦邱侯江尹薛闫段雷龙黎史陶贺毛郝顾龚邵万覃武钱戴严莫孔向常汤康易乔赖文"
)
SHORTEST = 6
"""Bytes of a text that is looked for: what is shorter turns up by chance."""


@dataclass(frozen=True, slots=True)
class Trace:
    """A text that was found: which, in which form, and where, in bytes from the beginning (of `inside`)."""

    name: str
    form: str
    at: int
    inside: str = ""

    def __str__(self) -> str:
        return f"{self.name} as {self.form} at byte {self.at}{self.inside and f' of {self.inside}'}"


def canary(kind: str, *, length: int = 10) -> str:
    """Draw a text that is nowhere by chance: `letters` (capitals and digits), `digits`, or `chinese`.

    Raises:
        KeyError: no such kind.
    """
    alphabet = {"letters": string.ascii_uppercase + string.digits, "digits": string.digits, "chinese": _CHINESE}[kind]
    drawn = "".join(secrets.choice(alphabet) for _ in range(length))
    return drawn if kind != "digits" or drawn[0] != "0" else f"7{drawn[1:]}"


def forms(text: str) -> dict[str, bytes]:
    """Return the forms of a text by name; what would turn up by chance for its shortness is left out."""
    utf8 = text.encode()
    found = {"UTF-8": utf8, "small letters": text.lower().encode(), "capitals": text.upper().encode()}
    for encoding in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "gb18030", "latin-1"):
        try:
            found[encoding.upper()] = text.encode(encoding)
        except UnicodeEncodeError:
            continue
    escaped = json.dumps(text)[1:-1]
    found["JSON escapes"] = escaped.encode()
    found["JSON escapes in capitals"] = re.sub(r"(?<=\\u)[0-9a-f]{4}", lambda m: m[0].upper(), escaped).encode()
    found["JSON escapes of every character"] = "".join(rf"\u{unit:04x}" for unit in _units(text)).encode()
    found["URL escapes"] = urllib.parse.quote(text, safe="").encode()
    found["URL escapes in small letters"] = re.sub(rb"%..", lambda m: m[0].lower(), found["URL escapes"])
    found["HTML escapes"] = "".join(c if c.isascii() else f"&#{ord(c)};" for c in text).encode()
    found["hexadecimal"] = utf8.hex().encode()
    found["hexadecimal in capitals"] = utf8.hex().upper().encode()
    for offset in range(3):
        plain = _base64(utf8, offset)
        found[f"base64 (offset {offset})"] = plain
        found[f"base64 of URLs (offset {offset})"] = plain.translate(bytes.maketrans(b"+/", b"-_"))
    if re.fullmatch(r"[0-9]+", text):
        for title, digits in (("packed BCD", text), ("packed BCD, shifted", text[1:])):
            packed = bytes.fromhex(digits[: len(digits) // 2 * 2])
            found[title] = packed
            found[f"{title}, swapped"] = bytes(byte >> 4 | byte << 4 & 0xF0 for byte in packed)
    distinct: dict[bytes, str] = {}
    for name, form in found.items():
        distinct.setdefault(form, name)
    return {name: form for form, name in distinct.items() if len(form) >= min(SHORTEST, len(utf8))}


def traces(data: bytes | mmap, texts: Mapping[str, str]) -> list[Trace]:
    """Return the first place of each form of each text (name → text) that stands in `data`."""
    found = []
    for name, text in texts.items():
        for form, wanted in forms(text).items():
            at = data.find(wanted)
            if at >= 0:
                found.append(Trace(name, form, at))
    return found


def credentials(data: bytes | mmap, patterns: Iterable[str] = ()) -> list[Trace]:
    """Return what stands in `data` that has the shape of a credential, or fits one of `patterns`."""
    named = {**CREDENTIALS, **{pattern: re.compile(pattern.encode()) for pattern in patterns}}
    hits = ((name, pattern.search(data)) for name, pattern in named.items())
    return [Trace(name, "clear text", hit.start()) for name, hit in hits if hit]


def credential_texts(data: bytes | mmap) -> dict[bytes, Trace]:
    """Return everything in `data` that has the shape of a credential: how it begins, and where it is first.

    Software brings some of its own, for its self-tests: what matters is what two read-outs differ in.
    """
    found: dict[bytes, Trace] = {}
    for name, pattern in CREDENTIALS.items():
        for hit in pattern.finditer(data):
            found.setdefault(hit[0], Trace(name, "clear text", hit.start()))
    return found


def within(data: bytes, search: Callable[[bytes], list[Trace]]) -> list[Trace]:
    """Return what a search finds in `data` and in everything that is compressed there.

    Raises:
        Undecided: too much is.
    """
    found = search(data)
    for part in unpacked(data):
        found += [replace(trace, inside=part.place) for trace in search(part.data)]
    return found


def _units(text: str) -> list[int]:
    """Return a text as the 16-bit units in which JSON escapes it."""
    wide = text.encode("utf-16-be")
    return [int.from_bytes(wide[at : at + 2]) for at in range(0, len(wide), 2)]


def _base64(data: bytes, offset: int) -> bytes:
    """Return what is certain of the base64 of `data` behind `offset` other bytes."""
    end = (offset + len(data)) // 3 * 3
    whole = base64.b64encode(bytes(offset) + data[: end - offset])
    return whole[4 if offset else 0 :]
