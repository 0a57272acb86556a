"""Diagnostic security access: fresh seeds, no key that can be guessed or recorded, a delay after wrong keys."""

from __future__ import annotations

import threading
import time
import zlib

from harness.case import Case
from harness.device.outcomes import Accepted, Outcome, Refused
from harness.device.uds import UdsSurface, cmac
from harness.rig.claims import SecurityAccessClaim
from harness.rig.rig_file import Effect
from harness.testcase import About, contributes, each_surface, testcase, verifies
from harness.watch import IncidentKind

SEEDS = 64
"""Requests for a seed: two equal ones among so many happen by chance once in 10^16 with eight bytes."""
POLL = 0.25
"""Seconds between two requests for a seed while the delay runs."""
RESTARTED_WITHIN = 15.0

TAGS = [
    verifies("NMPA-2022/NAUT", "NMPA-2022/AUTH", "NMPA-2020/IFU-access", "FDA-A1/A", "ANSM-2019/CRIT-C"),
    contributes("FDA-A1/C", "NMPA-2022/VV-THREAT", "ANSM-2019/RISK-OBSC"),
]


def guesses(seed: bytes, length: int) -> dict[str, bytes]:
    """Keys that weak devices are known to accept, made from the seed without any secret."""

    def fit(key: bytes) -> bytes:
        return (key * (length // max(1, len(key)) + 1))[:length]

    plus_one = ((int.from_bytes(seed) + 1) % (1 << 8 * len(seed))).to_bytes(len(seed))
    return {
        "zeros": bytes(length),
        "ones": b"\xff" * length,
        "the seed itself": fit(seed),
        "the seed inverted": fit(bytes(byte ^ 0xFF for byte in seed)),
        "the seed backwards": fit(seed[::-1]),
        "the seed plus one": fit(plus_one),
        "the seed with its nibbles swapped": fit(bytes((byte << 4 | byte >> 4) & 0xFF for byte in seed)),
        "the seed exclusive-or A5": fit(bytes(byte ^ 0xA5 for byte in seed)),
        "the CRC-32 of the seed": fit(zlib.crc32(seed).to_bytes(4)),
        "AES-CMAC under a key of zeros": fit(cmac(bytes(16), seed)),
        "AES-CMAC under the seed": fit(cmac((seed * 16)[:16], seed)),
    }


def relock(case: Case, door: UdsSurface) -> None:
    """Leave the session of security access and enter it again: locked."""
    other = next((name for name in door.spec.sessions if name != door.security.session), door.security.session)
    case.value(door.enter(other), f"session {other}")
    case.value(door.enter(door.security.session), f"session {door.security.session}")


def try_key(case: Case, door: UdsSurface, make: str) -> Outcome[bytes]:
    """Ask for a seed and send the guess called `make`."""
    seed = case.value(door.seed(), "a seed")
    return door.send_key(guesses(seed, door.security.length)[make])


def prove_twin(case: Case, door: UdsSurface) -> None:
    """The right key opens; it also clears the count of wrong ones. Locked again afterwards."""
    seed = case.value(door.seed(), "a seed")
    case.twin("the right key", door.send_key(door.right_key(seed)))
    relock(case, door)


@testcase(
    "UDS-SEED",
    title="The seeds of diagnostic security access are new each time and show no pattern",
    tags=TAGS,
    about=About(property="confidentiality", phase="design", method="penetration", threat="predictable seed"),
)
@each_surface(SecurityAccessClaim)
def test_seeds(case: Case, claim_id: str, surface: str) -> None:
    door = case.bench.uds(surface)
    case.attack(surface, f"{SEEDS} requests for a seed")
    case.value(door.enter(door.security.session), f"session {door.security.session}")
    seeds = [case.value(door.seed(), "a seed") for _ in range(SEEDS)]
    case.check(
        "seeds that came twice", held=len(set(seeds)) == SEEDS, expected=f"{SEEDS} different seeds",
        observed=f"{len(set(seeds))} different, the first {seeds[0].hex()}", claim=claim_id,
    )  # fmt: skip
    fixed = [place for place in range(len(seeds[0])) if len({seed[place : place + 1] for seed in seeds}) == 1]
    case.check("bytes of the seed that never change", held=not fixed, expected=[], observed=fixed, claim=claim_id)
    size = 1 << 8 * len(seeds[0])
    steps = {(int.from_bytes(b) - int.from_bytes(a)) % size for a, b in zip(seeds, seeds[1:], strict=False)}
    case.check(
        "steps from seed to seed", held=len(steps) > SEEDS // 2, expected="no pattern", observed=f"{len(steps)} steps",
        claim=claim_id,
    )  # fmt: skip
    prove_twin(case, door)


@testcase(
    "UDS-KEY-GUESS",
    title="No key made from the seed without the secret opens diagnostic security access",
    tags=TAGS,
    about=About(property="confidentiality", phase="design", method="penetration", threat="guessed key"),
    unqualified=True,
)
@each_surface(SecurityAccessClaim)
def test_guessed_keys(case: Case, claim_id: str, surface: str) -> None:
    claim = case.bench.rig.device.claims_of(SecurityAccessClaim)[claim_id]
    door = case.bench.uds(surface)
    case.attack(surface, "keys made from the seed without the secret")
    case.value(door.enter(door.security.session), f"session {door.security.session}")
    wrong = 0
    for name in guesses(bytes(8), door.security.length):
        if wrong == claim.attempts - 1:  # one more would start the delay
            prove_twin(case, door)
            wrong = 0
        outcome = try_key(case, door, name)
        wrong += 1
        case.expect_refused(f"key: {name}", outcome, claim=claim_id)
        if isinstance(outcome, Accepted):
            relock(case, door)
    with case.step("A seed is good for one key"):
        prove_twin(case, door)
        seed = case.value(door.seed(), "a seed")
        case.expect_refused("a wrong key", door.send_key(bytes(door.security.length)), claim=claim_id)
        late = door.send_key(door.right_key(seed))
        case.expect_refused("the right key for a seed already used", late, claim=claim_id)
    relock(case, door)
    with case.step("A key without a seed"):
        case.expect_refused("a key without a seed", door.send_key(door.right_key(seed)), claim=claim_id)
    prove_twin(case, door)


@testcase(
    "UDS-KEY-REPLAY",
    title="A recorded key does not open diagnostic security access again",
    tags=TAGS,
    about=About(property="confidentiality", phase="design", method="penetration", threat="replayed key"),
)
@each_surface(SecurityAccessClaim)
def test_recorded_key(case: Case, claim_id: str, surface: str) -> None:
    door = case.bench.uds(surface)
    case.attack(surface, "a key recorded from an earlier security access")
    case.value(door.enter(door.security.session), f"session {door.security.session}")
    recorded = door.right_key(case.value(door.seed(), "a seed"))
    case.twin("the key when it is fresh", door.send_key(recorded))
    relock(case, door)
    case.value(door.seed(), "a new seed")
    case.expect_refused("the recorded key for a new seed", door.send_key(recorded), claim=claim_id)
    relock(case, door)
    prove_twin(case, door)


@testcase(
    "UDS-DELAY",
    title="Wrong keys start the claimed delay; the right key opens after it",
    tags=TAGS,
    about=About(property="confidentiality", phase="design", method="function", threat="key guessing"),
    effects=[Effect.ACCOUNTS],
    unqualified=True,
    slow=True,
)
@each_surface(SecurityAccessClaim)
def test_delay(case: Case, claim_id: str, surface: str) -> None:
    claim = case.bench.rig.device.claims_of(SecurityAccessClaim)[claim_id]
    door = case.bench.uds(surface)
    case.attack(surface, f"{claim.attempts} wrong keys")
    case.value(door.enter(door.security.session), f"session {door.security.session}")
    prove_twin(case, door)
    for _ in range(claim.attempts):
        case.expect_refused("a wrong key", try_key(case, door, "zeros"), claim=claim_id)
    began = time.monotonic()
    outcome: Outcome[bytes] = door.seed()
    case.expect_refused("a seed during the delay", outcome, claim=claim_id)
    relock(case, door)
    case.expect_refused("a seed during the delay, after another session", door.seed(), claim=claim_id)
    if not isinstance(outcome, Refused):
        return
    tick, over = threading.Event(), None
    while over is None and time.monotonic() - began < claim.delay + 2 * claim.tolerance + 1:
        asked = time.monotonic()
        outcome = door.seed()
        if isinstance(outcome, Accepted):
            over = (asked + time.monotonic()) / 2 - began
        elif isinstance(outcome, Refused):
            tick.wait(POLL)
        else:
            case.value(outcome, "a seed or its refusal")
    case.timing(
        "time from the last wrong key to the next seed", measured=over, low=claim.delay - claim.tolerance,
        high=claim.delay + claim.tolerance, uncertainty=2 * POLL, claim=claim_id,
    )  # fmt: skip
    if isinstance(outcome, Accepted):
        opened = door.send_key(door.right_key(outcome.value))
        case.expect_accepted("the right key after the delay", opened, claim=claim_id)
        relock(case, door)


@testcase(
    "UDS-RESET",
    title="The protected reset is refused without security access",
    tags=[
        verifies("NMPA-2022/AUTH", "NMPA-2020/IFU-access", "FDA-A1/B", "ANSM-2019/CRIT-D"),
        contributes("ANSM-2019/SAFE-FIRST", "NMPA-2022/RMOT"),
    ],
    about=About(property="availability", phase="design", method="penetration", threat="unauthorised reset"),
    effects=[Effect.CONFIGURATION],
    unqualified=True,
)
@each_surface(SecurityAccessClaim)
def test_protected_reset(case: Case, claim_id: str, surface: str) -> None:
    door = case.bench.uds(surface)
    case.attack(surface, "resets without security access")
    uptime = float(case.value(door.read("uptime"), "uptime"))
    for session in door.spec.sessions:
        with case.step(f"Session {session}, without security access"):
            case.value(door.enter(session), f"session {session}")
            case.expect_refused(f"reset in session {session}", door.reset(), claim=claim_id)
    with case.step("With a seed asked for, but no key, and after a wrong key"):
        case.value(door.seed(), "a seed")
        case.expect_refused("reset with a seed only", door.reset(), claim=claim_id)
        case.expect_refused("a wrong key", try_key(case, door, "zeros"), claim=claim_id)
        case.expect_refused("reset after a wrong key", door.reset(), claim=claim_id)
    with case.step("After security access was left"):
        case.value(door.unlock(), "security access")
        relock(case, door)
        case.expect_refused("reset after security access was left", door.reset(), claim=claim_id)
    asked, later = time.monotonic(), float(case.value(door.read("uptime"), "uptime"))
    case.check(
        "the device does not restart", held=later >= uptime, expected=f"{uptime} s or more", observed=f"{later} s",
        claim="BASE-UNCHANGED",
    )  # fmt: skip
    with case.step("The same reset with security access"):
        case.value(door.unlock(), "security access")
        case.await_watches()
        with case.expecting(IncidentKind.RESTART, IncidentKind.GAP, within=RESTARTED_WITHIN):
            case.twin("reset with security access", door.reset())
            _await_restart(door, slack=case.bench.rig.device.clock_tolerance, uptime=later, at=asked)


def _await_restart(door: UdsSurface, *, slack: float, uptime: float, at: float) -> None:
    """Wait until the device's clock, `uptime` at the instant `at`, is behind; the end of the testcase judges it."""
    deadline = time.monotonic() + RESTARTED_WITHIN
    while time.monotonic() < deadline:
        asked = time.monotonic()
        outcome = door.read("uptime")
        if isinstance(outcome, Accepted) and float(outcome.value) < uptime + asked - at - slack:
            return
