"""What more views of a region bring: accuracy of grades that are pooled over 1 to 18 views, on fresh simulated patches.

    python -m benchmarks.views [--patches 500] [--seed 4242] [--models v1 v2]

The patches are of the validation stream, and boxes err as a detector's do (1 mm). Canals are seen mirrored too; a
recess has a side. Grading pools 10 views of a canal and 3 of a recess (`lss_core.grading.doubt`).
Simulated: nothing is said of patients.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import torch

from lss_core.grading.checkpoint import load_checkpoint
from lss_core.grading.classifier import build_classifier, is_recess
from lss_core.grading.doubt import KINDS, SHIFTS_MM, View, grade_views, kind_of, region_views
from lss_core.grading.pipeline import MODELS
from lss_core.training.calibrate import BOX_ERROR_MM
from lss_core.training.data import VALIDATION_STREAM, SimulatedSource, check_training_seed, vary_hu

FARTHER_MM = ((0.0, 1.5), (0.0, -1.5), (1.5, 0.0), (-1.5, 0.0))
SHIFTS_USED = (1, 3, 5, 9)          # of SHIFTS_MM and FARTHER_MM


def pooled(logs: np.ndarray) -> dict[str, int]:
    """The grade by each way of pooling log-probabilities [shift, as seen or mirrored, 4]; a recess is not mirrored."""
    grades = {f"{shifts * logs.shape[1]} views": int(logs[:shifts].mean((0, 1)).argmax()) for shifts in SHIFTS_USED}
    if logs.shape[1] == 1:
        return grades
    thrice = [logs[0, 0], logs[1, 1], logs[2, 0]]
    return {"1 view": int(logs[0, 0].argmax()), "3 views": int(np.mean(thrice, axis=0).argmax())} | grades


def measure(
    versions: Sequence[str], *, patches: int, seed: int
) -> dict[tuple[str, str], dict[str, list[bool]]]:
    """(version, kind of region) to whether each region is right, by each way of pooling."""
    networks = {v: load_checkpoint(MODELS, v, kind="classifier", build=build_classifier)[0] for v in versions}
    right: dict[tuple[str, str], dict[str, list[bool]]] = {(v, kind): {} for v in versions for kind in KINDS}
    source = SimulatedSource()
    for number in range(patches):
        rng = np.random.default_rng([VALIDATION_STREAM, seed, number])
        patch = source.patch(rng)
        planes, spacing = vary_hu(patch.planes, rng), patch.pixel_spacing_mm
        for region, known in patch.regions.items():
            if known.grade is None:
                continue
            error = rng.normal(0, BOX_ERROR_MM, 2)
            centre = (known.centre[0] + error[0] / spacing[0], known.centre[1] + error[1] / spacing[1])
            for version, network in networks.items():
                mirrored = (False,) if is_recess(region) else (False, True)
                views = [View(shift, m) for shift in (*SHIFTS_MM, *FARTHER_MM) for m in mirrored]
                crops = region_views(planes, pixel_spacing_mm=spacing, region=region, centre=centre,
                                     config=network.config, views=views)
                (graded,) = grade_views(network, [crops], [region])
                logs = np.array([each.log_probabilities for each in graded]).reshape(-1, len(mirrored), 4)
                for name, grade in pooled(logs).items():
                    right[version, kind_of(region)].setdefault(name, []).append(grade == int(known.grade))
    return right


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--patches", type=int, default=500)
    parser.add_argument("--seed", type=int, default=4242)
    parser.add_argument("--models", nargs="+", default=["v1", "v2"], metavar="VERSION")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    check_training_seed(arguments.seed)
    found = measure(arguments.models, patches=arguments.patches, seed=arguments.seed)
    for (version, kind), by_pooling in found.items():
        print(f"{version}, {kind.replace('_', ' ')}, SIMULATED, {len(next(iter(by_pooling.values())))} regions:")
        for name, right in by_pooling.items():
            print(f"  {name:20} {np.mean(right):.4f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
