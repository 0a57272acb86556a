"""Rig and device files: typed models, loading, JSON schemas."""
