"""Makes the update bundles: each a signed package repository in one tar file, some of them not as they should be."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from fixture_build.tools import EPOCH, progress, run

INDEX = "index.json"
_PACKAGES = "main/binary-amd64/Packages"


@dataclass(frozen=True)
class Bundle:
    """A repository with one package, what becomes of it, and the detail the gateway gives."""

    version: str
    expect: str = "accepted"
    detail: str = "-"
    label: str = "BG-4"
    key: str = "maker"
    files: Mapping[str, str] = field(default_factory=dict)
    """Files of the application beside those of the image."""


BUNDLES = {
    "good": Bundle("1.1.0"),
    "patch": Bundle("1.0.1"),
    "older": Bundle("0.9.0", "refused", "version"),
    "same": Bundle("1.0.0", "refused", "version"),
    "unsigned": Bundle("1.1.0", "refused", "signature", key=""),
    "foreign-signed": Bundle("1.1.0", "refused", "signature", key="foreign"),
    "tampered-release": Bundle("1.1.0", "refused", "signature"),
    "tampered-index": Bundle("1.1.0", "refused", "damaged"),
    "tampered-package": Bundle("1.1.0", "refused", "damaged"),
    "wrong-device": Bundle("1.1.0", "refused", "compatible", label="BG-9"),
    "fails-self-test": Bundle("1.1.0", "rolled-back", "rolled-back", files={"fault": "self-test\n"}),
    "does-not-start": Bundle("1.1.0", "rolled-back", "rolled-back", files={"gatewayd": "not a program\n"}),
}


def build_bundles(application: Path, *, keys: Path, work: Path, out: Path) -> None:
    """Make every bundle and the index.

    Args:
        application: the folder of the application as it is in the image.
        keys: folder of the test keys.
        work: scratch folder.
        out: the bundles' folder, made anew.
    """
    progress("bundles")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    index = {}
    with tempfile.TemporaryDirectory(prefix="gpg-") as home:
        for key in ("maker", "foreign"):
            _gpg(home, "--import", keys / f"{key}.key")
        for name, bundle in BUNDLES.items():
            file = out / f"{name}.tar"
            content = _bundle(name, bundle, application=application, home=home, work=work / f"bundle-{name}")
            file.write_bytes(content)
            index[name] = {
                "file": file.name,
                "version": bundle.version,
                "sha256": hashlib.sha256(content).hexdigest(),
                "expect": bundle.expect,
                "detail": bundle.detail,
            }
        run(["gpgconf", "--homedir", home, "--kill", "all"])
    (out / INDEX).write_text(json.dumps(index, indent=2) + "\n")


def _bundle(name: str, bundle: Bundle, *, application: Path, home: str, work: Path) -> bytes:
    package_name = f"pool/bg4-app_{bundle.version}_amd64.deb"
    package = _package(bundle, application=application, work=work)
    packages = (
        f"Package: bg4-app\nVersion: {bundle.version}\nArchitecture: amd64\nFilename: {package_name}\n"
        f"Size: {len(package)}\nSHA256: {hashlib.sha256(package).hexdigest()}\n"
    ).encode()
    release = (
        f"Origin: Meridian\nLabel: {bundle.label}\nSuite: stable\nDate: Tue, 14 Nov 2023 22:13:20 UTC\nSHA256:\n"
        f" {hashlib.sha256(packages).hexdigest()} {len(packages)} {_PACKAGES}\n"
    ).encode()
    files = {"Release": release, _PACKAGES: packages, package_name: package}
    if bundle.key:
        (work / "Release").write_bytes(release)
        user = f"{bundle.key}@fixture.example"
        _gpg(home, "--faked-system-time", f"{EPOCH}!", "--local-user", user, "--clearsign", work / "Release")
        files = {"InRelease": (work / "Release.asc").read_bytes()} | files
        del files["Release"]
    match name:
        case "tampered-release":
            files["InRelease"] = files["InRelease"].replace(b"Suite: stable", b"Suite: stabil")
        case "tampered-index":
            files[_PACKAGES] += b"Description: added\n"
        case "tampered-package":
            other = replace(bundle, files={"added": "by somebody else\n"})
            files[package_name] = _package(other, application=application, work=work / "other")
    return _tar(files)


def _package(bundle: Bundle, *, application: Path, work: Path) -> bytes:
    """The Debian package of the application."""
    tree = work / "tree"
    target = tree / "opt/bg4/app"
    shutil.copytree(application, target)
    for name, text in {"version": f"{bundle.version}\n", **bundle.files}.items():
        (target / name).write_text(text)
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN/control").write_text(
        f"Package: bg4-app\nVersion: {bundle.version}\nArchitecture: amd64\nMaintainer: Meridian (fixture)\n"
        "Description: application of the BG-4 bedside gateway\n"
    )
    for path in [tree, *tree.rglob("*")]:
        path.chmod(0o755 if path.is_dir() or path.name == "gatewayd" else 0o644)
        os.utime(path, (EPOCH, EPOCH))
    run(["dpkg-deb", "--root-owner-group", "-Zxz", "-z1", "-b", tree, work / "package.deb"])
    return (work / "package.deb").read_bytes()


def _tar(files: Mapping[str, bytes]) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime, entry.mode = len(content), EPOCH, 0o644
            tar.addfile(entry, io.BytesIO(content))
    return written.getvalue()


def _gpg(home: str, *words: str | Path) -> None:
    run(["gpg", "--homedir", home, "--batch", "--quiet", "--yes", "--no-tty", *words])
