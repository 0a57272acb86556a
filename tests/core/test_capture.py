"""Capture files: everything comes back; torn and damaged frames are noticed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.capture import CaptureFile, Direction, read_capture

FRAMES = st.lists(st.tuples(st.sampled_from(Direction), st.binary(max_size=200), st.integers(0, 2**32 - 1)), max_size=8)


@given(frames=FRAMES)
def test_what_was_recorded_comes_back(
    frames: list[tuple[Direction, bytes, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("capture") / "c"
    tap = CaptureFile(path)
    for direction, data, channel in frames:
        tap.record(direction, data, channel=channel)
    told = tap.close()
    back = [(frame.direction, frame.data, frame.channel) for frame in read_capture(path)]
    assert back == frames
    assert told["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert told["frames"] == len(frames)


@given(cut=st.integers(min_value=1, max_value=60))
def test_a_torn_last_frame_is_left_out(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("torn") / "c"
    tap = CaptureFile(path)
    tap.record(Direction.TO_DEVICE, b"first")
    tap.record(Direction.FROM_DEVICE, b"x" * 60)
    tap.close()
    path.write_bytes(path.read_bytes()[:-cut])
    assert [frame.data for frame in read_capture(path)] == [b"first"]


def test_a_damaged_frame_in_the_middle_is_an_error(tmp_path: Path) -> None:
    tap = CaptureFile(tmp_path / "c")
    for _ in range(3):
        tap.record(Direction.TO_DEVICE, b"payload")
    tap.close()
    blob = bytearray((tmp_path / "c").read_bytes())
    blob[30] ^= 1
    (tmp_path / "c").write_bytes(blob)
    with pytest.raises(ValueError, match="damaged"):
        list(read_capture(tmp_path / "c"))


def test_another_file_is_not_taken_for_a_capture(tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(b"something else")
    with pytest.raises(ValueError, match="not a capture"):
        list(read_capture(tmp_path / "c"))
