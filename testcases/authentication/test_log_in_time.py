"""The time a refused log-in takes does not tell which accounts exist."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from secrets import choice
from statistics import median, pstdev
from string import ascii_lowercase
from time import monotonic

from harness.case import Case
from harness.device.log_in import Entrance
from harness.device.outcomes import Refused, Unintelligible, name_of
from harness.rig.claims import AccountClaim
from harness.rig.device_file import DeviceFile, LogInSurface
from harness.rig.rig_file import Effect
from harness.testcase import About, Instance, contributes, each, testcase, verifies

ROUND, ROUNDS = 24, 8
"""Refused log-ins of a known and of an unknown user each, in turn, in a round; rounds until it is decided."""
SHARE = 0.4
"""Part of the longer time by which the times may differ: the work on the password, missing, is more than that."""
LEAST = 0.004
"""Seconds by which they may differ in any case: below, a network hides it from all but very many attempts."""
SPREADS = 3.0
"""Standard uncertainties to each side within which nothing is decided."""
RESAMPLED = 400
"""Times the measured ones are drawn from anew for the uncertainty."""


def with_names(device: DeviceFile) -> Iterator[Instance]:
    """Every surface of an accounts claim on which a log-in says who it is."""
    for claim_id, claim in device.claims_of(AccountClaim).items():
        for surface in claim.surfaces:
            spec = device.surfaces[surface]
            if isinstance(spec, LogInSurface) and spec.names_users:
                yield Instance(surface, (claim_id, surface))


@testcase(
    "AUTH-LOG-IN-TIME",
    title="A refused log-in takes the same time whether the account exists or not",
    tags=[
        verifies("NMPA-2022/PAUT", "NMPA-2020/IFU-access", "FDA-A1/A", "FDA-VC/THREAT"),
        contributes("ANSM-2019/CRIT-C", "ANSM-2019/RISK-OBSC"),
    ],
    about=About(property="confidentiality", phase="design", method="penetration", threat="undeclared accounts"),
    effects=[Effect.ACCOUNTS],
    slow=True,
)
@each("claim_id, surface", with_names)
def test_log_in_time(case: Case, claim_id: str, surface: str) -> None:
    claim = case.bench.rig.device.claims_of(AccountClaim)[claim_id]
    door = case.bench.log_in_surface(surface)
    known = next(iter(door.accounts))
    # As long as the known name, so that only its being known differs; on one that a neighbour does not have.
    unknown = "".join(choice(ascii_lowercase) for _ in known)
    told_by = claim_id if claim.unknown_alike else ""
    case.attack(surface, f"log-ins of {known} and of {unknown} with a wrong password, in turn")
    times = Times(known=[], unknown=[])
    with door.entrance() as prompt:
        while times.rounds < ROUNDS and times.held is None:
            if not _round(
                case, prompt, {known: times.known, unknown: times.unknown}, claim_id=claim_id, told_by=told_by
            ):
                return
        case.twin(f"{known} after all these", prompt.visit(known))
    case.check(
        "the difference of the times",
        held=times.held,
        expected=f"{times.limit * 1000:.1f} ms or less",
        observed=f"{times.difference * 1000:.1f} ms ± {times.uncertainty * 1000:.1f} ms; known "
        f"{typical(times.known) * 1000:.1f} ms, unknown {typical(times.unknown) * 1000:.1f} ms, "
        f"{len(times.known)} times each",
        claim=told_by,
    )


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds that refused log-ins took."""

    known: list[float]
    unknown: list[float]

    @property
    def rounds(self) -> int:
        """How many are complete."""
        return len(self.known) // ROUND

    @property
    def difference(self) -> float:
        """Of the typical times, whichever is the longer."""
        return abs(typical(self.known) - typical(self.unknown))

    @property
    def limit(self) -> float:
        """What the difference may be."""
        return max(LEAST, SHARE * max(typical(self.known), typical(self.unknown)))

    @property
    def uncertainty(self) -> float:
        """Of the difference: its spread when the times are drawn anew from those measured."""
        drawn = Random(len(self.known))
        redrawn = [
            [drawn.choices(taken, k=len(taken)) for taken in (self.known, self.unknown)] for _ in range(RESAMPLED)
        ]
        return SPREADS * pstdev(typical(known) - typical(unknown) for known, unknown in redrawn)

    @property
    def held(self) -> bool | None:
        """Whether the difference is within the limit; None while it cannot be told."""
        if not self.known:
            return None
        if self.difference + self.uncertainty <= self.limit:
            return True
        return False if self.difference - self.uncertainty > self.limit else None


def typical(taken: list[float]) -> float:
    """The median of the faster half: whatever else keeps bench and device busy only ever adds to a time."""
    return median(sorted(taken)[: (len(taken) + 1) // 2])


def _round(case: Case, prompt: Entrance, times: dict[str, list[float]], *, claim_id: str, told_by: str) -> bool:
    """Add a round of refused log-ins to the times; False when one was not plainly refused: then it is decided."""
    known, unknown = users = list(times)
    budget = max(1, case.bench.rig.device.accounts[known].failed_log_ins)
    for number in range(ROUND):
        # The right password in time keeps the account from being locked: a lock has a time of its own.
        if number % budget == 0:
            case.value(prompt.visit(known), f"log-in of {known}")
            # A visit ends its connection, on some surfaces: the next attempt pays for a new one, and is not timed.
            prompt.attempt(unknown, "not-the-password")
        for user in reversed(users) if number % 2 else users:
            asked = monotonic()
            outcome = prompt.attempt(user, "not-the-password")
            took = monotonic() - asked
            if isinstance(outcome, Refused) and outcome.reason == "refused":
                times[user].append(took)
                continue
            case.expect_refused(f"{user} with a wrong password", outcome, claim=claim_id)
            # The known one was refused before, in words the device file knows: no time is needed to tell them apart.
            apart = user == unknown and times[known] and isinstance(outcome, Unintelligible)
            case.check(
                "a refusal in the same words, without a lock", held=False if apart else None, expected="refused",
                observed=name_of(outcome), claim=told_by if apart else "",
            )  # fmt: skip
            return False
    return True
