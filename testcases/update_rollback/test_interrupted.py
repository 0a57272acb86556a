"""A transfer that breaks off, stalls or never ends leaves nothing behind, and one update is made at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from time import monotonic

from harness.case import Case
from harness.device.outcomes import Refused
from harness.instances import partable, parted_updates
from harness.links.file_server import Offer
from harness.procedures.updating import BUSY, UpdateStatus, Updating
from harness.rig.bundles import Bundle, newest_update
from harness.rig.claims import UpdateClaim
from harness.rig.device_file import DeviceFile
from harness.rig.rig_file import Effect
from harness.testcase import About, Instance, contributes, each, testcase, verifies

TAGS = [
    verifies("NMPA-2022/CSUP", "FDA-A1/H", "FDA-A1/G"),
    contributes("ANSM-2019/SAFE-FIRST", "FDA-VC/THREAT", "MDS2-2019/CSUP"),
]
LATE = 5.0
"""Seconds a device may be late in giving a transfer up: the claim gives no tolerance."""
TOO_LARGE = 1 << 40
"""Bytes that no device has room for."""


def interruptions(device: DeviceFile) -> Iterable[Instance]:
    """Each way to break a transfer, of each declared way to make one."""
    for claim_id, claim in device.claims_of(UpdateClaim).items():
        for name in INTERRUPTIONS:
            way = name.partition("-")[0]
            if way == "upload" and not partable(device, claim.surface):
                continue
            if way in claim.ways and (claim.stall is not None or "stalled" not in name):
                yield Instance(name, (claim_id, name))


@testcase(
    "UPDATE-INTERRUPTED",
    title="An update whose transfer breaks off or stalls is given up, and a later one works",
    tags=TAGS,
    about=About(property="availability", phase="monitoring", method="penetration", threat="network lost in an update"),
    effects=[Effect.FIRMWARE],
    unqualified=True,
    slow=True,
)
@each("claim_id, how", interruptions)
def test_interrupted(case: Case, claim_id: str, how: str) -> None:
    updating, good = Updating(case, claim_id), newest_update(case.bench.rig)
    case.attack(updating.claim.surface, f"an interrupted update: {how}")
    before = updating.now()
    INTERRUPTIONS[how](updating, good)
    case.unchanged("the running version", before=before.version, after=updating.now().version)
    with case.step("A later update"):
        way = "url" if how.startswith("url") else "upload"
        updating.twin("the whole update is taken", updating.install(good, way=way), good)
    updating.close()


@testcase(
    "UPDATE-AT-ONCE",
    title="A second update is refused while one is under way, and the first goes on",
    tags=TAGS,
    about=About(property="integrity", phase="monitoring", method="penetration", threat="two updates mixed up"),
    effects=[Effect.FIRMWARE],
    slow=True,
)
@each("claim_id", parted_updates)
def test_two_at_once(case: Case, claim_id: str) -> None:
    updating, good = Updating(case, claim_id), newest_update(case.bench.rig)
    data, half = good.read(), len(good.read()) // 2
    case.attack(updating.claim.surface, "a second update while one is received")
    with case.step("The first half of an update"):
        connection, request = updating.half_sent(data, name=good.path.name, first=half)
    with case.step("A second update"):
        taken = False
        for way in updating.claim.ways:
            if way == "upload":
                outcome = updating.do("update-upload", octets=data, name=good.path.name)
            else:
                with updating.served(data, name=good.path.name) as (_, url):
                    outcome = updating.do("update-url", url=url)
            case.expect_refused(f"a second update by {way}", outcome, claim=claim_id)
            taken |= not isinstance(outcome, Refused)
    if taken:
        connection.close()
        return
    with case.step("The rest of the first"):
        connection.upload(request, timeout=updating.within["receiving"], start=half)
        went_on = updating.await_state({"verifying", "writing", "ready"}, within=updating.within["receiving"])
        case.check(
            "the first update goes on", held=went_on is not None or None, expected="verifying", observed=updating.now()
        )
        if went_on is None:
            connection.close()
            return
        last = updating.await_end()
        connection.close()
        case.check(
            "the first update is taken",
            held=last.state == "ready" and last.target == good.version,
            expected=f"ready, target {good.version}", observed=last, claim=claim_id,
        )  # fmt: skip
    updating.close()


def upload_cut(updating: Updating, good: Bundle) -> None:
    """Uploads that are cut at the beginning, in the middle and before the end."""
    data = good.read()
    for first in (1, len(data) // 3, len(data) - 1):
        connection, _ = updating.half_sent(data, name=good.path.name, first=first)
        connection.close()
        expect_given_up(updating, f"an upload cut after {first} of {len(data)} bytes", within=updating.claim.stall or 0)


def upload_stalled(updating: Updating, good: Bundle) -> None:
    """An upload that stands still, its connection open."""
    data = good.read()
    connection, _ = updating.half_sent(data, name=good.path.name, first=len(data) // 2)
    expect_given_up(updating, "an upload that stalls", within=updating.claim.stall or 0)
    connection.close()


def upload_too_large(updating: Updating, good: Bundle) -> None:
    """An upload that announces more than there is room for."""
    request = updating.request(good.read()[:1000], name=good.path.name)
    headers = (*request.headers, (b"Content-Length", str(TOO_LARGE).encode()))
    outcome = updating.http_door.send(replace(request, headers=headers), action="update-upload", first=100)
    updating.case.expect_refused(f"an upload of {TOO_LARGE} bytes", outcome, claim=updating.id)
    expect_given_up(updating, "an upload that is too large", within=updating.claim.stall or 0)


def url_of(offer: Callable[[bytes], Offer | None]) -> Callable[[Updating, Bundle], None]:
    """Return an interruption: the device fetches what `offer` makes of the bundle."""

    def interrupt(updating: Updating, good: Bundle) -> None:
        with updating.served(offer(good.read()), name=good.path.name) as (server, url):
            outcome = updating.do("update-url", url=url)
            updating.case.twin("the address is taken", outcome)
            asked = server.wait_asked(timeout=updating.within["receiving"])
            updating.case.check("the device asks for it", held=asked or None, expected="a request", observed=asked)
            expect_given_up(updating, "an update that cannot be fetched", within=updating.claim.stall or 0)

    return interrupt


INTERRUPTIONS: dict[str, Callable[[Updating, Bundle], None]] = {
    "upload-cut": upload_cut,
    "upload-stalled": upload_stalled,
    "upload-too-large": upload_too_large,
    "url-cut": url_of(lambda data: Offer(data, first=len(data) // 2)),
    "url-stalled": url_of(lambda data: Offer(data, first=len(data) // 2, stall=True)),
    "url-missing": url_of(lambda data: None),
    "url-too-large": url_of(lambda data: Offer(data[:1000], announced=TOO_LARGE)),
}


def expect_given_up(updating: Updating, title: str, *, within: float) -> None:
    """The device must give a transfer up in `within` seconds: idle, or refused for the transfer."""
    case, begun = updating.case, monotonic()
    last: UpdateStatus | None = updating.await_state({"idle", "refused", "failed", "ready"}, within=within + LATE)
    case.check(
        f"{title} is given up",
        held=last is not None and last.state in ("idle", "refused"),
        expected=f"not {' '.join(sorted(BUSY))}, within {within + LATE:g} s",
        observed=f"{last or updating.now()} after {monotonic() - begun:.1f} s", claim=updating.id,
    )  # fmt: skip
    if last is not None and last.state == "refused":
        updating.expect_reason(f"{title} is refused for the transfer", last, why="transfer")
