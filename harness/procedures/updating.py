"""A software update in the hand of a testcase: driven and judged as the device's claim about updates describes it."""

from __future__ import annotations

import re
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from harness.device.answer import Answer
from harness.device.outcomes import Accepted, Outcome, Refused, name_of
from harness.procedures.update_requests import POLL, UpdateRequests, UpdateStatus
from harness.rig.bundles import Bundle
from harness.verdict import SilenceAfterAttack, Undecided

__all__ = ["BUSY", "DURING", "Ended", "UpdateStatus", "Updating", "Way"]

BUSY = frozenset({"receiving", "verifying", "writing", "trying"})
"""States that end by themselves."""
DURING = ("receiving", "verifying", "writing")
"""States of an update before the restart, in their order."""

Way = Literal["upload", "url"]


@dataclass(frozen=True, slots=True)
class Ended:
    """How an update ended before the restart: the answer to the request, then the last state if it was taken."""

    answer: Outcome[Answer]
    last: UpdateStatus | None = None

    @property
    def state(self) -> str:
        """`ready`, `refused`, `failed` or `idle`; empty when that is not known."""
        if self.last is not None:
            return self.last.state
        return "refused" if isinstance(self.answer, Refused) else ""

    @property
    def detail(self) -> str:
        """Why it was refused."""
        if self.last is not None:
            return self.last.detail
        return self.answer.reason if isinstance(self.answer, Refused) else ""

    def __str__(self) -> str:
        return str(self.last) if self.last is not None else f"the request was {name_of(self.answer)}"


class Updating(UpdateRequests):
    """The update of the device of a testcase, by an account whose role may. Its session ends with `close`."""

    # Up to the restart

    def install(self, bundle: Bundle, *, way: Way = "upload", name: str = "") -> Ended:
        """Give the device a bundle under a name (its file's own when empty) and follow it up to its end.

        Raises:
            Undecided: the device does not say how it ended.
        """
        data, name = bundle.read(), name or bundle.path.name
        self.listen()
        if way == "upload":
            told = {"name": name} if self.names_bundles else {}
            return self.followed(self.do("update-upload", octets=data, **told))
        with self.served(data, name=name) as (_, url):
            return self.followed(self.do("update-url", url=url))

    def followed(self, answer: Outcome[Answer]) -> Ended:
        """Follow an update whose request was answered up to its end."""
        return Ended(answer, self.await_end() if isinstance(answer, Accepted) else None)

    def await_end(self) -> UpdateStatus:
        """Wait until the update is neither received nor verified nor written; each stage in its claimed time.

        Raises:
            Undecided: the device does not say so, or a stage does not end (a broken check then).
        """
        stage, entered = "", (time.monotonic(), time.monotonic())
        last = time.monotonic()
        while True:
            outcome = self.status()
            if isinstance(outcome, Accepted):
                status = outcome.value
                if status.state != stage:
                    self.spent[stage] = (status.answered + last - entered[0] - entered[1]) / 2
                    self._judge_stage(stage, entered, (last, status.answered))
                    stage, entered = status.state, (last, status.answered)
                if status.state not in DURING:
                    return status
                last = status.asked
            limit = self._limit(stage) + self.case.bench.wiring.answer_within
            if time.monotonic() - entered[1] > limit:
                if isinstance(outcome, Accepted):
                    self._judge_stage(stage, entered, None)
                raise Undecided(f"the update does not end: {stage or name_of(outcome)} for {limit:g} s")
            self._tick.wait(POLL)

    def _limit(self, stage: str) -> float:
        return self.within.get(stage, max(self.within.values(), default=60.0))

    def _judge_stage(self, stage: str, entered: tuple[float, float], left: tuple[float, float] | None) -> None:
        high = self.within.get(stage)
        if high is None:
            return
        begin, unsure = sum(entered) / 2, (entered[1] - entered[0]) / 2
        measured = None
        if left is not None:
            measured, unsure = sum(left) / 2 - begin, unsure + (left[1] - left[0]) / 2
        self.case.timing(f"time of {stage}", measured=measured, low=0, high=high, uncertainty=unsure, claim=self.id)

    # Judging

    def expect_ready(self, title: str, ended: Ended, bundle: Bundle) -> bool:
        """The update must be taken: it waits for the restart, and names the version it brings."""
        held = {"ready": True, "refused": False, "failed": False}.get(ended.state)
        if held and ended.last is not None:
            held = ended.last.target == bundle.version
        expected = f"ready, target {bundle.version}"
        return self.case.check(title, held=held, expected=expected, observed=str(ended), claim=self.id)

    def twin(self, title: str, ended: Ended, bundle: Bundle) -> bool:
        """The good one must be taken, or a refusal proves nothing."""
        held = ended.state == "ready" and ended.last is not None and ended.last.target == bundle.version
        return self.case.check(title, held=held or None, expected="ready (twin)", observed=str(ended))

    def expect_refused(self, title: str, ended: Ended, *, why: str) -> bool:
        """The update must be refused, for the claimed reason."""
        pattern = self._reasons.get(why)
        held = {"refused": True, "ready": False}.get(ended.state)
        if held and pattern is not None:
            held = re.search(pattern, ended.detail) is not None
        expected = "refused" + (f" with {pattern!r}" if pattern is not None else "")
        return self.case.check(title, held=held, expected=expected, observed=str(ended), claim=self.id)

    def expect_reason(self, title: str, last: UpdateStatus, *, why: str) -> bool:
        """A refusal that is there must have the claimed reason."""
        pattern = self._reasons.get(why, "")
        held = re.search(pattern, last.detail) is not None
        return self.case.check(title, held=held, expected=pattern, observed=last.detail, claim=self.id)

    def expect_shown(self, states: Collection[str]) -> None:
        """The console must have shown these states in this order, where the claim names a console."""
        if not self.listens:
            return
        wanted = list(states)
        deadline = time.monotonic() + self.case.bench.wiring.answer_within
        while not (held := _in_order(wanted, shown := self.shown())) and time.monotonic() < deadline:
            self._tick.wait(POLL)  # the line may come later than the answer over the surface
        self.case.check(
            f"the console shows {', '.join(wanted)}",
            held=held,
            expected=", ".join(wanted),
            observed=", ".join(shown) or "nothing",
            claim=self.id,
        )

    # The restart, said before by case.expecting(RESTART, …)

    def restart(self, *versions: str, within: float, away: Collection[str] = ()) -> float:
        """Have the device restart and wait until it is up again with one of `versions`; return the seconds it took.

        While it answers with a version in `away` the trial is not over.

        Raises:
            SilenceAfterAttack: it does not come back.
            Undecided: the restart is not taken, or not made.
        """
        asked, started = self.begin_restart()
        self.await_restart(started, within=within)
        if away:
            self._await_other_version(away, until=asked + within)
        back = time.monotonic()
        self.resume(*versions, within=within)
        return back - asked

    def begin_restart(self) -> tuple[float, float]:
        """Have the device restart; return when it was told to, and when its clock had started before that.

        Raises:
            Undecided: it does not take it.
        """
        self.case.judge_watches()
        at = time.monotonic()
        uptime = self._uptime()
        if uptime is None:
            raise Undecided("the device does not tell its uptime before the restart")
        self.case.value(self.do("reboot"), "the restart")
        asked = time.monotonic()
        self.forget()
        self.case.bench.reconnect()
        return asked, at - uptime

    def power_cycle(self, *versions: str, within: float) -> None:
        """Cut the power and wait until the device is up again with one of `versions`.

        Raises:
            SilenceAfterAttack: it does not come back.
        """
        bench = self.case.bench
        self.case.judge_watches()
        self.forget()
        bench.power_cycle()
        deadline = time.monotonic() + within
        while self._uptime() is None:
            self._check_back(deadline, within)
        self.resume(*versions, within=within)

    def resume(self, *versions: str, within: float) -> None:
        """Prove that it is the same device with one of `versions`, and watch it again.

        Raises:
            Undecided: it runs another version (a broken check then).
        """
        bench = self.case.bench
        deadline = time.monotonic() + within
        seen = bench.surface(bench.rig.device.identity).read("version")
        while not isinstance(seen, Accepted) and time.monotonic() < deadline:
            seen = bench.surface(bench.rig.device.identity).read("version")
        version = self.case.value(seen, "the version after the start")
        title, expected = "a known version runs after the start", " or ".join(versions)
        if not self.case.check(title, held=version in versions, expected=expected, observed=version, claim=self.id):
            raise Undecided(f"{title}: {version}")
        bench.expect_version(*versions)
        bench.check_identity(within=within)
        bench.start_watches()
        self.case.await_watches()

    def await_restart(self, started: float, *, within: float) -> None:
        """Wait for an uptime that began later than the instant `started`."""
        slack = self.case.bench.rig.device.clock_tolerance
        deadline = time.monotonic() + within
        while True:
            asked = time.monotonic()
            uptime = self._uptime()
            if uptime is not None and asked - uptime > started + slack:
                return
            if uptime is not None and time.monotonic() > deadline:
                raise Undecided(f"the device took the restart, but goes on {within:g} s later")
            self._check_back(deadline, within)

    def _await_other_version(self, away: Collection[str], *, until: float) -> None:
        """Wait until the trial of a version in `away` is over: another one runs, or it is there to stay."""
        while time.monotonic() < until:
            outcome = self.status()
            if isinstance(outcome, Accepted) and (outcome.value.version not in away or outcome.value.state == "idle"):
                return
            self._tick.wait(POLL)

    def _uptime(self) -> float | None:
        bench = self.case.bench
        outcome = bench.surface(bench.rig.device.identity).read("uptime")
        return outcome.value if isinstance(outcome, Accepted) and isinstance(outcome.value, float) else None

    def _check_back(self, deadline: float, within: float) -> None:
        if time.monotonic() > deadline:
            message = f"the device does not come back within {within:g} s"
            if self.case.bench.control.alive():
                raise SilenceAfterAttack(message, claim=self.id)
            raise Undecided(message)
        self._tick.wait(POLL)


def _in_order(wanted: Collection[str], shown: Collection[str]) -> bool:
    rest = iter(shown)
    return all(state in rest for state in wanted)
