"""`proofrig doctor`: whether this host can do what Proofrig, or one rig, asks of it. It opens no link of a rig."""

from __future__ import annotations

from harness.doctor.examination import examine, report
from harness.doctor.finding import Finding, State

__all__ = ["Finding", "State", "examine", "report"]
