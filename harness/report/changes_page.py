"""What changed between two runs, shown: on the terminal, and as `changes.json` and `changes.html` in a folder."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.report.changes import Changed, Changes, Found, Kind, Side, changes_json
from harness.report.labels import line
from harness.report.page import render
from harness.verdict import Verdict

__all__ = ["changes_lines", "write_changes"]

_STYLE = {
    Kind.NEW_FAILURE: "bold red",
    Kind.LOST: "yellow",
    Kind.VANISHED: "yellow",
    Kind.FIXED: "green",
    Kind.DECIDED: "green",
    Kind.NEW: "blue",
    Kind.OTHER: "",
}


def write_changes(changes: Changes, folder: Path) -> Path:
    """Write `changes.json` and `changes.html` into `folder`; return the page."""
    text = json.dumps(changes_json(changes), indent=2, ensure_ascii=False) + "\n"
    (folder / "changes.json").write_text(text, encoding="utf-8")
    page = folder / "changes.html"
    page.write_text(render("changes.html", changes=changes, state=_state), encoding="utf-8")
    return page


def changes_lines(changes: Changes, *, width: int, colour: bool) -> Iterator[str]:
    """The tables for a terminal, a line at a time."""
    yield ""
    yield f"changes since {changes.old.run}: {changes.sentence}"
    for side in (changes.old, changes.new):
        if _state(side):
            yield f"    {side.run} {_state(side)}"
    tables = [_cases(changes)] if changes.testcases else []
    tables += [
        _values(head, values)
        for head, values in (
            ("duration", changes.durations),
            ("weakness", changes.qualification),
            ("circumstance", changes.circumstances),
        )
        if values
    ]
    if changes.findings_new or changes.findings_gone:
        tables.append(_findings(changes))
    for table in tables:
        yield ""
        yield from _printed(table, width=width, colour=colour)
    for verdict, names in changes.still.items():
        yield ""
        yield f"still {verdict.value}:"
        yield from (f"    {name}" for name in names)


def _state(side: Side) -> str:
    """What must be known of a run before it is compared; empty for a whole one."""
    if not side.ended:
        missing = _not_run(side)
        return f"did not end; NOT RUN: {', '.join(missing) or 'nothing'}"
    return f"is not whole: {'; '.join(side.problems)}" if side.problems else ""


def _not_run(side: Side) -> list[str]:
    return [each.name for each in side.cases if each.verdict is Verdict.NOT_RUN]


def _cases(changes: Changes) -> Table:
    table = _table("testcase", "before", "now", "what", "why")
    for each in changes.testcases:
        before, now = (verdict.value if verdict else "–" for verdict in (each.before, each.now))
        why = line(each.reason.partition("\n")[0])
        table.add_row(each.name, before, now, Text(each.kind.value, _STYLE[each.kind]), why)
    return table


def _values(head: str, values: Iterable[Changed]) -> Table:
    table = _table(head, "before", "now")
    for each in values:
        table.add_row(each.what, each.before or "–", each.now or "–")
    return table


def _findings(changes: Changes) -> Table:
    table = _table("finding", "surface", "claim", "harm", "file")

    def add(what: Text, found: Iterable[Found]) -> None:
        for each in found:
            table.add_row(what, each.surface, each.claim, each.harm, each.file)

    add(Text("new", "bold red"), changes.findings_new)
    add(Text("gone", "green"), changes.findings_gone)
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", expand=False)
    table.add_column(first, overflow="fold")
    for name in others:
        table.add_column(name, overflow="fold", no_wrap=name in ("before", "now", "what") and len(others) > 2)
    return table


def _printed(table: Table, *, width: int, colour: bool) -> list[str]:
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
        markup=False,
        emoji=False,
    )
    with console.capture() as captured:
        console.print(table)
    return [each.rstrip() for each in captured.get().rstrip("\n").split("\n")]
