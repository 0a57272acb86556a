"""Links of the bench that are lost: an adapter unplugged, a serial server restarted, a bus off.

A loss is a fault of the bench. It is journalled with its link and its times; what was seen from then on decides
nothing; and before the next attempt the link is awaited, opened again and listened to until nothing of what came
before the loss can be taken for an answer.

Connections that a device makes or ends by itself (TCP, SSH, HTTP) are none of the bench: how they end is an outcome.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from harness.errors import BenchFault, LinkLost, UsageError
from harness.journal import Journal
from harness.links.base import Deadline
from harness.links.can import CanLink
from harness.links.stream import StreamLink
from harness.rig.claims import EssentialPerformanceClaim
from harness.wiring import RigWiring

__all__ = ["LostLink", "LostLinks"]

RETRY_SECONDS = 0.1
"""Seconds between two tries to open a link that is gone."""

QUIET_SECONDS = 0.15
"""Seconds without a byte after which a line that is back counts as quiet; so long it must stay, too."""

TALK_SECONDS = 1.0
"""Longest time to wait for a line that is back to fall quiet: a talkative device need not."""


@dataclass(frozen=True, slots=True)
class LostLink:
    """A loss. `at` and `doubtful_from` are monotonic seconds: when it was noticed, and when it may have been first."""

    link: str
    why: LinkLost
    at: float
    doubtful_from: float


class LostLinks:
    """Notices which links of a rig are lost, and brings them back.

    The lines of an emulated device are its own: they come and go with it, and are none of these. Neither is a line
    that a device takes with it when it loses its power: `powered` says whether it has some.
    """

    def __init__(self, wiring: RigWiring, *, journal: Journal, powered: Callable[[], bool]) -> None:
        self._wiring = wiring
        self._powered = powered
        self._journal = journal
        self._opened: set[str] = set()
        self._noted: dict[str, int] = {}
        self._away: dict[str, LostLink] = {}
        self._all: list[LostLink] = []
        self._given_up: set[str] = set()

    def note(self) -> None:
        """Journal each open link that is lost, once, and remember that it is to be brought back."""
        for name, link in self._of_bench().items():
            self._opened.add(name)
            why, lost_ns = link.lost, link.lost_ns
            known = name in self._noted and self._noted[name] == lost_ns
            if why is not None and lost_ns is not None and not known and self._powered():
                self._noted[name] = lost_ns
                self._lose(name, why, at=lost_ns / 1e9, notices_within=link.notices_loss_within)

    def confirm(self, *, within: float = 0.0) -> None:
        """Wait until a loss of any open link would have been noticed, `within` seconds at least, and note it."""
        links = self._of_bench().values()
        tick, deadline = threading.Event(), Deadline(max([within, *(link.notices_loss_within for link in links)]))
        while not deadline.passed and all(link.lost is None for link in links):
            tick.wait(0.02)
        self.note()

    def note_absent(self) -> None:
        """Note each link that was open before, is not now and cannot be opened."""
        for name in sorted(self._opened - self._wiring.shared_links.keys() - self._away.keys()):
            try:
                self._wiring.open_shared(name)
            except (BenchFault, UsageError) as error:
                why = LinkLost(error.message, hint=error.hint)
                self._lose(name, why, at=time.monotonic(), notices_within=0.0)

    def first_since(self, start: float) -> LostLink | None:
        """Return the loss noted since the monotonic instant `start` that cast doubt first, None if there was none."""
        lost = [each for each in self._all if each.at >= start or each in self._away.values()]
        return min(lost, key=lambda each: each.doubtful_from, default=None)

    @property
    def given_up(self) -> bool:
        """Whether a link has not come back in the time it was given."""
        return bool(self._given_up)

    def bring_back(self, *, heartbeat: bool) -> None:
        """Open every link again that was lost, within `link_back_within` of the rig file; the others are closed.

        A link that did not come back in that time is looked for once from then on: who waits for it every time does
        not get to the end of a run. `heartbeat`: a device that has power is heard already.

        Raises:
            LinkLost: a link is still away.
        """
        for name in sorted(self._away):
            self._await(name, heartbeat=heartbeat)

    def _await(self, name: str, *, heartbeat: bool) -> None:
        within = 0.0 if name in self._given_up else self._wiring.rig.file.link_back_within
        tick, deadline = threading.Event(), Deadline(within)
        while not self._opens(name, heartbeat=heartbeat):
            if deadline.passed:
                self._given_up.add(name)
                lost = self._away[name]
                raise LinkLost(f"link {name!r} is away since {_clock(lost.at)}: {lost.why.message}", hint=lost.why.hint)
            tick.wait(RETRY_SECONDS)
        lost, back = self._away.pop(name), time.monotonic()
        self._given_up.discard(name)
        self._event("back", name)
        self._journal.write(
            "fault",
            what=f"link {name!r} was lost at {_clock(lost.at)}, and back {back - lost.at:.2f} s later: "
            f"{lost.why.message}",
            hint=lost.why.hint or "",
            link=name,
            lost=_utc(lost.at).isoformat(),
            back=_utc(back).isoformat(),
        )

    def _opens(self, name: str, *, heartbeat: bool) -> bool:
        """Open a link and see whether it stays."""
        try:
            self._settle(self._away[name], self._wiring.open_shared(name), heartbeat=heartbeat)
        except (BenchFault, UsageError):  # while the system sets up an adapter, its device file is not yet ours
            self._wiring.close_shared(name)
            return False
        return True

    def _settle(self, lost: LostLink, link: StreamLink | CanLink, *, heartbeat: bool) -> None:
        """Let pass what may still answer a request from before the loss.

        Raises:
            LinkLost: it is gone again, or the heartbeat of its bus is not heard.
        """
        within = self._wiring.answer_within
        link.wait_lost(max(QUIET_SECONDS, lost.at + within - time.monotonic()))
        if isinstance(link, StreamLink):
            link.wait_quiet(QUIET_SECONDS, TALK_SECONDS)
        elif heartbeat and self._powered():
            for claim in self._wiring.rig.device.claims_of(EssentialPerformanceClaim).values():
                if claim.link == lost.link and not _heard(link, claim, within=within):
                    # A controller that is still off its bus opens like any other: its silence is not the device's.
                    raise LinkLost(f"{lost.link}: opens, but the heartbeat 0x{claim.heartbeat:X} is not heard on it")
        if link.lost is not None:
            raise LinkLost(link.lost.message, hint=link.lost.hint)

    def _lose(self, name: str, why: LinkLost, *, at: float, notices_within: float) -> None:
        lost = LostLink(name, why, at=at, doubtful_from=at - notices_within)
        self._away[name] = lost
        self._all.append(lost)
        self._event("lost", name, detail=why.message, at=_utc(at).isoformat())

    def _of_bench(self) -> dict[str, StreamLink | CanLink]:
        links = self._wiring.shared_links
        return {name: link for name, link in links.items() if not self._wiring.emulated(name)}

    def _event(self, event: str, name: str, **more: str) -> None:
        self._journal.write("event", source="link", event=event, asked=False, link=name, **more)


def _heard(link: CanLink, claim: EssentialPerformanceClaim, *, within: float) -> bool:
    return link.wait_for(lambda frame: frame.can_id == claim.heartbeat and not frame.error, timeout=within) is not None


def _utc(at: float) -> datetime:
    """Return the wall-clock time of a monotonic instant."""
    return datetime.now(UTC) - timedelta(seconds=time.monotonic() - at)


def _clock(at: float) -> str:
    return f"{_utc(at):%H:%M:%S} UTC"
