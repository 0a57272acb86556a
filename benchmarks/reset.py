"""How fast a clone of the emulated pump is there and proven alive, and against its cold boot in the same run."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from harness.bench import Bench
from harness.device.outcomes import Accepted
from harness.journal import Journal
from harness.rig.loading import load_rig

RIG = Path(__file__).resolve().parent.parent / "rigs/pump-qemu.yaml"
CLONES = 20
BOOTS = 3


def _probe(bench: Bench) -> None:
    """Wait until the device answers a fresh stimulus on the surface its identity is read from."""
    bench.check_identity(within=30)
    probed = bench.surface(bench.rig.device.identity).probe()
    if not isinstance(probed, Accepted):
        raise SystemExit(f"the device does not answer: {probed}")


def reset() -> Iterator[tuple[str, float]]:
    """Yield the median milliseconds from the order to a probed clone, and how many times faster than a cold boot."""
    with tempfile.TemporaryDirectory() as name:
        rig = load_rig(RIG)
        bench = Bench(rig, run_dir=Path(name), journal=Journal(Path(name) / "journal.jsonl"))
        clones, boots = [], []
        try:
            bench.open()
            bench.fresh(watch=False)  # makes the template where there is none
            for number in range(CLONES):
                started = time.monotonic()
                bench.fresh(watch=False)
                _probe(bench)
                clones.append(time.monotonic() - started)
                if number % (CLONES // BOOTS) == 0:
                    started = time.monotonic()
                    bench.power_cycle()
                    _probe(bench)
                    boots.append(time.monotonic() - started)
        finally:
            bench.close()
    clone, boot = statistics.median(clones), statistics.median(boots)
    yield "reset.clone_ms", clone * 1000
    yield "reset.vs_cold_boot", boot / clone
