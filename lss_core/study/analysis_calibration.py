"""Whether a model's probabilities mean what they say, with intervals over patients."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lss_core.statistics.agreement import ratio
from lss_core.statistics.calibration import LEAST_PROBABILITY, reliability
from lss_core.statistics.estimate import bootstrap_sums
from lss_core.statistics.influence import sums_in_clusters
from lss_core.study.analysis_grid import Grid
from lss_core.study.analysis_values import CalibrationPanel, NotEstimable, RegionKind
from lss_core.study.protocol import AnalysisPlan

BINS = 10


def calibration_panels(
    grid: Grid, kind: RegionKind, plan: AnalysisPlan
) -> Iterator[CalibrationPanel | NotEstimable]:
    """One panel a version, of the regions with four probabilities."""
    if not grid.versions:
        yield NotEstimable("calibration", kind, "No model's grades are given.")
    for v, version in enumerate(grid.versions):
        known = ~np.isnan(grid.probabilities[v]).any(axis=1)
        if known.any():
            yield _panel(grid, kind, version, grid.probabilities[v], known, plan)
        else:
            yield NotEstimable("calibration", kind, f"Model {version} has no probabilities.")


def _panel(
    grid: Grid, kind: RegionKind, version: str, probabilities: np.ndarray, known: np.ndarray, plan: AnalysisPlan,
) -> CalibrationPanel:
    stated = probabilities[known] / probabilities[known].sum(axis=1, keepdims=True)   # given sums: 1 +- .01
    truth, cluster = grid.truth[known].astype(int), grid.cluster[known]
    held = stated[np.arange(len(truth)), truth]
    squared = ((stated - np.eye(stated.shape[1])[truth]) ** 2).sum(axis=1)

    def over_patients(values, figure):
        return bootstrap_sums(sums_in_clusters(values, cluster), figure, resamples=plan.bootstraps, seed=plan.seed,
                              confidence=1 - plan.alpha)

    def mean(values):
        return over_patients(np.column_stack([values, np.ones(len(values))]), lambda t: ratio(t[:, 0], t[:, 1]))

    return CalibrationPanel(
        kind, version, int(known.sum()), int((~known).sum()), reliability(stated, truth, bins=BINS),
        over_patients(_gaps(stated, truth), _expected_error), mean(squared),
        mean(-np.log(np.maximum(held, LEAST_PROBABILITY))),
    )


def _gaps(stated: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """[case, 2 BINS]: accuracy less confidence in the case's bin, and 1 there."""
    top = stated.max(axis=1)
    place = np.clip(np.ceil(top * BINS).astype(int) - 1, 0, BINS - 1)
    in_bin = np.eye(BINS)[place]
    gap = (stated.argmax(axis=1) == truth) - top
    return np.column_stack([in_bin * gap[:, None], in_bin])


def _expected_error(total: np.ndarray) -> np.ndarray:
    """As `calibration.expected_calibration_error`, from totals [draw, 2 BINS]."""
    return ratio(np.abs(total[:, :BINS]).sum(axis=1), total[:, BINS:].sum(axis=1))
