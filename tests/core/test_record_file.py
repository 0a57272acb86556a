"""Pieces of the record are there whole or not at all, whatever room there is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import BenchFault
from harness.journal import read_journal
from harness.record_file import RESERVE, RecordFile, make_reserve, remove_reserve

LIMIT = 10_000
FILL = f"""
import resource, sys
from pathlib import Path
from harness.errors import BenchFault
from harness.journal import Journal
resource.setrlimit(resource.RLIMIT_FSIZE, ({LIMIT}, {LIMIT}))
journal = Journal(Path(sys.argv[1]))
for _ in range(1000):
    try:
        journal.write("fault", what="x" * 500, hint="")
    except BenchFault as fault:
        print(fault.message)
        break
journal.write("fault", what="", hint="short enough")
"""


def test_a_journal_that_may_not_grow_ends_with_a_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    (tmp_path / RESERVE).touch()
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert "the record cannot be kept" in done.stdout
    assert not (tmp_path / RESERVE).exists(), "it is given up before a line is"
    reading = read_journal(path)
    assert (reading.torn, reading.broken_at) == (False, None)
    assert reading.entries[-1].data["hint"] == "short enough"
    assert path.stat().st_size > LIMIT / 2


def test_a_reserve_takes_room_until_it_is_removed(tmp_path: Path) -> None:
    make_reserve(tmp_path)
    assert (tmp_path / RESERVE).stat().st_blocks * 512 >= 4 * 1024 * 1024
    remove_reserve(tmp_path)
    assert not any(tmp_path.iterdir())
    with pytest.raises(BenchFault, match="nothing can be recorded there"):
        make_reserve(tmp_path / "absent")


def test_pieces_follow_each_other(tmp_path: Path) -> None:
    file = RecordFile(tmp_path / "file")
    file.append(b"one")
    file.append(b"two")
    file.close()
    assert (tmp_path / "file").read_bytes() == b"onetwo"
    with pytest.raises(FileExistsError):
        RecordFile(tmp_path / "file")
