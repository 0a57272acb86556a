"""Allure while testcases run: steps and text attachments, labels, and a gate that nothing unclean passes.

allure-pytest overwrites title and description after the setup of a test, keeps a stack of steps a thread, and
dies of a lone surrogate: so steps are built here on the test result itself, and every result goes through
`_Gate` just before it is written.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import allure_commons
from allure_commons.logger import AllureFileLogger
from allure_commons.model2 import Attachment, Label, Link, Parameter, StatusDetails, TestResultContainer, TestStepResult
from allure_commons.types import AttachmentType

from harness.clauses.registry import load_registry
from harness.clean import show_text
from harness.report.allure_results import write_whole
from harness.report.labels import NODEID, description, facts_of_meta, labels, line, links, title
from harness.rig.loading import Rig
from harness.testcase import Meta
from harness.verdict import judge

__all__ = ["AllureObserver", "label"]

ATTACHMENT_LIMIT = 16_000
"""Characters of one attachment; the capture holds the whole."""

INLINE_LIMIT = 120
"""A piece of text this short stands beside its step instead of in a file of its own."""

DETAIL_LIMIT = 8_000
"""Characters of a message or trace."""

VALUE_LIMIT = 500
"""Characters of a parameter."""

_WORST = ["passed", "broken", "failed"]
_SIGNS = {"✘": "failed", "?": "broken"}
#: What allure-pytest adds to every result and says nothing about a device; `host` names a machine of the lab.
_NOISE = frozenset({"host", "thread", "framework", "language", "package", "parentSuite", "suite", "subSuite"})


_FIXTURES = {"case": "Bring the device to its baseline and read its identity"}

STEPS_LIMIT = 1_000
"""Steps shown of one attempt. Beyond it only those that are not passed are; the journal holds all."""


def label(nodeid: str, meta: Meta, *, rig: Rig, claims: list[str]) -> None:
    """Say in the result of the test in progress what the testcase is. Nothing happens when Allure is off."""
    result = _current()
    if result is None:
        return
    registry = load_registry()
    facts = facts_of_meta(nodeid, meta, rig=rig, claims=claims)
    result.labels.extend(Label(name, value) for name, value in labels(facts, registry))
    result.links.extend(Link("link", url, name) for url, name in links(facts, registry))
    _gate().announce(nodeid, title=title(facts), description=description(facts, registry))


class AllureObserver:
    """Shows a testcase in progress in the Allure result of the present test (`harness.case.Observer`)."""

    def __init__(self) -> None:
        self._result = _current()
        self._open = _Steps()
        self._shown = 0

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Show a step. The worst of what happens in it becomes its status, as does a sign before its title."""
        name = line(title)
        step = TestStepResult(name=name, status=_SIGNS.get(name[:1], "passed"), stage="finished", start=_now())
        parent = self._open.stack[-1] if self._open.stack else self._result
        shown = parent is not None and self._room(step)
        if shown:
            parent.steps.append(step)
        self._open.stack.append(step)
        try:
            yield
        except BaseException as error:
            step.status = _worse(step.status, judge(error).allure_status)
            step.statusDetails = StatusDetails(message=show_text(str(error), limit=DETAIL_LIMIT))
            raise
        finally:
            step.stop = _now()
            self._open.stack.pop()
            if parent is not None and not shown and step.status != "passed":
                parent.steps.append(step)
            if isinstance(parent, TestStepResult):
                parent.status = _worse(parent.status, step.status)

    def _room(self, step: TestStepResult) -> bool:
        self._shown += 1
        if self._shown == STEPS_LIMIT and self._result is not None:
            note = f"more than {STEPS_LIMIT} steps: from here on only checks that did not hold; the journal has all"
            self._result.steps.append(TestStepResult(name=note, status="passed", start=step.start, stop=step.start))
        return self._shown < STEPS_LIMIT

    def attach(self, name: str, text: str) -> None:
        """Show text beside the present step: short text as it is, longer text as a plain-text attachment."""
        owner = self._open.stack[-1] if self._open.stack else self._result
        if owner is None:
            return
        shown = show_text(text, limit=ATTACHMENT_LIMIT)
        if isinstance(owner, TestStepResult) and len(shown) <= INLINE_LIMIT and "\n" not in shown.strip():
            owner.parameters.append(Parameter(name=line(name), value=shown.strip()))
            return
        file_name = f"{uuid.uuid4()}-attachment.txt"
        allure_commons.plugin_manager.hook.report_attached_data(body=shown.encode(), file_name=file_name)
        owner.attachments.append(Attachment(name=line(name), source=file_name, type=AttachmentType.TEXT.mime_type))


class _Steps(threading.local):
    """The open steps of each thread; those of a thread of the testcase's own hang on the test itself."""

    def __init__(self) -> None:
        self.stack: list[TestStepResult] = []


class _Gate:
    """Allure plugin through which every result passes before it is written."""

    def __init__(self) -> None:
        self._announced: dict[str, tuple[str, str]] = {}

    def announce(self, nodeid: str, *, title: str, description: str) -> None:
        """Remember what allure-pytest would overwrite."""
        self._announced[line(nodeid)] = (title, description)

    @allure_commons.hookimpl(tryfirst=True)
    def report_result(self, result: Any) -> None:
        """Give a testcase its title and description, clean every text, leave out noise."""
        nodeid = next((item.value for item in result.labels if item.name == NODEID), None)
        if nodeid in self._announced:
            result.name, result.description = self._announced.pop(nodeid)
            result.labels = [item for item in result.labels if item.name not in _NOISE]
            result.parameters = [item for item in result.parameters if item.value != "None"]
            # Repetitions and the proof of life run after allure-pytest has stopped its clock.
            result.stop = max([result.stop or 0, *(step.stop or 0 for step in result.steps)])
        _clean(result)

    @allure_commons.hookimpl(tryfirst=True)
    def report_container(self, container: Any) -> None:
        """Clean what fixtures said; leave out finalisers without an outcome, which allure-pytest adds to each."""
        container.afters = [fixture for fixture in container.afters if fixture.status]
        for fixture in container.befores:
            fixture.name = _FIXTURES.get(fixture.name, fixture.name)
        for fixture in (*container.befores, *container.afters):
            _clean(fixture)


def _write(folder: Path, item: Any) -> None:
    """Write a result as allure-pytest does, in half the time; not the containers of parameters, which say nothing."""
    if isinstance(item, TestResultContainer) and not item.children:
        return
    with suppress(OSError):  # on a full disk; what is missing is made up from the journal (`complete_results`)
        write_whole(folder / item.file_pattern.format(prefix=uuid.uuid4()), item, default=_said)


def _said(item: Any) -> dict[str, Any]:
    """What a part of a result says; what is empty is left out, as allure-pytest does."""
    return {name: value for name, value in vars(item).items() if value or value is False}


def _clean(item: Any) -> None:
    """Make every text of a result, fixture or step harmless, in place."""
    item.name = line(str(item.name or ""))
    if item.description:
        item.description = show_text(item.description, limit=DETAIL_LIMIT)
    item.descriptionHtml = None
    for parameter in item.parameters:
        parameter.name, parameter.value = line(str(parameter.name)), show_text(str(parameter.value), limit=VALUE_LIMIT)
    for each in getattr(item, "labels", ()):
        each.name, each.value = line(str(each.name)), line(str(each.value))
    details = item.statusDetails
    if details is not None:
        details.message = show_text(details.message or "", limit=DETAIL_LIMIT)
        details.trace = show_text(details.trace or "", limit=DETAIL_LIMIT)
    for step in item.steps:
        _clean(step)


def _now() -> int:
    """Allure's clock: milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _worse(one: str, other: str) -> str:
    """The worse of two statuses of a step; one that cannot be worse than broken counts as broken."""
    return max(one, other if other in _WORST else "broken", key=_WORST.index)


def _listener() -> Any:
    return next((each for each in allure_commons.plugin_manager.get_plugins() if hasattr(each, "allure_logger")), None)


def _current() -> Any:
    """The result of the test in progress, None when allure-pytest writes none."""
    listener = _listener()
    return listener.allure_logger.get_test(None) if listener is not None else None


def _gate() -> _Gate:
    """The gate, registered with Allure when it is first needed."""
    manager = allure_commons.plugin_manager
    gate = manager.get_plugin("proofrig-gate")
    if gate is None:
        gate = _Gate()
        manager.register(gate, "proofrig-gate")
        for plugin in manager.get_plugins():
            if isinstance(plugin, AllureFileLogger):
                plugin._report_item = partial(_write, plugin._report_dir)  # type: ignore[method-assign]  # noqa: SLF001
    return gate  # type: ignore[no-any-return]
