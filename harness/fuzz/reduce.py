"""Fewest inputs that still do it: delta debugging (Zeller, Hildebrandt 2002), with a bound on the trials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

__all__ = ["fewest"]

T = TypeVar("T")


def fewest(items: Sequence[T], fails: Callable[[Sequence[T]], bool], *, trials: int = 24) -> list[T]:
    """Return a small part of `items`, in order, for which `fails` still holds; it must hold for all of them.

    `fails` is asked at most `trials` times, since each costs the device a restart: the result may not be minimal.
    """
    kept = list(items)
    parts = 2
    while len(kept) >= 2 and trials > 0:
        size = -(-len(kept) // parts)
        pieces = [kept[at : at + size] for at in range(0, len(kept), size)]
        # The later an input, the likelier it is the one: trouble shows soon after.
        for number in reversed(range(len(pieces))):
            if trials <= 0:
                break
            trials -= 1
            if fails(pieces[number]):
                kept, parts = pieces[number], 2
                break
            rest = [item for other, piece in enumerate(pieces) if other != number for item in piece]
            if len(pieces) > 2 and trials > 0:
                trials -= 1
                if fails(rest):
                    kept, parts = rest, max(parts - 1, 2)
                    break
        else:
            if parts >= len(kept):
                break
            parts = min(2 * parts, len(kept))
    return kept
