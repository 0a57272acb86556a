"""Backup and restore of the sham against VP1-ICD §12, whole and damaged, and the weaknesses of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import backup
import pytest
from clients import Sham, Web
from hypothesis import given, settings
from hypothesis import strategies as st

PASSPHRASE = "Harbour-Meadow-19"
PATIENT = {"id": "P-17", "name": "Erika Muster", "ward": "ICU-3", "note": ""}
DAMAGED = (422, {"error": "wrong passphrase or damaged"})


@pytest.fixture(scope="module")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sham]:
    sham = Sham(tmp_path_factory.mktemp("backup") / "log")
    yield sham
    sham.close()


@pytest.fixture
def sham(_running: Sham) -> Iterator[Sham]:
    """The honest sham in its state as delivered."""
    assert _running.agent("control restore") == "ok"
    yield _running
    _running.hang_up()


@pytest.fixture
def weak(tmp_path: Path) -> Iterator[Callable[[str], Sham]]:
    """Starts a sham with weaknesses."""
    started: list[Sham] = []

    def start(names: str) -> Sham:
        started.append(Sham(tmp_path / "log", "--weakness", names))
        return started[-1]

    yield start
    for each in started:
        each.close()


def back_up(sham: Sham) -> bytes:
    admin = sham.web("admin")
    assert admin.ask("POST", "/api/patients", PATIENT) == (201, {})
    assert admin.ask("PUT", "/api/config", {"ward_name": "Ward-Saved"}) == (200, {})
    status, file = admin.ask("POST", "/api/backup", {"passphrase": PASSPHRASE})
    assert (status, file[:8]) == (200, b"VP1BKP\0\1")
    return bytes(file)


def restore(web: Web, file: bytes, passphrase: str = PASSPHRASE) -> tuple[int, Any]:
    return web.ask("PUT", "/api/restore", file, X_Passphrase=passphrase)


def parts(file: bytes) -> tuple[dict[str, Any], bytes, list[bytes]]:
    """Header, everything before the first section, and the sections with type and length."""
    length = int.from_bytes(file[8:10], "big")
    at = 10 + length + 16
    head, pieces = file[:at], []
    for _ in range(4):
        size = 5 + int.from_bytes(file[at + 1 : at + 5], "big")
        pieces.append(file[at : at + size])
        at += size
    assert at + 32 == len(file)
    return json.loads(file[10 : 10 + length]), head, pieces


def forged(sections: dict[int, Any] | None = None, **header: str) -> bytes:
    content: dict[int, Any] = {
        1: {"alarm_volume": 9, "ward_name": "Forged"},
        2: {"users": [{"user": "admin", "role": "administrator", "hash": "00:" + "0" * 64}]},
        3: {"patients": []},
        4: {"set_rate": 500},
    }
    about = {"family": "VP-1", "version": "1.0.0", "serial": "VP1-000999", "created": "2026-11-22T00:00:00Z"}
    return backup.make({**about, **header}, {**content, **(sections or {})}, PASSPHRASE)


def test_a_backup_holds_everything_and_shows_nothing(sham: Sham) -> None:
    file = back_up(sham)
    header, _, pieces = parts(file)
    assert (header["family"], header["version"], header["serial"]) == ("VP-1", "1.0.0", "VP1-000417")
    assert [piece[0] for piece in pieces] == [1, 2, 3, 4]
    assert not any(word in file for word in (b"Muster", b"Ward-Saved", b"P-17", b"admin"))
    admin, operator, console = sham.web("admin"), sham.web("operator"), sham.console()
    assert console.log_in("admin", "Summit-52-Lantern").startswith("ok")
    assert operator.ask("PUT", "/api/rate", {"ml_per_hour": 70.0}) == (200, {})
    assert admin.ask("DELETE", "/api/patients/P-17") == (200, {})
    assert admin.ask("PUT", "/api/config", {"ward_name": "Other"}) == (200, {})
    assert admin.ask("PUT", "/api/users/service", {"password": "Saddle-41-Maple"}) == (200, {})
    assert restore(admin, file) == (200, {})
    assert admin.ask("GET", "/api/status")[0] == operator.ask("GET", "/api/status")[0] == 401
    assert "info: logged off" in console.until_text("login: ")
    admin = sham.web("admin")
    assert admin.ask("GET", "/api/patients") == (200, {"patients": [PATIENT]})
    assert admin.ask("GET", "/api/config")[1]["ward_name"] == "Ward-Saved"
    assert admin.ask("GET", "/api/status")[1]["set_rate"] == 50.0
    assert sham.web("service")


def test_what_is_no_backup_of_ours_is_refused_and_changes_nothing(sham: Sham) -> None:
    file = back_up(sham)
    _, head, pieces = parts(file)
    admin = sham.web("admin")
    assert admin.ask("PUT", "/api/config", {"ward_name": "Kept"}) == (200, {})
    swapped = head + b"".join([pieces[1], pieces[0], *pieces[2:]]) + file[-32:]
    cut = head + b"".join(pieces[:3]) + file[-32:]
    changed = bytes([*file[:-1], file[-1] ^ 1])
    for bad in (
        swapped,
        cut,
        changed,
        file[:-1],
        file + b"\0",
        file[: len(file) // 2] + b"\1" + file[len(file) // 2 + 1 :],
    ):
        assert restore(admin, bad) == DAMAGED
    assert restore(admin, file, "Harbour-Meadow-20") == DAMAGED
    assert restore(admin, file, "short")[0] == 400
    assert restore(admin, b"")[1] == {"error": "not a backup"}
    assert restore(admin, b"x" * 5000)[1] == {"error": "not a backup"}
    assert restore(admin, b"VP1BKP\0\2" + file[8:])[1] == {"error": "not a backup"}
    assert restore(admin, b"x" * ((1 << 20) + 1)) == (413, {"error": "too large"})
    assert restore(admin, forged(family="VP-2"))[1] == {"error": "other device family"}
    for version in ("1.0.1", "1.1.0", "2.0.0", "0.9.0", "1.0", "one"):
        assert restore(admin, forged(version=version))[1] == {"error": "version not supported"}
    no_administrator = {"users": [{"user": "admin", "role": "operator", "hash": "00:" + "0" * 64}]}
    for section in ({2: no_administrator}, {1: {"alarm_volume": 11, "ward_name": "x"}}, {4: {"set_rate": 0}}, {3: []}):
        assert restore(admin, forged(section)) == DAMAGED
    assert admin.ask("GET", "/api/config")[1]["ward_name"] == "Kept"
    details = [each.split("detail=")[1] for each in admin.ask("GET", "/api/audit?last=200")[1]["records"]]
    assert {"wrong-passphrase-or-damaged", "not-a-backup", "version-not-supported"} <= {*details}
    assert restore(admin, forged()) == (200, {})


def test_a_backup_wants_a_proper_passphrase(sham: Sham) -> None:
    admin = sham.web("admin")
    for bad in ("", "Meadow-19", "Harbour\tMeadow-19", "x" * 65, "Harbour-Möwe-19"):
        assert admin.ask("POST", "/api/backup", {"passphrase": bad})[0] == 400


def test_weak_restore(weak: Callable[[str], Sham]) -> None:
    sham = weak("restore-writes-before-verify,restore-foreign-family,restore-order-unchecked")
    file = back_up(sham)
    admin = sham.web("admin")
    assert admin.ask("PUT", "/api/config", {"ward_name": "Lost"}) == (200, {})
    assert restore(admin, bytes([*file[:-1], file[-1] ^ 1])) == DAMAGED
    assert admin.ask("GET", "/api/config")[1]["ward_name"] == "Ward-Saved"
    _, head, pieces = parts(file)
    assert restore(admin, head + b"".join([pieces[2], pieces[0], pieces[1], pieces[3]]) + file[-32:]) == (200, {})
    assert restore(sham.web("admin"), forged(family="VP-2")) == (200, {})


def test_weak_backup(weak: Callable[[str], Sham]) -> None:
    header, *_ = parts(back_up(weak("backup-patient-in-clear,backup-holds-key")))
    assert header["patients"] == ["Erika Muster"]
    assert len(header["key"]) == 64


@settings(max_examples=50)
@given(st.binary(max_size=300), st.integers(0, 400))
def test_any_bytes_are_refused_in_words(noise: bytes, at: int) -> None:
    good = forged()
    for file in (noise, backup.MAGIC + noise, good[:at] + noise, good[: -len(noise) or None] + noise):
        if file != good:
            with pytest.raises(backup.BadFile):
                _opened(file)


def _opened(file: bytes) -> None:
    reader = backup.Reader(file)
    keys = backup.Keys.derive(PASSPHRASE, reader.salt)
    if not reader.authentic(keys, reader.pieces()):
        raise backup.BadFile(backup.DAMAGED)
