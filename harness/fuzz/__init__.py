"""Fuzzing: models and case sources, campaigns with oracles, findings, replay, minimising.

The order of the modules: `grammar` (what a well-formed message is), `models` (grammars from the device
file), `cases` (cases as bytes, framed), `sources` and `mutators` (where cases come from), `delivery` (how a
case reaches a surface), `oracle` (did it harm the device), `reduce` and `findings`, `campaign`.
"""
