"""Stand-ins for update bundles: judged as the pump judges RAUC's (VP1-ICD §13), but small and quickly made.

A bundle is a payload, a signature and the signature's length (8 bytes); the payload is a magic, the length of the
manifest (4 bytes), the manifest in JSON, and the image. The maker signs the manifest, which has the image's digest. In
a bundle of format `plain` the image is checked with the signature, in one of format `verity` when it is written.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Set
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MAGIC = b"VP1-SHAM"
COMPATIBLE = "VP-1"
MAKER = bytes.fromhex("b1d252cb2de17e3fbc39704cb4b167457b896940ace885919e673812b0220ddb")
"""The maker's public key."""

Version = tuple[int, int, int]


class BundleRefused(Exception):  # noqa: N818 - an outcome
    """Why a bundle is not installed, in VP1-ICD's words."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A bundle taken apart. `fault` is what the image does instead of working: `boot`, `self-test` or `hang`."""

    manifest: bytes
    image: bytes
    signature: bytes
    compatible: str
    version: str
    format: str
    digest: str
    fault: str

    @property
    def image_is_whole(self) -> bool:
        """Whether the image is the one that the manifest means."""
        return hashlib.sha256(self.image).hexdigest() == self.digest


def read_bundle(file: bytes) -> Bundle:
    """Take a bundle apart; one that has no signature gets an empty one.

    Raises:
        BundleRefused: it is none.
    """
    try:
        length = int.from_bytes(file[-8:], "big")
        signed = len(MAGIC) < length + 8 < len(file) and length == 64
        payload, signature = (file[:-72], file[-72:-8]) if signed else (file, b"")
        size = int.from_bytes(payload[8:12], "big")
        manifest = payload[12 : 12 + size]
        if not payload.startswith(MAGIC) or len(manifest) != size:
            raise BundleRefused("signature")
        about = {name: str(value) for name, value in json.loads(manifest).items()}
        return Bundle(manifest=manifest, image=payload[12 + size :], signature=signature, **about)
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise BundleRefused("signature") from None


def judge(bundle: Bundle, *, installed: Version, name: str, weaknesses: Set[str]) -> None:
    """Judge what can be judged before the image is written; `name` is what the user calls the bundle.

    Raises:
        BundleRefused: it must not be installed.
    """
    if not _is_makers(bundle) and "update-signature-unchecked" not in weaknesses:
        raise BundleRefused("signature")
    if bundle.compatible != COMPATIBLE and "update-compatible-unchecked" not in weaknesses:
        raise BundleRefused("compatible")
    version = parse_version(bundle.version)
    if version is None:
        raise BundleRefused("version")
    if "downgrade-check-on-file-name" in weaknesses and (shown := re.search(r"\d+\.\d+\.\d+", name)):
        version = parse_version(shown[0]) or version
    if version <= installed:
        raise BundleRefused("version")


def parse_version(text: str) -> Version | None:
    """MAJOR.MINOR.PATCH, each 0 to 65535; None for anything else."""
    if not re.fullmatch(r"(0|[1-9][0-9]{0,4})(\.(0|[1-9][0-9]{0,4})){2}", text):
        return None
    major, minor, patch = (int(part) for part in text.split("."))
    return (major, minor, patch) if max(major, minor, patch) <= 0xFFFF else None


def _is_makers(bundle: Bundle) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(MAKER).verify(bundle.signature, bundle.manifest)
    except InvalidSignature:
        return False
    return bundle.format == "verity" or bundle.image_is_whole
