"""The table of levels by regions, each cell a button with its grade, colour and probability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.components.v2 import component

from lss_core.vocabulary import LevelReport, Region
from ui.wording import level_name, set_mark

HERE = Path(__file__).parent
# The patient's right is on the viewer's left, in the table as in the picture.
COLUMNS = (Region.RIGHT_LATERAL_RECESS, Region.CENTRAL_CANAL, Region.LEFT_LATERAL_RECESS)

_component = component(
    "lss_grade_table", css=(HERE / "table.css").read_text("utf-8"), js=(HERE / "table.js").read_text("utf-8")
)


@dataclass(frozen=True)
class Cell:
    """A chosen cell. `click` differs at each click, so that choosing the same cell again is a choice too."""

    level: int                                  # index of the level in the table
    region: Region
    click: int = 0


def show(levels: Sequence[LevelReport], *, first: Cell, edited: frozenset[int], key: str) -> Cell:
    """Show the table and return the chosen cell, or `first` where none was chosen yet."""
    chosen = _chosen(st.session_state.get(key), levels) or first
    data = {
        "columns": [region.label for region in COLUMNS],
        "rows": [_row(report, edited=i in edited) for i, report in enumerate(levels)],
        "selected": [chosen.level, COLUMNS.index(chosen.region)],
    }
    result = _component(key=key, data=data, default={"cell": None}, on_cell_change=lambda: None)
    return _chosen(result, levels) or first


def _chosen(state: Mapping[str, Any] | None, levels: Sequence[LevelReport]) -> Cell | None:
    cell = state["cell"] if state else None
    if cell is None or not 0 <= cell[0] < len(levels):
        return None
    return Cell(int(cell[0]), COLUMNS[int(cell[1])], int(cell[2]))


def _row(report: LevelReport, *, edited: bool) -> dict[str, Any]:
    return {
        "name": level_name(report),
        "note": "regraded" if edited else "",
        "cells": [_cell(report, region) for region in COLUMNS],
    }


def _cell(report: LevelReport, region: Region) -> dict[str, Any]:
    """A cell without a grade holds no number at all."""
    graded = report.regions.get(region)
    if graded is None:
        return {"missing": "not gradable" if region in report.not_gradable else "not found"}
    return {
        "grade": int(graded.grade),
        "label": graded.grade.label,
        "probability": max(graded.probabilities),
        "set": set_mark(graded),
        "doubts": len(graded.doubts),
    }
