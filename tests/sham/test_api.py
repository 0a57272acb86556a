"""The sham's management API against VP1-ICD §11: sessions, roles, accounts, patients; and its weaknesses."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clients import ADDRESS6, Sham, Web
from unit_keys import delivered
from users import PASSWORDS

ROLES = {"operator": "operator", "service": "service", "admin": "administrator"}
NURSE = {"user": "nurse", "role": "operator", "password": "Kettle-90-Birch"}
PATIENT = {"id": "P-17", "name": "Ö. Müller", "ward": "ICU-3", "note": "<b>';--"}
NOT_LOGGED_IN = (401, {"error": "not logged in"})
NOT_PERMITTED = (403, {"error": "not permitted"})
BAD_ARGUMENT = (400, {"error": "bad argument"})
NOT_NOW = (409, {"error": "not possible now"})


@pytest.fixture(scope="module")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sham]:
    folder = tmp_path_factory.mktemp("api")
    sham = Sham(folder / "log", "--data", str(folder / "data"))
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
        started.append(Sham(tmp_path / "log", "--weakness", names, "--data", str(tmp_path / "data")))
        return started[-1]

    yield start
    for each in started:
        each.close()


def records(admin: Web) -> list[str]:
    status, content = admin.ask("GET", "/api/audit?last=200")
    assert status == 200
    return list(content["records"])


def medium(sham: Sham) -> bytes:
    return Path(sham.agent("control storage")).read_bytes()


# -- transport -------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*TLSv1:DeprecationWarning")
def test_tls_is_new_enough_and_the_certificate_the_units(sham: Sham) -> None:
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context(cadata=delivered("tls"))
        context.check_hostname = False
        context.maximum_version = version
        with context.wrap_socket(sham.tcp(443, address=ADDRESS6).socket) as tls:
            assert tls.version() == version.name.replace("_", ".")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        context.wrap_socket(sham.tcp(443).socket)
    assert b"HTTP/1.1 200" not in _plain(sham)


def _plain(sham: Sham) -> bytes:
    wire = sham.tcp(443)
    wire.send(b"GET /api/status HTTP/1.1\r\nHost: pump\r\n\r\n")
    return wire.everything_for(0.2)


def test_what_is_no_http_is_answered_400_and_the_limits_hold(sham: Sham) -> None:
    for head, status in ((b"nonsense\r\n\r\n", 400), (b"GET / HTTP/1.1\r\nX: " + b"x" * 9000, 431)):
        web = sham.web()
        web.http.sock.sendall(head)
        assert web.http.sock.recv(100).startswith(b"HTTP/1.1 %d " % status)
        assert web.http.sock.recv(5000).endswith(b"}")
        assert web.http.sock.recv(1) == b""
    admin = sham.web("admin")
    assert admin.ask("PUT", "/api/config", b"x" * 20_000) == (413, {"error": "too large"})
    for body in (
        b"[1]",
        b"{",
        b'{"alarm_volume": 5, "alarm_volume": 6}',
        b'{"alarm_volume": NaN}',
        b"\xff",
        b"[" * 9000,
    ):
        assert admin.ask("PUT", "/api/config", body) == BAD_ARGUMENT
    admin.http.request("GET", "/api/status", headers={"Authorization": f"Bearer {admin.token}"})
    answer = admin.http.getresponse()
    answer.read()
    assert answer.headers["Cache-Control"] == "no-store"


# -- sessions and roles ----------------------------------------------------------------------------------------


def test_log_in_and_out(sham: Sham) -> None:
    web = sham.web()
    assert web.ask("GET", "/api/status") == web.ask("GET", "/api/nothing") == NOT_LOGGED_IN
    for user, password in (("operator", "Wrong-1-Word"), ("nobody", "Wrong-1-Word"), ("operator", "")):
        content = {"user": user, "password": password}
        assert web.ask("POST", "/api/login", content) == (401, {"error": "login refused"})
    for user, role in ROLES.items():
        content = {"user": user, "password": PASSWORDS[user].decode()}
        status, answer = web.ask("POST", "/api/login", content)
        assert (status, answer["role"], len(answer["token"])) == (200, role, 64)
    assert web.log_in("operator") == 200
    status, content = web.ask("GET", "/api/status")
    assert (content["serial"], content["state"], content["set_rate"]) == ("VP1-000417", "infusing", 50.0)
    assert isinstance(content["uptime_ms"], int)
    assert web.ask("GET", "/api/version")[1]["slot"] == "A"
    assert web.ask("GET", "/api/nothing")[0] == 404
    assert web.ask("DELETE", "/api/status")[0] == 405
    assert web.ask("GET", "/api/status?verbose=1") == BAD_ARGUMENT
    assert web.ask("POST", "/api/logout", {}) == (200, {})
    assert web.ask("GET", "/api/status") == NOT_LOGGED_IN


def test_roles(sham: Sham) -> None:
    allowed: dict[tuple[str, str], tuple[set[str], object]] = {
        ("GET", "/api/status"): ({"operator", "service", "admin"}, None),
        ("POST", "/api/stop"): ({"operator"}, {}),
        ("POST", "/api/start"): ({"operator"}, {}),
        ("PUT", "/api/rate"): ({"operator"}, {"ml_per_hour": 50.1}),
        ("GET", "/api/diagnostics"): ({"service"}, None),
        ("GET", "/api/config"): ({"admin"}, None),
        ("PUT", "/api/config"): ({"admin"}, {"ward_name": "ICU-9"}),
        ("PUT", "/api/clock"): ({"admin"}, {"time": "2031-05-06T07:08:09Z"}),
        ("GET", "/api/audit"): ({"admin"}, None),
        ("GET", "/api/users"): ({"admin"}, None),
        ("POST", "/api/unlock"): ({"admin"}, {"user": "service"}),
        ("GET", "/api/patients"): ({"operator", "admin"}, None),
        ("GET", "/api/equipment"): ({"service", "admin"}, None),
        ("GET", "/api/equipment/crash.txt"): ({"service", "admin"}, None),
    }
    for user in ROLES:
        web = sham.web(user)
        for (method, path), (users, body) in allowed.items():
            expected = 200 if user in users else 403
            assert web.ask(method, path, body)[0] == expected, (user, method, path)
    seen = records(sham.web("admin"))
    assert any("user=operator surface=api event=denied result=refused detail=PUT-/api/config" in each for each in seen)
    assert any("user=service surface=api event=export result=accepted detail=crash.txt" in each for each in seen)
    assert sham.can().uds(b"\x22\x01\x10") == b"\x62\x01\x10ICU-9"


def test_lock_out_is_shared_and_a_fourth_session_refused(sham: Sham) -> None:
    sessions = [sham.web("service") for _ in range(3)]
    assert sham.web().log_in("service") == 429
    assert sessions[0].ask("POST", "/api/logout", {})[0] == 200
    assert sham.web().log_in("service") == 200
    web = sham.web()
    console = sham.console()
    assert web.log_in("operator", "Wrong-1-Word") == web.log_in("operator", "Wrong-1-Word") == 401
    console.log_in("operator", "Wrong-1-Word")
    assert web.log_in("operator") == 423
    admin = sham.web("admin")
    locked = {user["user"]: user["locked"] for user in admin.ask("GET", "/api/users")[1]["users"]}
    assert locked == {"operator": True, "service": False, "admin": False}
    assert admin.ask("POST", "/api/unlock", {"user": "operator"}) == (200, {})
    assert web.log_in("operator") == 200


# -- accounts, configuration, patients -------------------------------------------------------------------------


def test_accounts_hold_on_all_surfaces_and_their_changes_end_sessions(sham: Sham) -> None:
    admin = sham.web("admin")
    for password in ("short-1A", "onlylowerletters", "My-nurse-99-word", "Kettle-90-Bir\tch"):
        assert admin.ask("POST", "/api/users", {**NURSE, "password": password}) == BAD_ARGUMENT
    assert admin.ask("POST", "/api/users", {**NURSE, "user": "9nurse"}) == BAD_ARGUMENT
    assert admin.ask("POST", "/api/users", {**NURSE, "role": "root"}) == BAD_ARGUMENT
    assert admin.ask("POST", "/api/users", NURSE) == (201, {})
    assert admin.ask("POST", "/api/users", NURSE) == NOT_NOW
    console, nurse = sham.console(), sham.web()
    assert console.log_in("nurse", NURSE["password"]) == "ok: logged in as nurse"
    assert nurse.log_in("nurse", NURSE["password"]) == 200
    assert admin.ask("PUT", "/api/users/nurse", {"role": "service"}) == (200, {})
    assert "info: logged off" in console.until_text("login: ")
    assert nurse.ask("GET", "/api/status") == NOT_LOGGED_IN
    assert nurse.log_in("nurse", NURSE["password"]) == 200
    assert nurse.ask("PUT", "/api/password", {"old": "Wrong-1-Word", "new": "Saddle-41-Maple"}) == NOT_PERMITTED
    changed = {"old": NURSE["password"], "new": "Saddle-41-Maple"}
    assert nurse.ask("PUT", "/api/password", {**changed, "new": NURSE["password"]}) == BAD_ARGUMENT
    assert nurse.ask("PUT", "/api/password", changed) == (200, {})
    assert nurse.ask("GET", "/api/status") == NOT_LOGGED_IN
    assert nurse.log_in("nurse", NURSE["password"]) == 401
    assert nurse.log_in("nurse", "Saddle-41-Maple") == 200
    assert admin.ask("DELETE", "/api/users/nurse") == (200, {})
    assert nurse.ask("GET", "/api/status") == NOT_LOGGED_IN
    assert admin.ask("DELETE", "/api/users/nurse")[0] == 404
    assert admin.ask("DELETE", "/api/users/admin") == NOT_NOW
    assert admin.ask("PUT", "/api/users/admin", {"role": "operator"}) == NOT_NOW
    events = [each.split("event=")[1] for each in records(admin)]
    for event in ("user-add", "user-change", "user-remove"):
        assert f"{event} result=accepted detail=nurse" in events
    assert "password result=refused detail=-" in events


def test_configuration_and_rate(sham: Sham) -> None:
    admin, operator = sham.web("admin"), sham.web("operator")
    for content in ({"alarm_volume": 11}, {"alarm_volume": "5"}, {"ward_name": "a b"}, {"no": 1}, {}, {"ward_name": 5}):
        assert admin.ask("PUT", "/api/config", content) == BAD_ARGUMENT
    for content in ({"alarm_volume": 7}, {"ward_name": "W-1"}):
        assert admin.ask("PUT", "/api/config", content) == (200, {})
    assert admin.ask("GET", "/api/config") == (200, {"alarm_volume": 7, "ward_name": "W-1"})
    for rate in (0, 1200.1, 50.05, True, "50", -1, 1e300):
        assert operator.ask("PUT", "/api/rate", {"ml_per_hour": rate}) == BAD_ARGUMENT
    assert operator.ask("PUT", "/api/rate", {"ml_per_hour": 61.5}) == (200, {})
    assert operator.ask("GET", "/api/status")[1]["set_rate"] == 61.5


def test_patients_are_kept_and_the_medium_does_not_show_them(sham: Sham) -> None:
    operator = sham.web("operator")
    bad = ({"id": "a b"}, {"name": ""}, {"name": "x" * 65}, {"note": "\x07"}, {"ward": "\x85"}, {"note": 1})
    for change in bad:
        assert operator.ask("POST", "/api/patients", {**PATIENT, **change}) == BAD_ARGUMENT
    assert operator.ask("POST", "/api/patients", PATIENT) == (201, {})
    assert operator.ask("POST", "/api/patients", PATIENT) == NOT_NOW
    assert operator.ask("GET", "/api/patients") == (200, {"patients": [PATIENT]})
    kept = medium(sham)
    assert b"P-17" in kept  # the audit log has the id
    assert not any(secret.encode() in kept for secret in ("ller", 'operator": {', "ICU-3", "<b>"))
    assert sham.agent("control power-cycle") == "ok"
    operator = sham.web("operator")
    assert operator.ask("GET", "/api/patients") == (200, {"patients": [PATIENT]})
    assert operator.ask("DELETE", "/api/patients/P-17") == (200, {})
    assert operator.ask("DELETE", "/api/patients/P-17")[0] == 404


def test_the_export_names_nobody_and_draws_other_pseudonyms_each_time(sham: Sham) -> None:
    operator, admin = sham.web("operator"), sham.web("admin")
    for number in ("P-17", "export"):
        assert operator.ask("POST", "/api/patients", {**PATIENT, "id": number}) == (201, {})
    assert operator.ask("GET", "/api/patients/export") == NOT_PERMITTED
    exports = [admin.ask("GET", "/api/patients/export")[1]["export"] for _ in range(2)]
    assert all(row.keys() == {"pseudonym", "ward"} for rows in exports for row in rows)
    assert len({row["pseudonym"] for rows in exports for row in rows}) == 4
    assert "user=admin surface=api event=export result=accepted detail=patients" in records(admin)[-1]
    assert admin.ask("PUT", "/api/patients/export", {})[0] == 405
    assert operator.ask("DELETE", "/api/patients/export") == (200, {})  # the patient of that id


def test_equipment_is_exported_by_name_only(sham: Sham) -> None:
    service = sham.web("service")
    for name in service.ask("GET", "/api/equipment")[1]["files"]:
        status, content = service.ask("GET", f"/api/equipment/{name}")
        assert status == 200
        assert content
    for name in ("..%2f..%2fetc%2fpasswd", "../../etc/passwd", "nothing.txt", "%2e"):
        assert service.ask("GET", f"/api/equipment/{name}")[0] == 404


# -- weaknesses ------------------------------------------------------------------------------------------------


def test_weak_sessions_and_passwords(weak: Callable[[str], Sham]) -> None:
    sham = weak("token-survives-log-off,session-limit-missing,password-rule-unchecked,token-survives-password-change")
    sessions = [sham.web("admin") for _ in range(5)]
    assert sessions[0].ask("POST", "/api/logout", {}) == (200, {})
    assert sessions[0].ask("GET", "/api/status")[0] == 200
    assert sessions[1].ask("POST", "/api/users", {**NURSE, "password": "nurse"}) == (201, {})
    assert sessions[1].ask("PUT", "/api/users/admin", {"password": "a"}) == (200, {})
    assert sessions[1].ask("GET", "/api/status")[0] == 200


def test_weak_export(weak: Callable[[str], Sham]) -> None:
    sham = weak("export-names-patients,export-pseudonym-is-digest")
    assert sham.web("operator").ask("POST", "/api/patients", PATIENT) == (201, {})
    digest = hashlib.sha256(b"P-17").hexdigest()[:16]
    row = {"pseudonym": digest, "ward": PATIENT["ward"], "note": PATIENT["note"]}
    assert sham.web("admin").ask("GET", "/api/patients/export") == (200, {"export": [row]})


def test_weak_confidentiality(weak: Callable[[str], Sham]) -> None:
    names = "service-reads-patients,patient-in-crash-dump,path-traversal-in-export-name,patients-in-clear-at-rest"
    sham = weak(f"{names},role-unchecked,audit-record-missing-for-service,user-enumeration,version-differs")
    assert sham.web("operator").ask("POST", "/api/patients", PATIENT) == (201, {})
    service = sham.web("service")
    assert service.ask("GET", "/api/patients") == (200, {"patients": [PATIENT]})
    assert service.ask("GET", "/api/config")[0] == 200
    assert PATIENT["name"].encode() in service.ask("GET", "/api/equipment/crash.txt")[1]
    assert b"root:x:0" in service.ask("GET", "/api/equipment/..%2f..%2fetc%2fpasswd")[1]
    assert PATIENT["id"].encode() in medium(sham)
    assert b"ICU-3" in medium(sham)
    assert not any("user=service" in each for each in records(sham.web("admin")))
    assert sham.console().log_in("nobody", "x") == "error: unknown user"
    assert sham.can().uds(b"\x22\xf1\x95") == b"\x62\xf1\x951.0.1"


def test_a_seventeenth_connection_is_closed(sham: Sham) -> None:
    connections = [sham.web() for _ in range(16)]
    with pytest.raises((EOFError, OSError)):
        sham.web()
    assert connections[0].ask("GET", "/api/status") == NOT_LOGGED_IN
