"""Arguments of a declared action, fitted to the names its template uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from harness.errors import UsageError
from harness.rig.templates import Scalar

__all__ = ["fitted"]


class Takes(Protocol):
    """An action whose arguments have names."""

    @property
    def harmless(self) -> Mapping[str, Scalar]:
        """Arguments that do no harm, in order."""

    def named(self) -> set[str]:
        """Return the names it needs."""


def fitted(
    surface: str, action: str, spec: Takes, *, args: Sequence[Scalar], named: Mapping[str, Scalar]
) -> dict[str, Scalar]:
    """Return the arguments of an action by name: those given, in order or by name, else the harmless ones.

    Raises:
        UsageError: one too many or too few, or one the action does not take.
    """
    harmless = spec.harmless
    known = [*harmless, *sorted(spec.named() - set(harmless))]
    if any(name not in known for name in named) or len(args) > len(harmless):
        raise UsageError(f"action {action} of {surface} takes {', '.join(known) or 'no arguments'}")
    filled = {**harmless, **dict(zip(harmless, args, strict=False)), **named}
    missing = spec.named() - set(filled)
    if missing:
        raise UsageError(f"action {action} of {surface} needs {', '.join(sorted(missing))}")
    return filled
