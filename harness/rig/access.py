"""Accounts of a device, and whether they and the claims about them fit the surfaces on which people log in."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from typing import Annotated, Self

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from harness.rig.can_database import Neighbours
from harness.rig.claim_access import (
    AccountClaim,
    IdleLogOffClaim,
    LockoutClaim,
    PasswordRuleClaim,
    SessionClaim,
)
from harness.rig.claim_base import ClaimBase, Strict
from harness.rig.log_in_surface import LogInSurface

__all__ = ["Account", "access_problems"]


def _beside(name: str, info: ValidationInfo) -> str:
    return str(info.context.path(name)) if isinstance(info.context, Neighbours) and name else name


PathBeside = Annotated[str, AfterValidator(_beside)]
"""A file, relative to the device file, or to the base that names it."""


class Account(Strict):
    """An account of the device. Password and key are device credentials, masked in what Proofrig shows."""

    role: str = Field(description="Role, as in the claim `permissions`")
    password: str = Field(
        default="",
        description=(
            "Masked at equal length in whatever Proofrig shows; captures hold it in clear. Not needed where "
            "the account only logs in by certificate"
        ),
    )
    certificate: PathBeside = Field(
        default="",
        description="PEM file with certificate and chain, relative to the device file, for an HTTP log-in by it",
    )
    certificate_key: PathBeside = Field(default="", description="PEM file with its key, without passphrase")
    failed_log_ins: int = Field(
        default=2, ge=0, description="Refused log-ins a testcase may spend in a row before it logs in properly"
    )

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if bool(self.certificate) != bool(self.certificate_key):
            raise ValueError("`certificate` and `certificate_key` go together")
        if self.certificate:
            try:
                # With a password given OpenSSL does not ask for one on the terminal.
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(self.certificate, self.certificate_key, "")
            except ssl.SSLError as error:
                reason = error.reason or "no such PEM, or a key with a passphrase"
                raise ValueError(f"certificate and key cannot be used: {reason}") from None
            except OSError as error:
                raise ValueError(f"certificate or key cannot be read: {error.strerror}") from None
        elif not self.password:
            raise ValueError("`password` is missing, or `certificate` with its key")
        return self


def access_problems(
    accounts: Mapping[str, Account], surfaces: Mapping[str, object], claims: Mapping[str, ClaimBase]
) -> Iterator[str]:
    """Say what of accounts and claims does not fit the surfaces on which people log in."""
    doors = {name: spec for name, spec in surfaces.items() if isinstance(spec, LogInSurface)}
    for name, spec in doors.items():
        for account in spec.accounts:
            if account not in accounts:
                yield f"surfaces.{name}.accounts: no account named {account!r}"
            elif spec.asks_password and not accounts[account].password:
                yield f"surfaces.{name}.accounts: account {account!r} has no password"
            elif not spec.asks_password and not accounts[account].certificate:
                yield f"surfaces.{name}.accounts: account {account!r} has no certificate"
    for claim_id, claim in claims.items():
        for name in getattr(claim, "surfaces", ()):
            door = doors.get(name)
            if door is None:
                continue
            if isinstance(claim, SessionClaim | IdleLogOffClaim) and not door.keeps_sessions:
                yield f"claims.{claim_id}: on {name} there are no sessions; every request says who it is from"
            if isinstance(claim, AccountClaim | LockoutClaim | PasswordRuleClaim) and not door.asks_password:
                yield f"claims.{claim_id}: on {name} nobody is known by a password"
