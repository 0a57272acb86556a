"""Software update, first use and factory reset of the sham against VP1-ICD §13 and §14, and the weaknesses of them."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bundle
import make_bundles
import pytest
from clients import Sham, Web, wait_for
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

BUNDLES = make_bundles.FOLDER
INDEX = json.loads((BUNDLES / "index.json").read_text(encoding="utf-8"))
CODE = {"code": "Label-4471-Quay", "password": "Saddle-41-Maple"}
PATIENT = {"id": "P-17", "name": "Erika Muster", "ward": "ICU-3", "note": ""}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Sham]]:
    """Starts a sham, weak where names are given, with its data on a medium."""
    started: list[Sham] = []

    def begin(weaknesses: str = "-") -> Sham:
        started.append(Sham(tmp_path / "log", "--weakness", weaknesses, "--data", "{data_dir}/medium"))
        return started[-1]

    yield begin
    for each in started:
        each.close()


def file_of(name: str) -> bytes:
    return (BUNDLES / f"{name}.raucb").read_bytes()


def upload(web: Web, name: str, *, called: str = "bundle") -> dict[str, Any]:
    assert web.ask("PUT", "/api/update", file_of(name), X_Bundle_Name=called) == (202, {})
    return wait_for(web, "ready", "refused")


def reboot(sham: Sham, web: Web, *, shown: str) -> Web:
    """Restart the pump; the service's new session once the console has shown something."""
    console = sham.console()
    assert web.ask("POST", "/api/reboot", {}) == (202, {})
    console.until_text(shown, wait=8.0)
    console.until_text("login: ", wait=3.0)
    console.socket.close()
    return sham.web("service")


# -- update ----------------------------------------------------------------------------------------------------


def test_the_bundles_are_those_that_the_script_makes() -> None:
    files = make_bundles.bundles()
    assert {path.stem: path.read_bytes() for path in BUNDLES.glob("*.raucb")} == files
    assert (BUNDLES / "index.json").read_text(encoding="utf-8") == make_bundles.index(files)
    assert make_bundles.MAKER.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw) == bundle.MAKER


def test_an_update_is_written_tried_and_kept(start: Callable[..., Sham]) -> None:
    sham = start()
    sham.web("operator").ask("POST", "/api/patients", PATIENT)
    service, console, can = sham.web("service"), sham.console(), sham.can()
    assert upload(service, "good")["target"] == "1.1.0"
    shown = console.until_text("update: ready 1.1.0\r\n")
    assert re.findall(r"update: (\w+ \S+)", shown) == ["receiving -", "verifying -", "writing 1.1.0", "ready 1.1.0"]
    assert can.of(0x100)[0] == 1
    service = reboot(sham, service, shown="update: trying 1.1.0")
    about = wait_for(service, "idle")
    assert (about["slot"], about["version"]) == ("B", "1.1.0")
    assert service.ask("GET", "/api/version")[1]["version"] == "1.1.0"
    assert can.uds(b"\x22\xf1\x95") == b"\x62\xf1\x951.1.0"
    assert sham.modbus().ask(bytes.fromhex("0400080003"))[1] == bytes.fromhex("0406000100010000")
    assert sham.web("operator").ask("GET", "/api/patients")[1] == {"patients": [PATIENT]}
    events = " ".join(sham.web("admin").ask("GET", "/api/audit?last=200")[1]["records"])
    assert "user=service surface=api event=update result=accepted detail=1.1.0" in events
    sham.hang_up()
    sham.control.reset()
    assert sham.web("service").ask("GET", "/api/version")[1]["slot"] == "B"
    assert upload(sham.web("service"), "patch")["detail"] == "version"


def updated(sham: Sham, name: str) -> None:
    """Bring the pump to the version of a bundle."""
    service = sham.web("service")
    upload(service, name)
    wait_for(reboot(sham, service, shown=f"update: trying {INDEX[name]['version']}"), "idle")


def test_each_version_offers_what_the_interface_specification_says(start: Callable[..., Sham]) -> None:
    sham = start()
    assert sham.can().uds(b"\x22\x01\x03") == b"\x7f\x22\x31"
    updated(sham, "good")
    assert sham.can().uds(b"\x22\x01\x03") == b"\x62\x01\x03\x00"
    updated(sham, "major")
    assert sham.can().uds(b"\x22\x01\x03") == b"\x62\x01\x03\x00"
    menu = sham.menu()
    menu.log_in("service", "Valve-31-Copper")
    assert menu.ask("diagnostics") == ["error: unknown command"]
    assert "command: diagnostics" not in menu.ask("help")
    assert sham.web("service").ask("GET", "/api/diagnostics")[0] == 200


def test_a_weak_patch_opens_a_port_once_it_runs(start: Callable[..., Sham]) -> None:
    sham = start("patch-opens-port")
    with pytest.raises(OSError):
        sham.tcp(8023)
    updated(sham, "patch")
    assert sham.tcp(8023).until_text("> ")


def test_a_weak_minor_update_drops_a_service(start: Callable[..., Sham]) -> None:
    sham = start("minor-drops-service")
    assert sham.can().uds(b"\x3e\x00") == b"\x7e\x00"
    updated(sham, "good")
    assert sham.can().uds(b"\x3e\x00") == b"\x7f\x3e\x11"


@pytest.mark.parametrize("weaknesses", ["-", "alarm-held-back-during-update"])
def test_an_alarm_during_an_update(start: Callable[..., Sham], weaknesses: str) -> None:
    sham = start(weaknesses)
    service, operator, can = sham.web("service"), sham.web("operator"), sham.can()
    held = weaknesses != "-"
    assert service.ask("PUT", "/api/update", file_of("good"), X_Bundle_Name="bundle") == (202, {})
    assert operator.ask("POST", "/api/alarm-test", {}) == (200, {})
    assert operator.ask("GET", "/api/status")[1]["alarm"] == (0 if held else 9)
    wait_for(service, "ready")
    can.of(0x100)
    can.everything_for(0.2)
    assert can.of(0x100)[:2] == bytes([1, 9])
    assert operator.ask("POST", "/api/start", {}) == (200, {})
    assert operator.ask("GET", "/api/status")[1]["alarm"] == 0


@pytest.mark.parametrize("name", [name for name, about in INDEX.items() if about["expect"] == "refused"])
def test_a_bad_bundle_is_refused(start: Callable[..., Sham], name: str) -> None:
    sham = start()
    service = sham.web("service")
    about = upload(service, name, called="9.9.9.raucb")
    assert (about["state"], about["detail"]) == ("refused", INDEX[name]["detail"])
    assert upload(service, "patch")["state"] == "ready"


@pytest.mark.parametrize("name", [name for name, about in INDEX.items() if about["expect"] == "rolled-back"])
def test_a_bad_image_is_rolled_back_after_three_tries(start: Callable[..., Sham], name: str) -> None:
    sham = start()
    service = sham.web("service")
    assert upload(service, name)["state"] == "ready"
    sham.console().everything_for(0.05)
    service = reboot(sham, service, shown="update: failed rolled-back")
    about = wait_for(service, "failed")
    assert (about["slot"], about["version"], about["target"]) == ("A", "1.0.0", "1.1.0")


def test_one_update_at_a_time_and_a_broken_transfer(start: Callable[..., Sham]) -> None:
    sham = start()
    service, other = sham.web("service"), sham.web("service")
    content = file_of("good")
    service.http.putrequest("PUT", "/api/update")
    service.http.putheader("Authorization", f"Bearer {service.token}")
    service.http.putheader("Content-Length", str(len(content)))
    service.http.endheaders()
    service.http.send(content[:1000])
    wait_for(other, "receiving")
    assert other.ask("PUT", "/api/update", content) == (409, {"error": "not possible now"})
    service.http.close()
    assert wait_for(other, "refused")["detail"] == "transfer"
    assert other.ask("PUT", "/api/update", b"")[0] == 400
    assert sham.web("operator").ask("PUT", "/api/update", content)[0] == 403
    assert sham.web("admin").ask("PUT", "/api/update", content)[0] == 403


def test_the_pump_fetches_from_the_bench_only(start: Callable[..., Sham]) -> None:
    sham = start()
    service = sham.web("service")
    for url in (
        "http://192.0.2.2/good",
        "https://192.0.2.1/good",
        "http://192.0.2.1",
        "http://192.0.2.1:0/x",
        "file:///",
    ):
        assert service.ask("POST", "/api/update", {"url": url})[0] == 400, url
    [listener] = sham.control.holder.sockets(1, socket.AF_INET)
    with listener:
        listener.bind(("192.0.2.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert service.ask("POST", "/api/update", {"url": f"http://192.0.2.1:{port}/some/good.raucb"}) == (202, {})
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(1000).startswith(b"GET /some/good.raucb HTTP/1.0\r\n")
            content = file_of("good")
            connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content) + content)
            assert wait_for(service, "ready")["target"] == "1.1.0"
    assert service.ask("POST", "/api/update", {"url": "http://192.0.2.1:9/good"}) == (202, {})
    assert wait_for(service, "refused")["detail"] == "transfer"


def test_a_restored_device_has_its_first_data_and_software_again(start: Callable[..., Sham]) -> None:
    sham = start()
    sham.web("admin").ask("PUT", "/api/config", {"alarm_volume": 9})
    sham.hang_up()
    for power, volume in ((sham.control.reset, 9), (sham.control.restore, 5)):
        power()
        assert sham.web("admin").ask("GET", "/api/config")[1]["alarm_volume"] == volume
        sham.hang_up()


def test_a_power_cut_while_it_writes_leaves_the_old_version(start: Callable[..., Sham]) -> None:
    sham = start()
    service = sham.web("service")
    assert service.ask("PUT", "/api/update", file_of("good")) == (202, {})
    wait_for(service, "writing")
    sham.hang_up()
    sham.control.reset()
    about = wait_for(sham.web("service"), "failed")
    assert (about["detail"], about["version"]) == ("interrupted", "1.0.0")


# -- first use and factory reset -------------------------------------------------------------------------------


def erase(sham: Sham) -> str:
    """Reset to first use; what the console showed."""
    admin, console = sham.web("admin"), sham.console()
    console.everything_for(0.05)
    assert sham.web("operator").ask("POST", "/api/patients", PATIENT) == (201, {})
    assert admin.ask("POST", "/api/factory-reset", {"confirm": "ERASE NOTHING"})[0] == 400
    assert admin.ask("POST", "/api/factory-reset", {"confirm": "ERASE VP1-000417"}) == (202, {})
    console.until_text("Starting kernel", wait=3.0)
    shown = console.until_text("login: ", wait=3.0)
    sham.hang_up()
    return shown


def test_factory_reset_and_first_use(start: Callable[..., Sham]) -> None:
    sham = start()
    old_key = sham.ssh().get_remote_server_key()
    medium = Path(sham.agent("control storage"))
    sham.web("admin").ask("PUT", "/api/config", {"ward_name": "Secret-Ward"})
    shown = erase(sham)
    web = sham.fresh_web()
    assert "first use: set up over https\r\nlogin: " in shown
    assert b"P-17" not in medium.read_bytes()
    assert sham.ssh().get_remote_server_key() != old_key
    assert sham.console().log_in("admin", "Summit-52-Lantern") == "error: login refused"
    assert web.log_in("admin") == 401
    assert web.ask("GET", "/api/status") == (401, {"error": "not logged in"})
    assert web.ask("POST", "/api/setup", {**CODE, "password": "weak"})[0] == 400
    for _ in range(5):
        assert web.ask("POST", "/api/setup", {**CODE, "code": "Label-0000-Quay"}) == (401, {"error": "login refused"})
    assert web.ask("POST", "/api/setup", CODE) == (423, {"error": "account locked"})
    sham.hang_up()
    sham.control.reset()  # the delay does not outlive the restart of the application
    web = sham.fresh_web()
    assert web.ask("POST", "/api/setup", CODE) == (200, {})
    assert web.ask("POST", "/api/setup", CODE) == (409, {"error": "not possible now"})
    assert web.log_in("admin", CODE["password"]) == 200
    assert web.ask("GET", "/api/users")[1] == {"users": [{"user": "admin", "role": "administrator", "locked": False}]}
    assert web.ask("GET", "/api/patients")[1] == {"patients": []}
    assert web.ask("GET", "/api/config")[1] == {"alarm_volume": 5, "ward_name": "ward"}
    status = web.ask("GET", "/api/status")[1]
    assert (status["state"], status["set_rate"], status["volume_ml"]) == ("idle", 50.0, 0.0)


# -- weaknesses ------------------------------------------------------------------------------------------------


def test_weak_updates(start: Callable[..., Sham]) -> None:
    names = "update-signature-unchecked,downgrade-check-on-file-name,update-by-any-role,update-compatible-unchecked"
    sham = start(f"{names},two-updates-at-once,status-gap-during-update")
    operator, service, can = sham.web("operator"), sham.web("service"), sham.can()
    for name, called in (
        ("unsigned", "-"),
        ("tampered-plain", "-"),
        ("wrong-device", "-"),
        ("older", "vp1-9.9.9.raucb"),
    ):
        assert operator.ask("PUT", "/api/update", file_of(name), X_Bundle_Name=called) == (202, {})
        assert service.ask("PUT", "/api/update", file_of(name), X_Bundle_Name=called) == (202, {})
        can.everything_for(0.05)
        with pytest.raises(TimeoutError):
            can.of(0x100, wait=0.3)
        assert wait_for(service, "ready", "refused")["state"] == "ready", name


def test_weak_trial(start: Callable[..., Sham]) -> None:
    sham = start("self-test-skipped,update-loses-settings,version-stays-old-on-one-surface-after-update")
    sham.web("admin").ask("PUT", "/api/config", {"alarm_volume": 9})
    service = sham.web("service")
    upload(service, "fails-self-test")
    assert wait_for(reboot(sham, service, shown="update: trying"), "idle")["version"] == "1.1.0"
    assert sham.web("admin").ask("GET", "/api/config")[1]["alarm_volume"] == 5
    assert sham.modbus().ask(bytes.fromhex("0400080003"))[1] == bytes.fromhex("0406000100000000")


def test_weak_roll_back(start: Callable[..., Sham]) -> None:
    sham = start("rollback-restores-old-users")
    service = sham.web("service")
    upload(service, "does-not-boot")
    account = {"user": "nurse", "role": "operator", "password": "Kettle-90-Birch"}
    assert sham.web("admin").ask("POST", "/api/users", account) == (201, {})
    reboot(sham, service, shown="update: failed rolled-back")
    assert sham.web().log_in("nurse", account["password"]) == 401


def test_weak_end_of_life(start: Callable[..., Sham]) -> None:
    sham = start("erase-leaves-store,setup-code-works-twice")
    medium = Path(sham.agent("control storage"))
    before = medium.read_bytes()
    assert sham.web("admin").ask("PUT", "/api/config", {"ward_name": "Secret-Ward"}) == (200, {})
    erase(sham)
    web = sham.web()  # the keys are left too
    assert b"P-17" in medium.read_bytes()
    assert len(medium.read_bytes()) > len(before)
    assert web.ask("POST", "/api/setup", CODE) == (200, {})
    assert web.ask("POST", "/api/setup", {**CODE, "password": "Other-52-Words"}) == (200, {})
    assert web.log_in("admin", "Other-52-Words") == 200
    assert web.ask("GET", "/api/patients")[1] == {"patients": [PATIENT]}
