"""Which Debian package holds an emulator: for hints when it is missing."""

from __future__ import annotations

from pathlib import PurePath

__all__ = ["emulator_package"]

_PACKAGES = {"qemu-system-x86_64": "qemu-system-x86"}
_OTHERS = "qemu-system-arm"
"""It has the emulators of both Arm architectures."""


def emulator_package(program: str) -> str:
    """The Debian package of an emulator, by the name or path of its program."""
    return _PACKAGES.get(PurePath(program).name, _OTHERS)
