"""The figures of an evaluation, as values and as plain JSON; `docs/model-card.md` describes the JSON."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any

from lss_core.statistics.calibration import ReliabilityBin
from lss_core.statistics.estimate import Estimate


@dataclass(frozen=True)
class GradeRates:
    """One grade against all others."""

    grade: int
    regions: int                        # of this grade by the reference
    sensitivity: Estimate
    specificity: Estimate


@dataclass(frozen=True)
class CutRates:
    """Grade >= cut against the grades below."""

    cut: int
    positives: int
    sensitivity: Estimate
    specificity: Estimate
    auc: Estimate                       # by the probability of grade >= cut, regions found


@dataclass(frozen=True)
class Rates:
    """What follows from reference against predicted grade."""

    regions: int
    patients: int
    missed: int
    missed_share: Estimate
    missed_by_grade: tuple[int, ...]
    prevalence: tuple[int, ...]         # regions of grades 0-3 by the reference
    confusion: tuple[tuple[int, ...], ...]      # [reference][predicted] of the regions found
    accuracy: Estimate
    balanced_accuracy: Estimate         # mean sensitivity of the four grades
    macro_f1: Estimate                  # a missed region is a false negative
    off_by_one: Estimate                # exactly one grade
    off_by_two: Estimate                # two grades or three
    unweighted_kappa: Estimate
    linear_kappa: Estimate
    quadratic_kappa: Estimate
    gwet_ac2: Estimate                  # quadratic weights
    grades: tuple[GradeRates, ...]
    cuts: tuple[CutRates, ...]


@dataclass(frozen=True)
class Calibration:
    """Whether probabilities mean what they say."""

    expected_error: Estimate            # of the top probability, in BINS bins of equal width
    brier: Estimate                     # summed over grades, 0 to 2
    bins: tuple[ReliabilityBin, ...]


@dataclass(frozen=True)
class GradeSets:
    """How often sets of grades hold the reference, beside what they are made to hold."""

    stated: float
    coverage: Estimate
    mean_size: Estimate


@dataclass(frozen=True)
class MeasureError:
    """A measure against its reference, measured minus known, in its own unit."""

    regions: int
    median_absolute: Estimate
    p90_absolute: Estimate
    bias: Estimate
    lower_limit: Estimate               # of agreement: bias -+ 1.96 standard deviations (Bland & Altman 1986)
    upper_limit: Estimate
    points: tuple[tuple[float, float], ...]     # (known, measured), evenly chosen where there are many


@dataclass(frozen=True)
class Doubts:
    """Whether a doubt beside a grade warns of errors; regions found."""

    regions: int                        # with a doubt
    share: Estimate
    accuracy_with: Estimate
    accuracy_without: Estimate


@dataclass(frozen=True)
class Subgroup:
    """The part of the regions that share a value of an attribute."""

    attribute: str
    value: str
    regions: int
    patients: int
    missed: int
    accuracy: Estimate
    quadratic_kappa: Estimate


@dataclass(frozen=True)
class MissedRegion:
    """A region without a grade."""

    patient: str
    level: str
    region: str
    grade: int
    why: str
    reason: str


@dataclass(frozen=True)
class Ceiling:
    """What an observer scores who measures with an error of half a pixel and grades by the thresholds."""

    accuracy: float
    quadratic_kappa: float


@dataclass(frozen=True)
class Performance(Rates):
    """Everything about one kind of region."""

    missed_reasons: Mapping[str, int]
    missed_regions: tuple[MissedRegion, ...]
    calibration: Calibration
    sets: GradeSets | None              # None where the model gives no sets
    measures: Mapping[str, MeasureError]
    doubts: Doubts
    levels: Mapping[str, Rates]
    subgroups: tuple[Subgroup, ...]
    ceiling: Ceiling | None             # None where measures are not known


@dataclass(frozen=True)
class PairedTest:
    """Accuracy of one version minus another's on the same regions; a missed region is wrong."""

    kind: str                           # "central" or "recess"
    first: str
    second: str
    regions: int
    only_first_right: int
    only_second_right: int
    difference: Estimate
    p_value: float                      # clustered by patient; NaN where it is not defined
    p_holm: float                       # adjusted for all comparisons of this run
    p_unclustered: float                # exact McNemar, regions taken for independent
    method: str


@dataclass(frozen=True)
class Evaluation:
    """Figures of one model version by kind of region, with what they were measured on."""

    statement: str
    set_name: str
    set_sha256: str
    model_version: str
    weights_sha256: str
    patients: int
    refused: tuple[str, ...]            # "patient: sentence"
    central: Performance | None         # None where the reference holds no such region
    recess: Performance | None
    comparisons: tuple[PairedTest, ...] = ()

    def parts(self) -> dict[str, Performance]:
        """The kinds of region that were evaluated, by the label they have in print."""
        both = {"Central canal": self.central, "Lateral recess": self.recess}
        return {label: part for label, part in both.items() if part is not None}


def evaluation_as_json(evaluation: Evaluation) -> dict[str, Any]:
    """Plain JSON values: NaN as null, numbers with six digits."""
    return _plain(asdict(evaluation))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return None if math.isnan(value) else float(f"{value:.6g}")
    return value


def evaluation_from_json(value: Mapping[str, Any]) -> Evaluation:
    """The inverse of `evaluation_as_json`.

    Raises:
        ValueError: it is not an evaluation of this version of the software.
    """
    try:
        return _built(Evaluation, value)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"This is not an evaluation as this version of the software writes it ({error}).") from error


def _built(hint: Any, value: Any) -> Any:
    """A value of the annotated type from plain JSON; a null number is NaN."""
    arguments = typing.get_args(hint)
    if isinstance(hint, types.UnionType):
        return None if value is None else _built(next(a for a in arguments if a is not types.NoneType), value)
    if is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        return hint(**{field.name: _built(hints[field.name], value[field.name]) for field in fields(hint)})  # type: ignore[operator]
    if typing.get_origin(hint) is tuple:
        kinds = [arguments[0]] * len(value) if Ellipsis in arguments else arguments
        return tuple(_built(kind, each) for kind, each in zip(kinds, value, strict=True))
    if typing.get_origin(hint) is Mapping:
        return {key: _built(arguments[1], each) for key, each in value.items()}
    return math.nan if value is None and hint is float else hint(value)
