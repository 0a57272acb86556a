"""The frame of a fixture's build: one at a time, nothing done twice, `device.json` written last."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fixture_build.tools import BuildError, progress, run

_SHARED = Path(__file__).resolve().parent

Versions = Mapping[str, str]
"""Versions of the host's packages, by name."""


@dataclass(frozen=True)
class Call:
    """One call of a build: where it works, where its outputs go, what the host has."""

    work: Path
    out: Path
    host: Versions
    relock: bool


@dataclass(frozen=True)
class Frame:
    """What a fixture's build is made of.

    `host_packages` are those whose versions decide the bytes of the image, or how it runs. `inputs` are the files and
    folders below `folder` that decide them too, beside `build.py` and its steps. `outputs` are file names; `bundles`
    is the index of the update bundles. `make` makes all of them; `describe` returns what is in `device.json` beside
    what every build writes.
    """

    folder: Path
    title: str
    host_packages: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    bundles: str
    make: Callable[[Call], None]
    describe: Callable[[Versions], Mapping[str, Any]]

    def main(self) -> int:
        """Build as the command line says, and return the exit code."""
        repository = self.folder.parents[1]
        parser = argparse.ArgumentParser(description=f"Build the emulated {self.title}.")
        parser.add_argument("--out", type=Path, default=repository / ".build" / self.folder.name)
        parser.add_argument("--relock", action="store_true", help="take the newest that goes into it, and lock that")
        options = parser.parse_args()
        try:
            self._build(options.out.resolve(), relock=options.relock)
        except BuildError as reason:
            print(f"build.py: {reason}", file=sys.stderr)
            return 1
        return 0

    def inputs_sha256(self) -> str:
        """Of all our files that decide the image."""
        digest = hashlib.sha256()
        named = [self.folder / name for name in ("build.py", "building", *self.inputs)]
        for place in (*named, _SHARED):
            files = place.rglob("*") if place.is_dir() else [place]
            for file in sorted(p for p in files if p.is_file() and p.suffix not in (".pyc", ".md")):
                digest.update(f"{file.relative_to(self.folder.parent)}\0{sha256(file)}\n".encode())
        return digest.hexdigest()

    def _build(self, out: Path, *, relock: bool) -> None:
        out.mkdir(parents=True, exist_ok=True)
        description = out / "device.json"
        with _alone(out):
            rows = run(["dpkg-query", "-W", "-f", "${Package} ${Version}\n", *self.host_packages])
            host = dict(line.split() for line in rows.splitlines())
            if not relock and self._is_current(out, host):
                self._describe(out, host)
                progress(f"up to date: {description}")
                return
            description.unlink(missing_ok=True)
            for name in self.outputs:
                (out / name).unlink(missing_ok=True)
            with tempfile.TemporaryDirectory(prefix="work-", dir=out) as work:
                self.make(Call(Path(work), out, host, relock))
            self._describe(out, host)
            progress(f"done: {description}")

    def _is_current(self, out: Path, host: Versions) -> bool:
        try:
            made = json.loads((out / "device.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return False
        if not (out / self.bundles).exists() or made.get("inputs_sha256") != self._hash(host):
            return False
        return all(
            (out / name).exists() and sha256(out / name) == made["images"][name]["sha256"] for name in self.outputs
        )

    def _hash(self, host: Versions) -> str:
        return hashlib.sha256((json.dumps(host, sort_keys=True) + self.inputs_sha256()).encode()).hexdigest()

    def _describe(self, out: Path, host: Versions) -> None:
        """Write `device.json`: all that a runner needs to know, with names in {braces} for it to fill in."""
        description = {
            "schema": 2,
            "device": self.folder.name,
            **self.describe(host),
            "host_packages": host,
            "inputs_sha256": self._hash(host),
            "images": {
                name: {"sha256": sha256(out / name), "bytes": (out / name).stat().st_size} for name in self.outputs
            },
        }
        partial = out / "device.json.new"
        partial.write_text(json.dumps(description, indent=2) + "\n")
        partial.replace(out / "device.json")


def sha256(file: Path) -> str:
    """Of a file's content."""
    with file.open("rb") as reader:
        return hashlib.file_digest(reader, "sha256").hexdigest()


def weakness_names(fixture: Path) -> list[str]:
    """The names in `weaknesses.yaml`, in their order."""
    return re.findall(r"^  - name: (\S+)$", (fixture / "weaknesses.yaml").read_text(), re.M)


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    with (out / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
