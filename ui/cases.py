"""The case that a browser tab has open: its grades, and the token of its volume in the image store."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import streamlit as st

from lss_core.grading.pipeline import GradingResult, result_as_json
from lss_core.imaging.volume import Volume
from lss_core.vocabulary import Grade, LevelReport, Refusal, Region
from ui.access import Visitor
from ui.resources import grader, images, lease
from ui.viewer import Overlay, View

RELEASED = (
    "The images of this case were released after a long time without use. The grades are kept; open the scan again "
    "to see its images or to regrade."
)


@dataclass(frozen=True)
class Case:
    """A graded scan. It holds nothing that identifies the patient: its name is random."""

    name: str
    token: str                                  # of the volume in the image store
    result: GradingResult
    json: str                                   # the report as it can be downloaded
    first: tuple[int, Region]                   # the level and region to show first
    edited: frozenset[int] = field(default=frozenset())     # indices of levels that the user regraded
    version: int = 0                            # counts regrades


def current() -> Case | None:
    """The open case of this tab."""
    return st.session_state.get("case")


def open_case(
    volume: Volume, visitor: Visitor, *, read_s: float, progress: Callable[[str, float], None]
) -> Case:
    """Grade a volume and make it this tab's open case, in place of the one before.

    Raises:
        Refusal: the volume cannot be graded; the case before stays open.
    """
    result = grader().grade(volume, progress=progress)
    if not result.levels:
        raise Refusal("No disc level was found in this scan. Choose a series that shows the lumbar spine.")
    result = replace(
        result,
        timings_s={**result.timings_s, "read": round(read_s, 3)},
        notes=tuple(dict.fromkeys([*volume.notes, *result.notes])),
    )
    lease().release()                           # the case before: its images make room first
    token = lease().add(images().put(volume, owner=visitor.session))
    name = f"Case {secrets.token_hex(3).upper()}"
    case = Case(name, token, result, _report(result, volume), _most_severe(result.levels))
    st.session_state.update(case=case, heat_maps={})
    return case


def volume_of(case: Case, visitor: Visitor) -> Volume | None:
    """The case's volume, or None once it was released."""
    return images().volume(lease().add(case.token), owner=visitor.session)


def regrade(case: Case, volume: Volume, level: int, view: View) -> Case:
    """Grade one level again, on the slice and with the boxes in view, and keep the answer in the open case.

    Raises:
        Refusal: a box or the slice cannot be graded; the case stays as it was.
    """
    before = case.result.levels[level]
    report = grader().regrade(volume, view.slice_index, view.boxes, level=before.level)
    levels = tuple(report if i == level else each for i, each in enumerate(case.result.levels))
    result = replace(case.result, levels=levels)
    changed = replace(
        case, result=result, json=_report(result, volume), edited=case.edited | {level}, version=case.version + 1
    )
    st.session_state["case"] = changed
    return changed


def overlay(
    case: Case, volume: Volume, visitor: Visitor, *, level: int, region: Region, target: Grade, method: str
) -> Overlay | None:
    """The heat map of a graded region, computed once for each target and method; None where nothing was graded."""
    report = case.result.levels[level]
    graded = report.regions.get(region)
    if graded is None:
        return None
    key = (case.version, level, region, target, method)
    known: dict[tuple, Overlay] = st.session_state["heat_maps"]
    if key not in known or images().overlay(known[key].token, owner=visitor.session) is None:
        heat = grader().heat_map(volume, report.slice_index, region, graded.box, target=target, method=method)
        values = np.round(np.clip(heat.values, 0, 1) * 255).astype(np.uint8)
        token = lease().add(images().put(values, owner=visitor.session))
        known[key] = Overlay(token, values.shape, heat.box)
    return known[key]


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
