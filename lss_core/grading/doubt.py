"""How far to trust a grade: calibrated probabilities, a set of grades with stated coverage, and reasons for doubt.

A region is graded on several views (its crop as found, and moved by about a millimetre; a canal, which is symmetric, is
seen mirrored too and from more places, since that makes its grades better: `benchmarks/views.py`). Their
log-probabilities are averaged and divided by a temperature that was fitted on validation data (Guo 2017, arXiv
1706.04599). The set of grades is split-conformal for ordered classes: neighbouring grades around the most probable one
until their mass reaches a threshold that held the true grade as often as stated on validation data (Lu 2022, arXiv
2207.02238).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lss_core.grading.classifier import Classifier, ClassifierConfig, CropGrade, crop_stack, grade_crops, is_recess
from lss_core.vocabulary import RECESS_HEIGHT, SAC_AREA, Grade, Region, measure_of, unit_of

SHIFTS_MM = ((0.0, 0.0), (1.0, -1.0), (-1.0, 1.0), (1.0, 1.0), (-1.0, -1.0))     # (rows, columns)
HEADS_APART = 0.75                                          # grades between the two heads that are worth a doubt
LEAST_GRADABLE = 0.5                                        # mean probability over the views
LEAST_SURE = 0.5                                            # a grade less probable than this is worth a doubt
KINDS = ("central_canal", "lateral_recess")
NAMES = {SAC_AREA: "sac area", RECESS_HEIGHT: "recess height"}       # of the grading measures


@dataclass(frozen=True)
class View:
    """How a region's crop is taken: moved by mm (rows, columns), and mirrored left to right or not."""

    shift_mm: tuple[float, float]
    mirrored: bool = False


RECESS_VIEWS = tuple(View(shift) for shift in SHIFTS_MM[:3])            # a recess has a side
# The first three are those that the doubt about the box's place looks at.
CANAL_VIEWS = (
    View(SHIFTS_MM[0]), View(SHIFTS_MM[1], mirrored=True), View(SHIFTS_MM[2]),
    View(SHIFTS_MM[0], mirrored=True), View(SHIFTS_MM[1]), View(SHIFTS_MM[2], mirrored=True),
    *(View(shift, mirrored) for shift in SHIFTS_MM[3:] for mirrored in (False, True)),
)
PLACED_VIEWS = 3


@dataclass(frozen=True)
class Calibration:
    """What was fitted on validation data, by kind of region; see `KINDS`."""

    temperature: Mapping[str, float]
    set_threshold: Mapping[str, float]
    coverage: float                     # share of true grades that the sets are made to hold
    measured_on: str

    def as_card(self) -> dict[str, Any]:
        return asdict(self)


def calibration_of(card_values: Mapping[str, Any]) -> Calibration | None:
    """From a card's `calibration`; None where the model was not calibrated."""
    return Calibration(**card_values) if card_values else None


def kind_of(region: Region) -> str:
    """Canals and recesses are calibrated apart."""
    return KINDS[1] if is_recess(region) else KINDS[0]


def region_views(
    planes: np.ndarray, *, pixel_spacing_mm: tuple[float, float], region: Region, centre: tuple[float, float],
    config: ClassifierConfig, views: Sequence[View] = (),
) -> np.ndarray:
    """The crops of a region that are graded together: float32 [view, 5, px, px]; see `crop_stack` for the arguments.

    Args:
        views: Instead of those that grading uses.
    """
    crops = []
    for view in views or (RECESS_VIEWS if is_recess(region) else CANAL_VIEWS):
        down, right = view.shift_mm
        moved = (centre[0] + down / pixel_spacing_mm[0], centre[1] + right / pixel_spacing_mm[1])
        crop = crop_stack(planes, pixel_spacing_mm=pixel_spacing_mm, region=region, centre=moved, config=config)
        crops.append(crop[:, :, ::-1] if view.mirrored else crop)
    return np.stack(crops)


def grade_views(
    classifier: Classifier, views: Sequence[np.ndarray], regions: Sequence[Region]
) -> list[list[CropGrade]]:
    """Grade the views [n, 5, px, px] of several regions together; the grades of each region's views."""
    if not regions:
        return []
    each = [region for region, crops in zip(regions, views, strict=True) for _ in crops]
    graded = iter(grade_crops(classifier, np.concatenate(views), each))
    return [[next(graded) for _ in crops] for crops in views]


@dataclass(frozen=True)
class Judgement:
    """The views of one region taken together."""

    probabilities: tuple[float, float, float, float]
    measures: Mapping[str, float]           # mm2 or mm by name
    gradable: float                         # 0..1: mean over the views
    grade_set: tuple[Grade, ...]            # () where the model was not calibrated
    doubts: tuple[str, ...]


def judge(views: Sequence[CropGrade], region: Region, calibration: Calibration | None) -> Judgement:
    """Pool the views of one region."""
    kind = kind_of(region)
    logs = pooled_log_probabilities(views)
    probabilities = tempered(logs, 1.0 if calibration is None else calibration.temperature[kind])
    measures = {name: float(np.mean([view.measures[name] for view in views])) for name in views[0].measures}
    return Judgement(
        probabilities=tuple(float(p) for p in probabilities),  # type: ignore[arg-type]
        measures=measures,
        gradable=float(np.mean([1 / (1 + np.exp(-view.gradable_logit)) for view in views])),
        grade_set=() if calibration is None else grade_set(probabilities, calibration.set_threshold[kind]),
        doubts=(*_unsure(probabilities), *_doubts(views, region, measures)),
    )


def pooled_log_probabilities(views: Sequence[CropGrade]) -> np.ndarray:
    """Mean of the views' log-probabilities [4], not normalised."""
    return np.mean([view.log_probabilities for view in views], axis=0)


def tempered(log_probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Softmax of log-probabilities [..., 4] over a temperature."""
    scaled = log_probabilities / temperature
    masses = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return masses / masses.sum(axis=-1, keepdims=True)


def grade_set(probabilities: np.ndarray, threshold: float) -> tuple[Grade, ...]:
    """Neighbouring grades around the most probable one whose mass reaches the threshold."""
    low = high = int(np.argmax(probabilities))
    while probabilities[low : high + 1].sum() < threshold and high - low < 3:
        below = probabilities[low - 1] if low > 0 else -1.0
        above = probabilities[high + 1] if high < 3 else -1.0
        low, high = (low - 1, high) if below > above else (low, high + 1)
    return tuple(Grade(g) for g in range(low, high + 1))


def _unsure(probabilities: np.ndarray) -> list[str]:
    if probabilities.max() >= LEAST_SURE:
        return []
    second, first = np.argsort(probabilities)[-2:]
    return [
        f"No grade is more probable than all others together: grade {first} has {probabilities[first]:.2f}, "
        f"grade {second} {probabilities[second]:.2f}."
    ]


def _doubts(views: Sequence[CropGrade], region: Region, measures: Mapping[str, float]) -> list[str]:
    doubts = []
    grades = [int(view.log_probabilities.argmax()) for view in views[:PLACED_VIEWS]]
    if len(set(grades)) > 1:
        shown = ", ".join(str(g) for g in grades)
        doubts.append(f"Moving the box by a millimetre changes the grade ({shown}).")
    shape = float(np.mean([view.ordinal_expected for view in views]))
    measured = float(np.mean([view.measured_expected for view in views]))
    if measures and abs(shape - measured) >= HEADS_APART:
        name = measure_of(region)
        doubts.append(
            f"The grade and the measurement disagree: by its appearance grade {shape:.1f}, by its {NAMES[name]} "
            f"({measures[name]:.1f} {unit_of(name)}) grade {measured:.1f}."
        )
    return doubts
