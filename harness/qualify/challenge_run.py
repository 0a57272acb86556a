"""A run as a challenge: pytest's option `--challenge FILE` falsifies a claim in memory and runs only what FILE names.

The run ends with the first testcase that notices. Its journal, summary and table say from the first line on which claim
was falsified; Allure, history and comparison are left out: a challenge is no evidence.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from pathlib import Path

import pytest
from pydantic import ValidationError

from harness.case import Case
from harness.errors import UsageError
from harness.rig.claims import Strict
from harness.verdict import Check, CheckState, Verdict

__all__ = ["ChallengeFile", "ChallengePlugin", "breaks", "read_challenge"]


class ChallengeFile(Strict):
    """What a trial of a challenge is: the claim, the name of its falsification, and the testcases by node id."""

    claim: str
    falsification: str
    testcases: tuple[str, ...]


def read_challenge(path: Path) -> ChallengeFile:
    """Read the file of a trial.

    Raises:
        UsageError: it is missing, or is no such file.
    """
    try:
        return ChallengeFile.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=str(path), hint="check the path") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ": ".join(filter(None, (str(path), ".".join(map(str, first["loc"])))))
        hint = "`proofrig challenge` writes such files: RUN/CLAIM-NAME/falsified.json"
        raise UsageError(str(first["msg"]), where=where, hint=hint) from error


def breaks(checks: Iterable[Check], claim: str) -> bool:
    """Whether one of the checks says that the claim is broken."""
    return any(check.claim == claim and check.state is CheckState.BROKEN for check in checks)


class ChallengePlugin:
    """Runs the testcases of a trial, the quick ones of each weight first, up to the one that notices."""

    def __init__(self, challenge: ChallengeFile) -> None:
        self._challenge = challenge

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Keep what the trial names, in its order."""
        order = {nodeid: place for place, nodeid in enumerate(self._challenge.testcases)}
        left: Sequence[pytest.Item] = [item for item in items if item.nodeid not in order]
        items[:] = sorted((item for item in items if item.nodeid in order), key=lambda item: order[item.nodeid])
        if left:
            config.hook.pytest_deselected(items=left)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """One testcase that notices is enough."""
        report = yield
        case = getattr(item, "funcargs", {}).get("case")
        failed = getattr(report, "proofrig", {}).get("verdict") == Verdict.FAIL
        if failed and isinstance(case, Case) and breaks(case.checks, self._challenge.claim):
            item.session.shouldstop = f"{item.nodeid} noticed that {self._challenge.claim} is falsified"
        return report
