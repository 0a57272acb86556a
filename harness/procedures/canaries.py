"""Patients whose data is nowhere by chance: put into the device of a testcase, and looked for where none may be."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from mmap import mmap

from harness.case import Case
from harness.device.answer import Answer
from harness.device.outcomes import Outcome
from harness.device.traces import canary, traces, within
from harness.procedures.acting import do
from harness.rig.claims import AuditClaim, PatientClaim

__all__ = ["Canaries"]

ID_LETTERS = 10
"""Letters and digits of an identifier: enough to be nowhere by chance, short enough for every device."""


class Canaries:
    """One patient in plain letters, one in Chinese characters, one in digits, each with an identifier of its own."""

    def __init__(self, case: Case, claim_id: str, *, shown: Collection[str] = ()) -> None:
        """Draw them. Fields that may be `shown` hold a text of their own, which is not looked for."""
        self.claim_id = claim_id
        self.claim = case.bench.rig.device.claims_of(PatientClaim)[claim_id]
        self._case = case
        self.texts = {kind: canary(kind) for kind in ("letters", "chinese", "digits")}
        self.ids = {f"id of {kind}": canary("letters", length=ID_LETTERS) for kind in self.texts}
        self.patients: list[dict[str, str]] = [
            {
                str(field): template.replace("{canary}", own.get(field, text))
                for own in [{"id": self.ids[f"id of {kind}"]} | {field: canary("letters") for field in shown}]
                for field, template in self.claim.sample.items()
            }
            for kind, text in self.texts.items()
        ]

    @property
    def log_names_ids(self) -> bool:
        """Whether by a claim the audit log names a patient by the identifier, which may stand there then."""
        claims = self._case.bench.rig.device.claims_of(AuditClaim).values()
        naming = ("patient-add", "patient-remove")
        return any(record.action in naming for claim in claims for record in claim.records.values())

    def plant(self) -> None:
        """Put the patients into the device, and see that it has them.

        Raises:
            Undecided: it does not take one.
        """
        for patient in self.patients:
            self._case.value(self.add(patient), f"adding the patient {patient['id']}")
        self.expect_there("the patients are in the device")

    def add(self, patient: Mapping[str, str]) -> Outcome[Answer]:
        """Have somebody who may add a patient."""
        name, ward, note = patient["name"], patient["ward"], patient["note"]
        return do(self._case, self.claim.surface, "patient-add", id=patient["id"], name=name, ward=ward, note=note)

    def expect_there(self, title: str) -> bool:
        """A control: the device has the patients as they were given, and the search finds them in its answer."""
        answer = self._case.value(do(self._case, self.claim.surface, "patient-list"), "the list of patients")
        rows = [dict(row) for row in answer.rows]
        missing = [patient["id"] for patient in self.patients if patient not in rows]
        found = {trace.name for trace in traces(answer.text, {**self.texts, **self.ids})}
        unseen = sorted({*self.texts, *self.ids} - found)
        observed = f"missing: {missing or 'none'}; not found by the search: {unseen or 'none'}"
        held = not missing and not unseen
        return self._case.check(title, held=held or None, expected="all of them, as given", observed=observed)

    def expect_none(self, title: str, data: bytes | mmap, *, ids: bool = True) -> bool:
        """No text of a patient may stand in `data` in any form, nor, with `ids`, an identifier.

        Bytes are also looked into where something is compressed in them; a medium read out is not.
        """
        texts: Mapping[str, str] = {**self.texts, **(self.ids if ids else {})}
        found = within(data, lambda part: traces(part, texts)) if isinstance(data, bytes) else traces(data, texts)
        return self._case.check(
            title,
            held=not found,
            expected=f"none of {len(texts)} texts, in no form",
            observed="; ".join(str(trace) for trace in found[:10]) or f"none in {len(data)} bytes",
            claim=self.claim_id,
        )
