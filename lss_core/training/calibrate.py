"""Fitting what makes probabilities honest: a temperature and the threshold of the grade sets, on validation patches.

The regions are judged exactly as in grading (`lss_core.grading.doubt`): the same views, the same pooling, with boxes
that err as a detector's do.
"""

from __future__ import annotations

from collections.abc import Sized

import numpy as np

from lss_core.grading.classifier import Classifier
from lss_core.grading.doubt import (
    KINDS,
    Calibration,
    grade_views,
    kind_of,
    pooled_log_probabilities,
    region_views,
    tempered,
)
from lss_core.statistics.calibration import fit_temperature, set_threshold
from lss_core.training.data import VALIDATION_STREAM, PatchSource, vary_hu

COVERAGE = 0.9
PATCHES = 2400
EACH = 16                           # with other box errors and noise; more would learn nothing new of the slice
BOX_ERROR_MM = 1.0                  # standard deviation of a detected centre, each way


def fit_calibration(
    classifier: Classifier, source: PatchSource, *, seed: int, measured_on: str
) -> Calibration:
    """Fit on PATCHES random patches of a validation source; of a group's few own slices, on each some EACH times."""
    classifier.eval()
    patches = min(PATCHES, EACH * len(source)) if isinstance(source, Sized) else PATCHES
    logs, truth = judged_patches(classifier, source, seed=seed, patches=patches)
    temperature = {kind: fit_temperature(logs[kind], truth[kind]) for kind in KINDS}
    threshold = {
        kind: set_threshold(tempered(logs[kind], temperature[kind]), truth[kind], coverage=COVERAGE)
        for kind in KINDS
    }
    return Calibration(temperature, threshold, COVERAGE, measured_on)


def judged_patches(
    classifier: Classifier, source: PatchSource, *, seed: int, patches: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Pooled log-probabilities [n, 4] and true grades [n] by kind of region."""
    logs: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS}
    truth: dict[str, list[int]] = {kind: [] for kind in KINDS}
    for number in range(patches):
        rng = np.random.default_rng([VALIDATION_STREAM, seed, number, 1])
        patch = source.patch(rng)
        planes, spacing = vary_hu(patch.planes, rng), patch.pixel_spacing_mm
        known = {region: k for region, k in patch.regions.items() if k.grade is not None}
        crops = [
            region_views(
                planes, pixel_spacing_mm=spacing, region=region, config=classifier.config,
                centre=(k.centre[0] + rng.normal(0, BOX_ERROR_MM) / spacing[0],
                        k.centre[1] + rng.normal(0, BOX_ERROR_MM) / spacing[1]),
            )
            for region, k in known.items()
        ]
        for views, (region, k) in zip(grade_views(classifier, crops, list(known)), known.items(), strict=True):
            logs[kind_of(region)].append(pooled_log_probabilities(views))
            truth[kind_of(region)].append(int(k.grade or 0))
    return {kind: np.array(logs[kind]) for kind in KINDS}, {kind: np.array(truth[kind]) for kind in KINDS}
