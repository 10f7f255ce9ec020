"""The open scan graded by more than one model version: choose which to show, and read where they differ."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import streamlit as st

from lss_core.imaging.volume import Volume
from lss_core.vocabulary import Grade, LevelReport, Refusal, Region, RegionGrade, measure_of
from ui import cases, wording
from ui.cases import Case
from ui.grade_table import COLUMNS
from ui.resources import versions

CAUTION = "Where versions agree both may be wrong; where they differ this does not say which is right."
STYLE = """<style>
.lss-compare { overflow-x: auto; } .lss-compare table { border-collapse: collapse; width: 100%; font-size: 0.9rem; }
.lss-compare th, .lss-compare td { text-align: left; padding: 0.25rem 0.6rem; border-bottom: 1px solid #e5e7eb; }
.lss-compare thead th { border-bottom: 2px solid #6b7280; } .lss-compare tbody th { font-weight: 400; }
.lss-compare .differs { background: #fef3c7; } .lss-compare .differs td:last-child { font-weight: 700; }
.lss-compare small { color: #374151; }
</style>"""


@dataclass(frozen=True)
class Row:
    """One region as each version graded it; None where a version refused."""

    level: LevelReport
    region: Region
    grades: tuple[RegionGrade | None, ...]

    @property
    def same(self) -> bool:
        return len(self._values) == 1

    @property
    def difference(self) -> str:
        if self.same:
            return "same"
        grades = [int(grade) for grade in self._values if grade is not None]
        if None in self._values:
            return "gradable by one only" if len(self.grades) == 2 else "not gradable by all"
        return f"differs by {max(grades) - min(grades)}"

    @property
    def _values(self) -> set[Grade | None]:
        return {None if graded is None else graded.grade for graded in self.grades}


def rows(case: Case) -> Iterator[Row]:
    """Every region of the case; all versions graded the same places."""
    results = [graded.result for graded in case.graded.values()]
    for level, report in enumerate(case.result.levels):
        for region in COLUMNS:
            yield Row(report, region, tuple(result.levels[level].regions.get(region) for result in results))


def offer(case: Case, volume: Volume | None) -> None:
    """Choose whose grades to show, and grade the open scan with another version too."""
    others = [each.name for each in versions() if each.usable and each.name not in case.graded]
    if len(case.graded) > 1:
        _choose_shown(case)
    if others:
        _offer_another(case, volume, others)


def show(case: Case) -> None:
    """Where the versions that graded the open scan differ."""
    if len(case.graded) > 1:
        _show_rows(list(case.graded), list(rows(case)))


def _choose_shown(case: Case) -> None:
    graded = list(case.graded)
    shown = st.radio(
        "Show the grades of", graded, index=graded.index(case.shown), horizontal=True,
        key=f"shown-{case.name}-{len(graded)}",
    )
    if shown != case.shown:
        cases.show_version(case, shown)
        st.rerun()


def _offer_another(case: Case, volume: Volume | None, others: Sequence[str]) -> None:
    version = others[0]
    if len(others) > 1:
        version = st.selectbox("Another version", others, key=f"another-{case.name}", width=180)
    pressed = st.button(
        f"Grade again with {version}", icon=":material/compare_arrows:", disabled=volume is None,
        help="Grades the same places with another model version, beside the grades that are there.",
    )
    if not pressed or volume is None:
        return
    try:
        with st.spinner(f"Grading with {version} …"):
            cases.grade_with(case, volume, version)
    except Refusal as refusal:
        st.error(str(refusal), icon=":material/block:")
        return
    st.rerun()


def _show_rows(names: Sequence[str], compared: Sequence[Row]) -> None:
    differing = [row for row in compared if not row.same]
    title = f"{' and '.join(names)} compared: {len(differing)} of {len(compared)} regions graded differently"
    with st.expander(title):
        only = st.toggle("Only where they differ", key="only-differing") if differing else False
        st.html(STYLE + table(names, differing if only else compared))
        st.caption(CAUTION)


def table(names: Sequence[str], compared: Sequence[Row]) -> str:
    """HTML: a row for each region, a column for each version."""
    head = "".join(
        f'<th scope="col">{html.escape(name)}</th>' for name in ("Level", "Region", *names, "Difference")
    )
    body = "".join(_row(row) for row in compared)
    return f'<div class="lss-compare"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _row(row: Row) -> str:
    cells = "".join(f"<td>{_cell(graded, row.region)}</td>" for graded in row.grades)
    return (
        f'<tr class="{"same" if row.same else "differs"}"><th scope="row">'
        f"{html.escape(wording.level_name(row.level))}</th><td>{html.escape(row.region.label)}</td>{cells}"
        f"<td>{row.difference}</td></tr>"
    )


def _cell(graded: RegionGrade | None, region: Region) -> str:
    if graded is None:
        return "not gradable"
    facts = [f"{max(graded.probabilities):.0%}"]
    if mark := wording.set_mark(graded):
        facts.append(f"set {mark}")
    name = measure_of(region)
    if name in graded.measures:
        facts.append(wording.measure_in_words(name, graded.measures[name]))
    if graded.doubts:
        facts.append("in doubt")
    return f"{int(graded.grade)} {html.escape(graded.grade.label)} <small>{html.escape(' · '.join(facts))}</small>"
