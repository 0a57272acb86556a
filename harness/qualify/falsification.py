"""What a falsification is: one thing that a claim says, said otherwise in memory, so that the device must break it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from harness.rig.claims import ClaimBase
from harness.rig.device_file import SurfaceSpec
from harness.rig.loading import Falsified, Rig
from harness.rig.rig_file import LinkSpec

__all__ = ["Falsification", "changed", "shorter"]

C = TypeVar("C", bound=ClaimBase)


@dataclass(frozen=True, slots=True, kw_only=True)
class Falsification:
    """One thing of a claim said otherwise. What stands where the claim points, in a surface or a link, counts as said.

    `name` tells it from the others of its claim, `how` says in a sentence what was changed.
    """

    name: str
    how: str
    claim: ClaimBase | None = None
    surfaces: Mapping[str, SurfaceSpec] = field(default_factory=dict)
    links: Mapping[str, LinkSpec] = field(default_factory=dict)

    def of(self, rig: Rig, claim_id: str) -> Rig:
        """Return the rig with claim `claim_id` falsified, marked as such. The files stay as they are."""
        device, file = rig.device, rig.file
        claims = {**device.claims, claim_id: self.claim or device.claims[claim_id]}
        return replace(
            rig,
            device=device.model_copy(update={"claims": claims, "surfaces": {**device.surfaces, **self.surfaces}}),
            file=file.model_copy(update={"links": {**file.links, **self.links}}),
            falsified=Falsified(claim=claim_id, falsification=self.name, how=self.how),
        )


def changed(claim: C, **fields: object) -> C:
    """Return a claim with other values, which must be values that it can have."""
    return type(claim).model_validate({**claim.model_dump(), **fields})


def shorter(claim: C, name: str) -> C:
    """Return a claim with half the time in field `name`, its `tolerance` so small that the two do not touch."""
    seconds = float(getattr(claim, name))
    return changed(claim, **{name: seconds / 2, "tolerance": min(float(getattr(claim, "tolerance", 0)), seconds / 8)})
