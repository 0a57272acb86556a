"""`proofrig challenge`: each claim of the customer's own device is falsified in turn, and a testcase must notice.

First the testcases run on the unchanged files: their journal says which of them check which claim, and only one that is
a PASS there can notice anything. Then each falsification is a trial of its own (`challenge_run`). The device file is
never written to.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from harness.clean import file_name, show_text
from harness.errors import BenchFault, UsageError
from harness.qualify.challenge_result import Result, Row, code_of, show
from harness.qualify.challenge_run import ChallengeFile
from harness.qualify.dependents import Dependents, notice, read_honest
from harness.qualify.falsification import Falsification
from harness.qualify.falsify import falsifications
from harness.qualify.trial import run_trial
from harness.report.reading import RunRecord, read_run
from harness.report.summary import terminal
from harness.rig.claims import Status
from harness.rig.loading import Rig, load_rig

__all__ = ["Challenge", "run_challenge"]

HONEST_WITHIN = 12 * 3600.0
"""Seconds the run on the unchanged files may take."""
TRIAL_WITHIN = 600.0
"""Seconds a trial may take beyond five times what its testcases took on the unchanged files."""


@dataclass(kw_only=True)
class Challenge:
    """A challenge of the claims of a device on its rig.

    Args:
        path: the rig file.
        testcases: files or folders of the testcases.
        run_dir: folder of the challenge; a new one.
        claims: ids of the claims to challenge, all of them when empty.
        quick: leave out slow testcases; the long ones are left out always.
        honest: folder of an earlier run on the unchanged files, instead of a new one.
        say: takes one line about the progress at a time.

    Raises:
        UsageError: a file is wrong, a claim is not there, the folder holds something.
    """

    path: Path
    testcases: Sequence[Path]
    run_dir: Path
    claims: Sequence[str] = ()
    quick: bool = False
    honest: Path | None = None
    say: Callable[[str], None]
    rows: list[Row] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._rig: Rig = load_rig(self.path)
        known = self._rig.device.claims
        for claim_id in self.claims:
            if claim_id not in known:
                hint = f"claims are: {', '.join(known)}"
                raise UsageError(f"no claim {claim_id!r}", where=str(self._rig.device_path), hint=hint)
        self._trials: list[tuple[int, Falsification]] = []
        for claim_id in dict.fromkeys(self.claims or known):
            self._lay_out(claim_id)

    def run(self) -> None:
        """Run the honest run and every trial; each row is decided, and the table written, as soon as it is known.

        Raises:
            UsageError: the folder holds something, the honest run is of other files or a challenge itself.
            BenchFault: the honest run did not run.
            KeyboardInterrupt: what was decided by then stays in `rows` and in the table.
        """
        if self.run_dir.exists() and any(self.run_dir.iterdir()):
            raise UsageError(f"{self.run_dir} is not empty", hint="a challenge needs a folder of its own")
        given = read_honest(self.honest, self._rig) if self.honest else None
        self.run_dir.mkdir(parents=True, exist_ok=True)
        self._write(ended=False)
        honest = given or read_honest(self._run_honest(), self._rig)
        for number, (place, falsification) in enumerate(self._trials, 1):
            row = self.rows[place]
            self.say(f"[{number}/{len(self._trials)}] {row.claim}: {falsification.how}")
            self._decide(row, falsification, honest)
            self.say(f"    {row.result.value}{': ' if row.said else ''}{row.said}")
            self._write(ended=False)
        self._write(ended=True)

    def _lay_out(self, claim_id: str) -> None:
        """A row for each falsification, open until it was tried; one that says why where there is nothing to try."""
        status = self._rig.device.claims[claim_id].status
        if status is Status.OBSERVED:
            detail = "its status is observed: nobody has stood up for it"
            self.rows.append(Row(claim=claim_id, status=status, result=Result.NOT_JUDGED, detail=detail))
            return
        known = falsifications(self._rig, claim_id)
        if not known:
            self.rows.append(Row(claim=claim_id, status=status, result=Result.NO_FALSIFICATION))
        for each in known:
            self._trials.append((len(self.rows), each))
            self.rows.append(Row(claim=claim_id, status=status, falsification=each.name, how=each.how))

    def _run_honest(self) -> Path:
        folder = self.run_dir / "honest"
        self.say("the testcases on the unchanged files: only what is a PASS here can notice anything")
        run_trial(
            self._rig.path,
            testcases=self.testcases,
            run_dir=folder,
            options=["-m", "not slow and not long" if self.quick else "not long"],
            timeout=HONEST_WITHIN,
            follow=lambda line: self.say(f"    {show_text(line)}") if line.endswith("%]") else None,
        )
        return folder

    def _decide(self, row: Row, falsification: Falsification, honest: RunRecord) -> None:
        found = Dependents.of(honest, row.claim)
        if not found.able:
            row.result, row.detail = found.without_trial()
            return
        if found.broken:
            # A claim that the device breaks as it stands says nothing when it is falsified.
            row.result, row.detail = Result.NOT_JUDGED, found.named(found.broken)
            return
        folder = self.run_dir / file_name(f"{row.claim}-{falsification.name}")
        row.run = folder.name
        folder.mkdir()
        file = folder / "falsified.json"
        trial = ChallengeFile(
            claim=row.claim, falsification=falsification.name, testcases=tuple(case.nodeid for case in found.able)
        )
        file.write_text(trial.model_dump_json(indent=2) + "\n", encoding="utf-8")
        try:
            run_trial(
                self._rig.path,
                testcases=self.testcases,
                run_dir=folder,
                options=["--challenge", str(file.resolve())],
                timeout=TRIAL_WITHIN + 5 * sum(case.seconds for case in found.able),
            )
            seen = read_run(folder)
        except (BenchFault, UsageError) as error:
            row.result, row.detail = Result.NOT_JUDGED, show_text(f"the trial did not run: {error}")
            return
        row.tried = tuple(show_text(case.name) for case in seen.cases if case.attempts)
        row.result, row.noticed_by, row.detail = notice(seen, row.claim, found)

    def _write(self, *, ended: bool) -> None:
        """Write the table whole or not at all."""
        table = {
            "note": "a challenge: claims were falsified on purpose; nothing of it is evidence",
            "rig": self._rig.file.rig,
            "device": self._rig.device.device,
            "rig_sha256": self._rig.sha256,
            "device_sha256": self._rig.device_sha256,
            "honest": str(self.honest or "honest"),
            "quick": self.quick,
            "ended": datetime.now(UTC).isoformat() if ended else "",
            "rows": [asdict(row) for row in self.rows],
        }
        path = self.run_dir / "challenge.json"
        part = path.with_suffix(".part")
        part.write_text(json.dumps(table, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(part, path)  # noqa: PTH105


def run_challenge(
    path: Path,
    *,
    testcases: Sequence[Path],
    claims: Sequence[str] = (),
    quick: bool = False,
    honest: Path | None = None,
    run_dir: Path | None = None,
) -> int:
    """Challenge the claims of a device, print progress and table; return the exit code. As `Challenge`.

    Ctrl-C ends it early: what was decided stays, the rest is named as not tried.

    Raises:
        UsageError: as `Challenge`.
        BenchFault: the testcases could not be run on the unchanged files.
    """
    width, colour = terminal()
    console = Console(width=max(width, 100), no_color=not colour, highlight=False, markup=False, soft_wrap=not colour)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    challenge = Challenge(
        path=path,
        testcases=testcases,
        run_dir=run_dir or Path("reports") / f"{stamp}-challenge-{path.stem}",
        claims=claims,
        quick=quick,
        honest=honest,
        say=console.print,
    )
    try:
        challenge.run()
    except KeyboardInterrupt:
        console.print("interrupted: what was decided stays")
    console.print()
    show(challenge.rows, console)
    console.print(f"table: {challenge.run_dir / 'challenge.json'}")
    return code_of(challenge.rows)
