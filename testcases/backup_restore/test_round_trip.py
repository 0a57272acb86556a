"""What was backed up comes back: data and security settings, by the right passphrase, for those who may."""

from __future__ import annotations

import re

from harness.case import Case
from harness.device.outcomes import Accepted, NoAnswer, Outcome
from harness.device.traces import canary, credentials, traces, within
from harness.procedures.acting import do
from harness.procedures.canaries import Canaries
from harness.procedures.restoring import Restoring
from harness.rig.claims import AuditClaim, PatientClaim, RestoreClaim
from harness.rig.rig_file import Effect
from harness.testcase import About, contributes, each_surface, testcase, verifies

EFFECTS = [Effect.ACCOUNTS, Effect.CONFIGURATION, Effect.DATA]


@testcase(
    "BACKUP-ROUND-TRIP",
    title="After a restore the data and the security settings are those of the backup, whatever came in between",
    tags=[
        verifies("NMPA-2022/DTBK", "NMPA-2022/IFU-backup", "NMPA-2020/IFU-backup", "FDA-VC/REQ"),
        contributes("MDS2-2019/DTBK", "ANSM-2019/CRIT-D"),
    ],
    about=About(property="availability", phase="monitoring", method="function", threat="loss of data"),
    effects=EFFECTS,
    unqualified=True,
)
@each_surface(RestoreClaim)
def test_round_trip(case: Case, claim_id: str, surface: str) -> None:
    planted = next(iter(case.bench.rig.device.claims_of(PatientClaim, surface=surface)), None)
    patients = Canaries(case, planted).patients if planted else []
    case.attack(surface, "backups of two states are restored")
    with Restoring(case, claim_id) as restoring:
        with case.step("Two states, and a backup of each"):
            first, before = restoring.make(), restoring.state()
            newcomer = restoring.change(*patients)
            second, after = restoring.make(), restoring.state()
        with case.step("What is there goes"):
            if newcomer:
                other = f"{newcomer.password}-2"
                case.bench.wiring.hide(other)
                changed = restoring.do("user-set-password", user=newcomer.user, password=other)
                case.value(changed, "another password")
                role = next(a.role for a in restoring.door.accounts.values() if a.role != newcomer.role)
                case.value(restoring.do("user-set-role", user=newcomer.user, role=role), "another role")
            for patient in patients[:2]:
                case.value(restoring.do("patient-remove", id=patient["id"]), "removing a patient")
            now = restoring.state()
            case.check("it is not as it was", held=now != after or None, expected="another state", observed=now)
        with case.step("The second backup is restored"):
            case.expect_accepted("the second backup", restoring.restore(second), claim=claim_id)
            restoring.expect_state("after the second backup", after)
            if newcomer:
                door = restoring.door
                old = closed(door.try_log_in(newcomer.user, newcomer.password))
                case.expect_accepted("the password of the backup", old, claim=claim_id)
                case.expect_refused("the later password", closed(door.try_log_in(newcomer.user, other)), claim=claim_id)
        with case.step("The first backup is restored"):
            case.expect_accepted("the first backup", restoring.restore(first), claim=claim_id)
            restoring.expect_state("after the first backup", before)
            if newcomer:
                gone = closed(restoring.door.try_log_in(newcomer.user, newcomer.password))
                case.expect_refused("an account that the backup has not", gone, claim=claim_id)
        with case.step("The declared accounts are what they were"):
            for account in restoring.door.accounts:
                opened = closed(restoring.door.log_in(account))
                case.expect_accepted(f"{account} after the restores", opened, claim=claim_id)


def closed(outcome: Outcome[object]) -> Outcome[object]:
    """End the session that a log-in opened, if it did."""
    if isinstance(outcome, Accepted):
        outcome.value.log_out()  # type: ignore[attr-defined]
    return outcome


@testcase(
    "BACKUP-IN-CLEAR",
    title="A backup shows no patient, no password, no hash of one and no key in clear",
    tags=[
        verifies("NMPA-2022/STCF", "NMPA-2022/DATA-PII", "NMPA-2022/DTBK", "ANSM-2019/CRIT-C", "FDA-A1/E"),
        contributes("MDS2-2019/DTBK", "NMPA-2020/T1-privacy"),
    ],
    about=About(property="confidentiality", phase="design", method="penetration", threat="a stolen backup"),
    effects=EFFECTS,
    severity="blocker",
)
@each_surface(RestoreClaim)
def test_in_clear(case: Case, claim_id: str, surface: str) -> None:
    device = case.bench.rig.device
    claim_of_patients = next(iter(device.claims_of(PatientClaim, surface=surface)), None)
    case.attack(surface, "a backup is searched")
    with Restoring(case, claim_id) as restoring:
        before, empty = restoring.state(), restoring.make()
        if claim_of_patients and "patients" in restoring.backup.holds:
            canaries = Canaries(case, claim_of_patients)
            canaries.plant()
        newcomer = restoring.change(*restoring.sample()) if "users" in restoring.backup.holds else None
        full, blob = restoring.state(), restoring.make()
        with case.step("The backup is searched"):
            if claim_of_patients and "patients" in restoring.backup.holds:
                canaries.expect_none("no patient in the backup", blob)
            named = {f"credential {number}": text for number, text in enumerate(case.bench.rig.secrets(), 1)}
            named |= {"passphrase": restoring.passphrase}
            named |= {"password of a new account": newcomer.password} if newcomer else {}
            named |= {f"{name} in bytes": bytes_of(text) for name, text in named.items() if bytes_of(text)}
            found = within(blob, lambda part: traces(part, named) + credentials(part, restoring.backup.lacks))
            case.check(
                "no credential in the backup", held=not found, expected="none",
                observed="; ".join(map(str, found)) or f"none in {len(blob)} bytes", claim=restoring.backup_id,
            )  # fmt: skip
        with case.step("Twin: it is all in there"):
            case.value(restoring.restore(empty), "the backup of before")
            case.unchanged("the state of before is back", before=before, after=restoring.state(), claim=claim_id)
            case.twin("the backup that was searched", restoring.restore(blob))
            restoring.expect_state("after the backup that was searched", full)


def bytes_of(text: str) -> str:
    """Return the bytes a hexadecimal key stands for, as text of the same bytes; empty when it is none."""
    return bytes.fromhex(text).decode("latin-1") if re.fullmatch(r"(?:[0-9A-Fa-f]{2}){8,}", text) else ""


@testcase(
    "RESTORE-PASSPHRASE",
    title="A backup opens with its own passphrase only, and a passphrase that breaks the rule is refused",
    tags=[
        verifies("NMPA-2022/STCF", "NMPA-2022/DTBK", "ANSM-2019/CRIT-C", "FDA-A1/E"),
        contributes("MDS2-2019/DTBK"),
    ],
    about=About(property="confidentiality", phase="design", method="penetration", threat="guessing a passphrase"),
    effects=EFFECTS,
    unqualified=True,
)
@each_surface(RestoreClaim)
def test_passphrase(case: Case, claim_id: str, surface: str) -> None:
    with Restoring(case, claim_id) as restoring:
        with case.step("Two states and their backups"):
            (_, present), (good, other) = restoring.two_states()
        right = restoring.passphrase
        case.attack(surface, "wrong passphrases")
        wrong = {
            "another one": f"{canary('letters')}-xyz",
            "its last character missing": right[:-1],
            "one more character": f"{right}x",
            "in capitals": right.upper(),
            "a space and one more character": f"{right} x",
        }
        for title, passphrase in wrong.items():
            if passphrase == right:
                continue  # one that is in capitals
            with case.step(title):
                outcome = restoring.restore(good, passphrase=passphrase)
                restoring.expect_refused(title, outcome, before=present)
        with case.step("Passphrases that break the rule"):
            for title, passphrase in restoring.backup.refused_passphrases.items():
                outcome = restoring.do("backup", passphrase=passphrase)
                case.expect_refused(f"a backup with one that is {title}", outcome, claim=restoring.backup_id)
                if passphrase.isprintable():
                    outcome = restoring.restore(good, passphrase=passphrase)
                    restoring.expect_refused(f"a restore with one that is {title}", outcome, before=present)
        with case.step("Twin: the right passphrase"):
            case.twin("the right passphrase", restoring.restore(good))
            restoring.expect_state("after the right passphrase", other)


@testcase(
    "RESTORE-ROLES",
    title="Only the declared roles make and restore backups",
    tags=[
        verifies("NMPA-2022/AUTH", "NMPA-2022/DATA-SEP", "FDA-A1/B", "FDA-VC/REQ"),
        contributes("ANSM-2019/CRIT-C", "ANSM-2019/CRIT-I", "MDS2-2019/AUTH"),
    ],
    about=About(property="confidentiality", phase="design", method="function", threat="a user exceeds his role"),
    effects=EFFECTS,
    unqualified=True,
)
@each_surface(RestoreClaim)
def test_roles(case: Case, claim_id: str, surface: str) -> None:
    with Restoring(case, claim_id) as restoring:
        (_, present), (good, other) = restoring.two_states()
        door = restoring.door
        case.attack(surface, "backups by those who may not")
        for account, declared in door.accounts.items():
            with case.step(account):
                session = case.value(door.log_in(account), f"log-in of {account}")
                if declared.role not in restoring.backup.roles:
                    made = session.do("backup", passphrase=restoring.passphrase)
                    case.expect_denied(f"{declared.role}: backup", door, made, claim=restoring.backup_id)
                if declared.role not in restoring.claim.roles:
                    outcome = session.do("restore", octets=good, passphrase=restoring.passphrase)
                    case.expect_denied(f"{declared.role}: restore", door, outcome, claim=claim_id)
                session.log_out()
        with case.step("Nobody logged in"), door.entrance() as entrance:
            outcome = entrance.do("restore", octets=good, passphrase=restoring.passphrase)
            case.expect_refused("nobody: restore", outcome, claim=claim_id)
            outcome = entrance.do("backup", passphrase=restoring.passphrase)
            case.expect_refused("nobody: backup", outcome, claim=restoring.backup_id)
        case.unchanged("nothing has changed", before=present, after=restoring.state(), claim=claim_id)
        with case.step("Twin: a role that may"):
            case.twin("a role that may", restoring.restore(good))
            restoring.expect_state("after the restore by a role that may", other)


@testcase(
    "RESTORE-RECORDS",
    title="An accepted and a refused restore are in the audit log",
    tags=[
        verifies("NMPA-2022/AUDT", "FDA-A1/F"),
        contributes("ANSM-2019/CRIT-A", "MDS2-2019/AUDT", "MDS2-2019/DTBK"),
    ],
    about=About(property="auditability", phase="monitoring", method="function", threat="an unseen restore"),
    effects=EFFECTS,
    unqualified=True,
)
@each_surface(RestoreClaim)
def test_records(case: Case, claim_id: str, surface: str) -> None:
    with Restoring(case, claim_id) as restoring:
        good = restoring.make()
        case.attack(surface, "a restore that is refused, and one that is accepted")
        for what, blob in {"refused": good[:-1] + bytes([good[-1] ^ 1]), "accepted": good}.items():
            with case.step(f"A restore that is {what}"):
                seen = records(case, surface)
                case.check("the log is there", held=bool(seen) or None, expected="records", observed=len(seen))
                outcome = restoring.restore(blob)
                if what == "accepted":
                    case.twin("the backup as it was made", outcome)
                else:
                    case.expect_refused("a damaged backup", outcome, claim=claim_id)
                fields = {name for entry in seen for name in entry}
                who = {"user": re.escape(restoring.account)} if "user" in fields else {}
                claimed = restoring.claim.records.get(what, {})
                leaves = who | claimed
                new = [entry for entry in records(case, surface) if entry["number"] not in {e["number"] for e in seen}]
                fits = [e for e in new if all(re.fullmatch(p, e.get(name, "")) for name, p in leaves.items())]
                # Where the claim says nothing of the record, or names what no record has, any would do or none.
                comparable = bool(claimed) and leaves.keys() <= fields
                case.check(
                    f"the {what} restore is in the log", held=bool(fits) if comparable else None,
                    expected=", ".join(f"{name}={pattern}" for name, pattern in leaves.items()),
                    observed=fits[0] if fits else new, claim=claim_id,
                )  # fmt: skip


def records(case: Case, surface: str) -> list[dict[str, str]]:
    """Read the records of the audit log of a surface."""
    found = []
    for claim in case.bench.rig.device.claims_of(AuditClaim, surface=surface).values():
        for line in case.value(do(case, surface, claim.action), "the audit log").all(claim.line):
            match = re.fullmatch(claim.record, line)
            found += [{name: value or "" for name, value in match.groupdict().items()}] if match else []
    return found


@testcase(
    "RESTORE-SESSIONS",
    title="A restore ends every session, of everybody",
    tags=[
        verifies("NMPA-2022/ALOF", "NMPA-2022/AUTH", "FDA-A1/B"),
        contributes("MDS2-2019/ALOF", "ANSM-2019/CRIT-C"),
    ],
    about=About(
        property="confidentiality", phase="monitoring", method="function", threat="a session of an old account"
    ),
    effects=EFFECTS,
    unqualified=True,
)
@each_surface(RestoreClaim)
def test_sessions(case: Case, claim_id: str, surface: str) -> None:
    with Restoring(case, claim_id) as restoring:
        good, claimed = restoring.make(), restoring.claim.ends_sessions
        door = restoring.door
        case.attack(surface, "sessions over a restore")
        opened = {name: case.value(door.log_in(name), f"log-in of {name}") for name in door.accounts}
        with case.step("A refused restore ends none"):
            case.expect_refused("a damaged backup", restoring.restore(good[:-1]), claim=claim_id)
            for name, session in opened.items():
                case.twin(f"the session of {name} before", door.read_in(session, "uptime"))
        with case.step("An accepted one ends all"):
            case.twin("the backup as it was made", restoring.restore(good))
            for name, session in opened.items():
                outcome = door.read_in(session, "uptime")
                over = None if isinstance(outcome, NoAnswer) else door.ended(outcome)
                case.check(
                    f"the session of {name} is over", held=over == claimed if over is not None else None,
                    expected="over" if claimed else "not over", observed="over" if over else "not over", claim=claim_id,
                )  # fmt: skip
                session.drop()
