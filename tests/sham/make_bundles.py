"""Makes the sham's bundles and their index in `bundles/`, by the names and in the form of the firmware's build.

    python tests/sham/make_bundles.py

The signing keys are made from the words below: test keys, not secret. The same bundles come out each time.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from bundle import COMPATIBLE, MAGIC
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FOLDER = Path(__file__).parent / "bundles"
IMAGE_BYTES = 4096

# name: version, fault of the image, format, device
SIGNED = {
    "good": ("1.1.0", "", "verity", COMPATIBLE),
    "patch": ("1.0.1", "", "plain", COMPATIBLE),
    "major": ("2.0.0", "", "verity", COMPATIBLE),
    "older": ("0.9.0", "", "verity", COMPATIBLE),
    "same": ("1.0.0", "", "verity", COMPATIBLE),
    "wrong-device": ("1.1.0", "", "verity", "VP-2"),
    "does-not-boot": ("1.1.0", "boot", "verity", COMPATIBLE),
    "fails-self-test": ("1.1.0", "self-test", "verity", COMPATIBLE),
    "hangs-after-boot": ("1.1.0", "hang", "verity", COMPATIBLE),
}
# name: what becomes of it, and the detail that the pump gives
EXPECTED = {
    "good": ("accepted", "-"),
    "patch": ("accepted", "-"),
    "major": ("accepted", "-"),
    "older": ("refused", "version"),
    "same": ("refused", "version"),
    "unsigned": ("refused", "signature"),
    "foreign-signed": ("refused", "signature"),
    "tampered-plain": ("refused", "signature"),
    "tampered-verity": ("refused", "damaged"),
    "wrong-device": ("refused", "compatible"),
    "does-not-boot": ("rolled-back", "rolled-back"),
    "fails-self-test": ("rolled-back", "rolled-back"),
    "hangs-after-boot": ("rolled-back", "rolled-back"),
}
ALARM_BY_UDS = {f"identifiers of uds in {session}": ["0x0103"] for session in ("default", "extended")}
NO_DIAGNOSTICS = {f"actions of {surface} by service": ["diagnostics"] for surface in ("console", "ssh-menu")}
# name: class, and what it changes on the interfaces of the delivered software
CLASSES: dict[str, tuple[str, dict[str, dict[str, list[str]]]]] = {
    "good": ("minor", {"adds": ALARM_BY_UDS}),
    "patch": ("patch", {}),
    "major": ("major", {"adds": ALARM_BY_UDS, "removes": NO_DIAGNOSTICS}),
}


def signer(words: str) -> Ed25519PrivateKey:
    """The signing key made from these words."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(words.encode()).digest())


MAKER = signer("maker of the sham's bundles")
FOREIGN = signer("somebody else")


def bundle(name: str, *, key: Ed25519PrivateKey = MAKER) -> bytes:
    """One of the signed bundles."""
    version, fault, kind, device = SIGNED[name]
    image = hashlib.shake_256(f"{version} {fault}".encode()).digest(IMAGE_BYTES)
    digest = hashlib.sha256(image).hexdigest()
    manifest = json.dumps(
        {"compatible": device, "version": version, "format": kind, "digest": digest, "fault": fault}
    ).encode()
    payload = MAGIC + len(manifest).to_bytes(4, "big") + manifest + image
    return payload + key.sign(manifest) + (64).to_bytes(8, "big")


def changed(file: bytes) -> bytes:
    """The same with one bit of the image changed."""
    at = len(file) - 72 - IMAGE_BYTES // 2
    return file[:at] + bytes([file[at] ^ 1]) + file[at + 1 :]


def bundles() -> dict[str, bytes]:
    """All of them, by name."""
    return {
        **{name: bundle(name) for name in SIGNED},
        "unsigned": bundle("good")[:-72],
        "foreign-signed": bundle("good", key=FOREIGN),
        "tampered-plain": changed(bundle("patch")),
        "tampered-verity": changed(bundle("good")),
    }


def index(files: dict[str, bytes]) -> str:
    """What `index.json` says of them."""
    about = {
        name: {
            "file": f"{name}.raucb",
            "version": SIGNED.get(name, SIGNED["patch" if name == "tampered-plain" else "good"])[0],
            "bytes": len(files[name]),
            "sha256": hashlib.sha256(files[name]).hexdigest(),
            "expect": expect,
            "detail": detail,
            **dict(zip(("class", "changes"), CLASSES.get(name, ()), strict=False)),
        }
        for name, (expect, detail) in EXPECTED.items()
    }
    return json.dumps(about, indent=2) + "\n"


def main() -> None:
    """Write the folder."""
    FOLDER.mkdir(exist_ok=True)
    files = bundles()
    for name, content in files.items():
        (FOLDER / f"{name}.raucb").write_bytes(content)
    (FOLDER / "index.json").write_text(index(files), encoding="utf-8")


if __name__ == "__main__":
    main()
