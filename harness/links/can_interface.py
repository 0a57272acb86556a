"""How the host has set a CAN interface up, as `ip` of iproute2 tells it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import Any

__all__ = ["bit_rate", "set_up_of"]

_WITHIN = 5.0
"""Seconds `ip` may take."""


def set_up_of(name: str) -> dict[str, Any]:
    """Return what is known of a CAN interface's controller: its `state`, `bittiming` and more.

    Empty where there is no `ip`, or it knows nothing, as of an interface that is virtual.
    """
    if shutil.which("ip") is None:
        return {}
    try:
        said = subprocess.run(
            ["ip", "-json", "-details", "link", "show", name],
            check=True,
            capture_output=True,
            timeout=_WITHIN,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C"},
        ).stdout
        links = json.loads(said)
    except (ValueError, OSError, subprocess.SubprocessError):
        return {}
    found = links[0].get("linkinfo", {}).get("info_data", {}) if links else {}
    return found if isinstance(found, dict) else {}


def bit_rate(set_up: dict[str, Any]) -> int | None:
    """Return the bits a second of an interface, None where it has no rate of its own."""
    rate = set_up.get("bittiming", {}).get("bitrate")
    return rate if isinstance(rate, int) else None
