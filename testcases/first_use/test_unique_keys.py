"""Each unit makes keys of its own: no two units share one, and none is that of the delivered unit."""

from __future__ import annotations

from collections.abc import Mapping

from harness.case import Case
from harness.control.base import Capability
from harness.links.tls import fingerprint
from harness.procedures.life import erase, set_up
from harness.procedures.restarts import await_start
from harness.procedures.server_keys import KEY, shown_marks
from harness.rig.claims import EndOfLifeClaim, FirstUseClaim
from harness.rig.device_file import DeviceFile
from harness.rig.rig_file import Effect
from harness.testcase import About, Instance, contributes, each, testcase, verifies
from harness.watch import IncidentKind

UNITS = 2
"""Units that are brought to first use."""


def own_keys(device: DeviceFile) -> list[Instance]:
    """Claims about first use that name keys, on a surface by which the device can be brought there."""
    ends = {claim.surface: claim_id for claim_id, claim in device.claims_of(EndOfLifeClaim).items()}
    return [
        Instance(claim.surface, (claim_id, ends[claim.surface]))
        for claim_id, claim in device.claims_of(FirstUseClaim).items()
        if claim.keys and claim.surface in ends
    ]


@testcase(
    "KEYS-UNIQUE",
    title="Two units that are set up independently share no key, and neither has one of the delivered unit",
    tags=[
        verifies("FDA-A1/A"),
        contributes("NMPA-2022/NAUT", "NMPA-2022/TXCF", "ANSM-2019/CRIT-C"),
    ],
    about=About(property="confidentiality", phase="first use", method="function", threat="a key of another unit"),
    effects=[Effect.IRREVERSIBLE, Effect.ACCOUNTS, Effect.CONFIGURATION, Effect.DATA],
    needs=["power"],
    slow=True,
)
@each("claim_id, end", own_keys)
def test_unique_keys(case: Case, claim_id: str, end: str) -> None:
    """One unit stands for two: it begins cold from the same baseline, so that only what it draws can differ."""
    device = case.bench.rig.device
    claim, end_of_life = device.claims_of(FirstUseClaim)[claim_id], device.claims_of(EndOfLifeClaim)[end]
    case.attack(claim.surface, f"the keys of {UNITS} units are compared")
    units = {"the delivered unit": {link: shown_marks(case, link) for link in claim.keys}}
    within = 2 * UNITS * (device.starts_within + end_of_life.within)
    with case.expecting(IncidentKind.RESTART, within=within):
        for number in range(1, UNITS + 1):
            with case.step(f"Unit {number} begins cold, is erased and set up"):
                begin_cold(case, claim.surface, anew=number > 1)
                erase(case, end_of_life)
                case.value(set_up(case, claim), "setting up")
                units[f"unit {number}"] = {link: shown_marks(case, link) for link in claim.keys}
    for link in claim.keys:
        with case.step(f"What {link} shows"):
            shown = {unit: marks[link] for unit, marks in units.items()}
            for mark in dict.fromkeys(name for marks in shown.values() for name in marks):
                expect_different(case, claim_id, f"{mark} of {link}", mark, shown)


def begin_cold(case: Case, surface: str, *, anew: bool) -> None:
    """Start without what a generator has gathered since power-on; `anew` from the baseline, where the bench can."""
    bench = case.bench
    pinned = ""
    case.judge_watches()
    if anew and Capability.RESTORE in bench.control.capabilities:
        bench.fresh()
    elif anew:
        pinned = fingerprint(case.value(bench.http(surface).certificate(), f"the certificate of {surface}"))
    bench.power_cycle()
    if pinned:
        bench.http(surface).trust(pinned)
    await_start(case, surface)


def expect_different(case: Case, claim_id: str, title: str, mark: str, shown: Mapping[str, Mapping[str, str]]) -> None:
    """No two units show the same; what only some of them show at all says nothing, but for a key."""
    seen = {unit: marks[mark] for unit, marks in shown.items() if mark in marks}
    shared = [unit for unit, text in seen.items() if list(seen.values()).count(text) > 1]
    held = None if mark == KEY and len(seen) < len(shown) else not shared
    case.check(
        title, held=held, expected="another one on each unit",
        observed=f"the same on {' and '.join(shared)}: {seen[shared[0]]}" if shared else "; ".join(seen.values()),
        claim=claim_id,
    )  # fmt: skip
