"""The baseline claims: what holds for every device without being written in its file, each with its source.

A device file withdraws one only with a reason (`withdrawn:`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from harness.rig.claims import ClaimBase, Source, Status

__all__ = ["BASELINE", "BaselineClaim"]


class BaselineClaim(ClaimBase):
    """A statement that holds for every device."""

    statement: str


def _fda(section: str, statement: str) -> BaselineClaim:
    # Points read in full in the 2023-09-27 edition (provenance key F23).
    source = Source(document="FDA premarket cybersecurity guidance", revision="2023-09-27", section=section)
    return BaselineClaim(source=source, status=Status.APPROVED, statement=statement)


BASELINE: Mapping[str, BaselineClaim] = MappingProxyType(
    {
        "BASE-NO-DEFAULT-PASSWORD": _fda("Appendix 1, A", "no default, hard-coded, empty or guessable password"),
        "BASE-CHECKSUM": _fda("Appendix 1, A", "a checksum is not an authenticator"),
        "BASE-CRYPTO": _fda("Appendix 1, C", "no algorithm known to be broken or weak is offered"),
        "BASE-REPLAY": _fda("Appendix 1, A", "a recorded command is not accepted again"),
        "BASE-DEBUG-SHUT": _fda("Appendix 1, D", "debug ports and boot loader are shut"),
        "BASE-DENY": _fda("Appendix 1, B", "what is not allowed is denied, on serial interfaces too"),
        "BASE-NO-CRASH": _fda("Appendix 1, G", "no input makes the device crash or restart"),
        "BASE-INPUT": _fda("Appendix 1, D", "what is entered is refused or kept as it was, never interpreted"),
        "BASE-UNCHANGED": _fda("Appendix 1, D", "what was refused changes nothing"),
    }
)
