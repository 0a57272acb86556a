"""Equipment data for the maker's service: exported over the management API (VP1-ICD §11.3)."""

from __future__ import annotations

import json
import posixpath
from typing import TYPE_CHECKING
from urllib.parse import unquote

from http_message import ADMINISTRATOR, SERVICE, Answer, Call, NotFound, Resource, Resources, in_json

if TYPE_CHECKING:
    from application import Application

FILES = ("service-log.txt", "telemetry.csv", "crash.txt")
FOLDER = "/data/equipment/"
PASSWD = "root:x:0:0:root:/root:/bin/sh\npump:x:100:100::/data:/bin/false\n"


def equipment_resources(app: Application) -> Resources:
    """The resources of one application."""
    roles = SERVICE | ADMINISTRATOR

    def export(call: Call) -> Answer:
        path = FOLDER + call.name
        if "path-traversal-in-export-name" in app.weaknesses:
            path = posixpath.normpath(FOLDER + unquote(call.name))
        content = _files(app).get(path)
        if content is None:
            raise NotFound
        app.audit.record("export", surface="api", user=call.user, detail=call.name)
        return Answer(body=content.encode(), kind="text/plain")

    return {
        ("GET", "/api/equipment"): Resource(do=lambda _call: in_json({"files": FILES}), roles=roles),
        ("GET", "/api/equipment/"): Resource(do=export, roles=roles),
    }


def _files(app: Application) -> dict[str, str]:
    """All files there are; those outside of the folder are for nobody."""
    identity, therapy = app.identity, app.therapy
    log = f"{identity.model} {identity.serial} {identity.version_text}\nself-test passed\n"
    telemetry = (
        f"uptime_ms,flow,battery_mv\n{therapy.uptime_ms},{therapy.flow / 10:.1f},{12400 + app.rng.randrange(60)}\n"
    )
    crash = f"software {identity.version_text}\nno fault since start\n"
    if "patient-in-crash-dump" in app.weaknesses:
        crash += f"heap:\n{json.dumps(app.data.patients, ensure_ascii=False)}\n"
    return {
        **dict(zip((FOLDER + name for name in FILES), (log, telemetry, crash), strict=True)),
        "/etc/passwd": PASSWD,
        "/etc/hostname": "vp1\n",
    }
