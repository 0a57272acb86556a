"""Backup and restore in the hand of a testcase: what a backup is claimed to hold, changed, backed up, read back."""

from __future__ import annotations

import re
from types import TracebackType
from typing import Self

from harness.case import Case
from harness.device.answer import Answer
from harness.device.backup_layout import split
from harness.device.log_in import LogInSurface, Session
from harness.device.outcomes import Accepted, Outcome, Refused, name_of
from harness.procedures.acting import Newcomer, add_account, in_role, permitted
from harness.rig.claims import BackupClaim, PatientClaim, RestoreClaim
from harness.verdict import Undecided

__all__ = ["Restoring", "State"]

State = dict[str, str]
"""What a backup is claimed to hold, as it is read: the name of each thing and its value."""

LISTS = {"users": ("user-list", "user"), "patients": ("patient-list", "id")}
"""What is held as rows → the operation that lists them, and the column that names a row."""


class Restoring:
    """Backups of the device of a testcase, by an account whose role may make and restore them. Close it.

    Sessions are kept and renewed when they are over: a restore ends them.
    """

    def __init__(self, case: Case, claim_id: str) -> None:
        self.case = case
        self.id = claim_id
        self.claim = case.bench.rig.device.claims_of(RestoreClaim)[claim_id]
        self.backup_id = self.claim.backup
        self.backup = case.bench.rig.device.claims_of(BackupClaim)[self.backup_id]
        self.passphrase = self.backup.passphrase
        self._sessions: dict[str, Session] = {}
        case.bench.wiring.hide(self.passphrase)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def door(self) -> LogInSurface:
        """The surface; another object after each restart."""
        return self.case.bench.log_in_surface(self.claim.surface)

    @property
    def account(self) -> str:
        """An account that may make and restore backups.

        Raises:
            Undecided: none is declared.
        """
        both = {*self.claim.roles} & {*self.backup.roles}
        return in_role(self.case, self.claim.surface, both, to="make and restore backups")

    def close(self) -> None:
        """Log out everywhere."""
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            session.log_out()

    def forget(self) -> None:
        """Drop the sessions of before a restart."""
        self._sessions.clear()

    # Operations

    def session(self, account: str) -> Session:
        """Return the open session of an account, or a new one.

        Raises:
            Undecided: the log-in is not accepted.
        """
        if account not in self._sessions:
            self._sessions[account] = self.case.value(self.door.log_in(account), f"log-in of {account}")
        return self._sessions[account]

    def do(self, action: str, *, octets: bytes | None = None, **named: str) -> Outcome[Answer]:
        """Carry out an action by somebody who may, in a new session where the kept one is over.

        On a line that all share every action has a session of its own: between two of them others read on it.
        """
        able = permitted(self.case, self.claim.surface, action)
        if not able:
            raise Undecided(f"no declared account may do {action} on {self.claim.surface}")
        account = self.account if self.account in able else able[0]
        if self.case.bench.wiring.shared(self.door.declared.link):
            with self.door.session(account) as opened:
                inside = self.case.value(opened, f"log-in of {account}")
                return inside.do(action, octets=octets, **named)
        outcome = self.session(account).do(action, octets=octets, **named)
        if self.door.ended(outcome):
            self._sessions.pop(account).drop()
            outcome = self.session(account).do(action, octets=octets, **named)
        return outcome

    def make(self) -> bytes:
        """Make a backup with the declared passphrase and return it.

        Raises:
            Undecided: none is made, or it is not laid out as declared.
        """
        made = self.case.value(self.do("backup", passphrase=self.passphrase), "a backup").text
        if split(self.backup.layout, made) is None:
            raise Undecided(f"the backup of {len(made)} bytes is not laid out as {self.backup_id} says")
        return made

    def restore(self, blob: bytes, *, passphrase: str | None = None) -> Outcome[Answer]:
        """Have a backup restored."""
        return self.do("restore", octets=blob, passphrase=self.passphrase if passphrase is None else passphrase)

    # What it holds

    def state(self) -> State:
        """Read what a backup is claimed to hold.

        Raises:
            Undecided: something is not answered.
        """
        seen: State = {}
        for kind, (action, key) in LISTS.items():
            if kind in self.backup.holds:
                rows = self.case.value(self.do(action), action).rows
                seen |= {f"{kind}/{row.get(key)}": str(dict(sorted(row.items()))) for row in rows}
        for field in self._settings().values():
            codec = self.door.fields[field]
            values = self.case.value(self.do(codec.action), field).all(codec.name)
            if not values:
                raise Undecided(f"{field} cannot be read")
            seen[field] = ", ".join(values)
        return seen

    def change(self, *patients: dict[str, str]) -> Newcomer | None:
        """Change each kind of what a backup holds: other settings, an account more, and these patients.

        Without `patients` the one of the claim about patients. Returns the account.

        Raises:
            Undecided: a change is not accepted.
        """
        for action in self._settings():
            self.case.value(self.do(action), action)
        if "patients" in self.backup.holds:
            for patient in patients or self.sample():
                number, name, ward, note = (patient[field] for field in ("id", "name", "ward", "note"))
                added = self.do("patient-add", id=number, name=name, ward=ward, note=note)
                self.case.value(added, f"adding {number}")
        return add_account(self.case, self.claim.surface) if "users" in self.backup.holds else None

    def sample(self) -> list[dict[str, str]]:
        """Return the patient of the claim about them."""
        claims = self.case.bench.rig.device.claims_of(PatientClaim, surface=self.claim.surface)
        return [
            {str(field): text.replace("{canary}", "7Q2X") for field, text in claim.sample.items()}
            for claim in claims.values()
        ][:1]

    def two_states(self, *patients: dict[str, str]) -> tuple[tuple[bytes, State], tuple[bytes, State]]:
        """Return backups of two states that differ in each kind, each with its state; the device is in the first.

        Raises:
            Undecided: the device cannot be brought there.
        """
        self._expect_readable()
        first = (self.make(), self.state())
        self.change(*patients)
        second = (self.make(), self.state())
        alike = [kind for kind in self.kinds() if self.of(kind, first[1]) == self.of(kind, second[1])]
        self.case.check("the two states differ in each kind", held=not alike or None, expected="all", observed=alike)
        self.case.value(self.restore(first[0]), "restoring the first state")
        now = self.state()
        self.case.check("the first state is back", held=now == first[1] or None, expected=first[1], observed=now)
        return first, second

    def kinds(self) -> list[str]:
        """Return the kinds of things that are told apart: lists, and each setting."""
        return [kind for kind in LISTS if kind in self.backup.holds] + list(self._settings().values())

    @staticmethod
    def of(kind: str, state: State) -> State:
        """Return what of a state is of a kind."""
        return {name: value for name, value in state.items() if name == kind or name.startswith(f"{kind}/")}

    # Judging

    def expect_state(self, title: str, wanted: State) -> bool:
        """The device must be in this state, kind by kind, by the claim about restores."""
        self._expect_readable()
        now = self.state()
        held = [
            self.case.unchanged(f"{kind} {title}", before=before, after=self.of(kind, now), claim=self.id)
            for kind, before in ((kind, self.of(kind, wanted)) for kind in self.kinds())
        ]
        return all(held)

    def expect_refused(self, title: str, outcome: Outcome[Answer], *, before: State, why: tuple[str, ...] = ()) -> bool:
        """It must be refused, for a reason the claim names for one of `why` where it names any, and change nothing."""
        if isinstance(outcome, Accepted):
            self._sessions.clear()
        refused = self.case.expect_refused(title, outcome, claim=self.id)
        known = {name: text for name, text in self.claim.refusals.items() if name in why}
        if isinstance(outcome, Refused) and known:
            self.case.check(
                f"{title}: the reason",
                held=any(re.fullmatch(pattern, outcome.reason) for pattern in known.values()),
                expected=" or ".join(known.values()),
                observed=name_of(outcome),
                claim=self.id,
            )
        unchanged = self.case.unchanged(f"{title}: nothing changed", before=before, after=self.state(), claim=self.id)
        return refused and unchanged

    def _expect_readable(self) -> None:
        """Leave it undecided where something that a backup holds cannot be read back; the audit log never is."""
        therapy = self._therapy()
        read = {kind for kind in LISTS if kind in self.backup.holds}
        read |= {"therapy" if field in therapy else "configuration" for field in self._settings().values()}
        unread = [kind for kind in self.backup.holds if kind not in read and (kind != "audit" or not read)]
        if unread or not read:
            title = f"what a backup holds can be read back: {', '.join(unread) or 'nothing'}"
            self.case.check(title, held=None, expected="a declared way", observed="none")

    def _therapy(self) -> set[str]:
        """Return the fields of the therapy: those in the baseline's fingerprint."""
        return {item.field for item in self.case.bench.rig.device.fingerprint}

    def _settings(self) -> dict[str, str]:
        """Actions that set something → the field that shows it."""
        therapy = self._therapy()
        wanted = {"therapy": True, "configuration": False}
        kinds = {wanted[kind] for kind in self.backup.holds if kind in wanted}
        return {
            name: action.changes
            for name, action in self.door.actions.items()
            if action.harmless and action.ready and not action.declined and tuple(action.effects) == ("configuration",)
            and action.changes and (action.changes in therapy) in kinds
        }  # fmt: skip
