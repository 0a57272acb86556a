"""The pytest plugin: `--rig` turns a pytest run into a run of testcases on a rig. Without it the plugin is inert.

Verdicts are made in one place: the wrappers around `pytest_runtest_setup` and `pytest_runtest_call`, by
raising; `harness.verdict.TABLE` says what an exception means. They travel in report attributes, through
xdist too. The main process owns the main journal, the plan and the summary.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.case import Case
from harness.clauses.model import Strength
from harness.clean import show_text
from harness.errors import BaselineLost, BenchFault, DiskFull, ProofrigError, UsageError, WrongDevice
from harness.pytest_record import RunRecord
from harness.qualify.challenge_run import ChallengePlugin, read_challenge
from harness.qualify.falsify import falsify
from harness.readiness import check_ready
from harness.rig.loading import Rig, load_rig
from harness.testcase import Meta, instances_of, meta_of
from harness.verdict import (
    BenchStalled,
    ClaimBroken,
    NotApplicable,
    SilenceAfterAttack,
    Undecided,
    decide,
    judge,
)

__all__ = ["RunPlugin"]

ATTEMPTS = 3
"""The first and at most two repetitions after a named bench fault (rule 9)."""

NOT_APPLICABLE = "not-applicable"
"""Instance id of a testcase for which the device file gives a reason instead of what it needs."""

_EFFECTS = ("accounts", "configuration", "data", "firmware", "irreversible")
_CASE = pytest.StashKey[Case]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options; all of them begin to matter with --rig."""
    group = parser.getgroup("proofrig", "security testcases on a rig")
    group.addoption("--rig", metavar="FILE", help="rig file: run testcases on this rig")
    group.addoption("--run-dir", metavar="DIR", help="folder of this run (default: a new one under reports/)")
    group.addoption("--no-html", action="store_true", help="leave out the Allure HTML and the coverage page")
    group.addoption("--history", metavar="FILE", help="history of the rig: show its trends, add this run to it")
    group.addoption("--against", metavar="RUN", help="say what changed since this run, a folder or the word last")
    group.addoption("--weakness", action="append", default=[], metavar="NAME", help="switch on a flaw of the fixture")
    group.addoption(
        "--challenge", metavar="FILE", help="falsify a claim as FILE of `proofrig challenge` says: no evidence"
    )
    group.addoption("--fuzz-cases", type=int, default=0, metavar="N", help="fuzz cases a campaign (default: its own)")


@pytest.hookimpl(tryfirst=True)  # allure-pytest reads the folder for its results in the same hook
def pytest_configure(config: pytest.Config) -> None:
    """Load the rig, before anything is collected or powered."""
    config.addinivalue_line("markers", "testcase(meta): a testcase; use harness.testcase.testcase")
    config.addinivalue_line("markers", "slow: a testcase that takes more than some seconds")
    config.addinivalue_line("markers", "long: a testcase that takes many minutes")
    config.addinivalue_line("markers", "unqualified: a testcase that no weakness has proven yet")
    config.addinivalue_line("markers", "each(names, source): run for each instance in the device file")
    rig_path = config.getoption("--rig")
    if not rig_path:
        return
    try:
        rig = load_rig(Path(rig_path))
        rig = rig.with_weaknesses(tuple(config.getoption("--weakness")))
        rig = _challenged(config, rig)
        if not config.option.collectonly:
            check_ready(rig)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error
    config.pluginmanager.register(RunPlugin(config, rig), "proofrig-run")


def _challenged(config: pytest.Config, rig: Rig) -> Rig:
    """Return the rig with the claim falsified that `--challenge` names; the rig as it is without the option.

    Raises:
        UsageError: the file is none, or the option goes with one that would take the run for evidence.
    """
    path = config.getoption("--challenge")
    if not path:
        return rig
    for name in ("--history", "--against", "--alluredir"):
        if config.getoption(name, None):
            raise UsageError(f"{name} does not go with --challenge: a challenge is no evidence")
    challenge = read_challenge(Path(path))
    config.option.no_html = True
    config.pluginmanager.register(ChallengePlugin(challenge), "proofrig-challenge")
    return falsify(rig, challenge.claim, challenge.falsification)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Testcases without a rig are a mistake of the user's."""
    if not config.getoption("--rig") and any(meta_of(item) for item in items):
        raise pytest.UsageError("testcases need a rig: add --rig rigs/NAME.yaml")


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Case:
    """The testcase in progress, on a device brought to its baseline and proven to be the right one."""
    plugin: RunPlugin = request.config.pluginmanager.getplugin("proofrig-run")
    return plugin.begin(request.node)


@pytest.fixture
def fuzz_cases(request: pytest.FixtureRequest) -> int | None:
    """How many cases a fuzz campaign shall have (`--fuzz-cases`), None for the campaign's own number."""
    return request.config.getoption("--fuzz-cases") or None


class RunPlugin(RunRecord):
    """What the plugin does when a rig is given: collect, run, decide. What becomes of the results is `RunRecord`'s."""

    def __init__(self, config: pytest.Config, rig: Rig) -> None:
        super().__init__(config, rig)
        if not self.is_worker and config.option.verbose == 0:
            config.option.verbose = 1
        if config.pluginmanager.hasplugin("allure_pytest") and not rig.falsified:
            # Set in each worker too: xdist hands them the command line, not the options.
            config.option.allure_report_dir = config.option.allure_report_dir or str(self.run_dir / "allure-results")
            config.option.attach_capture = False  # captured output may hold device data, uncleaned

    # Collecting

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Let `-m` choose by what a testcase says of itself."""
        meta = meta_of(item)
        if meta is not None:
            for word in ("slow", "long", "unqualified"):
                if getattr(meta, word):
                    item.add_marker(word)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make one item for each instance in the device file; none needs a reason there."""
        found = instances_of(metafunc.definition, self.rig)
        if found is None:
            return
        names, instances = found
        meta: Meta = metafunc.definition.get_closest_marker("testcase").args[0]  # type: ignore[union-attr]
        key, reason = self.rig.device.why_not(meta.id)
        if instances and reason:
            where = f"{self.rig.device_path}: not_applicable.{key}"
            raise pytest.UsageError(f"{where}: a reason is given, but the device file declares what {meta.id} needs")
        if not instances and not reason:
            self.undeclared[meta.id] = meta.title
        if not instances:
            count = len([name for name in names.split(",") if name.strip()])
            metafunc.parametrize(names, [pytest.param(*[None] * count, id=NOT_APPLICABLE)])
            return
        metafunc.parametrize(names, [pytest.param(*instance.values, id=instance.id) for instance in instances])

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Check the tags, leave out what the rig does not permit, order from harmless to heavy."""
        from harness.clauses.registry import load_registry  # noqa: PLC0415  (not needed without a rig)

        if self.undeclared:
            listed = "".join(f"\n    {id}: …  # {title}" for id, title in sorted(self.undeclared.items()))
            raise pytest.UsageError(
                f"{self.rig.device_path}: nothing declared for {len(self.undeclared)} testcases\n"
                f"  → declare the claims they need, or give a reason for each (`CAN-*` is for all that begin so):\n"
                f"  not_applicable:{listed}"
            )
        registry = load_registry()
        permitted, kept, left = set(self.rig.file.permits), [], []
        for item in items:
            meta = meta_of(item)
            if meta is None:
                kept.append(item)
                continue
            try:
                for tag in meta.tags:
                    registry.check_tag(tag.clause_id, tag.strength)
            except UsageError as error:
                raise pytest.UsageError(f"{item.nodeid}: {error}") from error
            if all(tag.strength is Strength.REVIEW for tag in meta.tags):
                raise pytest.UsageError(f"{item.nodeid}: no clause it verifies or contributes to; tag one")
            forbidden = sorted(effect.value for effect in meta.effects - permitted)
            if forbidden:
                self.left_out[item.nodeid] = f"the rig does not permit effects on {', '.join(forbidden)}"
                left.append(item)
            else:
                kept.append(item)
        kept.sort(key=_weight)
        items[:] = kept
        if left:
            config.hook.pytest_deselected(items=left)

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Name what somebody left out."""
        for item in items:
            self.left_out.setdefault(item.nodeid, "deselected")
            self.left_out_claims[item.nodeid] = _claims(item)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Record the plan; with xdist each worker records what it knows of the testcases."""
        gc.freeze()  # modules, items and clauses live as long as the run: no testcase need have them looked through
        if session.config.option.collectonly or _distributed(session.config):
            return
        about = {item.nodeid: meta for item in session.items if (meta := meta_of(item))}
        self._plan(list(about), about)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        """Record the plan (with xdist): every worker has collected the same."""
        if not self.planned:
            self._plan(list(ids), {})

    # Running

    def begin(self, item: pytest.Item, *, attempt: int = 1) -> Case:
        """Begin a testcase; remembered on the item for the wrappers."""
        meta = meta_of(item)
        if meta is None:
            raise UsageError(f"{item.nodeid} is no testcase", hint="decorate it with harness.testcase.testcase")
        _, reason = self.rig.device.why_not(meta.id)
        if reason and NOT_APPLICABLE in item.name:
            raise NotApplicable(reason)
        item.stash[_CASE] = self.process().begin(
            item.nodeid, meta, claims=_claims(item), attempt=attempt, observer=self._observer
        )
        return item.stash[_CASE]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, None, None]:
        """Label the testcase before anything can go wrong; another device stops the run."""
        meta = meta_of(item)
        if meta:
            self._label(item, meta)
        try:
            return (yield)
        except WrongDevice as error:
            item.session.shouldstop = error.message
            raise

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
        """Run the body, then decide; repeat only after silence under attack or a fault of the bench."""
        __tracebackhide__ = True
        raised: BaseException | None = None
        try:
            yield
        except Exception as error:  # noqa: BLE001  (every exception is decided about, none hidden)
            raised = error
        if meta_of(item) is None or _CASE not in item.stash:
            if raised is not None:
                raise raised
            return
        self._decide(item, raised)

    def _decide(self, item: pytest.Item, raised: BaseException | None) -> None:
        """Finish the case; on silence, or after a fault of the bench, run the body again on a fresh baseline."""
        __tracebackhide__ = True
        silent: SilenceAfterAttack | None = None
        for attempt in range(1, ATTEMPTS + 1):
            if attempt > 1:
                raised = self._again(item, attempt)
            current = item.stash[_CASE]
            try:
                current.finish(raised)
            except SilenceAfterAttack as error:
                if silent is not None:
                    title, expected = "the device is not silent on a fresh baseline too", "an answer in time"
                    current.check(title, held=False, expected=expected, observed=str(error), claim=error.claim)
                    raise decide(current.checks) or error from None
                current.journal_end(judge(error).verdict, str(error))
                silent = error
            except (BaselineLost, DiskFull, WrongDevice):
                raise
            except (BenchStalled, BenchFault) as error:
                current.journal_end(judge(error).verdict, str(error))
                if attempt == ATTEMPTS:
                    raise
            else:
                if silent is not None:
                    break
                return
        raise Undecided(f"silent once, not again: {silent}")

    def _again(self, item: pytest.Item, attempt: int) -> BaseException | None:
        case = self.begin(item, attempt=attempt)
        item.funcargs["case"] = case  # type: ignore[attr-defined]
        try:
            item.runtest()
        except Exception as error:  # noqa: BLE001  (decided by the caller)
            return error
        return None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Put the verdict on the report; show our own errors without a traceback."""
        report = yield
        if meta_of(item) is None or (call.when != "call" and call.excinfo is None):
            return report
        error = call.excinfo.value if call.excinfo else None
        if call.when == "teardown" and error is not None:
            error = Undecided(f"clearing up failed: {error}")
        if isinstance(error, DiskFull):
            item.session.shouldstop = error.message
        row = judge(error)
        case = item.stash.get(_CASE, None)
        clean = case.clean if case is not None else show_text
        reason = clean(_reason(error))
        if isinstance(error, ProofrigError | Undecided | ClaimBroken):
            report.longrepr = reason
        if row.pytest_outcome == "skipped":
            report.outcome = "skipped"
            report.longrepr = (str(item.path), 0, reason)
        report.proofrig = {  # type: ignore[attr-defined]
            "verdict": row.verdict.value,
            "reason": reason,
            "worker": self.worker,
            "first": self.process().journal.first,
        }
        if isinstance(error, BenchFault):
            self.process().journal.write(
                "fault", testcase=item.nodeid, what=clean(error.message), hint=error.hint or ""
            )
        if case is not None:
            case.journal_end(row.verdict, reason)
        else:
            self.process().journal.write(
                "case.end", testcase=item.nodeid, verdict=row.verdict.value, reason=reason, attempt=1, seconds=0.0
            )
        return report

    # Helpers

    def _plan(self, nodeids: list[str], about: dict[str, Meta]) -> None:
        self.planned = nodeids
        run = self.process()
        run.plan(nodeids, about)
        if self.left_out:
            run.journal.write("deselected", testcases=self.left_out, claims=self.left_out_claims)

    def _label(self, item: pytest.Item, meta: Meta) -> None:
        if self.config.pluginmanager.hasplugin("allure_pytest"):
            from harness.report.allure import label  # noqa: PLC0415

            label(item.nodeid, meta, rig=self.rig, claims=_claims(item))

    @property
    def _observer(self) -> Callable[[], Any] | None:
        if not self.config.pluginmanager.hasplugin("allure_pytest"):
            return None
        from harness.report.allure import AllureObserver  # noqa: PLC0415

        return AllureObserver


def _weight(item: pytest.Item) -> int:
    meta = meta_of(item)
    if meta is None:
        return 0
    return max((_EFFECTS.index(effect.value) + 1 for effect in meta.effects), default=0) + 10 * meta.cold


def _reason(error: BaseException | None) -> str:
    """What an exception says, cleaned; of one that is not ours, its name first (`EOFError` alone says nothing)."""
    if error is None:
        return ""
    ours = isinstance(error, ProofrigError | Undecided | ClaimBroken | NotApplicable)
    return show_text(str(error) if ours else f"{type(error).__name__}: {error}".rstrip(": "))


def _claims(item: pytest.Item) -> list[str]:
    callspec = getattr(item, "callspec", None)
    claim = callspec.params.get("claim_id") if callspec else None
    return [claim] if claim else []


def _distributed(config: pytest.Config) -> bool:
    return bool(getattr(config.option, "numprocesses", None)) or bool(getattr(config.option, "tx", None))
