"""Refused log-ins where each counts towards a lock for everybody: the right password in time keeps it open."""

from __future__ import annotations

from harness.case import Case
from harness.device.log_in import Entrance
from harness.rig.claims import LockoutClaim

__all__ = ["RefusedLogIns"]


class RefusedLogIns:
    """Counts them on one surface; where locks are on accounts it does nothing."""

    def __init__(self, case: Case, surface: str, prompt: Entrance) -> None:
        """`prompt` is where the attempts are made; the first account of the surface logs in between."""
        self._case = case
        self._prompt = prompt
        self._known, account = next(iter(case.bench.log_in_surface(surface).accounts.items()))
        locks = case.bench.rig.device.claims_of(LockoutClaim, surface=surface).values()
        self._most = max(1, account.failed_log_ins) if any(lock.scope != "account" for lock in locks) else None
        self._count = 0

    def one_more(self) -> None:
        """Note one; log in properly when the account's `failed_log_ins` are spent."""
        if self._most is None:
            return
        self._count += 1
        if self._count >= self._most:
            self._count = 0
            self._case.twin(f"{self._known} in between", self._prompt.visit(self._known))
