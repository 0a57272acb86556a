"""The two slots of the pump's software, and which of them starts (VP1-ICD §9 and §13)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

TRIES = 3

DELIVERED = {"version": "1.0.0", "fault": ""}


@dataclass
class Software:
    """Both slots; `slot` is the one that is good. `trial` is the update that was begun, empty for none."""

    slot: str = "A"
    images: dict[str, dict[str, str]] = field(default_factory=lambda: {"A": DELIVERED, "B": DELIVERED})
    trial: dict[str, Any] = field(default_factory=dict)

    @property
    def other(self) -> str:
        """The slot that an update goes to."""
        return "B" if self.slot == "A" else "A"

    def writing(self, version: str) -> None:
        """An update is being written."""
        self.trial = {"phase": "writing", "slot": self.other, "version": version, "tries": TRIES}

    def written(self, *, version: str, fault: str) -> None:
        """The update is to be tried from the next start on."""
        self.images[self.other] = {"version": version, "fault": fault}
        self.trial["phase"] = "ready"

    def choose(self) -> str:
        """The boot loader's choice; counts a try of the new slot."""
        if self.trial.get("phase") == "ready" and self.trial["tries"] > 0:
            self.trial["tries"] -= 1
            return str(self.trial["slot"])
        return self.slot

    def is_trial(self, slot: str) -> bool:
        """Whether a slot that runs is one to be tried."""
        return self.trial.get("slot") == slot

    def failure(self) -> str:
        """Why the update came to nothing, seen from the good slot after a start; empty where it did not."""
        if not self.trial or self.waits:
            return ""
        return "rolled-back" if self.trial["phase"] == "ready" else "interrupted"

    @property
    def waits(self) -> bool:
        """An update is written and was not tried yet."""
        return self.trial.get("phase") == "ready" and self.trial["tries"] == TRIES

    def forget(self) -> None:
        """No update is under way."""
        self.trial = {}

    def passed(self) -> None:
        """The slot on trial is the good one from now on."""
        self.slot = str(self.trial["slot"])
        self.forget()

    def version(self, slot: str) -> tuple[int, int, int]:
        """The version in a slot."""
        major, minor, patch = (int(part) for part in self.images[slot]["version"].split("."))
        return major, minor, patch
