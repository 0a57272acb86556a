"""Run the benchmarks named on the command line, or all of them; each prints `name: value` lines."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

from benchmarks.overhead import overhead
from benchmarks.receive import can, serial
from benchmarks.reset import reset

BENCHMARKS: dict[str, Callable[[], Iterable[tuple[str, float]]]] = {
    "harness": overhead,
    "reset": reset,
    "serial": serial,
    "can": can,
}


def main(names: list[str]) -> int:
    """Run and print."""
    unknown = [name for name in names if name.split(".")[0] not in BENCHMARKS]
    if unknown:
        print(f"no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 4
    wanted = {name.split(".")[0] for name in names} or set(BENCHMARKS)
    for group in sorted(wanted):
        for name, value in BENCHMARKS[group]():
            if not names or any(name.startswith(given) for given in names):
                print(f"{name}: {value:.3g}", flush=True)
    return 0


sys.exit(main(sys.argv[1:]))
