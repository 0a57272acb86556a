"""Nothing is loaded here: the plugin comes with the installed distribution (entry point `pytest11`)."""

from __future__ import annotations

collect_ignore_glob = ["firmware-fixtures/*", "reports/*", ".build/*"]
