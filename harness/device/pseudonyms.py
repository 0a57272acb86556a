"""Pseudonyms that hide nobody: worked out from what they stand for, or counted.

What can be tried without a secret: identifier and name as they are, in other letters and encodings, alone and joined;
their digests, whole or cut short at either end, in every usual notation. A digest with a secret in it cannot be found.
"""

from __future__ import annotations

import base64
import codecs
import hashlib
import os
import re
import uuid
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

__all__ = ["in_a_row", "worked_out"]

SHORTEST = 4
"""Characters of a pseudonym; in a shorter one a part of a digest turns up by chance."""
NEAR = 16
"""Numbers no farther apart on average are counted, not drawn."""

_JOINED_BY = ("", " ", "-", "_", ":", ";", ",", "|", "/")
_DIGESTS = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3_256", "sha3_512", "blake2s")
_BLAKE2B_SIZES = (8, 16, 20, 32, 64)
_NAMESPACES = {"DNS": uuid.NAMESPACE_DNS, "URL": uuid.NAMESPACE_URL, "OID": uuid.NAMESPACE_OID}


def worked_out(pseudonyms: Sequence[str], patients: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the ways by which the pseudonym of each of the patients can be worked out from its `id` and `name`."""
    # Whole, and without a word that may stand before or behind it.
    parts = {part for each in pseudonyms for part in (_plain(each), max(re.split(r"[^0-9A-Za-z]", each), key=len))}
    plain = [part for part in parts if len(part) >= SHORTEST]
    folded = [each.casefold() for each in plain]

    def known(form: str, *, fold: bool) -> bool:
        sought = folded if fold else plain
        text = _plain(form).casefold() if fold else _plain(form)
        return any(text.startswith(each) or text.endswith(each) for each in sought)

    if not patients:
        return []
    first, *others = patients
    # What does not give the first one's is not worked out for the others.
    ways = {way for way, (form, fold) in _forms(first) if known(form, fold=fold)}
    for patient in others:
        ways &= {way for way, (form, fold) in _forms(patient) if way in ways and known(form, fold=fold)}
    return sorted(ways, key=lambda way: (len(way), way))


def in_a_row(pseudonyms: Sequence[str]) -> bool:
    """Say whether what differs in them is a number, and the numbers lie close together or at equal distances."""
    prefix = re.sub(r"[0-9]+$", "", os.path.commonprefix(list(pseudonyms)))
    rest = [each[len(prefix) :] for each in pseudonyms]
    for base, digits in ((10, r"[0-9]{1,40}"), (16, r"[0-9A-Fa-f]{1,40}")):
        if len(rest) > 1 and all(re.fullmatch(digits, each) for each in rest):
            numbers = sorted(int(each, base) for each in rest)
            steps = [after - before for before, after in pairwise(numbers)]
            return numbers[-1] - numbers[0] < NEAR * len(numbers) or (len(steps) > 1 and len(set(steps)) == 1)
    return False


def _plain(text: str) -> str:
    """Return letters and digits only: notations differ in what stands between them."""
    return re.sub(r"[^0-9A-Za-z]", "", text)


def _forms(patient: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, bool]]]:
    """Yield the ways to work something out, each with what comes of it and whether capitals and small letters count."""
    for what, text in _texts(patient):
        yield f"{what}, backwards", (text[::-1], True)
        yield f"{what}, by rot13", (codecs.encode(text, "rot13"), True)
        for name, space in _NAMESPACES.items():
            yield f"UUID 3 ({name}) of {what}", (uuid.uuid3(space, text).hex, True)
            yield f"UUID 5 ({name}) of {what}", (uuid.uuid5(space, text).hex, True)
        for encoding in ("utf-8", "utf-16-le", "latin-1", "gb18030"):
            try:
                data = text.encode(encoding)
            except UnicodeEncodeError:
                continue
            for digest, value in _digests(data):
                for notation, form in _notations(value):
                    yield f"{digest} of {what} in {encoding}, {notation}", (form, not notation.startswith("base64"))


def _texts(patient: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield what identifies a patient, alone and joined, and written otherwise."""
    number, name = patient["id"], patient["name"]
    joined = {"id": number, "name": name}
    for between in _JOINED_BY:
        joined |= {
            f"id {between!r} name": f"{number}{between}{name}",
            f"name {between!r} id": f"{name}{between}{number}",
        }
    for what, text in joined.items():
        bare = "".join(filter(str.isalnum, text))
        for how, written in (("", text), (" without separators", bare)):
            yield f"{what}{how}", written
            yield f"{what}{how} in small letters", written.lower()
            yield f"{what}{how} in capitals", written.upper()
            yield f"{what}{how} with an end of line", f"{written}\n"


def _digests(data: bytes) -> Iterator[tuple[str, bytes]]:
    for name in _DIGESTS:
        yield name, hashlib.new(name, data, usedforsecurity=False).digest()
    for size in _BLAKE2B_SIZES:
        yield f"blake2b of {size} bytes", hashlib.blake2b(data, digest_size=size).digest()
    yield "crc32", zlib.crc32(data).to_bytes(4)
    yield "adler32", zlib.adler32(data).to_bytes(4)


def _notations(value: bytes) -> Iterator[tuple[str, str]]:
    yield "hexadecimal", value.hex()
    yield "base32", base64.b32encode(value).decode()
    yield "base64", base64.b64encode(value).decode()
    yield "decimal", str(int.from_bytes(value))
    for size in (4, 8):
        yield f"decimal of the first {size} bytes", str(int.from_bytes(value[:size]))
