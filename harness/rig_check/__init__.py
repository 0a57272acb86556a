"""`proofrig rig check`: every link opened once, the identity read, every operation walked."""

from __future__ import annotations

from harness.rig_check.check import check_rig

__all__ = ["check_rig"]
