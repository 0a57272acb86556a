"""Whether what claims name is there: other claims, surfaces, and actions and fields of surfaces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from harness.rig.claims import (
    AlarmClaim,
    AlarmPlace,
    AuditClaim,
    ClaimBase,
    EssentialPerformanceClaim,
    RestoreClaim,
)

__all__ = ["reference_problems"]


def reference_problems(surfaces: Mapping[str, object], claims: Mapping[str, ClaimBase]) -> Iterator[str]:
    """Say what claims name that is not there, by key of the device file."""
    for claim_id, claim in claims.items():
        where = f"claims.{claim_id}"
        if isinstance(claim, RestoreClaim) and claim.backup not in claims:
            yield f"{where}.backup: no claim named {claim.backup!r}"
        if isinstance(claim, AuditClaim):
            for kind, record in claim.records.items():
                if record.on not in surfaces:
                    yield f"{where}.records.{kind}.on: no surface named {record.on!r}"
        if isinstance(claim, AlarmClaim):
            yield from (f"{where}.{problem}" for problem in _unalarmed(claim, surfaces, claims))


def _unalarmed(claim: AlarmClaim, surfaces: Mapping[str, object], claims: Mapping[str, ClaimBase]) -> Iterator[str]:
    for key in ("action", "acknowledge"):
        action = getattr(claim, key)
        for surface in claim.surfaces:
            if action and surface in surfaces and action not in getattr(surfaces[surface], "actions", {}):
                yield f"{key}: surface {surface} has no action named {action!r}"
    performance = claims.get(claim.performance)
    if claim.performance and not isinstance(performance, EssentialPerformanceClaim):
        yield f"performance: {claim.performance!r} is no claim about the essential performance"
    for place in claim.shown:
        yield from _missing(place, surfaces, performance)


def _missing(place: AlarmPlace, surfaces: Mapping[str, object], performance: ClaimBase | None) -> Iterator[str]:
    if place.surface and place.surface not in surfaces:
        yield f"shown: no surface named {place.surface!r}"
        return
    owner = surfaces[place.surface] if place.surface else performance
    # A UDS server's fields are its identifiers.
    fields = getattr(owner, "identifiers", None) or getattr(owner, "fields", {})
    if place.field not in fields:
        yield f"shown: {place.surface or 'the claim `performance`'} has no field named {place.field!r}"
