"""How a testcase says what it is: its title, the clauses it verifies, what it does to the device, where it applies.

@testcase(
    "AUTH-LOCKOUT",
    title="Lock-out after refused log-ins, and release",
    tags=[verifies("NMPA-2022/PAUT"), contributes("ANSM-2019/DES-AUTHN")],
    about=About(property="confidentiality", phase="design", method="function test", threat="guessing"),
    effects=[Effect.ACCOUNTS],
)
@each("claim_id, surface", lockouts)
def test_lockout(case, claim_id, surface): ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import pytest

from harness.clauses.model import Strength, Tag
from harness.rig.claims import ClaimBase
from harness.rig.device_file import DeviceFile
from harness.rig.loading import Rig
from harness.rig.rig_file import Effect

__all__ = [
    "About",
    "Instance",
    "Meta",
    "contributes",
    "each",
    "each_on_rig",
    "each_surface",
    "instances_of",
    "meta_of",
    "review",
    "testcase",
    "verifies",
]

F = TypeVar("F", bound=Callable[..., None])

Property = Literal["availability", "integrity", "confidentiality", "auditability"]
Phase = Literal["design", "first use", "monitoring", "end of life"]


@dataclass(frozen=True, slots=True)
class About:
    """What a testcase protects, when in the life of the device, by which method, against which threat."""

    property: Property
    phase: Phase
    method: str
    threat: str


@dataclass(frozen=True, slots=True)
class Meta:
    """What a testcase says of itself."""

    id: str
    title: str
    tags: tuple[Tag, ...]
    about: About
    version: int = 1
    effects: frozenset[Effect] = frozenset()
    cold: bool = False
    needs: frozenset[str] = frozenset()
    hardware: str = ""
    unqualified: bool = False
    slow: bool = False
    long: bool = False
    severity: Literal["blocker", "critical", "normal", "minor"] = "critical"


@dataclass(frozen=True, slots=True)
class Instance:
    """One case a testcase is run for: its id in the node id and the values of the arguments."""

    id: str
    values: tuple[Any, ...] = field(default=())


def verifies(*clause_ids: str) -> list[Tag]:
    """Tag clauses read in full or summary that the testcase verifies."""
    return [Tag(clause_id=clause_id, strength=Strength.VERIFIES) for clause_id in clause_ids]


def contributes(*clause_ids: str) -> list[Tag]:
    """Tag clauses to which the testcase supplies facts."""
    return [Tag(clause_id=clause_id, strength=Strength.CONTRIBUTES) for clause_id in clause_ids]


def review(*clause_ids: str) -> list[Tag]:
    """Tag clauses of document review for which the testcase measures facts."""
    return [Tag(clause_id=clause_id, strength=Strength.REVIEW) for clause_id in clause_ids]


def testcase(
    id: str,  # noqa: A002
    *,
    title: str,
    tags: Sequence[list[Tag]],
    about: About,
    effects: Iterable[Effect] = (),
    cold: bool = False,
    needs: Iterable[str] = (),
    hardware: str = "",
    unqualified: bool = False,
    slow: bool = False,
    long: bool = False,
    version: int = 1,
    severity: Literal["blocker", "critical", "normal", "minor"] = "critical",
) -> Callable[[F], F]:
    """Mark a test function as a testcase.

    Args:
        id: stable name, used in device files (`not_applicable`) and in weakness catalogues.
        title: one sentence a regulatory reader understands.
        tags: clauses, by `verifies`, `contributes` and `review`.
        about: property, phase, method and threat.
        effects: what it may leave behind; the rig must permit each.
        cold: it starts with the device switched off.
        needs: control capabilities it cannot do without (`power`, `cut` …).
        hardware: why its result is only indicative on an emulated item; empty when it is not.
        unqualified: no weakness exists yet that it catches.
        slow: takes more than some seconds, for a timer or many cases; `-m "not slow"` leaves it out.
        long: takes many minutes; `-m "not long"` leaves it out.
        version: raised when what it does changes.
        severity: of a FAIL.
    """
    meta = Meta(
        id=id,
        title=title,
        tags=tuple(tag for group in tags for tag in group),
        about=about,
        effects=frozenset(effects),
        cold=cold,
        needs=frozenset(needs),
        hardware=hardware,
        unqualified=unqualified,
        slow=slow,
        long=long,
        version=version,
        severity=severity,
    )
    return pytest.mark.testcase(meta)


# pytest would collect the decorator itself wherever a testcase imports it.
testcase.__test__ = False  # type: ignore[attr-defined]


def each(names: str, source: Callable[[DeviceFile], Iterable[Instance]]) -> Callable[[F], F]:
    """Run a testcase for each instance `source` finds in the device file.

    None found is a collection error unless the device file gives a reason under `not_applicable`.
    """
    return pytest.mark.each(names, lambda rig: source(rig.device))


def each_on_rig(names: str, source: Callable[[Rig], Iterable[Instance]]) -> Callable[[F], F]:
    """As `each`, where the rig has a say too: its bundles, its wiring."""
    return pytest.mark.each(names, source)


def each_surface(kind: type[ClaimBase]) -> Callable[[F], F]:
    """Run a testcase with `claim_id` and `surface` for each surface named by a claim of `kind`."""

    def source(device: DeviceFile) -> Iterable[Instance]:
        for claim_id, claim in device.claims_of(kind).items():
            single = getattr(claim, "surface", None)
            for surface in (single,) if single else getattr(claim, "surfaces", ()):
                yield Instance(surface, (claim_id, surface))

    return each("claim_id, surface", source)


def meta_of(item: pytest.Item) -> Meta | None:
    """Return what a collected item says of itself, None for a test that is no testcase."""
    marker = item.get_closest_marker("testcase")
    return marker.args[0] if marker else None


def instances_of(definition: Any, rig: Rig) -> tuple[str, list[Instance]] | None:
    """Return argument names and instances of a test definition, None when it has no `each`."""
    marker = definition.get_closest_marker("each")
    if marker is None:
        return None
    names, source = marker.args
    return names, list(source(rig))
