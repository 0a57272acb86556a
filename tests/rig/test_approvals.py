"""Approving claims: the device file keeps its comments, the record says who, when, by what document, what exactly."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.journal import read_journal
from harness.rig.approvals import approvals_of, approve, claim_sha256, parse_source, record_of
from harness.rig.claims import Source, Status
from harness.rig.loading import load_device, read_device

ROOT = Path(__file__).parents[2]
DAY = date(2026, 11, 22)
IFU = Source(document="IFU", revision="3.2", section="p. 14")


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """The pump's device file with two claims that a scan wrote and one that is proposed."""
    path = tmp_path / "pump.yaml"
    shutil.copy(ROOT / "rigs/devices/infusion-pump.yaml", path)
    text = path.read_text()
    for claim, status in (("PORTS", "observed"), ("UDS-SERVICES", "observed"), ("LOCKOUT", "proposed")):
        head, _, tail = text.partition(f"  {claim}:\n")
        text = head + f"  {claim}:\n" + tail.replace("status: approved", f"status: {status}  # by whom?", 1)
    path.write_text(text)
    return path


def do(path: Path, *claims: str, source: Source | None = IFU, by: str = "J. Doe") -> None:
    approve(path, claims, by=by, source=source, today=DAY)


def test_only_the_claim_that_is_named_changes(device: Path) -> None:
    before = device.read_text()
    do(device, "PORTS")
    head, _, tail = before.partition("  PORTS:\n")
    tail = tail.replace("status: observed  # by whom?", "status: approved  # by whom?", 1)
    was = "    source: {document: VP1-ICD, revision: '2.0', section: '7 and 11.1'}\n"
    now = '    approval: {by: "J. Doe", on: 2026-11-22}\n'
    now += '    source: {document: "IFU", revision: "3.2", section: "p. 14"}\n'
    assert device.read_text() == f"{head}  PORTS:\n{tail.replace(was, now, 1)}"
    claims = load_device(device)[0].claims
    assert claims["PORTS"].status is Status.APPROVED
    assert str(claims["PORTS"].approval) == "J. Doe, 2026-11-22"
    assert claims["PORTS"].source == IFU
    assert claims["UDS-SERVICES"].status is Status.OBSERVED


def test_the_record_says_who_when_by_what_and_what_exactly(device: Path) -> None:
    do(device, "PORTS", "UDS-SERVICES")
    do(device, "LOCKOUT", source=None, by="K. Roe")
    reading = read_journal(record_of(device))
    assert (reading.torn, reading.broken_at) == (False, None)
    told = [(e.data["claim"], e.data["by"], e.data["on"], e.data["source"]) for e in reading.of("approval")]
    assert told == [
        ("PORTS", "J. Doe", "2026-11-22", "IFU rev. 3.2 § p. 14"),
        ("UDS-SERVICES", "J. Doe", "2026-11-22", "IFU rev. 3.2 § p. 14"),
        ("LOCKOUT", "K. Roe", "2026-11-22", "VP1-ICD rev. 2.0 § 2.3 and 11.2"),
    ]
    assert reading.entries[0].data["before"]["status"] == "observed"
    loaded = load_device(device)[0]
    assert reading.entries[0].data["claim_sha256"] == claim_sha256(loaded.claims["PORTS"])
    assert {each["claim"]: each["record"] for each in approvals_of(loaded, [device])} == dict.fromkeys(
        ["LOCKOUT", "PORTS", "UDS-SERVICES"], "as approved"
    )


def test_a_claim_that_changed_since_is_told_apart(device: Path) -> None:
    do(device, "PORTS")
    device.write_text(device.read_text().replace("tcp: [22, 443, 502]", "tcp: [22, 23, 443, 502]"))
    assert [each["record"] for each in approvals_of(load_device(device)[0], [device])] == ["changed since"]
    record_of(device).unlink()
    assert [each["record"] for each in approvals_of(load_device(device)[0], [device])] == ["none"]


@pytest.mark.parametrize(
    ("claims", "source", "by", "words"),
    [
        (["PROTS"], IFU, "J. Doe", "no claim 'PROTS'"),
        (["PORTS"], None, "J. Doe", "a scan, which is no source"),
        (["PORTS"], IFU, "  ", "needs a name"),
    ],
)
def test_what_cannot_be_approved_changes_nothing(
    device: Path, claims: list[str], source: Source | None, by: str, words: str
) -> None:
    before = device.read_bytes()
    with pytest.raises(UsageError, match=words):
        approve(device, ["UDS-SERVICES", *claims], by=by, source=source, today=DAY)
    assert device.read_bytes() == before
    assert sorted(path.name for path in device.parent.iterdir()) == ["pump.yaml"]


def test_a_claim_of_the_base_is_approved_in_the_base(device: Path) -> None:
    path = device.with_name("lite.yaml")
    path.write_text("base: pump.yaml\nclaims:\n  PORTS: {tcp: [22]}\n")
    with pytest.raises(UsageError, match=r"not stated in this file but in its base pump\.yaml"):
        do(path, "UDS-SERVICES")
    do(path, "PORTS")
    loaded = read_device(path)
    assert loaded.device.claims["PORTS"].status is Status.APPROVED
    found = approvals_of(loaded.device, [source.path for source in loaded.files])
    assert [(each["claim"], each["record"]) for each in found] == [("PORTS", "as approved")]
    assert load_device(device)[0].claims["PORTS"].status is Status.OBSERVED


def test_claims_that_are_one_by_an_alias_are_not_approved_by_accident(device: Path) -> None:
    text = device.read_text().replace("  PORTS:\n", "  PORTS: &ports\n")
    device.write_text(text.replace("  SSH-POLICY:\n", "  PORTS-TOO: *ports\n  SSH-POLICY:\n"))
    with pytest.raises(UsageError, match="PORTS, PORTS-TOO are one in the file"):
        do(device, "PORTS")


def test_a_record_that_was_changed_is_not_added_to(device: Path) -> None:
    do(device, "PORTS")
    record = record_of(device)
    record.write_bytes(record.read_bytes().replace(b"J. Doe", b"K. Roe") + b"")
    do_more = [json.loads(line) for line in record.read_text().splitlines()]
    record.write_text("".join(json.dumps(line) + "\n" for line in [{**do_more[0], "seq": 7}]))
    before = device.read_bytes()
    with pytest.raises(UsageError, match="changed after it was written"):
        do(device, "UDS-SERVICES")
    assert device.read_bytes() == before


@settings(deadline=None, max_examples=30)
@given(cut=st.integers(min_value=1, max_value=400))
def test_a_torn_last_line_of_the_record_is_given_up(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("torn")
    path = folder / "small.yaml"
    path.write_text(SMALL)
    do(path, "PORTS")
    do(path, "MORE")
    record = record_of(path)
    lines = record.read_bytes().splitlines(keepends=True)
    record.write_bytes(lines[0] + lines[1][: -min(cut, len(lines[1]) - 1)])
    do(path, "MORE", by="K. Roe")
    reading = read_journal(record)
    assert (reading.torn, reading.broken_at) == (False, None)
    assert [entry.data["by"] for entry in reading.entries] == ["J. Doe", "K. Roe"]


SMALL = """\
device: small
manufacturer: M
model: S
kind: k
version: '1'
identity: map
links: [line, network]
surfaces:
  map: {type: modbus, link: line, framing: rtu, registers: {}, fields: {}}
claims:
  # the ports
  PORTS:
    type: ports
    link: network
    source:  # where
      document: scan
      revision: '1'
      section: '1'  # of it
  # and more of them
  MORE: {type: ports, link: network, source: {document: scan, revision: '1', section: '1'}, status: observed}  # flow
  LAST:
    type: ports
    status: observed
    link: network
    source: {document: scan, revision: '1', section: '1'}
# the end
"""


def test_every_style_keeps_its_comments_in_their_places(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    path.chmod(0o640)
    do(path, "PORTS", "MORE", "LAST")
    written = re.sub(r" +#", "  #", path.read_text())
    assert written == SMALL.replace(
        """\
    link: network
    source:  # where
      document: scan
      revision: '1'
      section: '1'  # of it
""",
        """\
    link: network
    status: approved
    approval: {by: "J. Doe", on: 2026-11-22}
    source:  # where
      document: "IFU"
      revision: "3.2"
      section: "p. 14"  # of it
""",
    ).replace(
        "link: network, source: {document: scan, revision: '1', section: '1'}, status: observed}",
        'link: network, approval: {by: "J. Doe", on: 2026-11-22}, source: {document: "IFU", revision: "3.2", '
        'section: "p. 14"}, status: approved}',
    ).replace(
        "    status: observed\n    link: network\n    source: {document: scan, revision: '1', section: '1'}\n",
        '    status: approved\n    link: network\n    approval: {by: "J. Doe", on: 2026-11-22}\n'
        '    source: {document: "IFU", revision: "3.2", section: "p. 14"}\n',
    )
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("IFU 3.2, p. 14", ("IFU", "3.2", "p. 14")),
        ("IFU rev. 3.2 § p. 14, table 2", ("IFU", "3.2", "p. 14, table 2")),
        ("Service manual rev. C, 4.2", ("Service manual", "C", "4.2")),
        ("Service manual revision C, 4.2, note", ("Service manual", "C", "4.2, note")),
        ("FDA guidance, pumps rev. 2023-09-27 § 1, A", ("FDA guidance, pumps", "2023-09-27", "1, A")),
    ],
)
def test_sources_as_they_are_written(text: str, source: tuple[str, str, str]) -> None:
    found = parse_source(text)
    assert (found.document, found.revision, found.section) == source


@pytest.mark.parametrize("text", ["", "IFU", "IFU 3.2", "IFU, p. 14", "3.2, p. 14", ", p. 1"])
def test_sources_that_lack_something(text: str) -> None:
    with pytest.raises(UsageError, match="document, revision and section"):
        parse_source(text)


def test_the_command_needs_claims_or_a_terminal(device: Path) -> None:
    def proofrig(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "harness.cli", "device", "approve", str(device), *more],
            cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
            env={**os.environ, "COLUMNS": "120"},
        )  # fmt: skip

    nothing = proofrig("--by", "J. Doe")
    assert nothing.returncode == 4
    assert "LOCKOUT, PORTS, UDS-SERVICES" in nothing.stderr
    assert "there is no terminal" in proofrig("--all", "--by", "J. Doe").stderr
    done = proofrig("PORTS", "--by", "J. Doe", "--source", "IFU 3.2, p. 14")
    assert done.returncode == 0, done.stderr
    assert "not approved: LOCKOUT, UDS-SERVICES" in done.stdout
    assert load_device(device)[0].claims["PORTS"].status is Status.APPROVED


def test_a_link_to_the_device_file_stays_one(device: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere/link.yaml"
    link.symlink_to(device)
    do(link, "PORTS")
    assert link.is_symlink()
    assert record_of(link) == record_of(device)
    assert load_device(device)[0].claims["PORTS"].status is Status.APPROVED
