"""`proofrig replay`: send a finding's input again, on a fresh baseline, and say STILL FAILING or FIXED."""

from __future__ import annotations

import tempfile
from pathlib import Path

from harness.bench import Bench
from harness.clean import show_text
from harness.errors import UsageError
from harness.fuzz.campaign import replay
from harness.fuzz.findings import read_finding
from harness.journal import Journal
from harness.rig.claims import AvailabilityClaim
from harness.rig.loading import Rig
from harness.verdict import EXIT_FAIL, EXIT_INCONCLUSIVE, Undecided

__all__ = ["replay_finding"]

TRIALS = 3
"""How often the input is sent before it is called fixed."""


def replay_finding(rig: Rig, path: Path) -> tuple[int, str]:
    """Replay a finding on `rig`; return the exit code and one sentence.

    Raises:
        UsageError: no finding there, or it is of another device, or of a challenge.
        BenchFault: the bench could not do its part.
    """
    finding = read_finding(path)
    if finding.challenge:
        raise UsageError(f"claim {finding.challenge} was falsified for it: a challenge finds nothing", where=str(path))
    if finding.device != rig.device.device:
        raise UsageError(
            f"the finding is of device {finding.device!r}, the rig has {rig.device.device!r}", where=str(path)
        )
    claims = rig.device.claims_of(AvailabilityClaim, surface=finding.surface)
    recovery = min((claim.recovery for claim in claims.values()), default=5.0)
    with tempfile.TemporaryDirectory(prefix="proofrig-replay-") as folder:
        journal = Journal(Path(folder) / "journal.jsonl")
        bench = Bench(rig, run_dir=Path(folder), journal=journal, worker="replay")
        try:
            bench.open()
            for number in range(1, TRIALS + 1):
                trouble = replay(bench, finding.surface, finding.cases, recovery=recovery)
                if trouble is not None:
                    what = show_text(f"{trouble.harm.value}: {trouble.detail}")
                    return EXIT_FAIL, f"STILL FAILING (trial {number}): {finding.surface}: {what}"
        except Undecided as error:
            return EXIT_INCONCLUSIVE, f"UNDECIDED: {show_text(str(error))}"
        finally:
            bench.close()
            journal.close()
    return 0, f"FIXED: {len(finding.cases)} case(s) sent {TRIALS} times to {finding.surface} without harm"
