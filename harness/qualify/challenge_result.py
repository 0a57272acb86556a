"""What came of a challenge: a row for each falsification, the exit code, the table on the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.rig.claims import Status
from harness.verdict import Verdict, exit_code

__all__ = ["Result", "Row", "code_of", "show"]


class Result(StrEnum):
    """What came of one falsification."""

    NOTICED = "noticed"
    UNCHALLENGED = "unchallenged"
    NOT_JUDGED = "not judged"
    NOT_PERMITTED = "not permitted"
    NO_FALSIFICATION = "no falsification known"
    NOT_TRIED = "not tried"


_COUNTS_AS = {
    Result.NOTICED: Verdict.PASS,
    Result.UNCHALLENGED: Verdict.FAIL,
    Result.NOT_JUDGED: Verdict.INCONCLUSIVE,
    Result.NOT_PERMITTED: Verdict.NOT_RUN,
    Result.NO_FALSIFICATION: Verdict.NOT_RUN,
    Result.NOT_TRIED: Verdict.NOT_RUN,
}
_STYLE = {
    Result.NOTICED: "green",
    Result.UNCHALLENGED: "bold red",
    Result.NOT_JUDGED: "yellow",
}


@dataclass(kw_only=True)
class Row:
    """One falsification of one claim; `how` is empty where none is known. `run` is the folder of its trial."""

    claim: str
    status: Status
    falsification: str = ""
    how: str = ""
    result: Result = Result.NOT_TRIED
    noticed_by: tuple[str, ...] = ()
    detail: str = ""
    tried: tuple[str, ...] = ()
    run: str = ""

    @property
    def said(self) -> str:
        """Who noticed, or why nobody did."""
        return ", ".join(self.noticed_by) or self.detail


def code_of(rows: Iterable[Row]) -> int:
    """Return the exit code: 0 when everything was noticed, else that of the worst row, as for the verdicts of a run."""
    return exit_code(_COUNTS_AS[row.result] for row in rows)


def show(rows: Sequence[Row], console: Console) -> None:
    """Print the table, and the rows counted."""
    table = Table(box=None, pad_edge=False, header_style="bold", title="CHALLENGE: claims falsified on purpose")
    for heading in ("claim", "falsified how", "noticed by", "verdict"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        proposed = " (proposed)" if row.status is Status.PROPOSED else ""
        table.add_row(
            Text(f"{row.claim}{proposed}"),
            Text(row.how or "-"),
            Text(row.said or "-"),
            Text(row.result.value, _STYLE.get(row.result, "magenta")),
        )
    console.print(table)
    counted = Counter(row.result for row in rows)
    console.print(", ".join(f"{counted[result]} {result.value}" for result in Result if counted[result]))
