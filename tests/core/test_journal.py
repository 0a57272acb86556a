"""The journal: chain, torn tail, tampering, golden file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.journal import KINDS, Journal, read_journal

GOLDEN = Path(__file__).parent.parent / "golden" / "journal-v1.jsonl"


def write_some(path: Path, lines: int = 5) -> Journal:
    journal = Journal(path)
    for number in range(lines):
        journal.write("power", action=f"cut {number}")
    return journal


def test_lines_come_back_in_order_with_an_unbroken_chain(tmp_path: Path) -> None:
    journal = write_some(tmp_path / "j")
    reading = read_journal(tmp_path / "j")
    assert [entry.data["action"] for entry in reading.entries] == [f"cut {n}" for n in range(5)]
    assert (reading.torn, reading.broken_at, reading.head) == (False, None, journal.head)


def test_a_journal_is_never_written_twice(tmp_path: Path) -> None:
    write_some(tmp_path / "j").close()
    with pytest.raises(FileExistsError):
        Journal(tmp_path / "j")


@pytest.mark.parametrize("fields", [{}, {"action": float("nan")}, {"action": b"bytes"}])
def test_what_the_schema_does_not_allow_is_not_written(tmp_path: Path, fields: dict[str, object]) -> None:
    journal = Journal(tmp_path / "j")
    with pytest.raises((TypeError, ValueError)):
        journal.write("power", **fields)
    assert journal.lines == 0
    assert (tmp_path / "j").read_bytes() == b""


def test_an_unknown_kind_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="unknown kind"):
        Journal(tmp_path / "j").write("gossip")


@given(cut=st.integers(min_value=1))
def test_a_torn_tail_loses_at_most_the_last_line(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("torn") / "j"
    write_some(path).close()
    blob = path.read_bytes()
    last = blob.rindex(b"\n", 0, -1) + 1
    path.write_bytes(blob[: last + cut % (len(blob) - last)])
    reading = read_journal(path)
    assert len(reading.entries) == 4
    assert reading.broken_at is None
    assert reading.torn == (not path.read_bytes().endswith(b"\n"))


@given(line=st.integers(min_value=0, max_value=3), byte=st.integers(min_value=0))
def test_a_changed_line_breaks_the_chain(line: int, byte: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("changed") / "j"
    write_some(path).close()
    lines = path.read_bytes().split(b"\n")
    at = byte % len(lines[line])
    lines[line] = lines[line][:at] + bytes([lines[line][at] ^ 1]) + lines[line][at + 1 :]
    path.write_bytes(b"\n".join(lines))
    reading = read_journal(path)
    assert reading.broken_at is not None
    assert reading.broken_at <= line + 1


@given(text=st.text(alphabet=st.characters(exclude_categories=())))
def test_any_text_survives_lone_surrogates_too(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("text") / "j"
    Journal(path).write("power", action=text)
    assert read_journal(path).entries[0].data["action"] == text


def test_kill_9_leaves_every_whole_line(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from harness.journal import Journal\n"
        "j = Journal(Path(sys.argv[1]))\n"
        "while True:\n"
        "    j.write('power', action='x' * 3000)\n"
        "    print(j.lines, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "j")], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        seen = [int(process.stdout.readline()) for _ in range(50)][-1]
        os.kill(process.pid, signal.SIGKILL)
    reading = read_journal(tmp_path / "j")
    assert len(reading.entries) >= seen
    assert reading.broken_at is None


def test_the_golden_journal_of_schema_1_reads_as_ever() -> None:
    reading = read_journal(GOLDEN)
    assert (reading.torn, reading.broken_at) == (False, None)
    assert {entry.kind for entry in reading.entries} == set(KINDS), "a kind was added or lost: schema 1 is frozen"
    for entry in reading.entries:
        assert KINDS[entry.kind] == entry.data.keys(), f"fields of {entry.kind} changed: schema 1 is frozen"


def test_fields_on_a_line_are_what_schema_1_says(tmp_path: Path) -> None:
    write_some(tmp_path / "j", 1).close()
    line = json.loads((tmp_path / "j").read_text().splitlines()[0])
    assert list(line) == ["v", "seq", "utc", "mono", "prev", "kind", "data"]
    assert line["v"] == 1
