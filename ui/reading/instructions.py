"""The instructions of a study, and the grading criteria with example pictures."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from functools import cache

import streamlit as st

from lss_core.study.desks import ProtocolView
from lss_core.vocabulary import Grade, Region
from ui.reading.criteria import criterion, example_path

STYLE = """<style>
.lss-examples { display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: 0.8rem; margin: 0.2rem 0 1rem; }
.lss-examples figure { margin: 0; }
.lss-examples img { width: 100%; height: auto; display: block; border-radius: 0.3rem; }
.lss-examples figcaption { font-size: 0.875rem; line-height: 1.35; padding-top: 0.3rem; }
@media (max-width: 640px) { .lss-examples { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
</style>"""
DRAWN = (
    "The pictures are simulated: drawn by software to show each grade, not taken from patients. The frame marks the "
    "region."
)
HOW = """
- Each case is **one disc level** of one CT, with the slices around it. Grade the regions that are asked from 0 to
  3{sure}, or say why a region is not gradable.
- Left and right are the **patient's**: the patient's left is on the right of the image.
- Every change is saved at once. You may stop at any time, close the page, and go on later, on another computer too.
- {back} Time is measured; use **Break** when you are interrupted.
- You learn nothing about your answers while the study runs{training}.
"""


def show(view: ProtocolView) -> None:
    """What a reader should know before the first case."""
    if view.instructions.strip():
        st.markdown(view.instructions)
    st.subheader("How it goes", anchor=False)
    st.markdown(HOW.format(
        sure=", with how sure you are" if view.ask_confidence else "",
        back="Until you sign, you may go back to earlier cases." if view.may_revisit
        else "A submitted case cannot be changed.",
        training=", but after each training case the reference is shown" if view.training_feedback else "",
    ))
    st.subheader("Grading criteria", anchor=False)
    show_criteria(view.regions, view.scheme)


def show_criteria(regions: Sequence[Region], scheme: str) -> None:
    """What makes a region which grade, in words and pictures.

    Args:
        scheme: The grading systems' names.
    """
    st.caption(f"{scheme}. {DRAWN}")
    st.html(STYLE)
    if Region.CENTRAL_CANAL in regions:
        _show_examples("Central canal", Region.CENTRAL_CANAL)
    if recesses := [region for region in regions if region is not Region.CENTRAL_CANAL]:
        _show_examples("Lateral recess", recesses[0])


def _show_examples(title: str, region: Region) -> None:
    st.markdown(f"**{title}**")
    st.html(f'<div class="lss-examples">{"".join(_figures(region, list(Grade)))}</div>')


def _figures(region: Region, grades: Sequence[Grade]) -> list[str]:
    return [
        f'<figure><img src="data:image/png;base64,{_picture(region, grade)}" '
        f'alt="Simulated axial CT: {html.escape(_what(region))}, grade {int(grade)}, {grade.label}">'
        f"<figcaption><strong>{int(grade)} {grade.label}</strong> (simulated)<br>"
        f"{html.escape(criterion(region, grade))}</figcaption></figure>"
        for grade in grades
    ]


def _what(region: Region) -> str:
    return "central canal" if region is Region.CENTRAL_CANAL else "lateral recess"


@cache
def _picture(region: Region, grade: Grade) -> str:
    return base64.b64encode(example_path(region, grade).read_bytes()).decode("ascii")
