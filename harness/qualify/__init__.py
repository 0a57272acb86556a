"""Qualification: the proof that the harness works. Weaknesses and liars × testcases."""
