"""What an action answered, in a form that is the same on every surface where people log in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Answer"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What an action answered: named values in order, its rows where the action declares some, and all bytes.

    On a dialogue the values are the `name: value` lines, and `text` is all between echo and prompt. Over HTTP they are
    the values of the JSON body, and `text` is the body.
    """

    lines: tuple[tuple[str, str], ...]
    text: bytes
    rows: tuple[Mapping[str, str], ...] = ()

    def get(self, name: str) -> str | None:
        """Return the first value of that name."""
        return next((value for key, value in self.lines if key == name), None)

    def all(self, name: str) -> list[str]:
        """Return every value of that name, in order."""
        return [value for key, value in self.lines if key == name]
