"""How far to trust a grade, said in words: sets of grades, measurements beside their published bounds."""

from __future__ import annotations

from collections.abc import Sequence

from lss_core.vocabulary import (
    CANAL_AP,
    GRADE_BOUNDS,
    RECESS_HEIGHT,
    SAC_AREA,
    Grade,
    LevelReport,
    Region,
    RegionGrade,
    grade_of_measure,
    unit_of,
)

MEASURE_NAMES = {
    SAC_AREA: "dural sac area", CANAL_AP: "canal front-to-back diameter", RECESS_HEIGHT: "lateral recess height"
}
DECIMALS = {SAC_AREA: 0, CANAL_AP: 1, RECESS_HEIGHT: 1}
BOUND_SOURCES = {SAC_AREA: "Schonstrom, Hamanishi, NORDSTEN", RECESS_HEIGHT: "Ciric 1980"}
NOT_CALIBRATED = (
    "No set of grades: this model version was not calibrated, so its probabilities may be surer than they should be."
)
NOT_STATED = "its card does not say which"
NOT_FOUND = "This region was not found on this slice."


def level_name(report: LevelReport) -> str:
    """The level's name, or the slice (counted from 1) where the level could not be counted."""
    return report.level.value if report.level else f"Level unknown, slice {report.slice_index + 1}"


def grades_in_words(grades: Sequence[Grade]) -> str:
    """'grade 1', 'grade 1 or 2', 'grade 0, 1 or 2'."""
    *first, last = [str(int(grade)) for grade in grades]
    return f"grade {', '.join(first)} or {last}" if first else f"grade {last}"


def set_sentence(graded: RegionGrade, *, coverage: float | None, measured_on: str) -> str:
    """What the set of grades claims, and on what that was measured.

    Args:
        coverage: The share of true grades, 0..1, that sets are made to hold; None where the model has no sets.
        measured_on: From the model's card; empty where it says nothing.
    """
    if coverage is None or not graded.grade_set:
        return NOT_CALIBRATED
    claim = f"{grades_in_words(graded.grade_set)}, in a set made to hold the true grade in {coverage:.0%} of cases"
    return f"{claim[0].upper()}{claim[1:]} like those it was fitted on ({measured_on or NOT_STATED})."


def set_mark(graded: RegionGrade) -> str:
    """'1–2' where more than one grade stays plausible, else empty."""
    grades = graded.grade_set
    return f"{int(grades[0])}–{int(grades[-1])}" if len(grades) > 1 else ""


def missing_reason(report: LevelReport, region: Region) -> str:
    """Why a region has no grade."""
    return report.not_gradable.get(region) or NOT_FOUND


def measure_in_words(name: str, value: float) -> str:
    """'88 mm²'; with more digits where rounding would carry it over a bound."""
    digits = DECIMALS[name]
    if name in GRADE_BOUNDS:
        grade = grade_of_measure(name, value)
        while grade_of_measure(name, round(value, digits)) is not grade:
            digits += 1
    return f"{value:.{digits}f} {unit_of(name)}"


def bounds_in_words(name: str) -> str:
    """The published bounds of a measurement that grades; for one that does not, that it does not."""
    if name not in GRADE_BOUNDS:
        return "Measured beside the grade; no bound of it enters the grade."
    digits = DECIMALS[name]
    normal, mild, moderate = (f"{bound:.{digits}f}" for bound in GRADE_BOUNDS[name])
    severe = f"severe below {moderate}" if name == SAC_AREA else f"severe at {moderate} or less"
    between = f"moderate from {moderate}" if name == SAC_AREA else f"moderate above {moderate}"
    return (
        f"Published bounds ({BOUND_SOURCES[name]}), in {unit_of(name)}: normal from {normal}, mild from {mild}, "
        f"{between}, {severe}."
    )


def plain(text: str) -> str:
    """Text that somebody typed or that a file holds, with Markdown's characters made harmless."""
    return "".join(f"\\{letter}" if letter in r"\`*_{}[]()#+-.!|<>$~:@&" else letter for letter in text)
