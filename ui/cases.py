"""The case that a browser tab has open: its grades by model version, and the token of its volume in the image store."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import streamlit as st

from lss_core.grading.detector import Detection
from lss_core.grading.pipeline import Grader, GradingResult, Located, notes_on, result_as_json
from lss_core.imaging.volume import Volume
from lss_core.vocabulary import Box, Grade, LevelReport, Refusal, Region
from ui.access import Visitor
from ui.resources import grader, images, lease
from ui.viewer import Overlay, View

RELEASED = (
    "The images of this case were released after a long time without use. The grades are kept; open the scan again "
    "to see its images or to regrade."
)
REPLACED = (
    "The weights of model {} were replaced since this case was graded. Open the scan again to grade it with the new "
    "ones."
)
Progress = Callable[[str, float], None]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Graded:
    """What one model version says of the case."""

    result: GradingResult
    json: str                                   # the report as it can be downloaded
    sets_measured_on: str                       # on what the grade sets hold what they state; empty: not stated


@dataclass(frozen=True)
class Case:
    """A graded scan. It holds nothing that identifies the patient: its name is random.

    All versions grade the same places (`located`), so that they differ by the model alone.
    """

    name: str
    token: str                                  # of the volume in the image store
    located: tuple[Located, ...]
    graded: Mapping[str, Graded]                # by model version, in the order in which they graded
    shown: str                                  # the model version on the page
    first: tuple[int, Region]                   # the level and region to show first
    edited: frozenset[int] = field(default=frozenset())     # indices of levels that the user regraded
    revision: int = 0                           # counts regrades

    @property
    def result(self) -> GradingResult:
        """What the shown version says."""
        return self.graded[self.shown].result

    def box(self, level: int, region: Region) -> Box | None:
        """Where a region lies, graded or not; None where it was not found."""
        detection = self.located[level].regions.get(region)
        return None if detection is None else detection.box


def current() -> Case | None:
    """The open case of this tab."""
    return st.session_state.get("case")


def open_case(volume: Volume, visitor: Visitor, *, version: str, read_s: float, progress: Progress) -> Case:
    """Grade a volume with a model version and make it this tab's open case, in place of the one before.

    Raises:
        Refusal: the volume cannot be graded, or the version cannot be loaded; the case before stays open.
    """
    chosen = grader(version)
    start_s = time.perf_counter()
    located = tuple(chosen.locate(volume, progress=lambda share: progress("Locating the discs", 0.85 * share)))
    locate_s = time.perf_counter() - start_s
    result = chosen.grade(volume, progress=progress, located=located)
    if not result.levels:
        raise Refusal("No disc level was found in this scan. Choose a series that shows the lumbar spine.")
    graded = _graded(chosen, result, volume, more_s={"read": read_s, "locate": locate_s})
    lease().release()                           # the case before: its images make room first
    token = lease().add(images().put(volume, owner=visitor.session))
    name = f"Case {secrets.token_hex(3).upper()}"
    return _keep(Case(name, token, located, {version: graded}, version, _most_severe(result.levels)), heat_maps={})


def grade_with(case: Case, volume: Volume, version: str) -> Case:
    """Grade the open case with another version too, at the same places, and show its grades.

    Raises:
        Refusal: the version cannot be loaded; the case stays as it was.
    """
    other = grader(version)
    graded = _graded(other, other.grade(volume, located=case.located), volume)
    return _keep(replace(case, graded={**case.graded, version: graded}, shown=version))


def show_version(case: Case, version: str) -> Case:
    """Show the grades of a version that has graded the case already."""
    return _keep(replace(case, shown=version))


def volume_of(case: Case, visitor: Visitor) -> Volume | None:
    """The case's volume, or None once it was released."""
    return images().volume(lease().add(case.token), owner=visitor.session)


def regrade(case: Case, volume: Volume, level: int, view: View) -> Case:
    """Grade one level again, on the slice and with the boxes in view, by every version that graded the case.

    Raises:
        Refusal: a box or the slice cannot be graded; the case stays as it was.
    """
    place = case.located[level]
    graded = {
        version: _with_level(
            each,
            level,
            grader_of(each.result).regrade(
                volume, view.slice_index, view.boxes, level=place.level, level_doubted=place.level_doubted
            ),
            volume,
        )
        for version, each in case.graded.items()
    }
    placed = {region: Detection(view.boxes[region], 1.0) if region in view.boxes else None for region in Region}
    located = _replaced(case.located, level, Located(place.level, view.slice_index, placed, place.level_doubted))
    return _keep(
        replace(
            case, located=located, graded=graded, edited=case.edited | {level}, revision=case.revision + 1
        )
    )


def grader_of(result: GradingResult) -> Grader:
    """The very weights that graded.

    Raises:
        Refusal: they are no longer there, or others have taken their name.
    """
    found = grader(result.model_version)
    if found.weights_sha256 != result.weights_sha256:
        raise Refusal(REPLACED.format(result.model_version))
    return found


def overlay(
    case: Case, volume: Volume, visitor: Visitor, *, level: int, region: Region, target: Grade, method: str
) -> Overlay | None:
    """The heat map of a graded region, computed once for each target and method; None where nothing was graded.

    Raises:
        Refusal: the weights that graded are no longer there.
    """
    report = case.result.levels[level]
    graded = report.regions.get(region)
    if graded is None:
        return None
    key = (case.shown, case.revision, level, region, target, method)
    known: dict[tuple, Overlay] = st.session_state["heat_maps"]
    if key not in known or images().overlay(known[key].token, owner=visitor.session) is None:
        heat = grader_of(case.result).heat_map(
            volume, report.slice_index, region, graded.box, target=target, method=method
        )
        values = np.round(np.clip(heat.values, 0, 1) * 255).astype(np.uint8)
        token = lease().add(images().put(values, owner=visitor.session))
        known[key] = Overlay(token, values.shape, heat.box)
    return known[key]


def _keep(case: Case, **more: object) -> Case:
    """Make a case this tab's open one."""
    st.session_state.update(case=case, **more)
    return case


def _graded(
    by: Grader, result: GradingResult, volume: Volume, *, more_s: Mapping[str, float] | None = None
) -> Graded:
    result = replace(
        result, timings_s={**result.timings_s, **(more_s or {})}, notes=_all_notes(volume, result.levels)
    )
    return Graded(result, _report(result, volume), str(by.card.calibration.get("measured_on", "")))


def _with_level(graded: Graded, level: int, report: LevelReport, volume: Volume) -> Graded:
    levels = _replaced(graded.result.levels, level, report)
    result = replace(graded.result, levels=levels, notes=_all_notes(volume, levels))
    return replace(graded, result=result, json=_report(result, volume))


def _all_notes(volume: Volume, levels: Sequence[LevelReport]) -> tuple[str, ...]:
    """Of the scan and of its levels as they are now."""
    return tuple(dict.fromkeys([*volume.notes, *notes_on(volume, levels)]))


def _replaced(values: Sequence[Item], index: int, value: Item) -> tuple[Item, ...]:
    return (*values[:index], value, *values[index + 1 :])


def _most_severe(levels: Sequence[LevelReport]) -> tuple[int, Region]:
    """Index of the level, and region, with the highest expected grade, so that the viewer opens where it matters."""
    graded = [
        (found.expected_grade, -level, region)
        for level, report in enumerate(levels)
        for region, found in report.regions.items()
        if found
    ]
    _, level, region = max(graded, default=(0.0, 0, Region.CENTRAL_CANAL))
    return -level, region


def _report(result: GradingResult, volume: Volume) -> str:
    return json.dumps(result_as_json(result, volume), indent=2)
