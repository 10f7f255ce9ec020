"""A model that reads alone, against the average reader of the same cases."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import norm, t

from lss_core.statistics.estimate import Estimate
from lss_core.statistics.mrmc import RANDOM, Difference, MrmcAnalysis, obuchowski_rockette
from lss_core.statistics.mrmc_covariance import reader_merits
from lss_core.statistics.mrmc_interval import with_t_interval
from lss_core.statistics.mrmc_merit import Merit
from lss_core.statistics.mrmc_readings import Readings

MODEL, READERS = "model", "readers"


@dataclass(frozen=True)
class MarginTest:
    """One-sided test that first minus second is above `-margin`.

    Attributes:
        p_value: Of a difference at the margin or below it; NaN where the difference has no variance.
        shown: Whether the lower end of the difference's own two-sided interval is above `-margin`.
    """

    margin: float
    p_value: float
    shown: bool


@dataclass(frozen=True)
class ModelAgainstReaders:
    """The comparison of a model with the average reader.

    Attributes:
        model: Its figure, with a normal interval over cases.
        difference: Model minus readers, with the two-sided p-value of no difference (superiority of either).
        noninferiority: With the margin asked for, else None.
        analysis: The analysis of variance behind it, with the readers' mean and each reader against the model.
    """

    model: Estimate
    readers: Estimate
    difference: Difference
    noninferiority: MarginTest | None
    analysis: MrmcAnalysis


def compare_with_readers(
    readings: Readings, model: Mapping[str, float], merit: Merit, *, margin: float | None = None,
    method: str = "jackknife", readers: str = RANDOM, cases: str = RANDOM, confidence: float = 0.95, seed: int = 0,
) -> ModelAgainstReaders:
    """Model minus average reader, for readers and cases like these.

    Every reader's figure is taken less the model's on that reader's cases, and the mean of these differences is tested
    with the single-arm model of Obuchowski and Rockette (Hillis, Stat. Med. 2007;26:596-619, section 5.3; Hupse et
    al., Eur. Radiol. 2013;23:93-100): variance (MS + r max(Cov2, 0)) / r. That is the analysis of two arms with the
    model in the second one of every reader, and is done so here. A t-test over the readers leaves out how the cases
    were drawn (Cov2), and its p-value is far too small; `cases="fixed"` gives it.

    Args:
        readings: Complete readings of a single arm.
        model: The model's score or grade of every case, by the case's name; further cases are ignored.
        margin: By how much the model may be worse and still count as not inferior; fix it before the study.

    Raises:
        ValueError: readings of several arms, a case without a score of the model, or a margin that is not positive.
    """
    paired = _beside_model(readings, model)
    merits = reader_merits(paired, merit, method=method, seed=seed)
    analysis = obuchowski_rockette(merits, readers=readers, cases=cases, confidence=confidence)
    difference = analysis.differences[0]
    alone = replace(readings, score=_scores(readings, model)[None, None], arms=(MODEL,), readers=(MODEL,))
    own = reader_merits(alone, merit, method=method, seed=seed)
    estimate, _ = with_t_interval(
        float(own.value[0, 0]), float(own.covariance[0, 0, 0, 0]), math.inf, n=own.n, undefined=own.undefined,
        method=f"{merit.name}, {own.method}", confidence=confidence, within=merit.bounds,
    )
    bound = None if margin is None else check_margin(difference, margin)
    return ModelAgainstReaders(estimate, analysis.means[1].estimate, difference, bound, analysis)


def _beside_model(readings: Readings, model: Mapping[str, float]) -> Readings:
    """The model's scores as an arm in which each reader "read" the cases that he did read."""
    if len(readings.arms) != 1:
        raise ValueError(f"Readings of {len(readings.arms)} arms: choose the one that the model is compared with.")
    missing = [case for case in readings.cases if case not in model or math.isnan(model[case])]
    if missing:
        raise ValueError(f"The model has no score of case {missing[0]} ({len(missing)} such cases): give it the worst "
                         "score where the model failed, or leave the case out for all and report it.")
    beside = np.where(readings.read, _scores(readings, model), np.nan)
    return replace(readings, score=np.concatenate([beside, readings.score]), arms=(MODEL, READERS))


def _scores(readings: Readings, model: Mapping[str, float]) -> np.ndarray:
    return np.array([model[case] for case in readings.cases], float)


def check_margin(difference: Difference, margin: float) -> MarginTest:
    """Whether the first arm is not inferior to the second by more than the margin; also of aided against unaided.

    Raises:
        ValueError: the margin is not a positive number.
    """
    if not 0 < margin < math.inf:
        raise ValueError(f"Margin {margin}: a positive number, in the unit of the figure, is needed.")
    if not difference.se > 0:
        return MarginTest(margin, math.nan, False)
    above = (difference.estimate.value + margin) / difference.se
    p = norm.sf(above) if math.isinf(difference.df) else t.sf(above, difference.df)
    return MarginTest(margin, float(p), difference.estimate.low > -margin)
