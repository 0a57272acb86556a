"""The data partition as it lies on its medium (VP1-ICD §11.5): what is secret only sealed under the unit's key.

The file is the magic, a salt and two lengths; the sealed part (nonce and XChaCha20-Poly1305 of JSON) padded to whole
blocks; JSON in clear; and, from the next block on, blocks that nobody erased.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)

UNIT_SECRET = hashlib.sha256(b"secure element of the sham VP1-000417").digest()
"""Stands for the secure element, which no medium shows."""

MAGIC = b"VP1-MEDIUM-1\0\0\0\0"
BLOCK = 4096
_SALT, _NONCE = 16, 24
_HEAD = len(MAGIC) + _SALT + 8


@dataclass
class Medium:
    """What is on the medium. `leftover`: blocks outside of what is in use."""

    plain: dict[str, Any]
    secret: dict[str, Any]
    salt: bytes = field(default_factory=lambda: secrets.token_bytes(_SALT))
    leftover: bytes = b""

    def image(self) -> bytes:
        """All bytes of the medium; the nonce is new each time."""
        nonce = secrets.token_bytes(_NONCE)
        content = json.dumps(self.secret).encode()
        sealed = nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(content, MAGIC, nonce, _key(self.salt))
        plain = json.dumps(self.plain).encode()
        lengths = len(sealed).to_bytes(4, "big") + len(plain).to_bytes(4, "big")
        used = _whole_blocks(MAGIC + self.salt + lengths + sealed) + plain
        return _whole_blocks(used) + self.leftover

    def write(self, path: Path) -> None:
        """Put it on the medium, all or nothing."""
        scratch = path.with_suffix(".new")
        scratch.write_bytes(self.image())
        scratch.replace(path)

    @classmethod
    def read(cls, path: Path) -> Medium:
        """Read it back.

        Raises:
            ValueError: nothing that was written here.
        """
        image = path.read_bytes()
        if not image.startswith(MAGIC):
            raise ValueError(f"{path} is no medium of a sham pump")
        salt = image[len(MAGIC) : len(MAGIC) + _SALT]
        sealed_length, plain_length = (int.from_bytes(image[at : at + 4], "big") for at in (_HEAD - 8, _HEAD - 4))
        sealed = image[_HEAD : _HEAD + sealed_length]
        start = _blocks(_HEAD + sealed_length)
        content = crypto_aead_xchacha20poly1305_ietf_decrypt(sealed[_NONCE:], MAGIC, sealed[:_NONCE], _key(salt))
        plain = image[start : start + plain_length]
        return cls(json.loads(plain), json.loads(content), salt, image[_blocks(start + plain_length) :])


def _key(salt: bytes) -> bytes:
    return hashlib.blake2b(salt, key=UNIT_SECRET, digest_size=32).digest()


def _blocks(length: int) -> int:
    return -(-length // BLOCK) * BLOCK


def _whole_blocks(data: bytes) -> bytes:
    return data.ljust(_blocks(len(data)), b"\0")
