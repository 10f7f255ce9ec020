"""A case after unblinding: scan and heat map in the viewer, and beside them what reference, models and readers say."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Any

import numpy as np
import streamlit as st

from lss_core.imaging.volume import Volume
from lss_core.study import results
from lss_core.study.results import ShownCase, ShownOutput
from lss_core.vocabulary import Box, Grade, Region
from ui import resources, viewer
from ui.dashboard.computed import Board
from ui.reading.cases import NO_COOKIE
from ui.tables import table
from ui.viewer import Overlay, Scene

AROUND_MM = 40.0                                # to each side of the level's slice
HELD = "dashboard_images"                       # in the tab's state: what an image is of, to its token
OPENED = "dashboard_case"                       # in the tab's state: study, number and the case that is open
HEAD = ("", *(region.label for region in Region))
NO_HEAT_MAP = "No heat map of this region by model {} is stored."


def show(board: Board, number: int, region: Region) -> None:
    """A case of the study, with one of its regions chosen.

    Raises:
        Refusal: the case may not be seen, or the image store lacks its scan.
    """
    case = _opened(board, number)
    st.subheader(f"Case {case.number}, {case.level.value}", anchor=False)
    st.html(table(HEAD, [*_truth_and_models(case)], label=f"Reference and models of case {case.number}"))
    with st.expander("What each reader gave"):
        st.html(table(HEAD, [*_readers(board, case)], label=f"Readings of case {case.number}"))
    if not board.visitor.has_cookie:
        st.warning(NO_COOKIE, icon=":material/warning:")
        return
    versions = [each.version for each in case.outputs[region]]
    version = st.segmented_control("Heat map of model", versions, default=versions[0] if versions else None,
                                   key=f"heat-of-{board.study.study_id}-{number}-{region}")
    output = next((each for each in case.outputs[region] if each.version == version), None)
    if output is not None and not output.heat_map_key:
        st.caption(f"{NO_HEAT_MAP.format(output.version)} {output.not_gradable}")
    _show_viewer(board, case, region, output)


def _opened(board: Board, number: int) -> ShownCase:
    """The case; asked of the service, which writes a line of the log, once each time that it is opened."""
    name = (board.study.study_id, board.study.actor.account_id, number)
    kept = st.session_state.get(OPENED)
    if kept is None or kept[0] != name:
        case = results.shown_case(board.study.engine, board.study.actor, board.study.study_id, number)
        st.session_state[OPENED] = kept = (name, case)
    return kept[1]


def _truth_and_models(case: ShownCase) -> Iterator[list[str]]:
    yield ["reference", *(_graded(case.references.get(region)) for region in Region)]
    for version in dict.fromkeys(each.version for outputs in case.outputs.values() for each in outputs):
        yield [f"model {html.escape(version)}", *(_of_model(case.outputs[region], version) for region in Region)]


def _readers(board: Board, case: ShownCase) -> Iterator[list[str]]:
    """A row for each reader, a line for each showing."""
    readings: Any = board.record.tables.readings
    own = readings[readings["case"] == str(case.number)].sort_values(["reader", "session", "position"])
    for reader, rows in own.groupby("reader"):
        yield [html.escape(str(reader)), *("<br>".join(_showings(rows[rows["region"] == region])) or "—"
                                           for region in Region)]


def _showings(rows: Any) -> Iterator[str]:
    for grade, arm, again in zip(rows["grade"], rows["arm"], rows["is_repeat"], strict=True):
        yield f"{_graded(None if np.isnan(grade) else int(grade))} <small>{arm}{', repeat' if again else ''}</small>"


def _graded(grade: int | None) -> str:
    return "not gradable" if grade is None else f"<b>{grade}</b> {Grade(grade).label}"


def _of_model(outputs: tuple[ShownOutput, ...], version: str) -> str:
    found = next((each for each in outputs if each.version == version), None)
    if found is None or found.grade is None:
        return html.escape(found.not_gradable) if found else "—"
    sure = f"<br><small>probability {max(found.probabilities):.0%}</small>" if found.probabilities else ""
    return f"{_graded(found.grade)}{sure}"


def _show_viewer(board: Board, case: ShownCase, region: Region, output: ShownOutput | None) -> None:
    store = resources.scans()
    first, last = store.geometry(case.scan_key).around(case.slice_index, AROUND_MM)
    volume = store.slab(case.scan_key, first, last, sha256=case.scan_sha256)
    token = _held(board, ("scan", case.scan_key, first, last), volume)
    graded_on = output.slice_index if output and output.slice_index is not None else case.slice_index
    version = output.version if output else ""
    of_version = {each: _by(case.outputs[each], version) for each in Region}
    boxes: dict[Region, Box | None] = {each: found.box if found else None for each, found in of_version.items()}
    name = f"{token}:{case.number}:{version}"
    viewer.show(Scene(
        token=token, slice_index=graded_on - first, jump=f"{name}:{region}", boxes_key=name,
        boxes_slice=graded_on - first, boxes=boxes,
        grades={each: None if found is None or found.grade is None else Grade(found.grade)
                for each, found in of_version.items()},
        selected=region, levels=[(case.level.value, graded_on - first)], overlay=_overlay(board, output),
    ), volume, key=f"viewer-{board.study.study_id}-{case.number}")


def _by(outputs: tuple[ShownOutput, ...], version: str) -> ShownOutput | None:
    return next((each for each in outputs if each.version == version), None)


def _overlay(board: Board, output: ShownOutput | None) -> Overlay | None:
    if output is None or not output.heat_map_key or output.heat_map_box is None:
        return None
    heat = resources.scans().heat_map(output.heat_map_key)
    return Overlay(_held(board, ("heat map", output.heat_map_key), heat), (heat.shape[0], heat.shape[1]),
                   output.heat_map_box)


def _held(board: Board, name: tuple, image: Volume | np.ndarray) -> str:
    """The token of an image that is held for this browser; one copy for as long as the tab shows it."""
    held: dict[tuple, str] = st.session_state.setdefault(HELD, {})
    images, owner = resources.images(), board.visitor.session
    token = held.get(name, "")
    if images.volume(token, owner=owner) is None and images.overlay(token, owner=owner) is None:
        held[name] = resources.lease().add(images.put(image, owner=owner))
    return held[name]
