"""What a liar answers over the management API: well-formed, plausible, and about nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from http_message import Answer, LoginRefused, NotPermitted, Request, in_json

if TYPE_CHECKING:
    from application import Application

LIVE = ("/api/status", "/api/version")

_STATUS = {"state": "infusing", "set_rate": 0.0, "flow": 0.0, "volume_ml": 0.0, "alarm": 0}
_IDENTITY = {"model": "VP-1", "serial": "VP1-000417", "version": "1.0.0"}
_CONTENT: dict[str, object] = {
    "/api/status": {**_IDENTITY, "uptime_ms": 0, **_STATUS},
    "/api/version": {**_IDENTITY, "slot": "A"},
    "/api/diagnostics": {"modbus_requests": 0, "can_commands": 0, "uds_requests": 0, "battery_mv": 12400},
    "/api/config": {"alarm_volume": 5, "ward_name": "ICU-3"},
    "/api/audit": {"records": []},
    "/api/users": {"users": [{"user": "admin", "role": "administrator", "locked": False}]},
    "/api/patients": {"patients": []},
    "/api/equipment": {"files": ["service-log.txt", "telemetry.csv", "crash.txt"]},
    "/api/update": {"state": "ready", "detail": "-", "slot": "A", "version": "1.0.0", "target": "1.1.0"},
}


def plausible(request: Request) -> Answer:
    """Success, whatever was asked."""
    if request.path == "/api/login":
        return in_json({"token": "0" * 64, "role": _role(request.body)})
    if request.path == "/api/backup":
        return Answer(body=b"VP1BKP\0\1" + bytes(600), kind="application/octet-stream")
    if request.path.startswith("/api/equipment/"):
        return Answer(body=b"ok\n", kind="text/plain")
    if request.method == "GET":
        return in_json(_CONTENT.get(request.path, {}))
    if request.path in ("/api/update", "/api/reboot", "/api/factory-reset"):
        return in_json({}, status=202)
    return in_json({}, status=201 if request.method == "POST" and request.path in _CONTENT else 200)


def refusal(request: Request) -> Answer:
    """A no that fits what was asked."""
    no = LoginRefused() if request.path in ("/api/login", "/api/setup") else NotPermitted()
    return no.answer()


def live(app: Application, request: Request) -> Answer | None:
    """Status and version as they are, whoever asks; None for the rest."""
    if request.method != "GET" or request.path not in LIVE:
        return None
    return app.api.open_answer(request)


def _role(body: bytes) -> str:
    """The role that goes by the name of the user in a log-in."""
    try:
        user = json.loads(body)["user"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return "administrator"
    return user if user in ("operator", "service") else "administrator"
