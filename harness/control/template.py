"""Saved-state templates: a device that is up, kept as memory, machine state and disk, to be cloned from.

A store is a folder:

    images/HASH        copies of the images that templates stand on (a rebuild must not pull the rug away)
    hashes/ID          the hash of a file whose path, size and time are as they were
    KEY/               one template: ram, state, disk.qcow2, overlay.qcow2, template.json
    KEY.lock           held while the template KEY is made
    KEY.partial/       one that is being made, or was when somebody died: never used, swept by the next maker
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import select
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.control.agent import PROTOCOL_VERSION
from harness.control.base import Deadline
from harness.control.machine import QemuMachine
from harness.errors import ControlFault

__all__ = ["Template", "TemplateStore", "create_overlay", "to_raw"]

_FORMAT = 1  # of what a template's folder holds
_MAKING_S = 300.0
_POLL_S = 0.05  # a file lock announces nothing
_IMG_S = 30.0


@dataclass(frozen=True, slots=True)
class Template:
    """A folder with a device's saved state. Nothing in it changes after it was made."""

    key: str
    folder: Path

    @property
    def ram(self) -> Path:
        """The guest's memory."""
        return self.folder / "ram"

    @property
    def state(self) -> Path:
        """The machine's state, without the memory."""
        return self.folder / "state"

    @property
    def disk(self) -> Path:
        """The disk as it was at that moment, over the image."""
        return self.folder / "disk.qcow2"

    @property
    def overlay(self) -> Path:
        """An empty overlay over `disk`, to be copied for each clone."""
        return self.folder / "overlay.qcow2"


class TemplateStore:
    """The templates under `folder`; safe to share between processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    def key(self, machine: QemuMachine) -> str:
        """Names the template of `machine`: everything that a saved state depends on, hashed."""
        parts = {
            "format": _FORMAT,
            "agent": PROTOCOL_VERSION,
            "qemu": machine.version(),
            "images": self.hashes(machine),
            **machine.identity(),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]

    def hashes(self, machine: QemuMachine) -> dict[str, str]:
        """SHA-256 of the machine's images, by name."""
        return {name: self._file_hash(file) for name, file in machine.images.items()}

    def images(self, machine: QemuMachine) -> dict[str, Path]:
        """The store's own copies of the machine's images, whose content is what counts in `key`."""
        return {name: self._image(file) for name, file in machine.images.items()}

    def _image(self, file: Path) -> Path:
        copy = self.folder / "images" / self._file_hash(file)
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            partial = copy.with_name(f"{copy.name}.{os.getpid()}")
            shutil.copyfile(file, partial)
            partial.replace(copy)
        return copy

    def find(self, key: str) -> Template | None:
        """The template with this key, if it was ever finished."""
        template = Template(key, self.folder / key)
        return template if template.folder.is_dir() else None

    def get_or_make(
        self, key: str, make: Callable[[Template], None], *, timeout: float = _MAKING_S
    ) -> tuple[Template, bool]:
        """The template, made by `make` in a folder of its own if need be; true when it was made now.

        Raises:
            ControlFault: another process has been making it for longer than `timeout` seconds.
        """
        if found := self.find(key):
            return found, False
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._locked(key, timeout):
            if found := self.find(key):
                return found, False
            partial = Template(key, self.folder / f"{key}.partial")
            shutil.rmtree(partial.folder, ignore_errors=True)
            partial.folder.mkdir()
            made = Template(key, self.folder / key)
            try:
                make(partial)
                if partial.disk.exists():
                    create_overlay(partial.overlay, backing=made.disk, size_of=partial.disk)
                partial.folder.rename(made.folder)
            except BaseException:
                shutil.rmtree(partial.folder, ignore_errors=True)
                raise
        return made, True

    @contextlib.contextmanager
    def _locked(self, key: str, timeout: float) -> Iterator[None]:
        deadline = Deadline(timeout)
        with (self.folder / f"{key}.lock").open("w") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if not deadline.left():
                        raise ControlFault(
                            f"another process has been making the template {key} for over {timeout:g} s",
                            hint="see whether it still works, or end it",
                        ) from None
                    select.select([], [], [], _POLL_S)
            yield

    def _file_hash(self, file: Path) -> str:
        about = file.stat()
        identity = f"{file.absolute()}|{about.st_ino}|{about.st_size}|{about.st_mtime_ns}|{about.st_ctime_ns}"
        memo = self.folder / "hashes" / hashlib.sha256(identity.encode()).hexdigest()[:32]
        with contextlib.suppress(FileNotFoundError):
            return memo.read_text()
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        memo.parent.mkdir(parents=True, exist_ok=True)
        partial = memo.with_name(f"{memo.name}.{os.getpid()}")
        partial.write_text(digest)
        partial.replace(memo)
        return digest


def create_overlay(file: Path, *, backing: Path, size_of: Path | None = None) -> None:
    """Make an empty qcow2 over `backing`, which need not be there yet when `size_of` is as large as it.

    Raises:
        ControlFault: qemu-img cannot.
    """
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(backing), "-F", "qcow2"]
    if size_of is not None:
        about = json.loads(_qemu_img("qemu-img", "info", "-U", "--output=json", str(size_of)))
        _qemu_img(*argv, "-u", str(file), str(about["virtual-size"]))
    else:
        _qemu_img(*argv, str(file))


def to_raw(disk: Path, file: Path) -> None:
    """Write the whole content of a qcow2 file to the raw image `file`, which is made anew.

    Raises:
        ControlFault: qemu-img cannot.
    """
    _qemu_img("qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(disk), str(file))


def _qemu_img(*argv: str) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_IMG_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ControlFault(f"qemu-img: {error}", hint="apt-get install qemu-utils") from error
    if done.returncode != 0:
        raise ControlFault(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout
