"""Surfaces on which people log in, as far as a scan can draft them: the rest says TO DO."""

from __future__ import annotations

import re

from ruamel.yaml.comments import CommentedMap

from harness.device_init.seen import ConsoleSeen
from harness.device_init.yaml_parts import comment, flow, listed, one_line, quoted

__all__ = ["as_pattern", "dialogue_draft", "http_draft"]


def dialogue_draft(link: str, seen: ConsoleSeen | None) -> CommentedMap:
    """Return the surface of a prompt, with what the scan saw of it."""
    prompt = seen.prompt if seen else ""
    asks_for_name = bool(re.search(r"(?i)(login|user(name)?|name) ?: ?$", prompt))
    login = CommentedMap(
        user_prompt=quoted(_ends_with(prompt) if asks_for_name else "[Ll]ogin: ?$"),
        password_prompt=quoted("[Pp]assword: ?$"),
        accepted_when=quoted("TO DO logged in"),
        refused_when=quoted("TO DO refused"),
        locked_when=quoted("TO DO locked"),
        logged_off_when=quoted("TO DO logged off"),
        log_out="logout",
    )
    surface = CommentedMap(
        type="dialogue",
        link=link,
        accounts=listed(()),
        login=login,
        prompt=quoted(_ends_with(prompt) if prompt and not asks_for_name else "TO DO prompt> $"),
        accepted_when=quoted("TO DO ok"),
        refused_when=quoted("TO DO error: (?P<reason>.*)"),
        actions=CommentedMap({"version": flow({"send": "version"}), "status": flow({"send": "status"})}),
        fields=CommentedMap(
            {name: flow({"action": "version", "name": name}) for name in ("model", "serial", "version")}
            | {"uptime": flow({"action": "status", "name": "uptime", "scale": 1.0})}
        ),
    )
    if seen:
        shown = [f"It printed: {line}" for line in map(one_line, seen.lines)] or [
            "It printed nothing that can be read."
        ]
        comment(surface, "type", *shown, indent=4)
    comment(surface, "login", "TO DO regular expressions of how a log-in goes.", indent=4)
    comment(surface, "accepted_when", "TO DO how an answer to a command looks, accepted and refused.", indent=4)
    comment(surface, "actions", "TO DO commands, and where the values of their answers are.", indent=4)
    return surface


def as_pattern(text: str) -> str:
    """Return the regular expression of a text, as a person would write it."""
    return re.sub(r"[\\.^$*+?{}\[\]|()]", r"\\\g<0>", text)


def _ends_with(prompt: str) -> str:
    return f"{as_pattern(prompt)}\\s*$"


def http_draft(link: str) -> CommentedMap:
    """Return the surface of a management interface behind TLS; no scan asked it anything."""
    there = {"method": "GET", "path": quoted("/TO-DO/status")}
    login = CommentedMap(
        method="POST",
        path=quoted("/TO-DO/log-in"),
        body=flow({"user": quoted("{account}"), "password": quoted("{password}")}),
        token="token",
        carried=flow({"Authorization": quoted("Bearer {token}")}),
        accepted_when=flow({"status": listed([200])}),
        refused_when=flow({"status": listed([401])}),
        log_out=flow({"method": "POST", "path": quoted("/TO-DO/log-out")}),
    )
    surface = CommentedMap(
        type="http",
        link=link,
        accounts=listed(()),
        login=login,
        accepted_when=flow({"status": listed([200, 201, 202, 204])}),
        refused_when=flow({"status": listed([400, 401, 403, 404, 405, 409, 413, 422, 423, 429])}),
        denied_when=flow({"status": listed([403])}),
        over_when=flow({"status": listed([401])}),
        unknown_request=flow({"method": "GET", "path": quoted("/TO-DO/nothing-there")}),
        actions=CommentedMap({"status": flow(there)}),
        fields=CommentedMap(
            {name: flow({"action": "status", "name": name}) for name in ("model", "serial", "version")}
            | {"uptime": flow({"action": "status", "name": "uptime", "scale": 1.0})}
        ),
    )
    comment(surface, "type", "TO DO if no program talks to this server, take the surface away.", indent=4)
    comment(surface, "login", "TO DO how a log-in goes, and what later requests carry.", indent=4)
    comment(surface, "accepted_when", "TO DO how an answer looks, accepted and refused.", indent=4)
    comment(surface, "actions", "TO DO requests, and where the values of their answers are.", indent=4)
    return surface
