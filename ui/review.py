"""Looking at an open case: the table, the viewer with heat map and regrading, the downloads."""

from __future__ import annotations

import streamlit as st

from lss_core.grading.explain import METHODS
from lss_core.imaging.volume import Volume
from lss_core.vocabulary import Box, Grade, LevelReport, Refusal, Region
from ui import cases, comparison, downloads, grade_table, region_detail, viewer
from ui.access import Visitor
from ui.cases import Case
from ui.grade_table import Cell
from ui.wording import level_name, plain

# Side by side on a wide window, one below the other where the viewer would get too small to read.
LAYOUT = """<style>
@media (max-width: 1100px) {
  .st-key-review > [data-testid="stLayoutWrapper"] > [data-testid="stHorizontalBlock"] { flex-direction: column; }
  .st-key-review > [data-testid="stLayoutWrapper"] > [data-testid="stHorizontalBlock"] > [data-testid="stColumn"] {
    width: 100%; flex: 1 1 100%; min-width: 0; }
}
</style>"""
METHOD_NAMES = {"gradcam": "Grad-CAM", "gradcam++": "Grad-CAM++", "layercam": "LayerCAM", "eigencam": "EigenCAM"}
METHOD_HELP = (
    "LayerCAM was the most faithful method on simulated CT. The other maps say less; Grad-CAM's and Grad-CAM++'s of "
    "v2's recesses said hardly more than noise there (docs/evaluation.md)."
)


EMPTY = """
1. **Open a scan** above: DICOM files, a ZIP, a folder, NIfTI, or one axial picture. Or press *Try a simulated case*.
2. The studio finds the five lumbar disc levels and, at each, the central canal and both lateral recesses.
3. Every region gets a grade from 0 (normal) to 3 (severe), the grades that stay plausible beside it, measurements in
   millimetres and a heat map of the evidence; what cannot be graded says why. You can move a box or choose another
   slice, and grade again.

Nothing that identifies the patient is shown or kept: the scan stays in this computer's memory until you close the tab.
"""


def show_empty() -> None:
    """What to do where no case is open."""
    st.markdown(EMPTY)


def show_summary(case: Case, visitor: Visitor) -> None:
    """The case's random name, which version graded it, and what the reader should know about this scan."""
    result = case.result
    seconds = sum(result.timings_s.values())
    with st.container(horizontal=True, vertical_alignment="center", key="summary"):
        st.markdown(
            f"**{case.name}** · {len(result.levels)} levels · graded by model **{result.model_version}** "
            f"(weights {result.weights_sha256[:12]}) · {seconds:.1f} s", width="stretch",
        )
        comparison.offer(case, cases.volume_of(case, visitor))
    st.caption(result.provenance)
    for note in result.notes:
        st.info(note, icon=":material/info:")
    comparison.show(case)


def show(case: Case, visitor: Visitor) -> None:
    """Show the open case."""
    volume = cases.volume_of(case, visitor)
    st.html(LAYOUT)
    with st.container(key="review"):
        left, right = st.columns([5, 8], gap="medium")
        with left:
            cell = grade_table.show(
                case.result.levels, first=Cell(*case.first), edited=case.edited, key=f"table-{case.name}"
            )
            region_detail.show(case.result.levels[cell.level], cell.region, case.graded[case.shown])
            _show_downloads(case, volume, cell)
        with right:
            if volume is None:
                st.warning(cases.RELEASED)
            elif not visitor.has_cookie:
                st.warning("The browser sent no cookie, so the images cannot be shown. Allow cookies and reload.")
            else:
                _examine(visitor, cell)


@st.fragment
def _examine(visitor: Visitor, cell: Cell) -> None:
    """Viewer, heat map and regrading: a fragment, so that scrolling does not run the whole page again."""
    case = cases.current()
    volume = cases.volume_of(case, visitor) if case else None
    if case is None or volume is None:
        st.warning(cases.RELEASED)
        return
    overlay = _choose_heat_map(case, volume, visitor, cell)
    view = viewer.show(_scene(case, cell, overlay), volume, key=f"viewer-{case.name}")
    _offer_regrade(case, volume, cell, view)


def _choose_heat_map(case: Case, volume: Volume, visitor: Visitor, cell: Cell) -> viewer.Overlay | None:
    graded = case.result.levels[cell.level].regions.get(cell.region)
    shown, target_field, method_field = st.columns([2, 3, 3], vertical_alignment="bottom")
    wanted = shown.toggle("Heat map", value=True, key="heat-map", disabled=graded is None)
    predicted = graded.grade if graded else Grade.NORMAL
    target = target_field.selectbox(
        "Evidence for", list(Grade), index=int(predicted),
        key=f"target-{case.shown}-{case.revision}-{cell.level}-{cell.region}",
        format_func=lambda grade: f"grade {int(grade)}, {grade.label}", disabled=not wanted,
    )
    method = method_field.selectbox(
        "Method", list(METHODS), key="method", format_func=_method_name, disabled=not wanted, help=METHOD_HELP
    )
    if not wanted or graded is None:
        return None
    try:
        with st.spinner("Computing the heat map …", show_time=False):
            return cases.overlay(
                case, volume, visitor, level=cell.level, region=cell.region, target=target, method=method
            )
    except Refusal as refusal:
        st.error(str(refusal))
        return None


def _method_name(method: str) -> str:
    return METHOD_NAMES.get(method, method)


def _scene(case: Case, cell: Cell, overlay: viewer.Overlay | None) -> viewer.Scene:
    report = case.result.levels[cell.level]
    graded = {region: report.regions.get(region) for region in Region}
    boxes: dict[Region, Box | None] = {region: case.box(cell.level, region) for region in Region}
    key = f"{case.token}:{cell.level}:{case.shown}:{case.revision}"
    return viewer.Scene(
        token=case.token,
        slice_index=report.slice_index,
        jump=f"{key}:{cell.region}:{cell.click}",
        boxes_key=key,
        boxes_slice=report.slice_index,
        boxes=boxes,
        grades={region: found.grade if found else None for region, found in graded.items()},
        selected=cell.region,
        levels=[(each.level.value if each.level else "?", each.slice_index) for each in case.result.levels],
        overlay=overlay,
    )


def _offer_regrade(case: Case, volume: Volume, cell: Cell, view: viewer.View) -> None:
    report = case.result.levels[cell.level]
    changed = bool(view.moved) or view.slice_index != report.slice_index
    button, explanation = st.columns([1, 3], vertical_alignment="center")
    pressed = button.button("Regrade", type="primary", disabled=not changed, icon=":material/refresh:")
    explanation.caption(_regrade_explanation(report, view))
    if not pressed:
        return
    try:
        with st.spinner("Grading …"):
            cases.regrade(case, volume, cell.level, view)
    except Refusal as refusal:
        st.error(str(refusal))
        return
    st.rerun()


def _regrade_explanation(report: LevelReport, view: viewer.View) -> str:
    what = [f"slice {view.slice_index + 1}"] if view.slice_index != report.slice_index else []
    if view.moved:
        what.append("the moved boxes")
    if not what:
        return f"To regrade {level_name(report)}, move a box or scroll to another slice."
    return f"Grades {level_name(report)} again on {' and '.join(what)}."


def _show_downloads(case: Case, volume: Volume | None, cell: Cell) -> None:
    report, region = case.result.levels[cell.level], cell.region
    stem = downloads.file_stem(case)
    with st.container(horizontal=True):
        report_json = case.graded[case.shown].json
        st.download_button("JSON", report_json, f"{stem}_{case.shown}.json", "application/json", on_click="ignore")
        st.download_button("CSV", downloads.case_csv(case), f"{stem}.csv", "text/csv", on_click="ignore")
        if volume is None:
            return
        method = st.session_state.get("method", next(iter(METHODS)))
        if report.regions.get(region) is not None:
            st.download_button(
                "PNG of this region",
                lambda: downloads.region_png(case, volume, cell.level, region, target=None, method=method),
                f"{downloads.picture_name(case, report, region)}.png", "image/png", on_click="ignore",
            )
        st.download_button(
            "All PNGs (ZIP)", lambda: downloads.all_pngs(case, volume, method=method), f"{stem}_pictures.zip",
            "application/zip", on_click="ignore",
        )
        if volume.is_dicom:
            st.download_button(
                "DICOM (ZIP)", lambda: downloads.dicom_zip(case, volume, method=method), f"{stem}_dicom.zip",
                "application/zip", on_click="ignore", help="A structured report (TID 1500) and a picture per level.",
            )
    if volume.is_dicom:
        st.caption(plain(downloads.dicom_words(case)))
