"""What the maker puts into the unit: it reaches the firmware through the emulator's fw_cfg, never through the disk."""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
from pathlib import Path
from typing import Any

from building.rootfs import dropbear_key


def unit_items(unit_keys: Path) -> dict[str, str]:
    """The fw_cfg items of the unit by name: its secret, its setup code, and its delivered state (base64 of JSON)."""
    unit: dict[str, Any] = json.loads((unit_keys / "unit.json").read_text())
    delivery = {
        "users": unit["users"],
        "config": unit["config"],
        "keys": {
            "ssh": base64.b64encode(dropbear_key(unit_keys / "host_ed25519")).decode(),
            "tls_key": (unit_keys / "tls_key.pem").read_text(),
            "tls_cert": (unit_keys / "tls_cert.pem").read_text(),
        },
    }
    return {
        "opt/vp1/unit-secret": unit["unit_secret"],
        "opt/vp1/setup-code": unit["setup_code"],
        "opt/vp1/delivery": base64.b64encode(json.dumps(delivery).encode()).decode(),
    }


def certificate_sha256(unit_keys: Path) -> str:
    """The fingerprint of the delivered TLS certificate, hexadecimal."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert((unit_keys / "tls_cert.pem").read_text())).hexdigest()
