"""What follows from reference against predicted grade: accuracies, sensitivities, kappas, with intervals by patient.

Every interval is by patient, because the regions of a patient belong together. A missed region counts as wrong: as
graded on the far side of what is counted (Schuetz et al., BMJ 2012;345:e6717, "intention to diagnose"). Kappas, AC2,
off-by rates and areas under curves are of the regions found.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import numpy as np

from lss_core.statistics.accuracy import (
    accuracy,
    auc_interval_clustered,
    balanced_accuracy,
    class_rates,
    cut_rates,
    off_by,
)
from lss_core.statistics.agreement import gwet_ac, ratio, weighted_kappa
from lss_core.statistics.estimate import Estimate, bootstrap_sums, wilson_interval, without_figure
from lss_core.training.evaluation import CutRates, GradeRates, Rates
from lss_core.training.outcomes import Outcome
from lss_core.vocabulary import Grade

GRADES = tuple(int(grade) for grade in Grade)
CUTS = (1, 2, 3)
FARTHEST = (3, 3, 0, 0)         # the grade farthest from each


def rates_of(outcomes: Sequence[Outcome]) -> Rates:
    """What follows from the grades, over at least one outcome."""
    table = counts_by_patient(outcomes)
    total = table.sum(axis=0).astype(int)
    all_, found_ = table.sum(axis=(1, 2)), table[..., : len(GRADES)].sum(axis=(1, 2))

    def found(statistic: Callable[[np.ndarray], np.ndarray], *, of: np.ndarray | None = None) -> Estimate:
        return by_patient(table, lambda counts: statistic(counts[..., : len(GRADES)]), of=of)

    return Rates(
        regions=int(total.sum()), patients=len(table), missed=int(total[:, -1].sum()),
        missed_share=share_by_patient(all_ - found_, all_),
        missed_by_grade=_integers(total[:, -1]), prevalence=_integers(total.sum(axis=1)),
        confusion=tuple(_integers(row[:-1]) for row in total),
        accuracy=by_patient(table, lambda counts: accuracy(missed_as(counts, FARTHEST)), of=all_),
        balanced_accuracy=by_patient(table, lambda counts: balanced_accuracy(missed_as(counts, FARTHEST))),
        macro_f1=by_patient(table, _macro_f1),
        off_by_one=found(lambda counts: off_by(counts, 1) - off_by(counts, 2), of=found_),
        off_by_two=found(lambda counts: off_by(counts, 2), of=found_),
        unweighted_kappa=found(lambda counts: weighted_kappa(counts, power=0)),
        linear_kappa=found(lambda counts: weighted_kappa(counts, power=1)),
        quadratic_kappa=found(lambda counts: weighted_kappa(counts, power=2)),
        gwet_ac2=found(lambda counts: gwet_ac(counts, power=2)),
        grades=tuple(_grade_rates(table, grade) for grade in GRADES),
        cuts=tuple(_cut_rates(table, outcomes, cut) for cut in CUTS),
    )


def counts_by_patient(outcomes: Sequence[Outcome]) -> np.ndarray:
    """Counts [patient, reference, predicted], missed in the last column; patients in sorted order."""
    names, patient = np.unique([outcome.patient for outcome in outcomes], return_inverse=True)
    columns = [len(GRADES) if o.predicted is None else int(o.predicted) for o in outcomes]
    counts = np.zeros((len(names), len(GRADES), len(GRADES) + 1))
    np.add.at(counts, (patient, np.array([int(o.grade) for o in outcomes], int), np.array(columns, int)), 1)
    return counts


def missed_as(counts: np.ndarray, columns: Sequence[int]) -> np.ndarray:
    """Counts [..., reference, predicted] with the missed regions of each reference grade in the column named for it."""
    out = counts[..., : len(GRADES)].copy()
    for grade, column in enumerate(columns):
        out[..., grade, column] += counts[..., grade, -1]
    return out


def _macro_f1(counts: np.ndarray) -> np.ndarray:
    """As `lss_core.statistics.accuracy.macro_f1`, with a missed region a false negative of its grade alone."""
    graded = counts[..., : len(GRADES)]
    true_positive = np.diagonal(graded, axis1=-2, axis2=-1)
    return ratio(2 * true_positive, counts.sum(axis=-1) + graded.sum(axis=-2)).mean(axis=-1)


def _grade_rates(table: np.ndarray, grade: int) -> GradeRates:
    columns = [grade if each != grade else FARTHEST[grade] for each in GRADES]
    sensitivity, specificity = _two_rates(table, columns, lambda counts: class_rates(counts, grade), {grade})
    return GradeRates(grade, int(table[:, grade].sum()), sensitivity, specificity)


def _cut_rates(table: np.ndarray, outcomes: Sequence[Outcome], cut: int) -> CutRates:
    columns = [0 if each >= cut else GRADES[-1] for each in GRADES]
    sensitivity, specificity = _two_rates(table, columns, lambda counts: cut_rates(counts, cut), set(GRADES[cut:]))
    return CutRates(cut, int(table[:, cut:].sum()), sensitivity, specificity, _auc(outcomes, cut))


def _two_rates(
    table: np.ndarray, columns: Sequence[int], of_counts: Callable[[np.ndarray], Sequence[np.ndarray]],
    positive: Collection[int],
) -> tuple[Estimate, Estimate]:
    """Sensitivity and specificity, the first two of `of_counts`, with missed regions in `columns`."""
    asked, is_positive = table.sum(axis=2), np.isin(GRADES, list(positive))
    return (
        by_patient(table, lambda c: of_counts(missed_as(c, columns))[0], of=asked[:, is_positive].sum(axis=1)),
        by_patient(table, lambda c: of_counts(missed_as(c, columns))[1], of=asked[:, ~is_positive].sum(axis=1)),
    )


def _auc(outcomes: Sequence[Outcome], cut: int) -> Estimate:
    found = [(o.patient, o.grade >= cut, sum(o.graded.probabilities[cut:])) for o in outcomes if o.graded is not None]
    if not found:
        return without_figure("no region was found", n=0, method="Obuchowski 1997, clustered")
    patients, positive, scores = zip(*found, strict=True)
    return auc_interval_clustered(np.array(scores), np.array(positive), np.array(patients))


def by_patient(
    table: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], *, of: np.ndarray | None = None
) -> Estimate:
    """Bootstrap over patients of a figure of summed counts [patient, reference, predicted or missed].

    Args:
        of: For a share of regions, of how many by patient [patient]: one of 0 or 1 then has a bound.
    """
    flat = table.reshape(len(table), -1)
    estimate = bootstrap_sums(flat, lambda total: statistic(total.reshape(-1, *table.shape[1:])))
    return estimate if of is None else _bounded(estimate, int((of > 0).sum()))


def share_by_patient(part: np.ndarray, whole: np.ndarray) -> Estimate:
    """Share of regions, from counts by patient, with its interval by patient."""
    estimate = bootstrap_sums(np.stack([part, whole], axis=1), lambda total: ratio(total[:, 0], total[:, 1]))
    return _bounded(estimate, int((whole > 0).sum()))


def _bounded(estimate: Estimate, patients: int) -> Estimate:
    """A figure of 0 or 1, which no resample varies, with Wilson's interval as if each patient were one trial."""
    if not np.isnan(estimate.low) or estimate.value not in (0.0, 1.0) or patients == 0:
        return estimate
    bound = wilson_interval(patients if estimate.value else 0, patients)
    return replace(bound, method="Wilson, each patient one trial")


def sums_by_patient(values: np.ndarray, patients: Sequence[str]) -> np.ndarray:
    """Sums by patient [patient, k] of values [n, k]; patients in sorted order."""
    names, patient = np.unique(np.asarray(patients), return_inverse=True)
    out = np.zeros((len(names), values.shape[1]))
    np.add.at(out, patient, values)
    return out


def _integers(counts: np.ndarray) -> tuple[int, ...]:
    return tuple(int(count) for count in counts)
