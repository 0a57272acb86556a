"""The sham's audit log against VP1-ICD §2.6: kept, in order, over restarts and changes of the clock; its weaknesses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from audit import AuditLog
from clients import Sham, Web
from state import AUDIT_KEPT, Clock, Data

BAD_ARGUMENT = (400, {"error": "bad argument"})
FORGED = "900 2026-11-22T10:00:00Z user=admin surface=api event=login result=accepted detail=-"


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[[str], Sham]]:
    """Starts a sham with weaknesses, or an honest one."""
    running: list[Sham] = []

    def start(names: str = "") -> Sham:
        weak = ("--weakness", names) if names else ()
        running.append(Sham(tmp_path / "log", *weak, "--data", str(tmp_path / "data")))
        return running[-1]

    yield start
    for each in running:
        each.close()


def records(web: Web) -> list[str]:
    status, content = web.ask("GET", "/api/audit?last=200")
    assert status == 200
    return list(content["records"])


def numbers(lines: list[str]) -> list[int]:
    return [int(line.removeprefix("audit: ").split()[0]) for line in lines]


def filled(path: Path, *, weakness: str = "") -> list[int]:
    """Numbers of the records of a log that was overfilled, after a restart and one record more."""
    for count in (AUDIT_KEPT + 100, 1):
        data = Data.load(path, {weakness})
        log = AuditLog(clock=Clock(), data=data, weaknesses={weakness})
        for _ in range(count):
            log.record("denied", surface="api", user="operator", result="refused")
    return numbers(log.last(AUDIT_KEPT))


def test_a_full_log_drops_the_oldest_over_a_restart_too(tmp_path: Path) -> None:
    assert filled(tmp_path / "data") == list(range(102, 1102))


def test_weak_when_full(tmp_path: Path) -> None:
    assert filled(tmp_path / "stops", weakness="audit-stops-when-full") == list(range(1, 1001))
    lost = filled(tmp_path / "loses", weakness="audit-overflow-loses-newest-on-restart")
    assert lost == list(range(2, 1002))


def test_nothing_changes_the_log(started: Callable[[str], Sham]) -> None:
    sham = started("")
    for user in ("operator", "service", "admin"):
        web = sham.web(user)
        for method in ("DELETE", "PUT", "POST", "PATCH"):
            assert web.ask(method, "/api/audit", {}) == (405, {"error": "method not allowed"})
    assert sham.web().log_in(f"x\n{FORGED}\n", "Wrong-1-Word") == 401
    lines = records(sham.web("admin"))
    assert numbers(lines) == list(range(1, len(lines) + 1))
    assert FORGED not in lines
    assert lines[-2].endswith("user=- surface=api event=login result=refused detail=-")


def test_the_clock_is_set_by_the_administrator_until_the_next_restart(started: Callable[[str], Sham]) -> None:
    sham = started("")
    admin = sham.web("admin")
    for text in ("2026-02-30T10:00:00Z", "2019-12-31T23:59:59Z", "2100-01-01T00:00:00Z", "2026-11-22 10:00", ""):
        assert admin.ask("PUT", "/api/clock", {"time": text}) == BAD_ARGUMENT
    assert sham.web("service").ask("PUT", "/api/clock", {"time": "2026-11-22T10:00:00Z"})[0] == 403
    assert admin.ask("PUT", "/api/clock", {"time": "2021-01-02T03:04:05Z"}) == (200, {})
    *_, before, change, after = records(sham.web("admin"))
    assert change.split()[1].startswith("2021-01-02T03:04:")
    assert after.split()[1].startswith("2021-01-02T03:04:")
    assert change.endswith(f"user=admin surface=api event=clock result=accepted detail={before.split()[1]}")
    assert sham.agent("control power-cycle") == "ok"
    assert records(sham.web("admin"))[-1].split()[1] > before.split()[1][:11]


def test_weak_records(started: Callable[[str], Sham]) -> None:
    sham = started("audit-deletable,audit-forged-by-name,clock-change-unrecorded")
    admin = sham.web("admin")
    assert sham.web().log_in(f"x\n{FORGED}\n", "Wrong-1-Word") == 401
    lines = records(admin)
    assert FORGED in lines
    assert admin.ask("PUT", "/api/clock", {"time": "2021-01-02T03:04:05Z"}) == (200, {})
    assert not any("event=clock" in line for line in records(admin))
    assert sham.web("service").ask("DELETE", "/api/audit")[0] == 403
    assert admin.ask("DELETE", "/api/audit") == (200, {})
    assert numbers(records(sham.web("admin"))) == [6]


def test_weak_when_the_clock_goes_back(started: Callable[[str], Sham]) -> None:
    admin = started("audit-drops-earlier-times").web("admin")
    seen = records(admin)
    assert admin.ask("PUT", "/api/clock", {"time": "2021-01-02T03:04:05Z"}) == (200, {})
    assert records(admin) == seen
    assert admin.ask("PUT", "/api/clock", {"time": "2099-01-02T03:04:05Z"}) == (200, {})
    assert numbers(records(admin)) == [*numbers(seen), numbers(seen)[-1] + 1]
