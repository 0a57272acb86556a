"""What the weaknesses came to in the night of a run: read from `qualification.xml`, which pytest leaves in its folder.

`make nightly` runs `tests/qualification/test_weaknesses.py --junitxml RUN/qualification.xml` after the run.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from harness.clean import show_text
from harness.report.labels import line

__all__ = ["AS_DECLARED", "RESULTS", "Trial", "read_qualification"]

OF_WEAKNESSES = "test_weaknesses_fail_their_declared_sets_and_no_other"
"""The test of the qualification whose instances are called by the names of weaknesses."""
RESULTS = "qualification.xml"

AS_DECLARED, NOT_AS_DECLARED, NOT_TRIED = "as declared", "not as declared", "not tried"


@dataclass(frozen=True, slots=True)
class Trial:
    """One test of the qualification, mostly a weakness: `as declared`, `not as declared` or `not tried`, and why."""

    name: str
    result: str
    reason: str = ""


def read_qualification(run_dir: Path) -> tuple[Trial, ...]:
    """Return the trials whose results lie in a run folder, none if there are no results.

    A file that cannot be read is a trial not tried: a qualification that was killed must not look like none.
    """
    path = run_dir / RESULTS
    if not path.is_file():
        return ()
    try:
        cases = list(ElementTree.parse(path).iter("testcase"))
    except (ElementTree.ParseError, OSError, ValueError, LookupError) as error:
        return (Trial(RESULTS, NOT_TRIED, line(f"cannot be read: {error}")),)
    return tuple(map(_trial, cases)) or (Trial(RESULTS, NOT_TRIED, "it holds no test"),)


def _trial(case: ElementTree.Element) -> Trial:
    name = case.get("name", "")
    test, bracket, instance = name.partition("[")
    said, which = test.removeprefix("test_").replace("_", " "), instance.removesuffix("]")
    shown = line(which if test == OF_WEAKNESSES else f"{said}: {which}" if bracket else said)
    for tag, result in (("failure", NOT_AS_DECLARED), ("error", NOT_AS_DECLARED), ("skipped", NOT_TRIED)):
        found = case.find(tag)
        if found is not None:
            return Trial(shown, result, show_text(found.get("message", ""), limit=1000))
    return Trial(shown, AS_DECLARED)
