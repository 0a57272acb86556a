"""Proofrig: a hardware-in-the-loop security test harness for medical devices."""

__version__ = "0.1.0"
