"""Data of patients that is handed out for statistics does not say whose it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.case import Case
from harness.device.answer import Answer
from harness.device.outcomes import Accepted
from harness.device.pseudonyms import in_a_row, worked_out
from harness.procedures.acting import reads
from harness.procedures.canaries import Canaries
from harness.rig.claims import PatientClaim, PatientExport
from harness.rig.device_file import DeviceFile
from harness.rig.rig_file import Effect
from harness.testcase import About, Instance, contributes, each, testcase, verifies
from harness.verdict import Undecided


def exports(device: DeviceFile) -> list[Instance]:
    """Claims about patients of whom something is handed out."""
    claims = device.claims_of(PatientClaim).items()
    return [Instance(claim.surface, (claim_id,)) for claim_id, claim in claims if claim.export]


@testcase(
    "DATA-EXPORT",
    title="What is handed out of patients for statistics names nobody, under pseudonyms that cannot be worked out",
    tags=[
        verifies("NMPA-2022/DIDT", "NMPA-2022/DATA-PII", "ANSM-2019/CRIT-C"),
        contributes("MDS2-2019/DIDT", "NMPA-2020/T1-privacy"),
    ],
    about=About(property="confidentiality", phase="design", method="penetration", threat="patients are recognised"),
    effects=[Effect.DATA],
    severity="blocker",
)
@each("claim_id", exports)
def test_export(case: Case, claim_id: str) -> None:
    claim = case.bench.rig.device.claims_of(PatientClaim)[claim_id]
    export = claim.export
    assert export is not None, "an instance has one"
    canaries = Canaries(case, claim_id, shown=tuple(export.shows))
    case.attack(claim.surface, "patients are looked for in what is handed out of them")
    canaries.plant()
    patients = reads(case, claim.surface, "patient-list")
    answers = handed_out(case, claim_id, export, canaries)
    if not answers:
        raise Undecided(f"no declared account of {claim.surface} is handed out anything")
    for role, answer in answers.items():
        with case.step(f"What {role} is handed out"):
            expect_about(case, claim_id, export, patients, answer.value)
            canaries.expect_none("no patient is named", answer.received)
            expect_pseudonyms(case, claim_id, [row[export.pseudonym] for row in answer.value.rows], canaries.patients)
    canaries.expect_there("the patients are in the device at the end too")


def handed_out(case: Case, claim_id: str, export: PatientExport, canaries: Canaries) -> dict[str, Accepted[Answer]]:
    """Have everybody ask for it, who may and who may not; return by role what was handed out to those who may."""
    door = case.bench.log_in_surface(canaries.claim.surface)
    answers = {}
    for account, declared in door.accounts.items():
        with case.step(declared.role), door.session(account) as opened:
            outcome = case.value(opened, f"log-in of {account}").do(export.action)
            if declared.role in export.roles:
                case.expect_accepted(f"{declared.role} is handed it out", outcome, claim=claim_id)
                if isinstance(outcome, Accepted):
                    answers[declared.role] = outcome
            else:
                case.expect_denied(f"{declared.role} asks for it", door, outcome, claim=claim_id)
                canaries.expect_none(f"{declared.role} is shown no patient", outcome.received)
    with case.step("Nobody logged in"), door.entrance() as entrance:
        outcome = entrance.do(export.action)
        case.expect_refused("nobody is handed it out", outcome, claim=claim_id)
    return answers


def expect_about(
    case: Case, claim_id: str, export: PatientExport, patients: Sequence[Mapping[str, str]], answer: Answer
) -> None:
    """It is about the patients that there are: an empty export names nobody either."""
    case.check("a row for each patient", held=len(answer.rows) == len(patients), expected=len(patients),
               observed=len(answer.rows), claim=claim_id)  # fmt: skip
    for field, column in export.shows.items():
        wanted = sorted(patient[field] for patient in patients)
        shown = sorted(row[column] for row in answer.rows)
        case.check(f"{column} is that of the patients", held=shown == wanted, expected=wanted, observed=shown,
                   claim=claim_id)  # fmt: skip


def expect_pseudonyms(
    case: Case, claim_id: str, pseudonyms: Sequence[str], patients: Sequence[Mapping[str, str]]
) -> None:
    """One for each patient, drawn: neither counted nor worked out from who it is."""
    alike = len(pseudonyms) - len(set(pseudonyms))
    case.check("a pseudonym for each patient", held=not alike and all(pseudonyms), expected="all different",
               observed=f"{alike} alike of {len(pseudonyms)}", claim=claim_id)  # fmt: skip
    case.check("pseudonyms are not counted", held=not in_a_row(pseudonyms), expected="no numbers in a row",
               observed=", ".join(pseudonyms[:5]), claim=claim_id)  # fmt: skip
    ways = worked_out(pseudonyms, patients)
    case.check("pseudonyms cannot be worked out", held=not ways, expected="no digest of identifier or name",
               observed="; ".join(ways[:5]) or ", ".join(pseudonyms[:5]), claim=claim_id)  # fmt: skip
