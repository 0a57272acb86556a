"""A session ends with what is claimed to end it; its token is random, and good in its place only."""

from __future__ import annotations

import hashlib
import math
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from os.path import commonprefix
from urllib.parse import quote

from harness.case import Case
from harness.device.http import HttpSession, HttpSurface
from harness.device.log_in import LogInSurface, Session
from harness.device.outcomes import Accepted, Outcome, Refused, name_of
from harness.procedures.acting import Newcomer, acting, add_account, do, permitted
from harness.procedures.restarts import await_log_in, restart
from harness.rig.claims import BackupClaim, SessionClaim
from harness.rig.device_file import DeviceFile, UdsSurface
from harness.rig.device_file import HttpSurface as HttpSpec
from harness.rig.rig_file import Effect
from harness.testcase import About, Instance, contributes, each, testcase, verifies
from harness.verdict import Undecided
from harness.watch import IncidentKind

TOKENS = 16
"""Tokens compared with each other."""
BITS = 64
"""Bits of a token that must differ from log-in to log-in: guessing half of 2^64 is out of reach online."""
SHARED = 8
"""Characters two random tokens may begin alike with: among 120 pairs of 16-letter ones less by chance once in 10^7."""

TAGS = [
    verifies("NMPA-2022/ALOF", "NMPA-2022/PAUT", "NMPA-2020/IFU-access", "FDA-A1/A", "FDA-A1/B"),
    contributes("ANSM-2019/CRIT-C", "MDS2-2019/ALOF"),
]


def with_tokens(device: DeviceFile) -> Iterator[Instance]:
    """Every surface of a claim about sessions whose requests carry a token."""
    for claim_id, claim in device.claims_of(SessionClaim).items():
        for surface in claim.surfaces:
            if isinstance(device.surfaces[surface], HttpSpec):
                yield Instance(surface, (claim_id, surface))


def ends(device: DeviceFile, *causes: str) -> Iterator[Instance]:
    """Every claimed end of a session that is one of `causes`, on every surface."""
    for claim_id, claim in device.claims_of(SessionClaim).items():
        for surface in claim.surfaces:
            for cause in claim.ends_with:
                if cause in causes:
                    yield Instance(f"{surface}-{cause}", (claim_id, surface, cause))


def expect_over(case: Case, claim_id: str, title: str, door: LogInSurface, outcome: Outcome[object]) -> None:
    """The request must be refused because nobody is logged in; any other answer says nothing."""
    case.check(
        title,
        held=True if door.ended(outcome) else False if isinstance(outcome, Accepted) else None,
        expected="refused, as nobody is logged in",
        observed=name_of(outcome),
        claim=claim_id,
    )


def expect_open(case: Case, title: str, door: LogInSurface, outcome: Outcome[object]) -> None:
    """The twin of `expect_over`: carried out, or refused for the role of who is logged in."""
    held = isinstance(outcome, Accepted) or bool(door.denied(outcome))
    case.check(title, held=held or None, expected="an answer to who is logged in", observed=name_of(outcome))


def open_as(case: Case, door: HttpSurface, who: Newcomer, password: str = "") -> HttpSession:
    """Log in as an account the testcase has made, and see its session work."""
    session = case.value(door.try_log_in(who.user, password or who.password), f"log-in of {who.user}")
    case.twin(f"a request of {who.user}", door.read_in(session, "uptime"))
    return session


@testcase(
    "SESSION-ENDS",
    title="A session is over, and its token opens nothing, after what is claimed to end it",
    tags=TAGS,
    about=About(property="confidentiality", phase="design", method="function", threat="a stolen session"),
    effects=[Effect.ACCOUNTS, Effect.CONFIGURATION, Effect.DATA],
)
@each(
    "claim_id, surface, cause",
    lambda device: ends(device, "log-out", "password", "role", "removal", "restore"),
)
def test_ends(case: Case, claim_id: str, surface: str, cause: str) -> None:
    door = case.bench.log_in_surface(surface)
    case.attack(surface, f"a session is used after {cause}")
    match cause:
        case "log-out":
            after_log_out(case, claim_id, door)
        case "password":
            after_password(case, claim_id, case.bench.http(surface))
        case "role" | "removal":
            after_change(case, claim_id, case.bench.http(surface), cause)
        case "restore":
            after_restore(case, claim_id, case.bench.http(surface))


def after_log_out(case: Case, claim_id: str, door: LogInSurface) -> None:
    """For each account: the session that was logged out is dead, another one of the account is not.

    Where only one can be open, the other one is opened afterwards.
    """
    fields = [name for name in ("uptime", "version") if name in door.fields]
    shown = [name for name in fields if not door.actions[door.fields[name].action].open]
    for account in door.accounts:
        with case.step(f"As {account}"):
            staying = None if door.one_session else case.value(door.log_in(account), f"log-in of {account}")
            leaving = case.value(door.log_in(account), f"log-in of {account}")
            expect_open(case, "the session before the log-off", door, door.ask_inside(leaving))
            case.expect_accepted("the log-off", leaving.log_out(), claim=claim_id)
            for action in dict.fromkeys((door.inside_action, *(door.fields[name].action for name in shown))):
                expect_over(case, claim_id, f"{action} after the log-off", door, leaving.do(action))
            staying = staying or case.value(door.log_in(account), f"another log-in of {account}")
            expect_open(case, "another session of the account", door, door.ask_inside(staying))
            leaving.drop()
            staying.log_out()


def after_password(case: Case, claim_id: str, door: HttpSurface) -> None:
    """Both ways: the account changes its own password, and an administrator does."""
    who = add_account(case, door.name)
    other = str(door.spec.actions["user-set-password"].args["password"])
    case.bench.wiring.hide(other)
    with case.step("The account changes its password"):
        sessions = [open_as(case, door, who) for _ in range(2)]
        changed = sessions[0].do("own-password", old=who.password, new=other)
        case.value(changed, "changing the password")
        for session, title in zip(sessions, ("the session that changed it", "another session"), strict=True):
            expect_over(case, claim_id, title, door, door.read_in(session, "uptime"))
            session.log_out()
    with case.step("An administrator changes the password"):
        session = open_as(case, door, who, other)
        case.value(do(case, door.name, "user-set-password", user=who.user, password=who.password), "changing it")
        expect_over(case, claim_id, "a session from before", door, door.read_in(session, "uptime"))
        session.log_out()
    open_as(case, door, who).log_out()


def after_change(case: Case, claim_id: str, door: HttpSurface, cause: str) -> None:
    """An administrator gives the account another role, or removes it."""
    who = add_account(case, door.name)
    session = open_as(case, door, who)
    if cause == "role":
        role = next(each.role for each in door.accounts.values() if each.role != who.role)
        case.value(do(case, door.name, "user-set-role", user=who.user, role=role), "changing the role")
    else:
        case.value(do(case, door.name, "user-remove", user=who.user), "removing the account")
    expect_over(case, claim_id, f"a session from before ({cause})", door, door.read_in(session, "uptime"))
    session.drop()
    if cause == "removal":
        # Made again under its old name, the account must not inherit the session.
        who = add_account(case, door.name)
        expect_over(case, claim_id, "the same with the account made again", door, door.read_in(session, "uptime"))
        session.drop()
    open_as(case, door, who).log_out()


def after_restore(case: Case, claim_id: str, door: HttpSurface) -> None:
    """A backup made now is restored: every session is over, also of those whom it does not change."""
    passphrase = next((each.passphrase for each in case.bench.rig.device.claims_of(BackupClaim).values()), None)
    if passphrase is None:
        raise Undecided("no claim about backups says with which passphrase to make one")
    made = case.value(do(case, door.name, "backup", passphrase=passphrase), "a backup")
    others = [account for account in door.accounts if account not in permitted(case, door.name, "restore")]
    sessions = [case.value(door.log_in(account), f"log-in of {account}") for account in others]
    for session in sessions:
        case.twin(f"{session.account} before the restore", door.read_in(session, "uptime"))
    with acting(case, door.name, "restore") as restoring:
        case.value(restoring.do("restore", octets=made.text, passphrase=passphrase), "the restore")
        for session in (*sessions, restoring):
            title = f"the session of {session.account} after the restore"
            expect_over(case, claim_id, title, door, door.read_in(session, "uptime"))
    for session in sessions:
        session.log_out()
        with door.session(session.account) as opened:
            case.twin(f"a new log-in of {session.account}", opened)


@testcase(
    "SESSION-RESTART",
    title="No session outlives a restart of the device or of its application",
    tags=TAGS,
    about=About(property="confidentiality", phase="design", method="function", threat="a stolen session"),
    effects=[Effect.ACCOUNTS, Effect.CONFIGURATION],
    slow=True,
    unqualified=True,
)
@each("claim_id, surface, cause", lambda device: ends(device, "restart", "reboot"))
def test_restart(case: Case, claim_id: str, surface: str, cause: str) -> None:
    door = case.bench.log_in_surface(surface)
    accounts = list(door.accounts)
    if door.one_session:
        # Where a log-in would end the session that is open, who has it restarts the device himself.
        able = [name for name in accounts if cause != "reboot" or name in permitted(case, surface, cause)]
        accounts = able[:1]
    case.attack(surface, f"sessions are used after {cause}")
    sessions = [case.value(door.log_in(account), f"log-in of {account}") for account in accounts]
    for session in sessions:
        expect_open(case, f"{session.account} before", door, door.ask_inside(session))
    since, within = time.monotonic(), case.bench.rig.device.starts_within
    with case.expecting(IncidentKind.RESTART, within=2 * within):
        own = sessions[0] if door.one_session else None
        restart(case, lambda: begin_restart(case, surface, cause, own=own), within=within)
        if not door.one_session and not await_log_in(case, surface, within=within):
            raise Undecided(f"nobody can log in {within:g} s after the restart")
    for session in sessions:
        # A restart may take longer than the log-off for idle time: the title says so, and over is over.
        unused = f"{time.monotonic() - since:.0f} s without a request"
        title = f"the session of {session.account} after the {cause}, {unused}"
        expect_over(case, claim_id, title, door, door.ask_inside(session))
        session.drop()
    for account in door.accounts:
        with door.session(account) as opened:
            case.twin(f"a new log-in of {account}", opened)


def begin_restart(case: Case, surface: str, cause: str, *, own: Session | None) -> None:
    """Restart the application by the diagnostic reset, or the device by the surface's action, in the `own` session."""
    if cause == "reboot":
        case.value(own.do("reboot") if own else do(case, surface, "reboot"), "the reboot")
        return
    surfaces = case.bench.rig.device.surfaces
    able = [name for name, spec in surfaces.items() if isinstance(spec, UdsSurface) and spec.reset is not None]
    if not able:
        raise Undecided("no surface declares a reset that restarts the application")
    diagnostics = case.bench.uds(able[0])
    case.value(diagnostics.unlock(), "security access")
    case.value(diagnostics.reset(), "the reset")


@testcase(
    "SESSION-LIMIT",
    title="An account has no more sessions at a time than claimed",
    tags=TAGS,
    about=About(property="confidentiality", phase="design", method="function", threat="sessions left open"),
    effects=[Effect.ACCOUNTS],
)
@each(
    "claim_id, surface",
    lambda device: [
        Instance(surface, (claim_id, surface))
        for claim_id, claim in device.claims_of(SessionClaim).items()
        if claim.most is not None
        for surface in claim.surfaces
    ],
)
def test_limit(case: Case, claim_id: str, surface: str) -> None:
    most = case.bench.rig.device.claims_of(SessionClaim)[claim_id].most or 0
    door = case.bench.http(surface)
    account, *others = door.accounts
    case.attack(surface, f"{most + 1} sessions of {account}")
    sessions = []
    for number in range(most):
        outcome = door.log_in(account)
        case.expect_accepted(f"session {number + 1} of {account}", outcome, claim=claim_id)
        sessions.append(case.value(outcome, f"session {number + 1}"))
    over = door.log_in(account)
    case.check(
        f"session {most + 1} of {account}",
        held=True
        if isinstance(over, Refused) and over.reason == "full"
        else False
        if isinstance(over, Accepted)
        else None,
        expected="refused, as there are too many",
        observed=name_of(over),
        claim=claim_id,
    )
    if isinstance(over, Accepted):
        over.value.log_out()
    for other in others:
        with door.session(other) as opened:
            case.expect_accepted(f"{other} meanwhile", opened, claim=claim_id)
    for number, session in enumerate(sessions):
        case.twin(f"session {number + 1} goes on", door.read_in(session, "uptime"))
    sessions.pop().log_out()
    with door.session(account) as opened:
        case.twin(f"{account} once a session is over", opened)
    for session in sessions:
        session.log_out()


@testcase(
    "SESSION-TOKEN-RANDOM",
    title="Tokens of sessions are as declared, never the same, and follow neither clock nor counter",
    tags=[
        verifies("NMPA-2022/PAUT", "NMPA-2020/IFU-access", "FDA-A1/A", "FDA-A1/C"),
        contributes("ANSM-2019/CRIT-C", "ANSM-2019/RISK-OBSC"),
    ],
    about=About(property="confidentiality", phase="design", method="penetration", threat="a guessed session"),
    effects=[Effect.ACCOUNTS],
)
@each("claim_id, surface", with_tokens)
def test_tokens(case: Case, claim_id: str, surface: str) -> None:
    claim = case.bench.rig.device.claims_of(SessionClaim)[claim_id]
    door = case.bench.http(surface)
    accounts = list(door.accounts)
    case.attack(surface, f"{TOKENS} tokens are compared")
    began, tokens = time.time(), []
    for number in range(TOKENS):
        session = case.value(door.log_in(accounts[number % len(accounts)]), "log-in")
        tokens.append(session.token)
        if number in (0, TOKENS - 1):
            case.twin("a request with the token", door.read_in(session, "uptime"))
        session.log_out()
    odd = [len(token) for token in tokens if claim.token and not re.fullmatch(claim.token, token)]
    case.check("tokens not as declared", held=not odd, expected=claim.token, observed=f"{len(odd)}", claim=claim_id)
    different = len(set(tokens))
    case.check("different tokens", held=different == TOKENS, expected=TOKENS, observed=different, claim=claim_id)
    # Of a token in parts (RFC 7519: header, claims, signature) one must be out of reach of guessing.
    secret = max(zip(*(token.split(".") for token in tokens), strict=False), key=bits_that_differ)
    bits = bits_that_differ(secret)
    case.check(
        "bits that differ", held=bits >= BITS, expected=f"{BITS} or more", observed=f"{bits:.0f}", claim=claim_id
    )
    fixed = len(commonprefix(secret))
    alike = max(len(commonprefix(pair)) - fixed for pair in combinations(secret, 2))
    title = "letters that two tokens begin alike with"
    case.check(title, held=alike < SHARED, expected=f"below {SHARED}", observed=alike, claim=claim_id)
    derived = [how for how, made in guessed_tokens(accounts, began, time.time()) if made in tokens]
    case.check("tokens made of clock, counter or name", held=not derived, expected=[], observed=derived, claim=claim_id)


def bits_that_differ(texts: Sequence[str]) -> float:
    """Return how many bits the letters can hold that are not the same in all texts."""
    columns = [set(letters) for letters in zip(*texts, strict=False)]
    moving = [column for column in columns if len(column) > 1]
    alphabet = len(set().union(*moving)) if moving else 1
    return len(moving) * math.log2(alphabet)


def guessed_tokens(accounts: list[str], began: float, ended: float) -> Iterator[tuple[str, str]]:
    """What weak devices are known to make tokens of: a digest of seconds, of a small number, of the account."""
    seconds = range(int(began) - 30, int(ended) + 31)
    texts = [str(number) for number in (*range(4096), *seconds)]
    texts += [f"{account}{mark}" for account in accounts for mark in ("", *seconds)]
    for text in texts:
        for digest in (hashlib.md5, hashlib.sha1, hashlib.sha256):
            yield f"{digest.__name__} of {text}", digest(text.encode(), usedforsecurity=False).hexdigest()


@testcase(
    "SESSION-TOKEN-PLACE",
    title="A token is taken whole, and only where requests carry it",
    tags=[
        verifies("NMPA-2022/PAUT", "NMPA-2022/AUTH", "NMPA-2020/IFU-access", "FDA-A1/A", "FDA-VC/VULN-ABUSE"),
        contributes("ANSM-2019/CRIT-C"),
    ],
    about=About(property="confidentiality", phase="design", method="penetration", threat="a token in a log or link"),
    effects=[Effect.ACCOUNTS],
    version=2,
    unqualified=True,
)
@each("claim_id, surface", with_tokens)
def test_places(case: Case, claim_id: str, surface: str) -> None:
    door = case.bench.http(surface)
    login = door.spec.login
    action = door.fields["uptime"].action
    case.attack(surface, "a token where none belongs, and tokens that are nearly right")
    with door.session() as opened:
        session = case.value(opened, "log-in")
        right = session.request(action)
        bare = door.request(action)
        case.twin("the token in its place", door.send(right, action=action))
        token = session.token
        with case.step("In another place"):
            for name in dict.fromkeys(
                (login.token or login.cookie or login.header, "token", "access_token", "session", "auth")
            ):
                target = bare.target + (b"&" if b"?" in bare.target else b"?") + f"{name}={quote(token)}".encode()
                expect_over(case, claim_id, f"in the query as {name}", door, door.send(replace(bare, target=target)))
            elsewhere = {"Cookie": f"{login.token}={token}", "X-Auth-Token": token, "Authorization": f"Basic {token}"}
            for header, value in elsewhere.items():
                if (header.encode(), value.encode()) not in right.headers:
                    request = replace(bare, headers=(*bare.headers, (header.encode(), value.encode())))
                    expect_over(case, claim_id, f"in the header {header}", door, door.send(request))
        with case.step("Not whole"):
            # Not the last letter: bits of it may stand for nothing (RFC 4648, section 3.5).
            near = len(token) - 1 - len(token) // 8
            other = token[:near] + ("1" if token[near] != "1" else "2") + token[near + 1 :]
            wrong = {
                "cut by a letter": token[:-1], "a letter near the end another": other, "twice": token + token,
                "none": "", "only the first letter": token[:1], "zeros": "0" * len(token),
            }  # fmt: skip
            for title, value in wrong.items():
                headers = tuple((name, text.replace(token.encode(), value.encode())) for name, text in right.headers)
                expect_over(case, claim_id, title, door, door.send(replace(right, headers=headers)))
        case.twin("the token in its place, after these", door.send(right, action=action))
