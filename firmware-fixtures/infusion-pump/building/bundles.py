"""Makes the bundles of VP1-ICD 13: those the pump must take, must refuse, and must come back from."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fixture_build.tools import EPOCH, progress, run

from building import image

COMPRESSION = "-comp zstd -Xcompression-level 3 -no-progress -quiet"
NO_KERNEL = b"not a kernel\n" * 512
INDEX = "index.json"


@dataclass(frozen=True)
class Image:
    """A slot image that differs from the base only in these files."""

    version: str
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Bundle:
    """A bundle signed by the maker (the others are made from these)."""

    image: str
    format: str = "verity"
    compatible: str = "VP-1"


IMAGES = {
    "good": Image("1.1.0"),
    "patch": Image("1.0.1"),
    "major": Image("2.0.0"),
    "older": Image("0.9.0"),
    "same": Image("1.0.0"),
    "does-not-boot": Image("1.1.0", {"boot/vmlinuz": NO_KERNEL}),
    "fails-self-test": Image("1.1.0", {"etc/vp1/fault": b"self-test\n"}),
    "hangs-after-boot": Image("1.1.0", {"etc/vp1/fault": b"hang\n"}),
}
SIGNED = {
    **{name: Bundle(name) for name in IMAGES if name != "patch"},
    "patch": Bundle("patch", format="plain"),
    "wrong-device": Bundle("good", compatible="VP-2"),
}
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
"""Bundle: what becomes of it, and the detail the pump gives."""
ALARM_BY_UDS = {f"identifiers of uds in {session}": ["0x0103"] for session in ("default", "extended")}
NO_DIAGNOSTICS = {f"actions of {surface} by service": ["diagnostics"] for surface in ("console", "ssh-menu")}
CLASSES: dict[str, tuple[str, Mapping[str, Mapping[str, list[str]]]]] = {
    "good": ("minor", {"adds": ALARM_BY_UDS}),
    "patch": ("patch", {}),
    "major": ("major", {"adds": ALARM_BY_UDS, "removes": NO_DIAGNOSTICS}),
}
"""Accepted bundle: its class, and what it changes on the interfaces of the delivered software."""


def build_bundles(*, tree: Path, base: Path, keys: Path, work: Path, out: Path) -> None:
    """Make every bundle and the index.

    Args:
        tree: the root file system of the base image; left as it was.
        base: the base image.
        keys: folder of the test keys.
        work: scratch folder.
        out: the bundles' folder, made anew.
    """
    progress("bundles")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    slots = {name: _slot_image(name, tree=tree, base=base, work=work) for name in IMAGES}
    for name, bundle in SIGNED.items():
        _sign(bundle, slots[bundle.image], keys=keys, work=work / f"bundle-{name}", out=out / f"{name}.raucb")
    good, patch = out / "good.raucb", out / "patch.raucb"
    payload = _payload(good)
    (out / "unsigned.raucb").write_bytes(payload)
    (out / "tampered-plain.raucb").write_bytes(payload + _signature(patch))
    damaged = bytearray(good.read_bytes())
    damaged[len(payload) // 2] ^= 0xFF
    (out / "tampered-verity.raucb").write_bytes(damaged)
    run([
        "rauc", "resign", f"--keyring={keys / 'maker-ca.pem'}", f"--signing-keyring={keys / 'foreign-ca.pem'}",
        f"--cert={keys / 'foreign.pem'}", f"--key={keys / 'foreign.key'}", good, out / "foreign-signed.raucb",
    ])  # fmt: skip
    _write_index(out)


def _slot_image(name: str, *, tree: Path, base: Path, work: Path) -> Path:
    """The base image with other files; the base itself where there is no difference."""
    wanted = IMAGES[name]
    changes = {"etc/vp1/version": f"{wanted.version}\n".encode(), **wanted.files}
    before = {file: (tree / file).read_bytes() if (tree / file).exists() else None for file in changes}
    if before == changes:
        return base
    kept = {file: (tree / file).stat().st_mode for file, content in before.items() if content is not None}
    try:
        for file, content in changes.items():
            _put(tree / file, content, mode=kept.get(file, 0o644))
        out = work / f"slot-{name}.ext4"
        image.build_slot(tree, out)
    finally:
        for file, old in before.items():
            if old is None:
                (tree / file).unlink()
                os.utime((tree / file).parent, (EPOCH, EPOCH))
            else:
                _put(tree / file, old, mode=kept[file])
    return out


def _put(file: Path, content: bytes, *, mode: int) -> None:
    file.unlink(missing_ok=True)
    file.write_bytes(content)
    file.chmod(mode)
    for path in (file, file.parent):
        os.utime(path, (EPOCH, EPOCH))


def _sign(bundle: Bundle, slot: Path, *, keys: Path, work: Path, out: Path) -> None:
    work.mkdir()
    os.link(slot, work / "rootfs.ext4")
    (work / "manifest.raucm").write_text(
        f"[update]\ncompatible={bundle.compatible}\nversion={IMAGES[bundle.image].version}\n"
        f"[bundle]\nformat={bundle.format}\n[image.rootfs]\nfilename=rootfs.ext4\n"
    )
    run([
        "rauc", "bundle", f"--cert={keys / 'maker.pem'}", f"--key={keys / 'maker.key'}",
        f"--mksquashfs-args={COMPRESSION}", work, out,
    ])  # fmt: skip
    shutil.rmtree(work)


def _signature(bundle: Path) -> bytes:
    """The signature and its length, as they end a bundle."""
    content = bundle.read_bytes()
    return content[-8 - int.from_bytes(content[-8:], "big") :]


def _payload(bundle: Path) -> bytes:
    """The file system (and verity tree) of a bundle."""
    return bundle.read_bytes()[: -len(_signature(bundle))]


def _write_index(out: Path) -> None:
    """index.json: what a testcase needs to know of each bundle."""
    index = {}
    for name, (expect, detail) in EXPECTED.items():
        file = out / f"{name}.raucb"
        content = file.read_bytes()
        index[name] = {
            "file": file.name,
            "version": IMAGES[SIGNED[name].image if name in SIGNED else "good"].version,
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "expect": expect,
            "detail": detail,
        }
        if name in CLASSES:
            index[name] |= dict(zip(("class", "changes"), CLASSES[name], strict=True))
    (out / INDEX).write_text(json.dumps(index, indent=2) + "\n")
