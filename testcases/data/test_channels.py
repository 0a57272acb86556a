"""Patient data stays with those who may see it: not in equipment data, log or console, on no link, on no wire."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from harness.capture import Direction, read_capture
from harness.case import Case
from harness.control.base import Capability
from harness.device.outcomes import Accepted
from harness.procedures.acting import do
from harness.procedures.canaries import Canaries
from harness.rig.claims import AuditClaim, PatientClaim, UdsServicesClaim
from harness.rig.device_file import DeviceFile, UdsSurface
from harness.rig.rig_file import CanLinkSpec, Effect, ModbusRtuLinkSpec, ModbusTcpLinkSpec, SerialLinkSpec
from harness.testcase import About, Instance, contributes, each, each_surface, testcase, verifies
from harness.verdict import Undecided
from harness.wiring import uds_tap

IN_CLEAR = (SerialLinkSpec, CanLinkSpec, ModbusTcpLinkSpec, ModbusRtuLinkSpec)
"""Kinds of links that carry what they carry in clear."""
TAGS = [
    verifies(
        "NMPA-2022/DATA-NOPII", "NMPA-2022/DATA-SEP", "NMPA-2022/DIDT", "NMPA-2020/T1-sep", "ANSM-2019/CRIT-C",
    ),
    contributes("NMPA-2020/T1-privacy", "NMPA-2022/DATA-CLASS", "MDS2-2019/DIDT"),
]  # fmt: skip


def channels(device: DeviceFile) -> Iterator[Instance]:
    """Every channel without patient data by a claim, but backup and storage, and the links that are in clear."""
    for claim_id, claim in device.claims_of(PatientClaim).items():
        for channel in claim.absent_from:
            if channel in SEARCHES:
                yield Instance(f"{claim.surface}-{channel}", (claim_id, channel))
        yield Instance(f"{claim.surface}-links", (claim_id, "links"))


@testcase(
    "DATA-CHANNEL",
    title="Data of patients in the device turns up in no channel of equipment data, however it is written there",
    tags=TAGS,
    about=About(property="confidentiality", phase="design", method="penetration", threat="patient data leaks"),
    effects=[Effect.DATA],
    severity="blocker",
)
@each("claim_id, channel", channels)
def test_channel(case: Case, claim_id: str, channel: str) -> None:
    canaries = Canaries(case, claim_id)
    case.attack(canaries.claim.surface, f"patients whose data is looked for: {channel}")
    before = {link: tap.stat().st_size for link, tap in clear_taps(case).items()}
    lines = log_lines(case)
    with case.step("Patients are put in, and their data is used in every way"):
        canaries.plant()
        use(case, canaries)
    with case.step(f"The search: {channel}"):
        SEARCHES[channel](case, canaries, before, lines)
    canaries.expect_there("the patients are in the device at the end too")


def use(case: Case, canaries: Canaries) -> None:
    """Have the device handle the data: refuse it, list it, lose it, and speak on every interface meanwhile."""
    surface, claim = canaries.claim.surface, canaries.claim
    door = case.bench.http(surface)
    again = canaries.add(canaries.patients[0])
    case.check("a patient twice", held=not isinstance(again, Accepted) or None, expected="refused", observed="")
    longest = claim.longest.get("name", 64)
    long = {**canaries.patients[0], "id": canaries.patients[0]["id"][:-1] + "Z"}
    canaries.add({**long, "name": canaries.texts["letters"] * longest})
    canaries.add({**long, "id": canaries.texts["letters"] + "/../" + canaries.texts["letters"]})
    canaries.add({**long, "note": "\x00\x1b[2J" + canaries.texts["letters"]})
    for account, declared in door.accounts.items():
        if declared.role not in claim.editors:
            with door.session(account) as session:
                if isinstance(session, Accepted):
                    patient = canaries.patients[1]
                    session.value.do(
                        "patient-add", id=patient["id"], name=patient["name"], ward=patient["ward"],
                        note=patient["note"],
                    )  # fmt: skip
    for name in case.bench.rig.device.surfaces:
        case.bench.surface(name).probe()
    for services in case.bench.rig.device.claims_of(UdsServicesClaim).values():
        for identifier in services.identifiers:
            case.bench.uds(services.surface).read_identifier(identifier)


def equipment(case: Case, canaries: Canaries, _before: dict[str, int], _lines: list[str]) -> None:
    """Read every file of equipment data."""
    surface = canaries.claim.surface
    names = [row["name"] for row in case.value(do(case, surface, "equipment-list"), "the list of files").rows]
    case.check("there is equipment data", held=bool(names) or None, expected="files", observed=names)
    for name in names:
        text = case.value(do(case, surface, "equipment-read", name=name), name).text
        case.check(f"{name} is not empty", held=bool(text.strip()) or None, expected="content", observed=len(text))
        canaries.expect_none(f"no patient in {name}", text + name.encode())


def audit(case: Case, canaries: Canaries, _before: dict[str, int], lines: list[str]) -> None:
    """Read the audit log wherever it is read."""
    for claim in case.bench.rig.device.claims_of(AuditClaim).values():
        door = case.bench.log_in_surface(claim.surface)
        reader = next(name for name, account in door.accounts.items() if account.role in claim.readers)
        with door.session(reader) as session:
            answer = case.value(case.value(session, f"log-in of {reader}").do(claim.action), "the log")
        ids = not canaries.log_names_ids
        canaries.expect_none(f"no patient in the log on {claim.surface}", answer.text, ids=ids)
    new = set(log_lines(case)) - set(lines)
    case.check("what was done is in the log", held=bool(new) or None, expected="new records", observed=len(new))


def console(case: Case, canaries: Canaries, before: dict[str, int], _lines: list[str]) -> None:
    """What the console showed."""
    link = case.bench.rig.device.console
    if not link or link not in before:
        raise Undecided("the device file names no console, or the rig has none")
    shown(case, canaries, link, before[link])


def links(case: Case, canaries: Canaries, before: dict[str, int], _lines: list[str]) -> None:
    """What crossed every link that is in clear."""
    for link, size in before.items():
        shown(case, canaries, link, size)


def shown(case: Case, canaries: Canaries, link: str, since: int) -> None:
    """Nothing that the device sent on a link since its capture was `since` bytes long may hold patient data."""
    data = device_bytes(clear_taps(case)[link], since)
    case.check(f"the device spoke on {link}", held=bool(data) or None, expected="bytes", observed=len(data))
    canaries.expect_none(f"no patient on {link}", data)


SEARCHES = {"equipment": equipment, "audit": audit, "console": console, "links": links}


def clear_taps(case: Case) -> dict[str, Path]:
    """Return the captures of the wired links that are in clear, and those of the messages that frames on CAN carry."""
    device, wired = case.bench.rig.device, case.bench.rig.file.links
    found = [link for link, spec in wired.items() if isinstance(spec, IN_CLEAR)]
    found += [uds_tap(spec.link) for spec in device.surfaces.values() if isinstance(spec, UdsSurface)]
    return {name: case.bench.wiring.tap(name).path for name in found}


def device_bytes(capture: Path, since: int) -> bytes:
    """Return what the device sent from a place in a capture on."""
    at, data = 8, []
    for frame in read_capture(capture):
        at += 17 + len(frame.data) + 4  # as harness.capture writes a frame
        if at > since and frame.direction is Direction.FROM_DEVICE:
            data.append(frame.data)
    return b"".join(data)


def log_lines(case: Case) -> list[str]:
    """Return the records of every audit log."""
    found: list[str] = []
    for claim in case.bench.rig.device.claims_of(AuditClaim).values():
        door = case.bench.log_in_surface(claim.surface)
        reader = next(name for name, account in door.accounts.items() if account.role in claim.readers)
        with door.session(reader) as session:
            inside = case.value(session, f"log-in of {reader}")
            found += case.value(inside.do(claim.action), f"the log on {claim.surface}").all(claim.line)
    return found


@testcase(
    "DATA-ON-THE-WIRE",
    title="Data of patients crosses the network in no readable form",
    tags=[
        verifies("NMPA-2022/TXCF", "NMPA-2022/DATA-PII", "ANSM-2019/CRIT-C", "FDA-A1/E"),
        contributes("NMPA-2020/T1-privacy", "MDS2-2019/TXCF"),
    ],
    about=About(property="confidentiality", phase="design", method="penetration", threat="somebody listens"),
    effects=[Effect.DATA],
    needs=["network"],
    unqualified=True,
)
@each_surface(PatientClaim)
def test_on_the_wire(case: Case, claim_id: str, surface: str) -> None:
    holder = getattr(case.bench.control, "holder", None)
    if holder is None or Capability.NETWORK not in case.bench.control.capabilities:
        raise Undecided("the bench cannot listen on the device's network")
    canaries = Canaries(case, claim_id)
    case.attack(surface, "listening on the network")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "wire.pcapng"
        holder.capture_on(file)
        try:
            with case.step("Patients are put in and read"):
                canaries.plant()
                marker = plain_marker(case)
        finally:
            report = holder.capture_off()
        data = file.read_bytes()
        case.check("every frame was caught", held=not report.dropped or None, expected=0, observed=report.dropped)
        case.check("the capture shows what is in clear", held=marker in data or None, expected=marker, observed="")
        canaries.expect_none("no patient on the wire", data)


def plain_marker(case: Case) -> bytes:
    """Have the device answer something in clear over the network; return what it said."""
    for name, spec in case.bench.rig.device.surfaces.items():
        if isinstance(case.bench.rig.file.links.get(getattr(spec, "link", "")), ModbusTcpLinkSpec):
            answer = case.bench.surface(name).read("uptime")
            case.value(answer, f"the uptime on {name}")
            return answer.received
    raise Undecided("no link in clear over the network, to see that the capture works")
