"""The check as it is asked for at the command line: it opens the bench, looks, walks, and prints the tables."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.bench import Bench
from harness.clean import show, show_text
from harness.control.base import Capability
from harness.errors import ProofrigError, WrongDevice
from harness.journal import Journal
from harness.report.equipment import equipment_on
from harness.rig.loading import Rig, load_rig
from harness.rig_check.links import LinkFinding, look_at
from harness.rig_check.trials import Answer, Trial
from harness.rig_check.walk import Walk
from harness.verdict import EXIT_INCONCLUSIVE, Undecided

__all__ = ["check_rig"]

LOG_TAIL = 2000
"""Most bytes shown of what an emulator or a device program said as it failed."""

_STYLES = {True: "green", False: "red", None: "dim"}


def check_rig(path: Path, *, changing: bool = False) -> int:
    """Check a rig, print what was seen, and return the exit code.

    `changing`: carry out operations that change something, too, where the rig permits their effects.
    """
    rig = load_rig(path)
    console = Console()
    with tempfile.TemporaryDirectory(prefix="proofrig-check-") as folder:
        journal = Journal(Path(folder) / "journal.jsonl")
        bench = Bench(rig, run_dir=Path(folder), journal=journal, worker="check")
        findings: list[LinkFinding] = []
        trials: list[Trial] = []
        try:
            with console.status("walking the rig …") if console.is_terminal else nullcontext():
                bench.open()
                walk = Walk(bench, permits=rig.file.permits if changing else None)
                problem = _begin(bench)
                walk.watch_log_ins()  # a baseline has made the bench forget who watches
                findings = look_at(bench)
                if problem is None or not (changing or isinstance(problem, WrongDevice)):
                    trials = list(walk.trials())
        finally:
            bench.close()
            journal.close()
        log = Path(folder) / "check-device.log"
        said = show(log.read_bytes()[-LOG_TAIL:]) if problem is not None and log.is_file() else ""
    console.print(_link_table(rig, findings))
    if trials:
        console.print(_trial_table(trials))
        _summarise(console, trials)
    pieces = [piece.model_dump(mode="json") for piece in rig.file.equipment]
    for each in equipment_on(datetime.now(UTC).date(), pieces):
        console.print(Text(f"equipment: {show_text(str(each))}", style="bold red" if each.overdue else ""))
    if walk.not_let_in:
        accounts = ", ".join(f"{account} (on {surface})" for account, surface in walk.not_let_in.items())
        console.print(Text(f"not let in, and not tried again: {accounts}\n  → compare accounts in the device file"))
    if problem is not None:
        console.print(Text(f"identity: {show_text(str(problem))}"))
        if not trials:
            console.print(Text("no operation was tried: the identity comes first"))
        if said.strip():
            console.print(Text(f"the device program said:\n{said}"))
        return EXIT_INCONCLUSIVE
    console.print(
        Text(f"identity: {rig.device.model} {rig.file.item.serial} {rig.device.version}, as the rig file says")
    )
    alive = all(finding.alive for finding in findings)
    answered = all(trial.good is not False for trial in trials) and not walk.not_let_in
    return 0 if alive and answered else EXIT_INCONCLUSIVE


def _begin(bench: Bench) -> ProofrigError | Undecided | None:
    """Bring the device to its baseline if that costs it nothing, and read its identity; return what is wrong.

    On a bench the identity is read once only: `Bench.fresh` tries twice, which may cost two refused log-ins.
    """
    try:
        if Capability.RESTORE in bench.control.capabilities:
            bench.fresh(watch=False)
        else:
            bench.wiring.open_eager()
            bench.check_identity(within=bench.power_up())
    except (ProofrigError, Undecided) as error:
        return error
    return None


def _link_table(rig: Rig, findings: Sequence[LinkFinding]) -> Table:
    table = Table(
        title=Text(f"rig {rig.file.rig}: {rig.device.manufacturer} {rig.device.model}, item {rig.file.item.serial}")
    )
    for heading in ("link", "address", "alive?", "how it was seen"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        alive = {True: "yes", False: "no", None: "?"}[finding.alive]
        how = finding.how + (f"\n→ {finding.hint}" if finding.hint else "")
        table.add_row(
            Text(finding.link),
            Text(finding.address),
            Text(alive, style=_STYLES[finding.alive]),
            Text(show_text(how, limit=400)),
        )
    return table


def _trial_table(trials: Sequence[Trial]) -> Table:
    table = Table(title="operations")
    for heading in ("surface", "operation", "account", "answer", "what it said, or why not tried"):
        table.add_column(heading, overflow="fold")
    surface = ""
    order = list(dict.fromkeys(trial.surface for trial in trials))
    for trial in sorted(trials, key=lambda each: (order.index(each.surface), each.answer is Answer.UNTRIED)):
        if surface and trial.surface != surface:
            table.add_section()
        table.add_row(
            Text("" if trial.surface == surface else trial.surface),
            Text(trial.operation),
            Text(trial.account),
            Text(trial.answer, style=_STYLES[trial.good]),
            Text(show_text(trial.detail)),
        )
        surface = trial.surface
    return table


def _summarise(console: Console, trials: Sequence[Trial]) -> None:
    """Count what was tried, name what did not answer as it must, and say what is another on the device now."""
    tried = [trial for trial in trials if trial.good is not None]
    bad = [trial for trial in tried if not trial.good]
    counts = (
        f"{len(tried)} operations tried, {len(bad)} not answered as they must be, {len(trials) - len(tried)} not tried"
    )
    console.print(Text(counts))
    changed = [
        f"{trial.surface} {trial.operation}" for trial in tried if trial.changing and trial.answer is not Answer.REFUSED
    ]
    if changed:
        console.print(Text(f"may have changed the device, and nothing was undone: {', '.join(changed)}"))
