"""The filter of the dashboard: everything below it is computed of what it keeps, and says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from lss_core.study.analysis_filter import FLAGGED, NOT_FLAGGED, StudyFilter
from lss_core.study.analysis_grid import LEVELS_IN_ORDER
from lss_core.study.readings import StudyTables
from lss_core.vocabulary import DiscLevel, Grade, Region

ANY_QUALITY = "all"
QUALITY = {ANY_QUALITY: "", FLAGGED: FLAGGED, NOT_FLAGGED: NOT_FLAGGED}
REGIONS = {region.value: region.label for region in Region}


def choose(tables: StudyTables, token: str) -> StudyFilter:
    """The filter as it is set.

    Args:
        token: Of the study; each has a filter of its own.
    """
    with st.expander("Filter", icon=":material/filter_alt:", key=f"filter-{token}"):
        st.button("Keep everything", on_click=_clear, args=(token,), icon=":material/filter_alt_off:",
                  key=f"clear-{token}")
        with st.container(horizontal=True, key=f"filters-{token}"):
            kept = _chosen(tables, token)
    return kept


def _chosen(tables: StudyTables, token: str) -> StudyFilter:
    readings: Any = tables.readings
    found = {name: set(readings[name]) for name in ("arm", "experience", "reader", "session", "region", "level")}

    def one(name: str, label: str, options: Sequence[Any], **more: Any) -> tuple[Any, ...]:
        return tuple(st.multiselect(label, options, key=_key(token, name), placeholder="all", width=220, **more))

    return StudyFilter(
        arms=one("arm", "Arm", sorted(found["arm"], reverse=True)),
        experience=one("experience", "Experience", [each for each in LEVELS_IN_ORDER if each in found["experience"]]),
        readers=one("reader", "Reader", sorted(found["reader"])),
        sessions=one("session", "Session", sorted(int(each) for each in found["session"])),
        regions=one("region", "Region", [each for each in REGIONS if each in found["region"]],
                    format_func=REGIONS.__getitem__),
        levels=one("level", "Level", [each.value for each in DiscLevel if each.value in found["level"]]),
        grades=one("grade", "Reference grade", [int(grade) for grade in Grade]),
        versions=one("version", "Model version", sorted(set(tables.model["version"]))),
        quality=QUALITY[st.selectbox("Image quality", list(QUALITY), key=_key(token, "quality"), width=220,
                                     help="Flagged: at least one reader remarked on the image.")],
    )


def _key(token: str, name: str) -> str:
    return f"keep-{token}-{name}"


def _clear(token: str) -> None:
    """Keep everything again."""
    for key in [each for each in st.session_state if str(each).startswith(_key(token, ""))]:
        del st.session_state[key]
