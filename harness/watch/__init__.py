"""Watches: observers that run the whole time of a testcase."""

from __future__ import annotations

from harness.watch.base import Incident, IncidentKind, Watch, WatchReport
from harness.watch.console import ConsoleWatch
from harness.watch.essential_performance import EssentialPerformanceWatch
from harness.watch.stall import StallMonitor, Standstill

__all__ = [
    "ConsoleWatch",
    "EssentialPerformanceWatch",
    "Incident",
    "IncidentKind",
    "StallMonitor",
    "Standstill",
    "Watch",
    "WatchReport",
]
