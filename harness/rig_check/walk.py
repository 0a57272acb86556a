"""The walk: every operation of every surface once, those that only read unless more is asked for and permitted.

It spends at most one refused log-in an account, on all surfaces together: an account whose log-in was refused, or
neither accepted nor refused, is not tried again anywhere. Whoever is silent is not asked over and over.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType

from harness.bench import Bench
from harness.device.log_in import LogInSurface, Session
from harness.device.outcomes import Accepted, NoAnswer, Outcome, Refused
from harness.errors import BenchFault, UsageError
from harness.rig.rig_file import Effect
from harness.rig_check.operations import Operation, operations_of
from harness.rig_check.trials import Answer, Trial, judged, untried

__all__ = ["Walk"]

SILENCES = 2
"""Operations without an answer, one after the other, after which a surface is left alone."""

_SAID = {"irreversible": "something for good", "restart": "the running state"}
_EFFECTS = [effect.value for effect in Effect]
_MUST_ACCEPT, _MUST_REFUSE = frozenset({Answer.ACCEPTED}), frozenset({Answer.REFUSED})


class Walk:
    """Walks an open bench. Make it before anything logs in: it counts the refused log-ins from then on.

    `permits` are the effects that operations may have; without them only what reads is carried out.
    """

    def __init__(self, bench: Bench, *, permits: Collection[Effect] | None = None) -> None:
        self._bench = bench
        self._permits = {effect.value for effect in permits or ()}
        self._denied = "" if permits is None else "; this rig does not permit it"
        self._spent: dict[str, str] = {}
        self.watch_log_ins()

    def watch_log_ins(self) -> None:
        """Note every log-in that may count towards a lock, whoever tries it, until the next baseline."""
        self._bench.wiring.observer = self._observe

    @property
    def not_let_in(self) -> Mapping[str, str]:
        """Accounts whose log-in was not accepted, each with the surface where."""
        return MappingProxyType(self._spent)

    def trials(self) -> Iterator[Trial]:
        """Carry out what may be, from harmless to heavy, surface by surface; the rest is named with its reason."""
        device, wired = self._bench.rig.device, self._bench.rig.file.links
        for weight in range(1 + len(_EFFECTS) if self._permits else 1):
            for name, spec in device.surfaces.items():
                if spec.link in wired:
                    yield from self._surface(name, weight)
                elif weight == 0:
                    yield untried(name, "all", f"link {spec.link} is not wired on this rig")

    # Which, and why not

    def _why_not(self, stake: tuple[str, ...]) -> str:
        if set(stake) <= self._permits:
            return ""
        what = ", ".join(_SAID.get(each, each) for each in stake)
        return f"changes {what}{self._denied}"

    def _now(self, stake: tuple[str, ...], weight: int) -> bool:
        """Whether the turn of this weight is that of the heaviest effect."""
        heaviest = max((_EFFECTS.index(each) + 1 for each in stake if each in _EFFECTS), default=0)
        return heaviest == weight and not self._why_not(stake)

    # One surface

    def _surface(self, name: str, weight: int) -> Iterator[Trial]:
        surface = self._bench.surface(name)
        walked = _Progress(name)
        try:
            if isinstance(surface, LogInSurface):
                yield from self._actions(surface, weight, walked)
            else:
                yield from self._operations(name, list(operations_of(surface)), weight, walked)
        except (BenchFault, UsageError) as error:
            yield Trial(name, walked.at, "", Answer.FAULT, error.message, good=False)
            walked.why = walked.why or "the bench could not go on here"
        for operation in walked.left:
            yield untried(name, operation, walked.why or "no account that may do it got in")

    def _operations(self, name: str, operations: list[Operation], weight: int, walked: _Progress) -> Iterator[Trial]:
        due = [each for each in operations if self._now(each.stake, weight)]
        walked.left = dict.fromkeys(each.name for each in due)
        for each in due:
            if walked.silent:
                return
            walked.begin(each.name)
            outcome = each.ask()
            wanted = _MUST_REFUSE if each.refusal else _MUST_ACCEPT
            yield walked.heard(
                judged(
                    name,
                    each.name,
                    outcome,
                    masker=self._bench.wiring.masker,
                    value=_value(outcome),
                    wanted=wanted,
                    changing=bool(each.stake),
                )
            )
        for each in operations if weight == 0 else ():
            if why := self._why_not(each.stake):
                yield untried(name, each.name, why)

    # Where people log in

    def _actions(self, surface: LogInSurface, weight: int, walked: _Progress) -> Iterator[Trial]:
        ready = {name: action.stake for name, action in surface.actions.items() if action.ready}
        due = [name for name, stake in ready.items() if self._now(stake, weight)]
        walked.left = dict.fromkeys(due)
        refused: dict[str, Trial] = {}
        for account in surface.accounts:
            mine = [action for action in walked.left if self._may(surface, account, action)]
            if weight and not mine:
                continue
            if (where := self._spent.get(account)) is not None:
                why = f"{account} was not let in on {where}; not tried again, so that the account is not locked"
                yield untried(surface.name, f"log in {account}", why)
                continue
            walked.at = f"log in {account}"
            opened = surface.log_in(account)
            if not weight or not isinstance(opened, Accepted):
                yield self._judged(surface, f"log in {account}", opened, account=account, value="logged in")
            if isinstance(opened, NoAnswer):
                walked.why = f"the log-in of {account} got no answer"
                break
            if isinstance(opened, Accepted):
                for trial in self._session(surface, opened.value, mine, weight, walked):
                    unclaimed = trial.operation in due and self._who_may(surface, trial.operation) is None
                    if unclaimed and trial.answer is Answer.REFUSED:
                        refused[trial.operation] = trial  # nothing says who may: perhaps the next account
                        walked.left[trial.operation] = None
                    else:
                        yield trial
            if walked.silent:
                break
        for action in list(walked.left):
            if action in refused:
                yield refused[action]
            elif self._who_may(surface, action) == []:
                yield untried(surface.name, action, "no account that logs in here may do it")
            else:
                continue
            del walked.left[action]
        if weight == 0:
            yield from self._left_out(surface)

    def _session(
        self, surface: LogInSurface, session: Session, actions: list[str], weight: int, walked: _Progress
    ) -> Iterator[Trial]:
        """Carry out actions in a session, and log out."""
        account = session.account
        try:
            if not weight and account == next(iter(surface.accounts)):
                walked.at = "what it does not have"
                refusal = session.unknown()
                yield walked.heard(
                    self._judged(surface, "what it does not have", refusal, account=account, wanted=_MUST_REFUSE)
                )
            for action in actions:
                if walked.silent:
                    break
                walked.begin(action)
                yield walked.heard(self._action(surface, session, action))
        except (BenchFault, UsageError):
            session.drop()
            raise
        walked.at = f"log out {account}"
        left = session.log_out()
        if not isinstance(left, Accepted) and not walked.silent:
            yield self._judged(surface, f"log out {account}", left, account=account)

    def _action(self, surface: LogInSurface, session: Session, name: str) -> Trial:
        action = surface.actions[name]
        said = session.do(name)
        outcome: Outcome[object] = said
        values = []
        for field in (each for each, codec in surface.fields.items() if codec.action == name):
            reading = surface.decoded(field, said) if isinstance(said, Accepted) else said
            if isinstance(reading, Accepted):
                values.append(f"{field} {_value(reading)}")
            else:
                outcome = reading
        wanted = _MUST_REFUSE if action.declined else _MUST_ACCEPT
        if action.stake and not action.declined:
            wanted = _MUST_ACCEPT | _MUST_REFUSE  # the device's state may not allow it
        return self._judged(
            surface, name, outcome, account=session.account, value=", ".join(values), wanted=wanted,
            changing=bool(action.stake),
        )  # fmt: skip

    def _left_out(self, surface: LogInSurface) -> Iterator[Trial]:
        for name, action in surface.actions.items():
            if why := self._why_not(action.stake):
                yield untried(
                    surface.name, name, why + (", if it is not refused as it must be" if action.declined else "")
                )
            elif not action.ready:
                yield untried(surface.name, name, "the device file gives no harmless arguments for it")

    def _may(self, surface: LogInSurface, account: str, action: str) -> bool:
        able = self._who_may(surface, action)
        return able is None or account in able

    def _who_may(self, surface: LogInSurface, action: str) -> list[str] | None:
        return self._bench.rig.device.who_may(surface.name, action)

    def _judged(
        self,
        surface: LogInSurface,
        operation: str,
        outcome: Outcome[object],
        *,
        account: str,
        value: str = "",
        wanted: frozenset[Answer] = _MUST_ACCEPT,
        changing: bool = False,
    ) -> Trial:
        return judged(
            surface.name, operation, outcome, masker=self._bench.wiring.masker, value=value, account=account,
            wanted=wanted, changing=changing,
        )  # fmt: skip

    def _observe(self, surface: str, operation: str, outcome: Outcome[object]) -> None:
        account = operation.removeprefix("log in ")
        counted = isinstance(outcome, Refused) or (not isinstance(outcome, Accepted) and outcome.sent)
        if account != operation and counted:
            self._spent.setdefault(account, surface)


class _Progress:
    """How far the walk of a surface is: what is left of it, what is being asked, and since when it is silent."""

    def __init__(self, surface: str) -> None:
        self.surface = surface
        self.at = "open"
        self.left: dict[str, None] = {}
        self.why = ""
        self._silences = 0

    @property
    def silent(self) -> bool:
        """Whether it has not answered for so long that it is left alone."""
        return self._silences >= SILENCES

    def begin(self, operation: str) -> None:
        """Say that an operation is being tried."""
        self.at = operation
        self.left.pop(operation, None)

    def heard(self, trial: Trial) -> Trial:
        """Note an answer, or that there is none; returns it."""
        self._silences = self._silences + 1 if trial.answer is Answer.SILENT else 0
        if self.silent:
            self.why = f"{self.surface} has become silent"
        return trial


def _value(outcome: Outcome[object]) -> str:
    """Return what an accepted answer is shown as: bytes in hexadecimal, numbers as short as they can be said."""
    match outcome:
        case Accepted(value=bytes() as data):
            return data.hex(" ")
        case Accepted(value=float() as number):
            return f"{number:.6g}"
        case Accepted(value=value):
            return str(value)
    return ""
