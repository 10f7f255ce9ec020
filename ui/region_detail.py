"""What is known of one region: its grade, how sure that is, and the measurements beside it."""

from __future__ import annotations

import html

import streamlit as st

from lss_core.vocabulary import GRADE_BOUNDS, Grade, LevelReport, Region, RegionGrade, grade_of_measure, measures_of
from ui import wording
from ui.cases import Graded

# Zones of the scale under a measurement; the colours of the grades in ui/grade_table/table.css.
COLOURS = {Grade.NORMAL: "#eef2f7", Grade.MILD: "#fde68a", Grade.MODERATE: "#f59e0b", Grade.SEVERE: "#9a3412"}
SCALE_OVER_NORMAL = 1.6                         # a scale ends at this multiple of the bound of grade 0
STYLE = """<style>
.lss-detail { width: 100%; border: 0; border-collapse: collapse; font-size: 0.95rem; }
.lss-detail th { text-align: left; font-weight: 400; padding: 0.1rem 0.7rem 0.1rem 0; white-space: nowrap; }
.lss-detail td { padding: 0.1rem 0; } .lss-detail td:last-child { text-align: right; padding-left: 0.7rem; }
.lss-measure { margin: 0.7rem 0; font-size: 0.95rem; }
.lss-measure .lss-value { display: flex; justify-content: space-between; gap: 1rem; }
.lss-measure strong { white-space: nowrap; }
.lss-measure small { color: #374151; font-size: 0.82rem; line-height: 1.35; display: block; }
.lss-scale { position: relative; height: 0.8rem; margin: 0.35rem 0 0.4rem; border: 1px solid #6b7280; display: flex; }
.lss-scale i { display: block; height: 100%; }
.lss-scale b { position: absolute; top: -0.3rem; bottom: -0.3rem; width: 4px; margin-left: -2px; background: #111827;
  border: 1px solid #fff; }
</style>"""


def show(report: LevelReport, region: Region, graded_by: Graded) -> None:
    """Show one region of the open case."""
    graded = report.regions.get(region)
    st.subheader(f"{wording.level_name(report)} · {region.label}", anchor=False)
    if graded is None:
        st.markdown("**Not gradable**")
        st.info(wording.missing_reason(report, region), icon=":material/block:")
        st.caption("Place or move its box in the viewer, or scroll to another slice, and press Regrade.")
        return
    sentence = wording.set_sentence(
        graded, coverage=graded_by.result.set_coverage, measured_on=graded_by.sets_measured_on
    )
    st.markdown(f"**Grade {int(graded.grade)}, {graded.grade.label}.** {sentence}")
    if graded.doubts:
        st.warning("\n\n".join(graded.doubts), icon=":material/warning:")
    st.html(STYLE + probability_bars(graded) + measures(graded, region))
    st.caption(
        f"Expected grade {graded.expected_grade:.2f} · region found with confidence {graded.detection_confidence:.0%}"
    )


def probability_bars(graded: RegionGrade) -> str:
    """A row for each grade, its bar as long as its probability."""
    rows = "".join(
        f'<tr><th scope="row" style="font-weight:{700 if grade == graded.grade else 400}">'
        f"{int(grade)} {html.escape(grade.label)}</th>"
        f'<td style="width:100%"><div style="background:#1d4ed8;height:.7rem;border-radius:.2rem;'
        f'width:{100 * probability:.1f}%;min-width:1px"></div></td><td>{probability:.0%}</td></tr>'
        for grade, probability in zip(Grade, graded.probabilities, strict=True)
    )
    return f'<table class="lss-detail" aria-label="Probability of each grade">{rows}</table>'


def measures(graded: RegionGrade, region: Region) -> str:
    """Each measurement with the published bounds of the grades."""
    return "".join(_measure(name, graded.measures[name]) for name in measures_of(region) if name in graded.measures)


def _measure(name: str, value: float) -> str:
    title = wording.MEASURE_NAMES[name]
    beside = scale = ""
    if name in GRADE_BOUNDS:
        by_bounds = grade_of_measure(name, value)
        beside = f"By these bounds alone grade {int(by_bounds)}, {by_bounds.label}. "
        scale = _scale(name, value)
    return (
        f'<div class="lss-measure"><div class="lss-value"><span>Estimated {html.escape(title)}</span>'
        f"<strong>{html.escape(wording.measure_in_words(name, value))}</strong></div>{scale}"
        f"<small>{html.escape(beside + wording.bounds_in_words(name))}</small></div>"
    )


def _scale(name: str, value: float) -> str:
    """The grades as zones from severe to normal, and where the measurement lies among them."""
    end = SCALE_OVER_NORMAL * GRADE_BOUNDS[name][0]
    edges = [0.0, *reversed(GRADE_BOUNDS[name]), end]
    zones = "".join(
        f'<i style="width:{100 * (high - low) / end:.2f}%;background:{COLOURS[grade]}"></i>'
        for grade, low, high in zip(reversed(Grade), edges, edges[1:], strict=False)
    )
    place = 100 * min(max(value, 0.0), end) / end
    return f'<div class="lss-scale" aria-hidden="true">{zones}<b style="left:{place:.2f}%"></b></div>'
