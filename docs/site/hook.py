"""MkDocs hook: adds the clause catalogue, and what the pages link to outside docs/, to the site.

Links are written as the repository's own file view wants them, relative to the file they stand in. What lies outside
docs/ is put under `tree/`: a document as a page, any other file as a page that shows it.
"""

from __future__ import annotations

import posixpath
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pymdownx.slugs import slugify

from harness.clauses import load_registry
from harness.report.catalogue_page import CataloguedTestcase, catalogue_page

ROOT = Path(__file__).resolve().parents[2]
TREE = "tree/"
CATALOGUE, CATALOGUE_FOLDER = "clause-catalogue.md", "harness/clauses/catalogue"

_CODE = re.compile(r"(?ms)(^```.*?^```)")
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Name headings as the repository's file view does."""
    config.mdx_configs["toc"] = {**config.mdx_configs.get("toc", {}), "slugify": slugify(case="lower")}
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the catalogue, then every file of the tree that a page links to, and what these link to."""
    files.append(File.generated(config, CATALOGUE, content=catalogue_page(load_registry(), _testcases())))
    waiting = [file for file in files if file.is_documentation_page()]
    while waiting:
        page = waiting.pop()
        for place in _linked(page.content_string, _place(page.src_uri)):
            if place.startswith("docs/") or files.get_file_from_path(_page_of(place)) or not (ROOT / place).is_file():
                continue  # a link that leads nowhere is left to MkDocs to complain about
            files.append(shown := File.generated(config, _page_of(place), content=_shown(place)))
            if place.endswith(".md"):
                waiting.append(shown)
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: object) -> str:
    """Turn links within the repository into links within the site."""
    here = page.file.src_uri

    def moved(link: re.Match[str]) -> str:
        there = _page_of(_resolved(link[1], _place(here)))
        return posixpath.relpath(there, posixpath.dirname(here) or ".") + (link[2] or "")

    return "".join(part if part.startswith("```") else _LINK.sub(moved, part) for part in _CODE.split(markdown))


def on_page_content(html: str, *, page: Page, **_: object) -> str:
    """Show every part of a page in its table of contents: the theme takes what is under the first title only."""
    if page.toc.items:
        page.toc.items[0].children.extend(page.toc.items[1:])
    return html


def _testcases() -> Iterator[CataloguedTestcase]:
    for path in sorted((ROOT / "testcases").glob("*/test_*.py")):
        for value in runpy.run_path(str(path)).values():
            for mark in getattr(value, "pytestmark", ()):
                if mark.name == "testcase":
                    yield CataloguedTestcase(mark.args[0], path.relative_to(ROOT).as_posix())


def _linked(markdown: str, place: str) -> Iterator[str]:
    for link in _LINK.finditer(_CODE.sub("", markdown)):
        yield _resolved(link[1], place)


def _resolved(target: str, place: str) -> str:
    """Where in the repository a link leads that stands in the file at `place`."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(place), target))


def _place(src_uri: str) -> str:
    """Where in the repository the text of a page of the site lies, to whose folder its links are relative."""
    return src_uri.removeprefix(TREE) if src_uri.startswith(TREE) else f"docs/{src_uri}"


def _page_of(place: str) -> str:
    """The page of the site that shows a file of the repository."""
    if place == CATALOGUE_FOLDER:
        return CATALOGUE
    if place.startswith("docs/"):
        return place.removeprefix("docs/")
    return TREE + (place if place.endswith(".md") else f"{place}.md")


def _shown(place: str) -> str:
    text = (ROOT / place).read_text(encoding="utf-8")
    if place.endswith(".md"):
        return text
    name, kind = posixpath.basename(place), Path(place).suffix.removeprefix(".") or "text"
    head = "---\nhide: [toc]\nsearch: {exclude: true}\n---"
    return f"{head}\n\n# {name}\n\n`{place}`\n\n````{kind}\n{text}\n````\n"
