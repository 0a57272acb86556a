"""The Allure HTML: one file that opens by a double click, asks no server for anything, and runs no script but its own.

Allure 3 makes it (`make setup` installs it under `.node/`). Then the analytics are taken out, the tree is laid out
as guideline → clause → testcase, and a content security policy is put in that knows each script by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.clauses.model import Registry
from harness.errors import UsageError
from harness.report.allure_results import CATEGORIES
from harness.report.history import LIMIT
from harness.report.labels import CLAUSE, GUIDELINE
from harness.report.tree import arrange

__all__ = ["find_generator", "make_html"]

VERSION = "3.18.0"
TIME_LIMIT = 300.0
"""Seconds the generator may take; 20,000 results took 20."""

#: The charts of a page with a history, in Allure's words.
TRENDS: tuple[Mapping[str, Any], ...] = (
    {"type": "currentStatus", "title": "This run"},
    {"type": "statusDynamics", "title": "Verdicts, run by run", "limit": LIMIT},
    {"type": "statusTransitions", "title": "Changes of verdict, run by run", "limit": LIMIT},
    {"type": "durationDynamics", "title": "Durations, run by run", "limit": LIMIT},
    {"type": "durations", "title": "Durations of the testcases of this run", "groupBy": "none"},
    {"type": "statusAgePyramid", "title": "For how long what is not passed has not been", "limit": LIMIT},
)

_ROOT = Path(__file__).resolve().parents[2]


def find_generator() -> Path:
    """Return the Allure 3 program: that of the checkout or of the working directory, else the one on PATH.

    Raises:
        UsageError: there is none.
    """
    for root in (_ROOT, Path.cwd()):
        program = root / ".node/node_modules/.bin/allure"
        if program.is_file():
            return program
    found = shutil.which("allure")
    if found is None:
        raise UsageError(
            "the Allure HTML was not made: its generator (allure from npm) is not installed", hint="run `make setup`"
        )
    return Path(found)


def make_html(results: Path, out: Path, *, name: str, registry: Registry, history: Path | None = None) -> Path:
    """Make the report of a folder of Allure results and return its page.

    With `history`, a file of `harness.report.history.lent`, the page has trends, and Allure appends this run to it.

    Raises:
        UsageError: the generator is missing, is another one, or cannot read the results.
    """
    program = find_generator()
    version = _run([str(program), "--version"], cwd=results).strip()
    if version != VERSION:
        raise UsageError(
            f"the Allure HTML was not made: {program} is not Allure {VERSION} ({version[:40]})", hint="run `make setup`"
        )
    with tempfile.TemporaryDirectory(prefix="proofrig-allure-") as scratch:
        work = Path(scratch)
        options = _options(name)
        config: dict[str, Any] = {
            "name": name,
            "output": str(work / "out"),
            "plugins": {"awesome": {"options": options}},
        }
        config["categories"] = {"rules": list(CATEGORIES)}
        if history is not None:
            config |= {"historyPath": str(history.resolve()), "appendHistory": True}
            options["charts"] = list(TRENDS)
        (work / "allurerc.json").write_text(json.dumps(config), encoding="utf-8")
        said = _run(
            [str(program), "generate", "--config", str(work / "allurerc.json"), str(results.resolve())], cwd=work
        )
        pages = sorted((work / "out").rglob("index.html"), key=lambda path: len(path.parts))
        if not pages:
            raise UsageError(f"the Allure HTML was not made: {said.strip()[-300:]}")
        page = harden(pages[0].read_text(encoding="utf-8"), registry)
    out.mkdir(exist_ok=True)
    (out / "index.html").write_text(page, encoding="utf-8")
    return out / "index.html"


def _options(name: str) -> dict[str, Any]:
    return {
        "reportName": name,
        "singleFile": True,
        "reportLanguage": "en",
        "theme": "light",
        "layout": "split",
        "defaultSortBy": "name,asc",
        "groupBy": [GUIDELINE, CLAUSE],
        "stepTreeExpansion": "expand_failed_only",
    }


def _run(command: list[str], *, cwd: Path) -> str:
    try:
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, timeout=TIME_LIMIT, check=False, stdin=subprocess.DEVNULL
        )
    except OSError as error:
        raise UsageError(
            f"the Allure HTML was not made: {command[0]}: {error.strerror}", hint="run `make setup`"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise UsageError(f"the Allure HTML was not made: {command[0]} took over {TIME_LIMIT:g} s") from error
    if done.returncode != 0:
        raise UsageError(f"the Allure HTML was not made: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout


# The page

OPEN_ROWS = 60
"""Up to so many rows the tree opens down to the testcases, beyond that down to the clauses."""

# Allure opens only groups with failures and remembers which others are open: a report seen first gets a start.
_OPENER = """
try {
  const seen = "proofrig-seen-" + window.allureReportOptions.reportUuid;
  if (localStorage.getItem(seen) === null) {
    const open = JSON.parse(localStorage.getItem("expandedTrees") || "[]");
    localStorage.setItem("expandedTrees", JSON.stringify([...new Set([...open, ...GROUPS])]));
    localStorage.setItem(seen, "");
  }
} catch {
  // Without storage the tree opens as Allure likes.
}
"""

_ANALYTICS = re.compile(
    r"<script async src=\"https://www\.googletagmanager\.com/[^\"]*\"></script>\s*<script>\s*window\.dataLayer.*?</script>",
    re.DOTALL,
)
_MAIN = re.compile(r"<script\s+src=\"data:text/javascript;base64,(?P<code>[A-Za-z0-9+/=]+)\"></script>")
_HEAD = re.compile(r"\A<!DOCTYPE html>\s*<html[^>]*>\s*<head>")
_SCRIPT = re.compile(r"<script[^>]*>(?P<code>.*?)</script>", re.DOTALL)
_DATA = r"d\(\"{name}\",\"(?P<data>[A-Za-z0-9+/=]*)\"\)"


def harden(page: str, registry: Registry) -> str:
    """Take out the analytics, lay out the tree, and allow exactly the scripts that are left.

    Raises:
        UsageError: the page is not built as that of the pinned Allure is.
    """
    page = _once(_ANALYTICS, page, lambda _: "")
    page, opened = _arrange_trees(page, registry)
    opener = f"<script>{_OPENER.replace('GROUPS', json.dumps(opened))}</script>"
    page = _once(
        _MAIN, page, lambda match: f"{opener}<script>{_inline(base64.b64decode(match['code']).decode())}</script>"
    )
    hashes = [
        base64.b64encode(hashlib.sha256(match["code"].encode()).digest()).decode() for match in _SCRIPT.finditer(page)
    ]
    policy = "; ".join(
        (
            "default-src 'none'",
            " ".join(("script-src", *(f"'sha256-{each}'" for each in hashes))),
            "style-src 'unsafe-inline' data:",
            "img-src data: blob:",
            "font-src data:",
            "media-src data: blob:",
            "connect-src data: blob:",
            "form-action 'none'",
        )
    )
    meta = f'<meta http-equiv="Content-Security-Policy" content="{html.escape(policy)}">'
    return _once(_HEAD, page, lambda match: f"{match[0]}\n    {meta}")


def _once(pattern: re.Pattern[str], page: str, make: Callable[[re.Match[str]], str]) -> str:
    changed, times = pattern.subn(make, page)
    if times != 1:
        raise UsageError(
            f"the Allure HTML was not made: {times} places fit {pattern.pattern[:40]!r} in the page of Allure {VERSION}"
        )
    return changed


def _inline(code: str) -> str:
    """Script text that cannot end its element early."""
    return code.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _arrange_trees(page: str, registry: Registry) -> tuple[str, list[str]]:
    """Lay out the tree of the whole report and of each of Allure's environments; return the groups to open, too."""
    labels = {
        result["id"]: result["labels"]
        for match in re.finditer(_DATA.format(name=r"data/test-results/[^\"]+\.json"), page)
        for result in [_decoded(match)]
    }
    opened: list[str] = []

    def anew(match: re.Match[str]) -> str:
        tree = arrange(_decoded(match), labels, registry)
        groups = tree["groupsById"]
        rows = sum(1 + len(group["leaves"]) for group in groups.values())
        opened.extend(groups if rows <= OPEN_ROWS else tree["root"]["groups"])
        return match[0].replace(match["data"], base64.b64encode(json.dumps(tree).encode()).decode())

    page = re.sub(_DATA.format(name=r"widgets/(?:[^\"]+/)?tree\.json"), anew, page)
    return page, sorted(set(opened))


def _decoded(match: re.Match[str]) -> Mapping[str, Any]:
    return json.loads(base64.b64decode(match["data"]))  # type: ignore[no-any-return]
