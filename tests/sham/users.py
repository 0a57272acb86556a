"""Roles, accounts as delivered, and how a password is judged and kept (VP1-ICD §2.2 and §11.4)."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from enum import Enum
from functools import cache

NAME = re.compile(r"[a-z][a-z0-9-]{0,14}")
MOST_ACCOUNTS = 16
ITERATIONS = 5000
"""Of PBKDF2: few, since a sham need not resist anybody, but enough to be timed."""


class Role(Enum):
    """Roles of VP1-ICD §2.2."""

    OPERATOR = "operator"
    SERVICE = "service"
    ADMINISTRATOR = "administrator"


PASSWORDS = {"operator": b"Drip-7-Harbour", "service": b"Valve-31-Copper", "admin": b"Summit-52-Lantern"}
"""As delivered to the bench (VP1-ICD §2.2): published, not secret."""

_DELIVERED = {"operator": Role.OPERATOR, "service": Role.SERVICE, "admin": Role.ADMINISTRATOR}

Account = dict[str, str]
"""One account as it is kept: `role` and `hash`."""

NOBODY = {"hash": "00" * 16 + ":" + "00" * 32}
"""What a password is compared with for a user who does not exist: as much work, and never right."""


def hashed(password: bytes, salt: str) -> str:
    """What is kept of a password."""
    return f"{salt}:{hashlib.pbkdf2_hmac('sha256', password, bytes.fromhex(salt), ITERATIONS).hex()}"


def is_password(password: bytes, kept: Account) -> bool:
    """Compare a password with what is kept of one."""
    return hmac.compare_digest(hashed(password, kept["hash"].partition(":")[0]), kept["hash"])


def account(role: Role, password: bytes) -> Account:
    """A new account with a salt of its own."""
    return {"role": role.value, "hash": hashed(password, secrets.token_hex(16))}


@cache
def _delivered(user: str) -> tuple[tuple[str, str], ...]:
    return tuple(account(_DELIVERED[user], PASSWORDS[user]).items())


def delivered() -> dict[str, Account]:
    """The accounts as delivered to the bench."""
    return {user: dict(_delivered(user)) for user in _DELIVERED}


def follows_rule(password: str, *, user: str) -> bool:
    """Judge a new password by itself (VP1-ICD §11.4); that it is another than the present one is judged elsewhere."""
    if not re.fullmatch(r"[ -~]{10,64}", password) or user in password.lower():
        return False
    kinds = (str.islower, str.isupper, str.isdigit, lambda c: not c.isalnum())
    return sum(any(kind(c) for c in password) for kind in kinds) >= 3
