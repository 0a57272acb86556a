"""Who may see and change patients, and that their texts stay what they were."""

from __future__ import annotations

from harness.case import Case
from harness.device.log_in import Session
from harness.device.outcomes import Outcome
from harness.device.traces import canary
from harness.procedures.acting import acting, reads
from harness.procedures.canaries import Canaries
from harness.rig.claims import PatientClaim
from harness.rig.rig_file import Effect
from harness.testcase import About, contributes, each_surface, testcase, verifies

TEXTS = {
    "quotes": 'O\'Brien "Bob" `x` \\ \\\\ \\n \\u0041',
    "markup": "<script>alert(1)</script><b>&amp;&#65;",
    "templates": "{{7*7}} ${7*7} #{7*7} %{7*7} <%= 7*7 %>",
    "formats": "%s%n%x%p %1$n {0} {name}",
    "SQL": "x'); DROP TABLE patients; -- ",
    "shell": "$(reboot) `reboot` ; reboot | reboot & reboot",
    "paths": "../../../../etc/passwd %2e%2e%2f",
    "spreadsheet": '=HYPERLINK("http://x") +1+1 @SUM(1)',
    "Chinese": "王小明 重症监护室 青霉素过敏",
    "other scripts": "Ωμέγα Жуков עברית العربية हिन्दी",
    "beyond the basic plane": "𠮷野家 👩‍⚕️ 𝔄",
    "combined": "e\u0301 vs é, ﬁ vs fi",
    "right to left": "abc \u202etxt.exe",
    "spaces at the ends": " a  b ",
    "a number": "0012.50",
    "true and null": "null",
}


@testcase(
    "DATA-READERS",
    title="Only the declared roles see and change patients",
    tags=[
        verifies("NMPA-2022/DATA-SEP", "NMPA-2022/AUTH", "NMPA-2020/T1-sep", "FDA-A1/B", "ANSM-2019/CRIT-C"),
        contributes("NMPA-2020/T1-privacy", "MDS2-2019/AUTH"),
    ],
    about=About(property="confidentiality", phase="design", method="function", threat="a technician reads patients"),
    effects=[Effect.DATA],
    severity="blocker",
)
@each_surface(PatientClaim)
def test_readers(case: Case, claim_id: str, surface: str) -> None:
    canaries = Canaries(case, claim_id)
    claim, door = canaries.claim, case.bench.http(surface)
    case.attack(surface, "patients are asked for and changed in every role")
    canaries.plant()
    before = reads(case, surface, "patient-list")
    patient = canaries.patients[0]
    for account, declared in door.accounts.items():
        with case.step(declared.role), door.session(account) as opened:
            session = case.value(opened, f"log-in of {account}")
            if declared.role not in claim.readers:
                listed = session.do("patient-list")
                case.expect_denied(f"{declared.role} reads patients", door, listed, claim=claim_id)
                canaries.expect_none(f"{declared.role} is shown no patient", listed.received)
            else:
                case.expect_accepted(f"{declared.role} reads patients", session.do("patient-list"), claim=claim_id)
            if declared.role not in claim.editors:
                removed = session.do("patient-remove", id=patient["id"])
                case.expect_denied(f"{declared.role} removes a patient", door, removed, claim=claim_id)
                added = add(session, canary("letters"), claim)
                case.expect_denied(f"{declared.role} adds a patient", door, added, claim=claim_id)
    with case.step("Nobody logged in"):
        listed = door.send(door.request("patient-list"), action="patient-list")
        case.expect_refused("nobody reads patients", listed, claim=claim_id)
        canaries.expect_none("nobody is shown a patient", listed.received)
    after = reads(case, surface, "patient-list")
    case.unchanged("the patients after what was refused", before=before, after=after, claim=claim_id)
    with case.step("Twin: a role that may"), acting(case, surface, "patient-remove") as session:
        case.twin("a role that may adds a patient", add(session, canary("letters"), claim))
        case.twin("a role that may removes a patient", session.do("patient-remove", id=patient["id"]))
        left = [row["id"] for row in reads(case, surface, "patient-list")]
        held = patient["id"] not in left or None
        case.check("it is gone", held=held, expected=f"not {patient['id']}", observed=left)


def add(session: Session, number: str, claim: PatientClaim, **texts: str) -> Outcome[object]:
    """Add a patient with the sample's texts, or others."""
    filled = {str(field): text.replace("{canary}", number) for field, text in claim.sample.items()} | texts
    name, ward, note = filled["name"], filled["ward"], filled["note"]
    return session.do("patient-add", id=filled["id"], name=name, ward=ward, note=note)


@testcase(
    "DATA-TEXT",
    title="Text of a patient is given back as it was, whatever it looks like, and is never carried out",
    tags=[
        verifies("NMPA-2022/IGAU", "NMPA-2022/DATA-PII", "ANSM-2019/CRIT-I", "FDA-VC/VULN-ABUSE"),
        contributes("MDS2-2019/IGAU"),
    ],
    about=About(property="integrity", phase="design", method="fuzz", threat="text that is interpreted"),
    effects=[Effect.DATA],
    unqualified=True,
)
@each_surface(PatientClaim)
def test_text(case: Case, claim_id: str, surface: str) -> None:
    claim = case.bench.rig.device.claims_of(PatientClaim)[claim_id]
    case.attack(surface, "texts that might be interpreted")
    with acting(case, surface, "patient-add") as session:
        for title, text in TEXTS.items():
            with case.step(title):
                number = canary("letters", length=8)
                wanted = {"id": number, "name": text, "ward": text[:64], "note": text * 2}
                wanted = {field: value[: claim.longest.get(field, 64)] for field, value in wanted.items()}  # type: ignore[call-overload]
                case.expect_accepted(f"{title}: taken", add(session, number, claim, **wanted), claim=claim_id)
                listed = session.do("patient-list")
                rows = [dict(row) for row in case.value(listed, "the patients").rows]
                back = next((row for row in rows if row["id"] == number), None)
                case.check(f"{title}: given back", held=back == wanted, expected=wanted, observed=back, claim=claim_id)
                head = listed.received.partition(b"\r\n\r\n")[0].lower()
                case.check(
                    f"{title}: no browser takes it for a page", held=b"text/html" not in head, expected="no HTML",
                    observed=head.decode("latin-1"), claim=claim_id,
                )  # fmt: skip
                case.value(session.do("patient-remove", id=number), "removing the patient")


@testcase(
    "DATA-LIMITS",
    title="Too much of a patient, and one patient too many, are refused; what fits to the last character is kept",
    tags=[
        verifies("NMPA-2022/IGAU", "ANSM-2019/CRIT-I", "FDA-VC/VULN-ABUSE"),
        contributes("ANSM-2019/CRIT-D"),
    ],
    about=About(property="integrity", phase="design", method="fuzz", threat="more than there is room for"),
    effects=[Effect.DATA],
    slow=True,
    unqualified=True,
)
@each_surface(PatientClaim)
def test_limits(case: Case, claim_id: str, surface: str) -> None:
    claim = case.bench.rig.device.claims_of(PatientClaim)[claim_id]
    case.attack(surface, "more than fits")
    with acting(case, surface, "patient-add") as session:
        for field, most in claim.longest.items():
            with case.step(f"{field} of {most} characters"):
                before = reads(case, surface, "patient-list")
                character = "A" if field == "id" else "王"
                number = canary("letters")
                fits, long = {"id": number, field: character * most}, {"id": number, field: character * (most + 1)}
                case.expect_refused(f"{field} of {most + 1}", add(session, number, claim, **long), claim=claim_id)
                after = reads(case, surface, "patient-list")
                case.unchanged(f"the patients after too long a {field}", before=before, after=after, claim=claim_id)
                case.twin(f"{field} of {most}", add(session, number, claim, **fits))
                kept = [row for row in reads(case, surface, "patient-list") if row[field] == fits[field]]
                case.check(
                    f"{field} of {most} is kept", held=bool(kept), expected=1, observed=len(kept), claim=claim_id
                )
        with case.step("The same patient twice"):
            number = canary("letters")
            case.twin("a new patient", add(session, number, claim))
            case.expect_refused("the same again", add(session, number, claim), claim=claim_id)
        with case.step(f"{claim.most} patients"):
            full = reads(case, surface, "patient-list")
            for _ in range(claim.most - len(full)):
                case.value(add(session, canary("letters"), claim), "adding a patient")
            full = reads(case, surface, "patient-list")
            if not case.check("as many as claimed", held=len(full) == claim.most or None, expected=claim.most,
                              observed=len(full)):  # fmt: skip
                return
            one_more = canary("letters")
            case.expect_refused("one patient too many", add(session, one_more, claim), claim=claim_id)
            after = reads(case, surface, "patient-list")
            case.unchanged("the patients after one too many", before=full, after=after, claim=claim_id)
            case.value(session.do("patient-remove", id=full[0]["id"]), "removing a patient")
            case.twin("one patient when there is room again", add(session, one_more, claim))
