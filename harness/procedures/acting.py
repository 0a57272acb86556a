"""Done by somebody who may: actions, what they read, accounts of a testcase's own."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from harness.case import Case
from harness.device.answer import Answer
from harness.device.log_in import LogInSurface, Session
from harness.device.messages import MessageSurface
from harness.device.outcomes import Outcome, Refused
from harness.rig.device_file import Action, ActionBase
from harness.rig.http_surface import HttpAction
from harness.rig.templates import holes
from harness.verdict import Undecided

__all__ = [
    "Newcomer",
    "acting",
    "add_account",
    "do",
    "in_role",
    "permitted",
    "prepare",
    "reads",
    "takes_text",
    "text_arguments",
]


def permitted(case: Case, surface: str, action: str) -> list[str]:
    """Return the accounts of a surface whose role may do `action` by the claims about permissions."""
    return case.bench.rig.device.who_may(surface, action) or []


def in_role(case: Case, surface: str, roles: Collection[str], *, to: str) -> str:
    """Return the first account of a surface that has one of these roles.

    Raises:
        Undecided: none is declared; `to` says what it was wanted for.
    """
    for name, account in case.bench.log_in_surface(surface).accounts.items():
        if account.role in roles:
            return name
    raise Undecided(f"no declared account may {to} on {surface}")


@contextmanager
def acting(case: Case, surface: str, action: str) -> Iterator[Session]:
    """Open a session of somebody who may do `action`, log out after the block.

    Raises:
        Undecided: nobody may, or the log-in is not accepted.
    """
    able = permitted(case, surface, action)
    if not able:
        raise Undecided(f"no declared account may do {action} on {surface}")
    # A declared account may be gone, after a restore or a reset: the next one that may will do.
    for account in able:
        opened = case.bench.log_in_surface(surface).log_in(account)
        if not isinstance(opened, Refused):
            break
    session = case.value(opened, f"log-in of {account}")
    try:
        yield session
    finally:
        session.log_out()


def do(case: Case, surface: str, action: str, *, octets: bytes | None = None, **named: str) -> Outcome[Answer]:
    """Have somebody who may carry out an action, in a session of its own.

    Raises:
        Undecided: nobody may, or the log-in is not accepted.
    """
    with acting(case, surface, action) as session:
        return session.do(action, octets=octets, **named)


PREPARED = {
    "user-set-role": "user-add",
    "user-set-password": "user-add",
    "user-remove": "user-add",
    "patient-remove": "patient-add",
}
"""Operations that change what another one has to add before."""


def prepare(case: Case, surface: str, action: str) -> None:
    """Have somebody who may add what an action changes or removes with its declared harmless arguments.

    Raises:
        Undecided: it is not added.
    """
    if action in PREPARED:
        case.value(do(case, surface, PREPARED[action]), PREPARED[action])


def reads(case: Case, surface: str, action: str) -> tuple[dict[str, str], ...]:
    """Return the rows that an action answers to somebody who may.

    Raises:
        Undecided: it is not answered.
    """
    return tuple(dict(row) for row in case.value(do(case, surface, action), action).rows)


def text_arguments(action: ActionBase) -> dict[str, str]:
    """Return the arguments of an action that are text, with their harmless values."""
    texts = {name: value for name, value in action.harmless.items() if isinstance(value, str)}
    if not isinstance(action, Action):
        return texts
    # The arguments of a command are all written as texts.
    return {name: value for name, value in texts.items() if not re.fullmatch(r"[\d.]+", value)}


def takes_text(door: LogInSurface, action: ActionBase, argument: str, text: str) -> bool:
    """Whether a text can be given there as an argument.

    A dialogue, a message and a header take lines: what ends one is the business of other testcases.
    """
    if isinstance(door, MessageSurface) and not door.carries(text):
        return False
    in_line = not isinstance(action, HttpAction) or argument in holes(action.headers)
    return not in_line or (text.isascii() and text.isprintable())


@dataclass(frozen=True, slots=True)
class Newcomer:
    """An account that a testcase has made: its name, its role, and the password it was made with."""

    user: str
    role: str
    password: str


def add_account(case: Case, surface: str, *, role: str = "") -> Newcomer:
    """Make the account that the device file declares harmless to make, in another role if one is given.

    Raises:
        Undecided: it is not made.
    """
    harmless = case.bench.log_in_surface(surface).actions["user-add"].harmless
    declared = {name: str(value) for name, value in harmless.items()}
    newcomer = Newcomer(declared["user"], role or declared["role"], declared["password"])
    case.bench.wiring.hide(newcomer.password)
    added = do(case, surface, "user-add", user=newcomer.user, role=newcomer.role, password=newcomer.password)
    case.value(added, f"adding {newcomer.user}")
    return newcomer
