"""What the media of a device without power show to whoever takes them out and reads them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from mmap import ACCESS_READ, mmap

from harness.case import Case
from harness.device.outcomes import Accepted
from harness.device.traces import SHORTEST, credential_texts, traces
from harness.procedures.acting import add_account
from harness.procedures.canaries import Canaries
from harness.procedures.restarts import await_start
from harness.rig.claims import PatientClaim
from harness.rig.device_file import DeviceFile
from harness.rig.rig_file import Effect
from harness.testcase import About, Instance, contributes, each, testcase, verifies
from harness.verdict import Undecided
from harness.watch import IncidentKind


def stored(device: DeviceFile) -> list[Instance]:
    """Claims about patients by which none is on the media in clear."""
    claims = device.claims_of(PatientClaim).items()
    return [Instance(claim.surface, (claim_id,)) for claim_id, claim in claims if "storage" in claim.absent_from]


@testcase(
    "DATA-AT-REST",
    title="The media of a device without power show no patient, and no password or hash or key that use has brought",
    tags=[
        verifies("NMPA-2022/STCF", "NMPA-2022/DATA-PII", "ANSM-2019/CRIT-C", "FDA-A1/E"),
        contributes("NMPA-2020/T1-privacy", "MDS2-2019/STCF"),
    ],
    about=About(property="confidentiality", phase="end of life", method="penetration", threat="a stolen device"),
    effects=[Effect.DATA, Effect.ACCOUNTS],
    version=2,
    needs=["power", "storage"],
    slow=True,
    severity="blocker",
)
@each("claim_id", stored)
def test_at_rest(case: Case, claim_id: str) -> None:
    """Keys and hashes that the software brings are no data of the unit: those count that use has brought."""
    canaries = Canaries(case, claim_id)
    surface = canaries.claim.surface
    case.attack(surface, "the media are read while the device has no power")
    with case.expecting(IncidentKind.RESTART, within=6 * case.bench.rig.device.starts_within):
        with case.step("The media before"), read_out(case, surface) as data:
            brought = set(credential_texts(data))
        with case.step("Patients and an account are put in"):
            canaries.plant()
            newcomer = add_account(case, surface)
        with case.step("The media after"), read_out(case, surface) as data:
            canaries.expect_none("no patient on the media", data, ids=not canaries.log_names_ids)
            passwords = [account.password for account in case.bench.rig.device.accounts.values()]
            known = [*passwords, newcomer.password, case.bench.rig.file.item.setup_code or ""]
            named = {f"secret {number}": text for number, text in enumerate(known, 1) if text}
            short = [name for name, text in named.items() if len(text.encode()) < SHORTEST]
            case.check("passwords that would not turn up by chance", held=not short or None,
                       expected=f"{SHORTEST} bytes or more", observed=", ".join(short) or "all")  # fmt: skip
            found = traces(data, {name: text for name, text in named.items() if name not in short})
            found += [trace for text, trace in credential_texts(data).items() if text not in brought]
            case.check(
                "no credential on the media", held=not found, expected="none",
                observed="; ".join(map(str, found[:10])) or f"none in {len(data)} bytes", claim=claim_id,
            )  # fmt: skip
        with case.step("Control: what was looked for was on the media"):
            canaries.expect_there("the patients have outlived the power")
            opened = case.bench.http(surface).try_log_in(newcomer.user, newcomer.password)
            case.twin("the account has outlived the power", opened)
            if isinstance(opened, Accepted):
                opened.value.log_out()


@contextmanager
def read_out(case: Case, surface: str) -> Iterator[mmap]:
    """Take the power away, hand over everything that is on the media, and have the device up again after the block."""
    case.judge_watches()
    case.bench.power_off()
    image = case.bench.control.storage()
    if not image.stat().st_size:
        raise Undecided("the media are empty")
    with image.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        yield data
    case.bench.power_on()
    await_start(case, surface)
