"""Signs the application into images: the delivered one, and those for update tests."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from fixture_build.tools import BuildError

INDEX = "index.json"
VERSION = "1.0.0"
MODEL = "SD-200"
_MAGIC = b"SD2F"
_FAULTS = {"": 0, "self-test": 1, "hang": 2}
_UNDEFINED = b"\x00\xde"
"""An instruction that is undefined for ever (`udf #0`)."""
IMAGE_ADDRESS = 0x00100000
"""Where a payload runs: src/common/board.h."""


@dataclass(frozen=True)
class Image:
    """What an image says of itself, and what becomes of it."""

    version: str
    expect: str
    detail: str = "-"
    model: str = MODEL
    key: str = "maker"
    fault: str = ""
    boots: bool = True


IMAGES = {
    "good": Image("1.1.0", "accepted"),
    "patch": Image("1.0.1", "accepted"),
    "older": Image("0.9.0", "refused", "version"),
    "same": Image(VERSION, "refused", "version"),
    "foreign-signed": Image("1.1.0", "refused", "signature", key="foreign"),
    "wrong-device": Image("1.1.0", "refused", "model", model="SD-300"),
    "does-not-boot": Image("1.1.0", "rolled-back", "rolled-back", boots=False),
    "fails-self-test": Image("1.1.0", "rolled-back", "rolled-back", fault="self-test"),
    "hangs-after-boot": Image("1.1.0", "rolled-back", "rolled-back", fault="hang"),
}


def read_key(file: Path) -> Ed25519PrivateKey:
    """Read a signer's private key.

    Raises:
        BuildError: it is no Ed25519 key.
    """
    key = load_pem_private_key(file.read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise BuildError(f"{file}: no Ed25519 key (openssl genpkey -algorithm ed25519 makes one)")
    return key


def make_image(payload: bytes, image: Image, *, keys: Path) -> bytes:
    """Header, payload and signature, as src/common/image.h has them."""
    content = payload if image.boots else _without_start(payload)
    version = [int(part) for part in image.version.split(".")]
    header = struct.pack("<4sI16s4H32x", _MAGIC, len(content), image.model.encode(), *version, _FAULTS[image.fault])
    return header + content + read_key(keys / f"{image.key}.key").sign(header + content)


def _without_start(payload: bytes) -> bytes:
    """The payload with an undefined instruction where it starts."""
    entry = (int.from_bytes(payload[4:8], "little") & ~1) - IMAGE_ADDRESS
    return payload[:entry] + _UNDEFINED + payload[entry + len(_UNDEFINED) :]


def write_images(payload: bytes, *, keys: Path, out: Path) -> None:
    """Write every image for update tests, and the index, into `out`, which is made anew."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    made = {name: (make_image(payload, image, keys=keys), image) for name, image in IMAGES.items()}
    good, about = made["good"]
    made["unsigned"] = (good[:-64] + bytes(64), Image(about.version, "refused", "signature"))
    middle = len(good) // 2
    tampered = good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :]
    made["tampered"] = (tampered, Image(about.version, "refused", "signature"))
    made["truncated"] = (good[:-100], Image(about.version, "refused", "damaged"))
    index = {}
    for name, (content, image) in sorted(made.items()):
        (out / f"{name}.sdf").write_bytes(content)
        index[name] = {
            "file": f"{name}.sdf",
            "version": image.version,
            "sha256": hashlib.sha256(content).hexdigest(),
            "expect": image.expect,
            "detail": image.detail,
        }
    (out / INDEX).write_text(json.dumps(index, indent=2) + "\n")
