"""Benchmarks: ratios and times measured in one run. `make bench [NAME=…]` prints `name: value` lines."""
