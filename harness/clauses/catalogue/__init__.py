"""The catalogue files: YAML, no code."""
