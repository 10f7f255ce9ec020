"""What real scans show of model versions: narrowing imposed on them, and the scans as they are."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from lss_core.figures import dose_figure
from lss_core.registry import ModelVersion
from ui.model_charts import QUIET
from ui.tables import table

HOW = (
    "The scan's own tissue is moved until sac area or recess height has a wanted value, so the true measure is known. "
    "A sham makes the sac denser and keeps its shape: a model that reads shape hardly moves."
)
NO_FIGURES = (
    "No version was examined on outlined real scans. To fill this place:\n```\n"
    "python -m lss_core evaluate-real SCANS --model v1 --left-out DIR --record\n```\n"
    "SCANS holds outlined scans, DIR models that were trained without each of them (docs/training.md)."
)


def show(versions: Sequence[ModelVersion]) -> None:
    """Both sets, version after version."""
    cards = [version.card for version in versions if version.card is not None]
    having = [card for card in cards if "imposed" in card.metrics]
    if not having:
        st.info(NO_FIGURES, icon=":material/query_stats:")
    for card in having:
        st.subheader(f"{card.name}: narrowing imposed on real scans", anchor=False)
        st.warning(card.metrics["imposed"]["statement"], icon=":material/science:")
        _show_imposed(card.name, card.metrics["imposed"])
        st.subheader(f"{card.name}: the same scans as they are", anchor=False)
        st.warning(card.metrics["untouched"]["statement"], icon=":material/science:")
        _show_untouched(card.metrics["untouched"])


def _show_imposed(name: str, figures: Mapping[str, Any]) -> None:
    st.caption(HOW)
    families: Mapping[str, Mapping[str, Any]] = figures["families"]
    curves = {f"{family} (n = {found['cases']})": found["expected_by_dose"] for family, found in families.items()}
    title = f"{name}: expected grade by dose"
    chart = dose_figure(curves, figures["doses"], title=title, measured_on=figures["statement"])
    st.plotly_chart(chart, theme=None, key=f"doses-{name}", config=QUIET)
    head = ("Narrowing", "Cases", "Not graded", "Rise, dose 0 to 1", "Spearman within a case (pooled; perfect)",
            "Dose 0 against untouched", "Sham / rise", "Other side moves")
    rows = [
        [html.escape(family), f"{found['cases']} <small>of {found['scans']} scans</small>", str(found["refused"]),
         _printed(found["rise"]),
         f"{_printed(found['spearman_within_case_mean'])} <small>({_printed(found['spearman_pooled'])}; "
         f"{_printed(found.get('spearman_pooled_of_imposed_grade'))})</small>",
         _printed(found["dose0_against_untouched"]),
         _printed(found["sham_share_of_rise"]), _printed(found["other_side_moves"])]
        for family, found in families.items()
    ]
    st.html(table(head, rows, label="Narrowing imposed on real scans"))
    st.caption(
        "Grades; means over cases. Not graded counts doses at which the model declined, of five in each case. Pooled "
        "over cases, which start at different grades, Spearman's correlation of dose and grade stays below 1 for a "
        "perfect grader, too: the last number is that of the grades as imposed."
    )


def _show_untouched(figures: Mapping[str, Any]) -> None:
    st.markdown(
        f"The measured sac area lies within the outlined range, or 20 mm² of it, on **{figures['area_within']} of "
        f"{figures['area_slices']}** slices whose outline is sure or fair."
    )
    grades = [
        [html.escape(scan), kind.replace("_", " "), *(str(count) for count in counts.values())]
        for scan, kinds in figures["grades"].items() for kind, counts in kinds.items()
    ]
    head = ("Scan", "Region", "Grade 0", "Grade 1", "Grade 2", "Grade 3", "Not graded")
    st.html(table(head, grades, label="Grades that come out on real scans; described, not scored"))
    with st.expander("Sac areas, slice by slice"):
        rows = [
            [html.escape(each["scan"]), str(each["slice"]), html.escape(f"{each['level']}, {each['position']}"),
             f"{each['outlined_mm2'][0]:g}–{each['outlined_mm2'][1]:g}", _printed(each["measured_mm2"], 0),
             "yes" if each["within"] else "<strong>no</strong>"]
            for each in figures["slices"]
        ]
        st.html(table(("Scan", "Slice", "Level", "Outlined mm²", "Measured mm²", "Within"), rows, label="Sac areas"))


def _printed(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
