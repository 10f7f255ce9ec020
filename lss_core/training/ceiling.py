"""What a perfect observer can score whose measurement errs by half a pixel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import norm

from lss_core.statistics.accuracy import accuracy
from lss_core.statistics.agreement import weighted_kappa
from lss_core.training.evaluation import Ceiling
from lss_core.training.outcomes import Outcome
from lss_core.vocabulary import GRADE_BOUNDS, SAC_AREA, Grade, Region, measure_of


def ceiling(outcomes: Sequence[Outcome]) -> Ceiling | None:
    """Expected score of a perfect observer whose measurement errs by half a pixel.

    A recess height errs with standard deviation 0.5 pixel. A sac's outline lies 0.5 pixel (one standard deviation) too
    far in or out all around, so its area errs by perimeter x 0.5 pixel; the perimeter is that of a circle of this area.
    """
    masses = np.zeros((len(Grade), len(Grade)))
    for outcome in outcomes:
        measure = outcome.measures.get(measure_of(outcome.region))
        if measure is not None and outcome.pixel_mm is not None:
            masses[int(outcome.grade)] += grade_masses(outcome.region, measure, outcome.pixel_mm)
    if not masses.any():
        return None
    return Ceiling(float(accuracy(masses)), float(weighted_kappa(masses)))


def grade_masses(region: Region, measure: float, pixel_mm: float) -> np.ndarray:
    """Probabilities of grades 0-3 for a measure that is read with half a pixel's error."""
    name = measure_of(region)
    error = 0.5 * pixel_mm * (2 * float(np.sqrt(np.pi * max(measure, 1.0))) if name == SAC_AREA else 1.0)
    below = norm.cdf((np.array(GRADE_BOUNDS[name]) - measure) / error)          # of the bounds 0/1, 1/2, 2/3
    return np.array([1 - below[0], below[0] - below[1], below[1] - below[2], below[2]])
