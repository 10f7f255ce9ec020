"""What a reader of a study will see, for its principal investigator: nothing is sent, kept or timed."""

from __future__ import annotations

import json
from typing import Any

import streamlit as st

from lss_core.study.cases import CaseRow
from lss_core.study.database import CaseKind
from lss_core.study.desks import ProtocolView
from lss_core.study.entry import Entry
from lss_core.study.protocol import Protocol
from ui import resources
from ui.access import Visitor
from ui.reading import desk, instructions

NO_CASE = "Import a case first: the preview shows one of the study's own."


def show(visitor: Visitor, protocol: Protocol, rows: tuple[CaseRow, ...]) -> None:
    """The instructions, and the desk with the first training case, or else the first case.

    Args:
        rows: The study's cases, as `lss_core.study.cases.cases_of` gives them to the principal investigator.

    Raises:
        Refusal: the image store lacks the scan.
    """
    view = ProtocolView.of(protocol)
    with st.expander("Instructions", expanded=True):
        instructions.show(view)
    if not rows:
        st.info(NO_CASE, icon=":material/info:")
        return
    row = min(rows, key=lambda each: (each.kind != CaseKind.TRAINING, each.number))
    desk.show(_as_data(visitor, view, row), key="desk-preview")


def _as_data(visitor: Visitor, view: ProtocolView, row: CaseRow) -> dict[str, Any]:
    return {
        "preview": True, "token": f"preview-{row.case_id}", "number": 1, "total": 1, "kind": row.kind.value,
        "level": row.level.value, "aided": False, "entry": json.loads(Entry().canonical), "change": 0, "revision": 1,
        "mayGoBack": False, "next": None, "feedback": False, "pauseS": 0, "note": "Preview",
        "volume": _held_slab(visitor, row, view.slices_around_mm),
        **desk.asked_of(view.regions, ask_confidence=view.ask_confidence),
    }


def _held_slab(visitor: Visitor, row: CaseRow, around_mm: float) -> dict[str, Any]:
    """The slices around the level, held for this browser alone; one copy for as long as the tab shows it."""
    store = resources.scans()
    first, last = store.geometry(row.scan_key).around(row.slice_index, around_mm)
    volume = store.slab(row.scan_key, first, last)
    held: dict[tuple, str] = st.session_state.setdefault("preview_slabs", {})
    key = (row.case_id, first, last)
    if key not in held or resources.images().volume(held[key], owner=visitor.session) is None:
        held[key] = resources.lease().add(resources.images().put(volume, owner=visitor.session))
    slices, rows, columns = volume.shape
    return {
        "url": f"/api/volumes/{held[key]}", "slices": slices, "rows": rows, "columns": columns,
        "spacing": [float(spacing) for spacing in volume.pixel_spacing_mm],
        "positions": [float(position) for position in volume.positions_mm], "hounsfield": volume.has_hounsfield,
        "middle": row.slice_index - first,
    }
