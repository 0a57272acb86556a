"""Builds the VP-1 fixture's disk from locked Debian packages and our own sources."""
