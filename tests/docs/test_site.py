"""The documentation site: it builds without a warning, every link in it leads somewhere, and it needs no network."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[2]
TRACKED = frozenset(
    subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
)
OUTSIDE = re.compile(r"^(?:[a-z][a-z+.-]*:)?//")


def _build(folder: Path, site: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)],
        cwd=folder,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@dataclass
class _Page(HTMLParser):
    """Links and ids of a page, and what a browser loads with it."""

    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = {name: value or "" for name, value in attrs}
        if "id" in known:
            self.ids.append(known["id"])
        if tag == "a" and "href" in known:
            self.links.append(known["href"])
        elif tag == "link" and known.get("rel") not in ("prev", "next", "canonical"):
            self.loaded.append(known["href"])
        elif "src" in known:
            self.loaded.append(known["src"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it, into a folder of the test."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    done = _build(ROOT, folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> Mapping[Path, _Page]:
    """Every page of the site, read."""
    found = {}
    for path in site.rglob("*.html"):
        found[path] = _Page()
        found[path].feed(path.read_text(encoding="utf-8"))
    assert len(found) > 10
    return found


def test_every_link_of_the_site_leads_somewhere(site: Path, pages: Mapping[Path, _Page]) -> None:
    dead = []
    for path, page in pages.items():
        for link in [*page.links, *page.loaded]:
            if re.match(r"[a-z]+:", link) or path.name == "404.html":
                continue
            name, _, fragment = link.partition("#")
            place = (path.parent / unquote(name)).resolve() if name not in ("", ".") else path
            if not place.is_file() or (fragment and place in pages and unquote(fragment) not in pages[place].ids):
                dead.append(f"{path.relative_to(site)}: {link}")
    assert not dead


def test_the_site_loads_nothing_from_a_network(site: Path, pages: Mapping[Path, _Page]) -> None:
    assert [link for page in pages.values() for link in page.loaded if OUTSIDE.match(link)] == []
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet


def test_what_leads_out_of_docs_can_be_read_on_the_site(pages: Mapping[Path, _Page], site: Path) -> None:
    index = pages[site / "index.html"]
    for link in ("tree/ARCHITECTURE.html", "tree/testcases/authentication/test_lockout.py.html"):
        assert link in index.links
    assert "clause-catalogue.html" in index.links, "the catalogue's folder leads to the page made of it"
    shown = (site / "tree/testcases/authentication/test_lockout.py.html").read_text(encoding="utf-8")
    assert "AUTH-LOCKOUT" in shown


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name)
def test_what_is_a_table_in_the_repository_is_one_on_the_site(path: Path, site: Path) -> None:
    text = re.sub(r"(?ms)^```.*?^```", "", path.read_text(encoding="utf-8"))
    page = (site / f"{path.stem}.html").read_text(encoding="utf-8")
    assert page.count("<table>") == len(re.findall(r"(?m)^\|[-:| ]+\|$", text))


def test_every_testcase_is_on_the_catalogue_page(pages: Mapping[Path, _Page], site: Path) -> None:
    page = pages[site / "clause-catalogue.html"]
    assert len(page.ids) == len(set(page.ids)), "an id stands twice"
    files = [path.read_text(encoding="utf-8") for path in (ROOT / "testcases").glob("*/test_*.py")]
    names = {name for text in files for name in re.findall(r'@testcase\(\s*"([A-Z0-9-]+)"', text)}
    assert len(names) > 50
    assert {f"testcase-{name.lower()}" for name in names} <= set(page.ids)


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name)
def test_links_out_of_docs_lead_to_what_the_repository_holds(path: Path) -> None:
    text = re.sub(r"(?ms)^```.*?^```", "", path.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\((\.\./[^)\s#]+)", text):
        place = Path(os.path.normpath(path.parent / target))
        assert place.is_relative_to(ROOT), f"{target} leaves the repository"
        name = place.relative_to(ROOT).as_posix()
        assert name in TRACKED or any(each.startswith(f"{name}/") for each in TRACKED), (
            f"{target}: not in the repository"
        )


def test_a_link_that_leads_nowhere_fails_the_build(tmp_path: Path) -> None:
    bad = ("gone.md", "index.md#gone", "../gone.md", "../other.md#gone")
    (tmp_path / "docs").mkdir()
    (tmp_path / "mkdocs.yml").write_text(f"INHERIT: {ROOT / 'mkdocs.yml'}\nnav: [index.md]\n")
    (tmp_path / "other.md").write_text("# Other\n")
    (tmp_path / "docs/index.md").write_text("# Index\n\n" + "\n".join(f"[a link]({each})" for each in bad))
    (tmp_path / "docs/for-regulatory-staff.md").write_text("# Here\n")
    shutil.copytree(ROOT / "docs/site", tmp_path / "docs/site")
    done = _build(tmp_path, tmp_path / "site")
    assert done.returncode != 0
    for said in ("'gone.md'", "'index.md#gone'", "'tree/gone.md'", "'tree/other.md#gone'"):
        assert said in done.stderr, done.stderr
