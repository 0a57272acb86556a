"""Passwords and user names somebody who knows the product, but no secret, would try first."""

from __future__ import annotations

from collections.abc import Iterator

from harness.rig.device_file import DeviceFile

__all__ = ["FOREIGN_USERS", "cut_short", "guesses"]

FOREIGN_USERS = (
    "root", "admin", "administrator", "guest", "user", "test", "service", "support", "debug", "default", "ftp",
    "nobody", "pi", "anonymous",
)  # fmt: skip
"""Names of accounts that systems are delivered with."""

_USUAL = ("admin", "password", "Password1", "1234", "123456", "12345678", "default", "changeme", "root", "0000")


def cut_short(password: str) -> tuple[str, ...]:
    """Return what is left of a password without its end: who compares only as far as was entered lets it in."""
    return tuple(password[:-missing] for missing in (1, 2) if len(password) > missing)


def guesses(device: DeviceFile, account: str, *, serial: str, claimed_weak: tuple[str, ...] = ()) -> list[str]:
    """Return the guessable passwords of an account, each once: empty, its names, cut short, the product's, the usual.

    Args:
        device: what the product is called, and the account's role.
        account: a declared account, or any other user name.
        serial: serial number of the very unit, as on its label.
        claimed_weak: what the accounts claim names.
    """
    right = {known.password for known in device.accounts.values() if known.password}
    return [guess for guess in dict.fromkeys(_all(device, account, serial, claimed_weak)) if guess not in right]


def _all(device: DeviceFile, account: str, serial: str, claimed_weak: tuple[str, ...]) -> Iterator[str]:
    yield ""
    yield account
    yield account[::-1]
    yield f"{account}1"
    yield f"{account}123"
    if account in device.accounts:
        yield device.accounts[account].role
        yield from cut_short(device.accounts[account].password)
    yield from (device.model, device.model.lower(), device.device, device.manufacturer.split()[0].lower(), serial)
    yield from claimed_weak
    yield from _USUAL
