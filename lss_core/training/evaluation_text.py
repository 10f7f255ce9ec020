"""An evaluation as lines for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lss_core.training.evaluation import Evaluation, PairedTest, Performance, Rates
from lss_core.vocabulary import counted, unit_of

KINDS = {"central": "central canal", "recess": "lateral recess"}


def evaluation_as_text(evaluation: Evaluation) -> str:
    """A report of one version."""
    lines = [
        evaluation.statement,
        f"Model {evaluation.model_version} (weights {evaluation.weights_sha256[:12]}), "
        f"{counted(evaluation.patients, 'patient')}, {len(evaluation.refused)} refused. "
        "Intervals are by patient; a missed region counts as wrong.",
        *(f"  refused: {reason}" for reason in evaluation.refused),
    ]
    for name, part in evaluation.parts().items():
        lines += ["", *_performance_lines(name, part)]
    return "\n".join(lines)


def _performance_lines(name: str, part: Performance) -> Iterator[str]:
    yield f"{name}: {part.regions} regions of {counted(part.patients, 'patient')}"
    reasons = ", ".join(f"{count} {why}" for why, count in part.missed_reasons.items())
    yield f"  missed                  {part.missed}  {part.missed_share}" + (f"  {reasons}" if reasons else "")
    yield f"  accuracy                {part.accuracy}"
    yield f"  balanced accuracy       {part.balanced_accuracy}"
    yield f"  macro-F1                {part.macro_f1}"
    if part.ceiling is not None:
        scores = f"accuracy {part.ceiling.accuracy:.3f}, quadratic kappa {part.ceiling.quadratic_kappa:.3f}"
        yield f"  ceiling                 {scores}  (perfect observer, half a pixel of measuring error)"
    yield "  of the regions found:"
    yield f"  quadratic kappa         {part.quadratic_kappa}"
    yield f"  linear kappa            {part.linear_kappa}"
    yield f"  unweighted kappa        {part.unweighted_kappa}"
    yield f"  Gwet AC2, quadratic     {part.gwet_ac2}"
    yield f"  off by one              {part.off_by_one}"
    yield f"  off by two or more      {part.off_by_two}"
    yield f"  calibration error       {part.calibration.expected_error}  Brier {part.calibration.brier}"
    if part.sets is not None:
        size = f"mean size {part.sets.mean_size}"
        yield f"  sets hold the grade     {part.sets.coverage}  made for {part.sets.stated:.2f}, {size}"
    yield f"  with a doubt            {part.doubts.share}  {part.doubts.regions} regions"
    yield f"    accuracy with one     {part.doubts.accuracy_with}"
    yield f"    accuracy without      {part.doubts.accuracy_without}"
    yield from _measure_lines(part)
    yield from _grade_lines(part)
    yield from _subgroup_lines(part)


def _measure_lines(part: Performance) -> Iterator[str]:
    for name, error in part.measures.items():
        unit = unit_of(name)
        yield f"  {name}: {error.regions} regions; |error| median {error.median_absolute.value:.2f} {unit}, " \
              f"90 % within {error.p90_absolute.value:.2f} {unit}; bias {error.bias.value:+.2f} {unit}, " \
              f"limits of agreement {error.lower_limit.value:+.2f} to {error.upper_limit.value:+.2f} {unit}"


def _grade_lines(part: Rates) -> Iterator[str]:
    shares = (f"{n} ({n / max(part.regions, 1):.0%})" for n in part.prevalence)
    yield "  prevalence of grades 0-3: " + ", ".join(shares)
    yield "  reference \\ predicted        0     1     2     3  missed   sensitivity          specificity"
    for rates, row, missed in zip(part.grades, part.confusion, part.missed_by_grade, strict=True):
        counts = "".join(f"{n:6d}" for n in row) + f"{missed:8d}"
        yield f"  {rates.grade}                      {counts}   {rates.sensitivity!s:20} {rates.specificity}"
    for cut in part.cuts:
        yield f"  grade >= {cut.cut} ({cut.positives} regions): sensitivity {cut.sensitivity}, specificity " \
              f"{cut.specificity}, AUC {cut.auc}"


def _subgroup_lines(part: Performance) -> Iterator[str]:
    yield "  subgroup                             regions  accuracy"
    for group in part.subgroups:
        name = f"{group.attribute}: {group.value}"
        yield f"  {name:36} {group.regions:7d}  {group.accuracy}"


def comparisons_as_text(comparisons: Sequence[PairedTest]) -> str:
    """One line per pair of versions and kind of region; empty where a single version was evaluated."""
    lines = [
        f"{test.first} minus {test.second}, {KINDS[test.kind]}, {test.regions} regions: accuracy {test.difference}, "
        f"right alone {test.only_first_right} and {test.only_second_right}, p {test.p_value:.3g} ({test.method}), "
        f"{test.p_holm:.3g} after Holm"
        for test in comparisons
    ]
    return "\n".join(["Paired comparison, a missed region is wrong:", *lines]) if lines else ""
