"""Grading many scans: what worker processes gain, and what a restart costs.

    python -m benchmarks.many [--patients N] [--workers 1 2]

Simulated patients are graded by each number of workers into a fresh folder, then once more into the finished one,
which reads every scan to know it and grades none. Printed are scans a minute, the ratio to the first number of
workers, and the restart's share of the time.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from lss_core.grading.checkpoint import read_card
from lss_core.many.found import Found, find_scans
from lss_core.many.local import grade_many
from lss_core.many.results import Model
from lss_core.settings import Settings
from lss_core.simulation.series import write_simulated

SEED = 1_000_007


def main() -> None:
    """Print a line for each number of workers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=8)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    models = Settings().models
    model = Model("v1", read_card(models, "v1").weights_sha256)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_simulated(folder / "scans", patients=options.patients, seed=SEED)
        found, first_s = find_scans(folder / "scans"), 0.0
        print(f"{options.patients} simulated scans, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
        for workers in options.workers:
            out = folder / f"out-{workers}"
            whole_s = _timed(found, out, models, model, workers)
            again_s = _timed(found, out, models, model, workers)
            first_s = first_s or whole_s
            print(f"{workers} workers: {60 * options.patients / whole_s:.1f} scans/min, {first_s / whole_s:.2f} x the "
                  f"first; again with nothing left {again_s:.1f} s ({again_s / whole_s:.0%})")


def _timed(found: Found, out: Path, models: Path, model: Model, workers: int) -> float:
    started = time.perf_counter()
    grade_many(found, out, models, model, workers=workers)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
