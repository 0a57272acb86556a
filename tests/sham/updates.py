"""Software update over the management API (VP1-ICD §13), in steps of 0.1 s."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bundle import Bundle, BundleRefused, judge, read_bundle
from http_message import (
    ADMINISTRATOR,
    BUNDLE_LIMIT,
    SERVICE,
    Answer,
    BadArgument,
    Call,
    NotNow,
    Resource,
    Resources,
    done,
    in_json,
)

if TYPE_CHECKING:
    from application import Application

VERIFYING, WRITING, SELF_TEST = 3, 3, 5
"""How long each takes, in steps."""

_URL = re.compile(r"http://192\.0\.2\.1(?::([0-9]{1,5}))?(/[!-~]*)")
_BUSY = ("receiving", "verifying", "writing", "trying")


class Updates:
    """Receives, verifies and writes one bundle at a time, and tries it after the restart."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self.state, self.detail, self.target = "idle", "-", "-"
        self._user = "-"
        self._name = ""
        self._file = b""
        self._bundle: Bundle | None = None
        self._left = 0

    def resources(self) -> Resources:
        """What the management API has of it."""
        both = SERVICE | ADMINISTRATOR
        return {
            ("PUT", "/api/update"): Resource(do=self._uploaded, roles=SERVICE, limit=BUNDLE_LIMIT, head=self._begin),
            ("POST", "/api/update"): Resource(do=self._fetch, roles=SERVICE),
            ("GET", "/api/update"): Resource(do=self._status, roles=both),
            ("POST", "/api/reboot"): Resource(do=self._reboot, roles=both),
        }

    @property
    def busy(self) -> bool:
        """While a bundle is received, verified or written, or tried."""
        return self.state in _BUSY

    def start(self) -> None:
        """What became of an update that was begun before this start."""
        software, slot = self._app.data.software, self._app.identity.slot
        if software.is_trial(slot):
            self.target = self._app.identity.version_text
            self._left = SELF_TEST
            self._enter("trying")
        elif software.waits:
            self.target = software.trial["version"]
            self._enter("ready")
        elif failure := software.failure():
            self.target = software.trial["version"]
            software.forget()
            if "rollback-restores-old-users" in self._app.weaknesses:
                self._app.data.take_back()
            self._app.audit.record("update", surface="system", result="refused", detail=failure)
            self._enter("failed", failure)

    def test_alarm(self) -> None:
        """Raise the test alarm; with a weakness only when no update is under way any more."""
        held = self.busy and "alarm-held-back-during-update" in self._app.weaknesses
        self._app.therapy.test_alarm(held=held)

    def tick(self) -> None:
        """One step."""
        if self._app.therapy.alarm_held and not self.busy:
            self.test_alarm()
        if self._left == 0:
            return
        self._left -= 1
        if self._left == 0:
            {"verifying": self._verified, "writing": self._written, "trying": self._tried}[self.state]()

    def give_up(self) -> None:
        """The transfer broke off."""
        if self.state == "receiving":
            self._refuse("transfer")

    def _enter(self, state: str, detail: str = "-") -> None:
        self.state, self.detail = state, detail
        self._app.outside.show(f"update: {state} {self.target if detail == '-' else detail}")
        if state == "idle":
            self.target = "-"

    def _refuse(self, reason: str) -> None:
        if self.state == "writing":  # else what the other slot had is still there
            self._app.data.software.forget()
        self._app.audit.record("update", surface="api", user=self._user, result="refused", detail=reason)
        self._enter("refused", reason)

    # -- requests ---------------------------------------------------------------------------------------------

    def _begin(self, call: Call) -> None:
        if call.request.length == 0:
            raise BadArgument
        self._receive(call, call.request.headers.get("x-bundle-name", ""))

    def _receive(self, call: Call, name: str) -> None:
        at_once = "two-updates-at-once" in self._app.weaknesses and self.state != "trying"
        if self.busy and not at_once:
            raise NotNow
        self._user, self._name, self.target, self._left = call.user, name, "-", 0
        self._enter("receiving")

    def _uploaded(self, call: Call) -> Answer:
        self._received(call.request.body)
        return done(202)

    def _fetch(self, call: Call) -> Answer:
        [url] = call.texts("url")
        parts = _URL.fullmatch(url)
        port = int(parts[1] or 80) if parts else 0
        if parts is None or not 1 <= port <= 0xFFFF or len(url) > 255:
            raise BadArgument
        self._receive(call, parts[2].rpartition("/")[2])
        self._app.outside.fetch(port, parts[2], self._fetched)
        return done(202)

    def _fetched(self, file: bytes | None) -> None:
        if file:
            self._received(file)
        else:
            self.give_up()

    def _status(self, _call: Call) -> Answer:
        identity = self._app.identity
        about = {"state": self.state, "detail": self.detail, "slot": identity.slot}
        return in_json({**about, "version": identity.version_text, "target": self.target})

    def _reboot(self, call: Call) -> Answer:
        call.fields()
        self._app.audit.record("reset", surface="api", user=call.user)
        self._app.outside.reboot()
        return done(202)

    # -- steps ------------------------------------------------------------------------------------------------

    def _received(self, file: bytes) -> None:
        self._file = file
        self._left = VERIFYING
        self._enter("verifying")

    def _verified(self) -> None:
        app = self._app
        try:
            self._bundle = read_bundle(self._file)
            judge(self._bundle, installed=app.identity.version, name=self._name, weaknesses=app.weaknesses)
        except BundleRefused as refusal:
            self._refuse(str(refusal))
            return
        self.target = self._bundle.version
        app.data.software.writing(self.target)
        if "rollback-restores-old-users" in app.weaknesses:
            app.data.keep_as_it_is()
        app.data.save()
        self._left = WRITING
        self._enter("writing")

    def _written(self) -> None:
        bundle, self._bundle, self._file = self._bundle, None, b""
        assert bundle is not None
        if not bundle.image_is_whole and "update-signature-unchecked" not in self._app.weaknesses:
            self._refuse("damaged")
            return
        self._app.data.software.written(version=bundle.version, fault=bundle.fault)
        self._app.audit.record("update", surface="api", user=self._user, detail=bundle.version)
        self._enter("ready")

    def _tried(self) -> None:
        app = self._app
        software = app.data.software
        if software.images[app.identity.slot]["fault"] == "self-test" and "self-test-skipped" not in app.weaknesses:
            app.audit.record("update", surface="system", result="refused", detail="self-test")
            self._enter("failed", "self-test")
            app.outside.reboot()
            return
        software.passed()
        if "update-loses-settings" in app.weaknesses:
            app.data.alarm_volume, app.data.brightness, app.data.ward_name = 5, 80, "ward"
        app.audit.record("update", surface="system", detail=self.target)
        self._enter("idle")
