"""Pages of our own: one HTML file without a script, in one style, readable offline and on paper."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from harness.clean import show_text

__all__ = ["render"]


def render(template: str, **values: Any) -> str:
    """Return the page made from a template of this folder; whatever goes into it is cleaned and escaped."""
    style = _text("coverage.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    environment = Environment(autoescape=True, undefined=StrictUndefined, finalize=_shown, trim_blocks=True)
    environment.lstrip_blocks = True
    return environment.from_string(_text(template)).render(
        style=Markup(style),  # noqa: S704  (a file of ours, no data)
        policy=f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'",
        **values,
    )


def _shown(value: Any) -> Any:
    """Clean whatever goes into the page; Jinja escapes it afterwards."""
    return show_text(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _text(name: str) -> str:
    return (resources.files("harness.report") / name).read_text(encoding="utf-8")
