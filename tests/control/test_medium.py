"""The image of a medium: read-only, within its limits, and of what is really there."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.control.medium import MediumImage, medium_there
from harness.errors import ControlFault
from harness.rig.control_specs import StorageLimits

Make = Callable[..., MediumImage]


@pytest.fixture
def notes() -> list[tuple[str, dict[str, Any]]]:
    return []


@pytest.fixture
def image(tmp_path: Path, notes: list[tuple[str, dict[str, Any]]]) -> Make:
    def make(**limits: Any) -> MediumImage:
        return MediumImage(
            tmp_path / "storage",
            limits=StorageLimits.model_construct(**{**StorageLimits().model_dump(), **limits}),
            note=lambda event, data: notes.append((event, data)),
        )

    return make


@settings(deadline=None)
@given(data=st.binary(min_size=1, max_size=4096), before=st.binary(max_size=5000))
def test_the_image_is_the_medium_byte_for_byte(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, before: bytes
) -> None:
    folder = tmp_path_factory.mktemp("medium")
    (folder / "medium").write_bytes(data)
    (folder / "before").write_bytes(b"x" + before)
    noted: list[dict[str, Any]] = []
    image = MediumImage(folder / "storage", limits=StorageLimits(), note=lambda _, data: noted.append(data))
    image.copy(folder / "before")
    assert image.copy(folder / "medium").read_bytes() == data
    assert noted[1]["sha256"] == hashlib.sha256(data).hexdigest()
    image.close()
    assert not (folder / "storage").exists()


def test_a_medium_is_read_in_pieces_and_never_written(image: Make, tmp_path: Path) -> None:
    medium = tmp_path / "medium"
    medium.write_bytes(os.urandom(2**20 + 1))
    medium.chmod(0o400)
    changed = medium.stat().st_mtime_ns
    assert image().copy(medium).read_bytes() == medium.read_bytes()
    assert medium.stat().st_mtime_ns == changed


def test_what_is_no_medium_is_named(image: Make, tmp_path: Path, notes: list[Any]) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "large").write_bytes(bytes(11))
    os.mkfifo(tmp_path / "pipe")
    for path, says in (
        (tmp_path / "none", "No such file"),
        (tmp_path / "empty", "it holds nothing"),
        (tmp_path / "large", "it has 11 bytes, and the image may have 10"),
        (tmp_path / "pipe", "neither a block device nor a file"),
        (tmp_path, "neither a block device nor a file"),
        (Path("/dev/zero"), "neither a block device nor a file"),
    ):
        for take in (image(most_bytes=10).check, image(most_bytes=10).copy):
            with pytest.raises(ControlFault, match=f"the medium at {path} cannot be read: .*{says}"):
                take(path)
    assert notes == []


def test_a_medium_that_takes_too_long_is_left(image: Make, tmp_path: Path, notes: list[Any]) -> None:
    (tmp_path / "slow").write_bytes(bytes(100))
    with pytest.raises(ControlFault, match="0 of 100 bytes were read in 0 s"):
        image(within=0.0).copy(tmp_path / "slow")
    assert notes == []


def test_what_no_disk_has_room_for_is_refused(image: Make, tmp_path: Path) -> None:
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.truncate(2**42)
    with pytest.raises(ControlFault, match=r"it has 4398046511104 bytes, and the image may have \d+"):
        image(most_bytes=2**43).copy(sparse)


def test_a_medium_is_seen_when_it_is_there(tmp_path: Path) -> None:
    assert not medium_there(tmp_path / "card")
    (tmp_path / "card").touch()
    assert not medium_there(tmp_path / "card")
    (tmp_path / "card").write_bytes(b"x")
    assert medium_there(tmp_path / "card")
    assert medium_there(Path("/dev/zero")), "something is there; it is no medium, but not gone either"


@pytest.fixture
def card(tmp_path: Path) -> Iterator[Path]:
    """A block device of 1 MiB."""
    if os.geteuid() != 0 or not Path("/dev/loop-control").exists():
        pytest.skip("needs root and loop devices")
    (tmp_path / "card").write_bytes(os.urandom(2**20))
    made = subprocess.run(["losetup", "-f", "--show", tmp_path / "card"], capture_output=True, text=True, check=True)
    device = Path(made.stdout.strip())
    yield device
    subprocess.run(["losetup", "-d", device], check=True)


def test_a_block_device_is_read_but_not_one_that_is_in_use(image: Make, card: Path, tmp_path: Path) -> None:
    taken = image()
    used = os.open(card, os.O_RDONLY | os.O_EXCL)  # as by whoever mounts it
    try:
        with pytest.raises(ControlFault, match="cannot be read: Device or resource busy"):
            taken.copy(card)
        assert medium_there(card)
    finally:
        os.close(used)
    assert taken.copy(card).read_bytes() == (tmp_path / "card").read_bytes()
