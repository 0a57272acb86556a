"""Composes the disk (state block, two slots, data partition) and the boot loader's flash images."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from fixture_build.tools import EPOCH, progress, run

MIB = 1 << 20
SECTOR = 512
STATE_AT, STATE_SIZE = 1 * MIB, 4096
SLOT_SIZE = 96 * MIB
SLOT_A_AT = 2 * MIB
SLOT_B_AT = SLOT_A_AT + SLOT_SIZE
DATA_AT, DATA_SIZE = SLOT_B_AT + SLOT_SIZE, 32 * MIB
DISK_SIZE = DATA_AT + DATA_SIZE
DISK_LABEL = "0x56503101"
FLASH_SIZE, FLASH_ENV_SIZE = 64 * MIB, 0x40000
SLOT_UUID = "6d657269-6469-616e-8001-000000000001"
DATA_UUID = "6d657269-6469-616e-8001-000000000002"
DELIVERED = "vp1-therapy-2 state=1 volume=0 brightness=80 rate=500 limit=12000 occlusion=600\n"
"""The therapy of the pump as delivered to the bench: infusing at 50.0 ml/h."""
APP_UID = 900


def build_slot(tree: Path, out: Path) -> None:
    """An ext4 image of a slot; the same tree gives the same bytes."""
    progress("slot image")
    _ext4(tree, out, size=SLOT_SIZE, uuid=SLOT_UUID, features="^has_journal,^metadata_csum", owner="0:0")


def build_data(tree: Path, out: Path) -> None:
    """An ext4 image of the data partition as delivered, with a journal: it is written while the power may fail.

    Accounts, configuration and keys are not on it: `delivered` tells the very first start to take them over.
    """
    progress("data image")
    folder = tree / "vp1"
    folder.mkdir(parents=True)
    (folder / "therapy").write_text(DELIVERED)
    (folder / "delivered").touch()
    folder.chmod(0o700)
    for path in (folder / "therapy", folder / "delivered"):
        path.chmod(0o600)
    for path in (tree, folder, folder / "therapy", folder / "delivered"):
        os.utime(path, (EPOCH, EPOCH))
    _data(tree, out)


def build_empty_data(tree: Path, out: Path) -> None:
    """The same partition without anything: what a factory reset leaves."""
    tree.mkdir(parents=True)
    os.utime(tree, (EPOCH, EPOCH))
    _data(tree, out)


def _data(tree: Path, out: Path) -> None:
    _ext4(
        tree, out, size=DATA_SIZE, uuid=DATA_UUID, features="has_journal,^metadata_csum", owner=f"{APP_UID}:{APP_UID}"
    )


def build_disk(*, slot: Path, data: Path, state_text: Path, work: Path, out: Path) -> None:
    """The whole disk as qcow2."""
    progress("disk image")
    raw, state = work / "disk.raw", work / "state.bin"
    run(["mkenvimage", "-s", hex(STATE_SIZE), "-o", state, state_text])
    with raw.open("wb") as disk:
        disk.truncate(DISK_SIZE)
    parts = [
        (STATE_AT, MIB, "da"),
        (SLOT_A_AT, SLOT_SIZE, "83"),
        (SLOT_B_AT, SLOT_SIZE, "83"),
        (DATA_AT, DATA_SIZE, "83"),
    ]
    table = [f"label: dos\nlabel-id: {DISK_LABEL}"]
    table += [f"start={at // SECTOR}, size={size // SECTOR}, type={kind}" for at, size, kind in parts]
    (work / "table").write_text("\n".join(table) + "\n")
    run(["sh", "-c", f"sfdisk --quiet --no-reread --no-tell-kernel '{raw}' <'{work / 'table'}'"])
    for source, at in ((state, STATE_AT), (slot, SLOT_A_AT), (slot, SLOT_B_AT), (data, DATA_AT)):
        _place(source, raw, at)
    partial = out.with_suffix(".new")
    run(["qemu-img", "convert", "-q", "-m", "1", "-f", "raw", "-O", "qcow2", raw, partial])
    partial.replace(out)
    raw.unlink()


def build_flash(template: Path, *, bootdelay: int, work: Path, out: Path) -> None:
    """The boot loader's environment as an image of the second flash bank."""
    text, image = work / f"{out.stem}.env", work / f"{out.stem}.bin"
    text.write_text(template.read_text().replace("@BOOTDELAY@", str(bootdelay)))
    run(["mkenvimage", "-s", hex(FLASH_ENV_SIZE), "-o", image, text])
    partial = out.with_suffix(".new")
    shutil.copy(image, partial)
    os.truncate(partial, FLASH_SIZE)
    partial.replace(out)


def _place(source: Path, disk: Path, at: int) -> None:
    """Copy `source` into the disk at a byte offset, leaving runs of zeros sparse."""
    with source.open("rb") as reader, disk.open("r+b") as writer:
        offset = at
        while block := reader.read(MIB):
            if block.count(0) != len(block):
                writer.seek(offset)
                writer.write(block)
            offset += len(block)


def _ext4(tree: Path, out: Path, *, size: int, uuid: str, features: str, owner: str) -> None:
    home = tree.name == "root"
    ownership = f"chown -R {owner} '{tree}'" + (f" && chown -R 1000:1000 '{tree}/home/service'" if home else "")
    make = (
        f"mke2fs -q -t ext4 -O {features} -E hash_seed={uuid},root_owner=0:0,lazy_itable_init=0,nodiscard"
        f" -U {uuid} -m 0 -b 4096 -d '{tree}' '{out}' {size // 1024}k"
    )
    # mke2fs of Debian 12 ignores SOURCE_DATE_EPOCH; without faketime no two images are alike.
    run(["fakeroot", "sh", "-c", f"{ownership} && faketime -f '2023-11-14 22:13:20' {make}"])
