"""`proofrig device approve`: somebody stands up for claims of a device file, by name and document."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text
from ruamel.yaml import YAML

from harness.clean import show_text
from harness.errors import UsageError
from harness.rig.approvals import Approved, approve, parse_source, record_of
from harness.rig.claims import ClaimBase, Source, Status
from harness.rig.loading import read_device

__all__ = ["approve_claims"]


def approve_claims(path: Path, claims: Sequence[str], *, ask_for_all: bool, by: str, source: str | None) -> int:
    """Approve the named claims, or with `ask_for_all` those a person says yes to, and print what was done.

    Raises:
        UsageError: nothing is named, nobody can be asked, or as `harness.rig.approvals.approve`.
    """
    parsed = parse_source(source) if source is not None else None
    console = Console()
    device = read_device(path).device
    open_claims = {name: claim for name, claim in device.claims.items() if claim.status is not Status.APPROVED}
    if ask_for_all == bool(claims):
        raise UsageError(
            "name the claims, or --all to be asked about each",
            where=str(path),
            hint=f"claims that are not approved: {', '.join(open_claims) or 'none'}",
        )
    chosen = list(claims)
    if ask_for_all:
        if not sys.stdin.isatty():
            raise UsageError("--all asks about each claim, and there is no terminal", hint="name the claims instead")
        chosen = [name for name, claim in open_claims.items() if _agreed(console, name, claim, parsed)]
    approved = approve(path, chosen, by=by, source=parsed, today=datetime.now(UTC).date()) if chosen else []
    _tell(console, path, approved, by=by, left=[name for name in open_claims if name not in chosen])
    return 0


def _agreed(console: Console, name: str, claim: ClaimBase, source: Source | None) -> bool:
    """Show a claim and ask whether it is approved; only yes is yes."""
    said = io.StringIO()
    shown = claim.model_dump(mode="json", exclude={"source", "status", "approval"}, exclude_defaults=True)
    YAML().dump({name: {"type": getattr(claim, "type", ""), **shown}}, said)
    console.print(Text(show_text(said.getvalue().rstrip())))
    console.print(Text(f"  now {claim.status.value}, by {show_text(str(claim.source))}"))
    if source is not None:
        console.print(Text(f"  will be approved by {source}"))
    return console.input("  approve it? (yes/no) ", markup=False).strip().lower() in ("y", "yes")


def _tell(console: Console, path: Path, approved: Sequence[Approved], *, by: str, left: Sequence[str]) -> None:
    if approved:
        table = Table(title=Text(f"approved by {show_text(by)}"))
        for heading in ("claim", "before", "document", "revision", "section"):
            table.add_column(heading, overflow="fold")
        for each in approved:
            source = each.source
            cells = (each.claim, each.before.value, source.document, source.revision, source.section)
            table.add_row(*(Text(show_text(cell)) for cell in cells))
        console.print(table)
        console.print(Text(f"recorded in {record_of(path)}; keep it with the device file"))
    else:
        console.print(Text("nothing was approved"))
    if left:
        console.print(Text(f"not approved: {', '.join(left)}"))
