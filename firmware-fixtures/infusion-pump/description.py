"""What a runner needs to know of the pump. No input of the image: it is written at every call of the build."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from building import delivery
from fixture_build.frame import weakness_names

FLASHES = {"bootloader-prompt": "flash-bootloader-prompt.img"}
"""Weaknesses that need a flash image of their own."""


def description(fixture: Path) -> Mapping[str, Any]:
    """What the pump is, and QEMU's arguments, with names in {braces} for the runner to fill in."""
    return {
        "model": "VP-1",
        "serial": "VP1-000417",
        "qemu": "qemu-system-aarch64",
        "machine": ["-M", "virt", "-cpu", "cortex-a53", "-m", "256", "-nodefaults", "-display", "none"],
        "arguments": [
            "-bios", "{u_boot}",
            "-drive", "if=pflash,unit=1,format=raw,readonly=on,file={flash}",
            "-fw_cfg", "name=opt/proofrig/weaknesses,string={weaknesses}",
            *_unit_arguments(fixture),
            "-drive", "if=none,id=d0,format=qcow2,file={disk}",
            "-device", "virtio-blk-pci,drive=d0,romfile=",
            # guest_announce off: else QEMU 7.2 without announcements (see QemuControl) crashes when a clone is reset
            "-device", "virtio-net-pci,netdev={netdev},mac=52:54:00:50:01:01,romfile=,guest_announce=off",
            "-object", "can-bus,id=cb0",
            "-device", "kvaser_pci,canbus=cb0",
            "-device", "kvaser_pci,canbus=cb0",
            "-device", "virtio-serial-pci",
            "-device", "virtserialport,chardev={can_chardev},name=proofrig.can",
            "-device", "virtserialport,chardev={agent_chardev},name=proofrig.agent",
            "-serial", "chardev:{console_chardev}",
            "-device", "pci-serial,chardev={modbus_chardev}",
            "-device", "i6300esb",
            "-action", "watchdog=reset",
        ],
        "memory_mb": 256,
        "saved_state": {
            "replace_machine": ["-M", "virt", "virt,memory-backend=ram"],
            "memory_backend": "memory-backend-file,id=ram,size=256M,mem-path={ram},share={on_or_off}",
            "capability": "x-ignore-shared",
        },
        "files": {"disk": "disk.qcow2", "u_boot": "u-boot.bin", "flash": "flash-hardened.img"},
        "weaknesses": {
            name: {"files": {"flash": FLASHES[name]}} if name in FLASHES else {} for name in weakness_names(fixture)
        },
        "ready": {"console": "login: ", "within_s": 60.0},
        "network": {"address": "192.0.2.10/24", "address6": "2001:db8::10/64", "mac": "52:54:00:50:01:01"},
        "https": {"port": 443, "certificate_sha256": delivery.certificate_sha256(fixture / "unit-keys")},
        "ssh": {
            "user": "service",
            "host_key": " ".join((fixture / "unit-keys/host_ed25519.pub").read_text().split()[:2]),
            "client_key": "firmware-fixtures/infusion-pump/bench-keys/bench_ed25519",
        },
    }  # fmt: skip


def _unit_arguments(fixture: Path) -> list[str]:
    items = delivery.unit_items(fixture / "unit-keys").items()
    return [word for name, text in items for word in ("-fw_cfg", f"name={name},string={text}")]
