"""What outlives a change of the device by its claim: changed so that a loss shows, and read back afterwards."""

from __future__ import annotations

from collections.abc import Collection

from harness.case import Case
from harness.device.values import Value
from harness.procedures.acting import acting, do, reads
from harness.procedures.audit_log import number_of, shown_at_most
from harness.rig.claims import AuditClaim

__all__ = ["Kept"]

LISTS = {"users": ("user-add", "user-list"), "patients": ("patient-add", "patient-list")}
"""What is kept as rows → operations that add one and list them."""
LATEST = 5
"""Records of the audit log that are looked for again."""


class Kept:
    """What of a surface's settings, users, patients and audit log must be kept, as far as `keeps` says so."""

    def __init__(self, case: Case, surface: str, keeps: Collection[str]) -> None:
        self._case = case
        self._surface = surface
        self._keeps = keeps

    def change(self) -> None:
        """Change each kind of it in the declared harmless way: a loss of what is as delivered would not show.

        A kind for which no way is declared is left undecided.

        Raises:
            Undecided: a change is not accepted.
        """
        settings = self._settings()
        means = {**dict.fromkeys(LISTS, True), "configuration": bool(settings), "audit": bool(self._audits())}
        for kind in self._keeps:
            if not means.get(kind, False):
                title = f"{kind} can be changed and looked for"
                self._case.check(title, held=None, expected="a declared way", observed="none")
        actions = [add for kind, (add, _) in LISTS.items() if kind in self._keeps]
        for action in [*actions, *settings]:
            self._case.value(do(self._case, self._surface, action), action)

    def read(self) -> dict[str, object]:
        """Return it by kind.

        Raises:
            Undecided: something is not answered.
        """
        seen: dict[str, object] = {
            kind: reads(self._case, self._surface, listed) for kind, (_, listed) in LISTS.items() if kind in self._keeps
        }
        door = self._case.bench.log_in_surface(self._surface)
        for field in self._settings().values():
            with acting(self._case, self._surface, door.fields[field].action) as session:
                value: Value = self._case.value(door.read_in(session, field), field)
            seen[field] = value
        return seen

    def records(self) -> list[str]:
        """Return the latest records of the audit log, empty where it need not be kept."""
        claims = self._audits()
        if "audit" not in self._keeps or not claims:
            return []
        claim = claims[0]
        return self._case.value(do(self._case, self._surface, claim.action), "the audit log").all(claim.line)

    def expect(self, title: str, *, before: dict[str, object], records: list[str], claim: str) -> None:
        """What was read `before` must be there now, and so must the latest of `records`."""
        for kind, after in self.read().items():
            self._case.unchanged(f"{kind} {title}", before=before[kind], after=after, claim=claim)
        if "audit" in self._keeps:
            self._expect_records(title, records=records, now=self.records(), claim=claim)

    def _expect_records(self, title: str, *, records: list[str], now: list[str], claim: str) -> None:
        due = records[-LATEST:]
        for audit in self._audits()[:1]:
            window = shown_at_most(audit)
            first, earlier = (number_of(audit, each[0]) if each else None for each in (now, records))
            if window and len(now) >= window and first is not None and earlier is not None and first > earlier:
                # The answer shows no more than that: what is older than its first record has left it.
                due = [record for record in due if (number_of(audit, record) or first) >= first]
        lost = [record for record in due if record not in now]
        self._case.check(
            f"the audit log {title}", held=not lost if due else None, expected="records of before",
            observed=lost or ("all there" if due else "none is shown any more" if records else "none before"),
            claim=claim,
        )  # fmt: skip

    def _audits(self) -> list[AuditClaim]:
        return list(self._case.bench.rig.device.claims_of(AuditClaim, surface=self._surface).values())

    def _settings(self) -> dict[str, str]:
        """Actions that change a setting → the field that shows it; therapy and identity are not settings."""
        bench = self._case.bench
        others = {item.field for item in bench.rig.device.fingerprint}
        actions = bench.log_in_surface(self._surface).actions if "configuration" in self._keeps else {}
        return {
            name: action.changes
            for name, action in actions.items()
            if action.ready and not action.declined and tuple(action.effects) == ("configuration",)
            and action.changes and action.changes not in others
        }  # fmt: skip
