"""A backup brought to a device that is as from the factory, as after a repair."""

from __future__ import annotations

from harness.case import Case
from harness.procedures.life import erase, set_up
from harness.procedures.restoring import Restoring
from harness.rig.claims import EndOfLifeClaim, FirstUseClaim, RestoreClaim
from harness.rig.device_file import DeviceFile
from harness.rig.rig_file import Effect
from harness.testcase import About, Instance, contributes, each, testcase, verifies
from harness.watch import IncidentKind


def resettable(device: DeviceFile) -> list[Instance]:
    """Claims that a backup is good on another unit, on a surface by which the device can be reset and set up again."""
    ends = {claim.surface: claim_id for claim_id, claim in device.claims_of(EndOfLifeClaim).items()}
    begins = {claim.surface: claim_id for claim_id, claim in device.claims_of(FirstUseClaim).items()}
    return [
        Instance(claim.surface, (claim_id, ends[claim.surface], begins[claim.surface]))
        for claim_id, claim in device.claims_of(RestoreClaim).items()
        if claim.other_unit and claim.surface in ends and claim.surface in begins
    ]


@testcase(
    "RESTORE-REPLACEMENT",
    title="A backup is restored whole on a device that was reset and set up anew",
    tags=[
        verifies("NMPA-2022/DTBK", "NMPA-2022/IFU-backup"),
        contributes("MDS2-2019/DTBK", "ANSM-2019/CRIT-D"),
    ],
    about=About(property="availability", phase="first use", method="function", threat="a device that is replaced"),
    effects=[Effect.ACCOUNTS, Effect.CONFIGURATION, Effect.DATA, Effect.IRREVERSIBLE],
    slow=True,
    unqualified=True,
)
@each("claim_id, end, begin", resettable)
def test_replacement(case: Case, claim_id: str, end: str, begin: str) -> None:
    device = case.bench.rig.device
    end_of_life, first_use = device.claims_of(EndOfLifeClaim)[end], device.claims_of(FirstUseClaim)[begin]
    with Restoring(case, claim_id) as restoring:
        with case.step("A state and its backup"):
            restoring.change()
            backup, wanted = restoring.make(), restoring.state()
        case.attack(restoring.claim.surface, "reset, set up and restored")
        with case.expecting(IncidentKind.RESTART, within=10 * end_of_life.within):
            restoring.close()
            erase(case, end_of_life)
            case.value(set_up(case, first_use), "setting up")
        # In first use nobody but this account is there.
        admin = first_use.account
        session = case.value(restoring.door.log_in(admin), f"log-in of {admin}")
        listed = case.value(session.do("user-list"), "the accounts").rows
        case.check(
            "the device is as new", held=[row["user"] for row in listed] == [admin] or None, expected=[admin],
            observed=[row.get("user") for row in listed],
        )  # fmt: skip
        restored = session.do("restore", octets=backup, passphrase=restoring.passphrase)
        session.drop()
        case.expect_accepted("the backup on the device as new", restored, claim=claim_id)
        restoring.expect_state("after the restore on the device as new", wanted)
        for account in restoring.door.accounts:
            with restoring.door.session(account) as opened:
                case.expect_accepted(f"{account} after the restore", opened, claim=claim_id)
