"""From the outcomes of a model version to its evaluation, and from two versions to their comparison.

Calibration, sets of grades, measures and doubts are of the regions found; see `rates` for how missed ones count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from lss_core.statistics.accuracy import accuracy, compare_paired_accuracy, holm
from lss_core.statistics.agreement import ratio, weighted_kappa
from lss_core.statistics.calibration import reliability
from lss_core.statistics.estimate import Estimate, bootstrap_sums
from lss_core.training.ceiling import ceiling
from lss_core.training.evaluation import (
    Calibration,
    Doubts,
    Evaluation,
    GradeSets,
    MeasureError,
    MissedRegion,
    PairedTest,
    Performance,
    Subgroup,
)
from lss_core.training.outcomes import Missed, Outcome, RunHeader, ScanOutcomes
from lss_core.training.rates import (
    FARTHEST,
    GRADES,
    by_patient,
    counts_by_patient,
    missed_as,
    rates_of,
    share_by_patient,
    sums_by_patient,
)
from lss_core.vocabulary import Refusal, Region

BINS = 10                       # of probability, for calibration
MOST_POINTS = 200               # of a measure, kept for its plot
FINEST_QUANTILES = 1000         # errors are sorted into at most so many classes for the interval of a quantile
REFUSED_SCAN = "The scan was refused; the outcomes say why."
UNKNOWN = "unknown"


def evaluation_of(
    scans: Sequence[ScanOutcomes], *, statement: str, set_name: str, header: RunHeader, named: bool
) -> Evaluation:
    """Figures of one version.

    Args:
        header: Of the file that the outcomes came from.
        named: Whether patients keep their names. Otherwise they are called by their place among the scans, and the
            sentence with which a scan was refused, which may quote its files, is left out: figures are passed on.

    Raises:
        Refusal: there is no region.
    """
    scans = scans if named else _unnamed(scans)
    outcomes = [outcome for scan in scans for outcome in scan.outcomes]
    if not outcomes:
        raise Refusal("There is nothing to evaluate: no scan with graded regions was given.")
    stated = next((scan.set_coverage for scan in scans if scan.set_coverage is not None), None)
    return Evaluation(
        statement=statement, set_name=set_name, set_sha256=header.set_sha256, model_version=header.model_version,
        weights_sha256=header.weights_sha256, patients=len(scans),
        refused=tuple(f"{scan.patient}: {scan.refused}" for scan in scans if scan.refused),
        central=performance_of(of_kind(outcomes, "central"), stated_coverage=stated),
        recess=performance_of(of_kind(outcomes, "recess"), stated_coverage=stated),
    )


def _unnamed(scans: Sequence[ScanOutcomes]) -> list[ScanOutcomes]:
    """Patients as "case 1" onwards, padded so that they keep their order."""
    width = len(str(len(scans)))
    return [_renamed(scan, f"case {number:0{width}d}") for number, scan in enumerate(scans, start=1)]


def _renamed(scan: ScanOutcomes, name: str) -> ScanOutcomes:
    outcomes = tuple(
        replace(o, patient=name, reason=REFUSED_SCAN if o.missed is Missed.REFUSED else o.reason) for o in scan.outcomes
    )
    return replace(scan, patient=name, refused=REFUSED_SCAN if scan.refused else "", outcomes=outcomes)


def of_kind(outcomes: Sequence[Outcome], kind: str) -> list[Outcome]:
    """The outcomes of canals ("central") or of both recesses ("recess")."""
    return [o for o in outcomes if (o.region is Region.CENTRAL_CANAL) == (kind == "central")]


def performance_of(outcomes: Sequence[Outcome], *, stated_coverage: float | None = None) -> Performance | None:
    """All figures of one kind of region; None where there is no region."""
    if not outcomes:
        return None
    found = [outcome for outcome in outcomes if outcome.graded is not None]
    by_level = _grouped(outcomes, lambda outcome: outcome.level.value)
    return Performance(
        **vars(rates_of(outcomes)),
        missed_reasons=dict(Counter(o.missed.value for o in outcomes if o.missed is not None)),
        missed_regions=tuple(_missed_region(o, o.missed) for o in outcomes if o.missed is not None),
        calibration=_calibration(found), sets=_grade_sets(found, stated_coverage), measures=_measure_errors(found),
        doubts=_doubts(found), levels={level: rates_of(members) for level, members in by_level.items()},
        subgroups=tuple(_subgroups(outcomes)), ceiling=ceiling(outcomes),
    )


def _found_arrays(found: Sequence[Outcome]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Probabilities [n, 4], reference [n] and patients of regions that were graded."""
    probabilities = np.array([o.graded.probabilities for o in found if o.graded is not None]).reshape(-1, len(GRADES))
    return probabilities, np.array([int(o.grade) for o in found], int), [o.patient for o in found]


def _calibration(found: Sequence[Outcome]) -> Calibration:
    probabilities, truth, patients = _found_arrays(found)
    top = probabilities.max(axis=1, initial=0.0)
    right = probabilities.argmax(axis=1) == truth if len(truth) else np.zeros(0, bool)
    place = np.clip(np.ceil(top * BINS).astype(int) - 1, 0, BINS - 1)       # as in `reliability`
    in_bin = np.eye(BINS)[place]
    gaps = sums_by_patient(np.concatenate([in_bin * (right - top)[:, None], np.ones((len(top), 1))], axis=1), patients)
    squares = ((probabilities - np.eye(len(GRADES))[truth]) ** 2).sum(axis=1)
    errors = sums_by_patient(np.stack([squares, np.ones(len(squares))], axis=1), patients)
    return Calibration(
        expected_error=bootstrap_sums(gaps, lambda total: ratio(np.abs(total[:, :-1]).sum(axis=1), total[:, -1])),
        brier=bootstrap_sums(errors, lambda total: ratio(total[:, 0], total[:, 1])),
        bins=reliability(probabilities, truth, bins=BINS),
    )


def _grade_sets(found: Sequence[Outcome], stated: float | None) -> GradeSets | None:
    sets = [(o.patient, o.grade, o.graded.grade_set) for o in found if o.graded is not None and o.graded.grade_set]
    if stated is None or not sets:
        return None
    values = np.array([[grade in each, len(each), 1] for _, grade, each in sets], float)
    sums = sums_by_patient(values, [patient for patient, *_ in sets])
    return GradeSets(
        stated, share_by_patient(sums[:, 0], sums[:, 2]),
        bootstrap_sums(sums, lambda total: ratio(total[:, 1], total[:, 2])),
    )


def _measure_errors(found: Sequence[Outcome]) -> dict[str, MeasureError]:
    """By name of the measure, wherever it is both measured and known."""
    pairs: dict[str, list[tuple[str, float, float]]] = {}
    for outcome in found:
        for name, measured in (outcome.graded.measures if outcome.graded is not None else {}).items():
            if name in outcome.measures:
                pairs.setdefault(name, []).append((outcome.patient, outcome.measures[name], measured))
    return {name: _measure_error(each) for name, each in pairs.items()}


def _measure_error(pairs: Sequence[tuple[str, float, float]]) -> MeasureError:
    patients = [patient for patient, _, _ in pairs]
    known, measured = np.array([pair[1:] for pair in pairs]).T
    error = measured - known
    moments = sums_by_patient(np.stack([np.ones(len(error)), error, error**2], axis=1), patients)

    def bias(total: np.ndarray, deviations: float = 0.0) -> np.ndarray:
        n, mean = total[:, 0], total[:, 1] / total[:, 0]
        spread = np.sqrt(np.maximum(total[:, 2] - n * mean**2, 0) / np.where(n > 1, n - 1, np.nan))
        return mean + deviations * spread if deviations else mean

    step = -(-len(pairs) // MOST_POINTS)
    return MeasureError(
        regions=len(pairs), median_absolute=_quantile(np.abs(error), patients, 0.5),
        p90_absolute=_quantile(np.abs(error), patients, 0.9), bias=bootstrap_sums(moments, bias),
        lower_limit=bootstrap_sums(moments, lambda total: bias(total, -1.96)),
        upper_limit=bootstrap_sums(moments, lambda total: bias(total, 1.96)),
        points=tuple((round(float(k), 2), round(float(m), 2)) for k, m in zip(known, measured, strict=True))[::step],
    )


def _quantile(values: np.ndarray, patients: Sequence[str], share: float) -> Estimate:
    """The least value that this share of all values does not exceed; from counts of classes by patient."""
    classes = np.unique(np.quantile(values, np.linspace(0, 1, min(len(values), FINEST_QUANTILES)), method="lower"))
    place = np.minimum(np.searchsorted(classes, values), len(classes) - 1)
    counts = np.zeros((len(set(patients)), len(classes)))
    np.add.at(counts, (np.unique(np.asarray(patients), return_inverse=True)[1], place), 1)

    def of(total: np.ndarray) -> np.ndarray:
        below = total.cumsum(axis=1)
        return classes[(below >= share * below[:, -1:] - 1e-9).argmax(axis=1)]

    return bootstrap_sums(counts, of)


def _doubts(found: Sequence[Outcome]) -> Doubts:
    values = np.array([
        [bool(o.graded.doubts), o.right, 1] for o in found if o.graded is not None
    ], float).reshape(-1, 3)
    doubted, right = values[:, 0], values[:, 1]
    sums = sums_by_patient(np.stack([doubted, doubted * right, (1 - doubted) * right, values[:, 2]], axis=1),
                 [o.patient for o in found])
    with_doubt, right_with, right_without, regions = sums.T
    return Doubts(
        int(doubted.sum()), share_by_patient(with_doubt, regions), share_by_patient(right_with, with_doubt),
        share_by_patient(right_without, regions - with_doubt),
    )


def _subgroups(outcomes: Sequence[Outcome]) -> list[Subgroup]:
    """By level, by side, and by every attribute of the scans."""
    attributes = sorted({name for outcome in outcomes for name in outcome.subgroups})
    keys: dict[str, Callable[[Outcome], str]] = {
        "level": lambda outcome: outcome.level.value,
        "side": lambda outcome: outcome.region.value.split("_")[0],
        **{name: lambda outcome, name=name: outcome.subgroups.get(name, UNKNOWN) for name in attributes},
    }
    if outcomes[0].region is Region.CENTRAL_CANAL:
        del keys["side"]
    return [
        _subgroup(attribute, value, members)
        for attribute, key in keys.items() for value, members in _grouped(outcomes, key).items()
    ]


def _grouped(outcomes: Sequence[Outcome], key: Callable[[Outcome], str]) -> dict[str, list[Outcome]]:
    """By value, bands in the order of their bounds."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(key(outcome), []).append(outcome)
    return {value: groups[value] for value in sorted(groups, key=_rank)}


def _rank(value: str) -> tuple[float, bool, str]:
    """By the upper bound of a band as `lss_core.training.scan_sets.band` writes it, then by name."""
    words = value.removeprefix("up to ").removeprefix("over ").split(" ")
    try:
        return float(words[0].split("-")[-1]), value.startswith("over "), value
    except ValueError:
        return 0.0, False, value


def _subgroup(attribute: str, value: str, outcomes: Sequence[Outcome]) -> Subgroup:
    table = counts_by_patient(outcomes)
    return Subgroup(
        attribute, value, len(outcomes), len(table), int(table[..., -1].sum()),
        by_patient(table, lambda counts: accuracy(missed_as(counts, FARTHEST)), of=table.sum(axis=(1, 2))),
        by_patient(table, lambda counts: weighted_kappa(counts[..., : len(GRADES)])),
    )


def _missed_region(outcome: Outcome, why: Missed) -> MissedRegion:
    return MissedRegion(
        outcome.patient, outcome.level.value, outcome.region.value, int(outcome.grade), why.value, outcome.reason
    )


def compare_versions(outcomes: Mapping[str, Sequence[Outcome]]) -> tuple[PairedTest, ...]:
    """Every two versions on exactly the regions that both were asked, canals and recesses apart, with Holm's correction
    over all of these tests."""
    tests = [
        test for first, second in combinations(outcomes, 2) for kind in ("central", "recess")
        if (test := _paired_test(kind, first, second, outcomes)) is not None
    ]
    adjusted = holm([test.p_value for test in tests])
    return tuple(replace(test, p_holm=float(p)) for test, p in zip(tests, adjusted, strict=True))


def _paired_test(
    kind: str, first: str, second: str, outcomes: Mapping[str, Sequence[Outcome]]
) -> PairedTest | None:
    right = [
        {(o.patient, o.level, o.region): o.right for o in of_kind(outcomes[version], kind)}
        for version in (first, second)
    ]
    both = sorted(right[0].keys() & right[1].keys())
    if not both:
        return None
    a, b = (np.array([each[key] for key in both], bool) for each in right)
    comparison = compare_paired_accuracy(a, b, [patient for patient, *_ in both])
    plain = comparison.p_unclustered
    return PairedTest(
        kind, first, second, len(both), int((a & ~b).sum()), int((b & ~a).sum()), comparison.difference,
        comparison.p_value, comparison.p_value, float("nan") if plain is None else plain, comparison.method,
    )
