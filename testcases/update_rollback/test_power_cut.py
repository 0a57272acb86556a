"""A power cut at any point of an update leaves a device that starts, with a known version, and can be updated."""

from __future__ import annotations

from collections.abc import Iterable
from threading import Event
from time import monotonic

from harness.case import Case
from harness.instances import partable, parted_updates
from harness.procedures.kept import Kept
from harness.procedures.updating import Updating
from harness.rig.bundles import newest_update
from harness.rig.claims import UpdateClaim
from harness.rig.device_file import DeviceFile
from harness.rig.rig_file import Effect
from harness.testcase import About, Instance, contributes, each, testcase, verifies
from harness.verdict import Undecided
from harness.watch import IncidentKind

ABOUT = About(property="availability", phase="monitoring", method="penetration", threat="power lost in an update")
EFFECTS = [Effect.FIRMWARE, Effect.ACCOUNTS, Effect.CONFIGURATION, Effect.DATA]
TAGS = [
    verifies("NMPA-2022/CSUP", "FDA-A1/H", "FDA-A1/G"),
    contributes("ANSM-2019/SAFE-FIRST", "ANSM-2019/CRIT-I", "FDA-VC/THREAT", "MDS2-2019/CSUP"),
]
STAGES = ("receiving", "verifying", "writing", "first-start")
MANY = {"receiving": 16, "verifying": 12, "writing": 14, "first-start": 8}
"""Points in each stage: 50 together."""


def stages(device: DeviceFile) -> Iterable[Instance]:
    """Each stage of an update, and the first start of the new version."""
    for claim_id, claim in device.claims_of(UpdateClaim).items():
        for stage in STAGES if "upload" in claim.ways else ():
            if stage == "receiving" and not partable(device, claim.surface):
                continue
            yield Instance(stage, (claim_id, stage))


@testcase(
    "UPDATE-POWER",
    title="After a power cut in each stage of an update the device starts with a known version and can be updated",
    tags=TAGS,
    about=ABOUT,
    effects=EFFECTS,
    needs=["power", "cut"],
    unqualified=True,
    slow=True,
    severity="blocker",
)
@each("claim_id, stage", stages)
def test_power_cut(case: Case, claim_id: str, stage: str) -> None:
    cutting = Cutting(case, claim_id)
    with case.expecting(IncidentKind.RESTART, within=cutting.limit):
        cutting.attack(f"a power cut in the stage {stage}")
        cutting.cut(stage, at=0.5)
        cutting.expect_whole(f"after the cut in the stage {stage}")
        cutting.expect_updatable()
    cutting.updating.close()


@testcase(
    "UPDATE-POWER-MANY",
    title="After each of 50 power cuts, spread over an update, the device starts with a known version",
    tags=TAGS,
    about=ABOUT,
    effects=EFFECTS,
    needs=["power", "cut", "restore"],
    unqualified=True,
    slow=True,
    long=True,
    severity="blocker",
)
@each("claim_id", parted_updates)
def test_many_power_cuts(case: Case, claim_id: str) -> None:
    cutting = Cutting(case, claim_id)
    with case.expecting(IncidentKind.RESTART, within=sum(MANY.values()) * cutting.limit):
        cutting.attack("power cuts all over updates")
        with case.step("How long the stages take"):
            cutting.measure()
        for stage, points in MANY.items():
            for point in range(points):
                with case.step(f"{stage}, point {point + 1} of {points}"):
                    cutting.cut(stage, at=(point + 0.5) / points)
                    cutting.expect_whole(f"after cut {point + 1} of {points} in the stage {stage}")
        cutting.expect_updatable()
    cutting.updating.close()


class Cutting:
    """Power cuts in the update of one device."""

    def __init__(self, case: Case, claim_id: str) -> None:
        self.case = case
        self.updating = Updating(case, claim_id)
        self.good = newest_update(case.bench.rig)
        self.installed = case.bench.rig.device.version
        self.limit = self.updating.within["restart"]
        self.kept = Kept(case, self.updating.claim.surface, self.updating.claim.keeps)
        self.before: dict[str, object] = {}
        self.version = self.installed
        self.took = 0.0

    def attack(self, what: str) -> None:
        """Begin, with something to lose."""
        self.case.attack(self.updating.claim.surface, what)
        self.kept.change()
        self.before = self.kept.read()

    def measure(self) -> None:
        """Update once, to know how long each stage and the first start take."""
        updating = self.updating
        updating.twin("an update without a cut", updating.install(self.good), self.good)
        self.took = updating.restart(self.installed, self.good.version, within=2 * self.limit)
        self.version = self.good.version

    def cut(self, stage: str, *, at: float) -> None:
        """Update up to the part `at` of a stage, proven by what the device says and writes, and cut the power."""
        case, updating = self.case, self.updating
        if self.version != self.installed:
            self._anew()
        written = case.bench.disk_written()
        updating.listen()
        if stage == "receiving":
            data = self.good.read()
            updating.half_sent(data, name=self.good.path.name, first=max(1, int(at * len(data))))
        elif stage == "first-start":
            updating.twin("an update without a cut", updating.install(self.good), self.good)
            _, started = updating.begin_restart()
            self._into_first_start(at, started)
        else:
            told = {"name": "update"} if updating.names_bundles else {}
            case.twin("the upload is taken", updating.do("update-upload", octets=self.good.read(), **told))
            self._into(stage, at, written)
        self._note_written(stage, written)
        updating.power_cycle(self.installed, self.good.version, within=2 * self.limit)

    def expect_whole(self, when: str) -> None:
        """The update is over, a known version runs for good, and nothing that must be kept is lost."""
        updating = self.updating
        # A trial may go on after the start, and end in a roll-back.
        within = sum(updating.within.get(stage, 0) for stage in ("restart", "trying", "rollback"))
        ended = updating.await_state({"idle", "failed", "refused", "ready"}, within=within)
        self.case.check(
            f"no update hangs {when}", held=ended is not None, expected="idle, failed, refused or ready",
            observed=ended or "busy", claim=updating.id,
        )  # fmt: skip
        if ended is None:
            raise Undecided(f"the update does not end {when}")
        self.version = ended.version
        for kind, after in self.kept.read().items():
            self.case.unchanged(f"{kind} {when}", before=self.before[kind], after=after, claim=updating.id)

    def expect_updatable(self) -> None:
        """A later update works; where the new version was there to stay, that is the later update."""
        updating = self.updating
        if self.version == self.installed:
            updating.expect_ready("a later update is taken", updating.install(self.good), self.good)
            return
        now = updating.now()
        held = now.state == "idle" and now.version == self.good.version
        expected = f"idle, version {self.good.version}"
        self.case.check("the update is made", held=held, expected=expected, observed=now, claim=updating.id)

    def _into(self, stage: str, at: float, written: int | None) -> None:
        """Wait until the device is in a stage, and has written where it writes; then for the part `at` of its time."""
        updating = self.updating
        begun = updating.await_stage(
            stage, within=sum(updating.within.get(name, 0) for name in ("verifying", "writing"))
        )
        self.case.check(f"the device is {stage}", held=begun or None, expected=stage, observed=updating.seen)
        entered, spent = monotonic(), updating.spent.get(stage, 0.0)
        while stage == "writing" and written is not None and self.case.bench.disk_written() == written:
            if monotonic() - entered > self.limit:
                raise Undecided(f"nothing is written {self.limit:g} s into the stage {stage}")
            Event().wait(0.02)
        Event().wait(at * spent)  # the point of the cut itself

    def _into_first_start(self, at: float, started: float) -> None:
        """Wait for the part `at` of the first start where its time is known, else until the new version is tried."""
        updating = self.updating
        if self.took:
            Event().wait(at * self.took)
            return
        if updating.listens:
            tried = updating.await_shown("trying", within=2 * self.limit)
            self.case.check(
                "the new version is tried", held=tried or None, expected="trying", observed=updating.shown()
            )
        else:
            updating.await_restart(started, within=2 * self.limit)

    def _note_written(self, stage: str, before: int | None) -> None:
        after = self.case.bench.disk_written()
        if before is None or after is None:
            return
        held = after > before or stage != "writing" or None
        self.case.check(
            f"disk in the stage {stage}", held=held, expected="written to", observed=f"{after - before} bytes"
        )

    def _anew(self) -> None:
        """Go back to the version of the beginning, and what there is to lose."""
        self.case.judge_watches()
        self.updating.forget()
        self.case.bench.fresh()
        self.case.await_watches()
        self.version = self.installed
        self.updating.listen()
        self.kept.change()
