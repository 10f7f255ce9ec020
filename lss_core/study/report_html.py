"""The report as one HTML file that needs nothing else."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator

from plotly.offline import get_plotlyjs

from lss_core.study.analysis_json import SIMULATED
from lss_core.study.analysis_values import RaterKind, RegionKind, StudyAnalysis
from lss_core.study.report_tables import Section, Table, sections
from lss_core.study_figures import (
    StudyFigure,
    aided_figure,
    differences_figure,
    headline_figure,
    rater_confusion_figure,
    readers_figure,
    subgroups_figure,
)
from lss_core.study_figures_agreement import agreement_figures, repeat_figures
from lss_core.study_figures_cases import hardest_figure
from lss_core.study_figures_curves import calibration_figures, roc_figure
from lss_core.study_figures_merits import merits_figure
from lss_core.study_figures_times import time_figures
from lss_core.vocabulary import RESEARCH_USE

TITLE = "Reader study: analysis"
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c1c1c; max-width: 1120px; margin: 0 auto; padding: 0 16px 48px; }
.banner { background: #1c1c1c; color: #fff; padding: 10px 16px; margin: 0 -16px; position: sticky; top: 0; z-index: 9; }
.simulated { border-left: 4px solid #D55E00; padding: 6px 12px; background: #fdf3ea; font-weight: 600; }
table { border-collapse: collapse; margin: 12px 0; font-size: 13px; }
caption { text-align: left; font-weight: 600; padding: 4px 0; }
th, td { border-bottom: 1px solid #d8d8d8; padding: 3px 12px 3px 0; text-align: left; vertical-align: top; }
td { overflow-wrap: anywhere; } .wide { overflow-x: auto; }
"""


def report_html(analysis: StudyAnalysis) -> str:
    """The whole page: words, figures and tables."""
    figures = figures_by_section(analysis)
    parts = [f'<div class="banner">{_text(RESEARCH_USE)}</div>', f"<h1>{TITLE}</h1>"]
    if analysis.simulated:
        parts.append(f'<p class="simulated">{_text(SIMULATED)}</p>')
    parts.append(f"<p>{_text(analysis.statement)}</p>")
    for section in sections(analysis):
        parts += _section(section, figures.get(section.key, []))
    head = f'<meta charset="utf-8"><title>{TITLE}</title><style>{STYLE}</style><script>{get_plotlyjs()}</script>'
    body = "\n".join(parts)
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def figures_by_section(analysis: StudyAnalysis) -> dict[str, list[StudyFigure]]:
    """Every figure of the report, by the key of its section in `report_tables.sections`."""
    return {key: section_figures(analysis, key) for key in FIGURES_OF}


def section_figures(analysis: StudyAnalysis, key: str) -> list[StudyFigure]:
    """The figures of one section; none for a section of words and tables alone."""
    made = FIGURES_OF.get(key)
    return [each for each in made(analysis) if each is not None] if made else []


def kinds_of(analysis: StudyAnalysis) -> list[RegionKind]:
    """The kinds of region of which there is a result."""
    return [kind for kind in RegionKind if any(each.region is kind for each in analysis.results)]


def _accuracy(analysis: StudyAnalysis) -> Iterator[StudyFigure | None]:
    for kind in kinds_of(analysis):
        yield headline_figure(analysis, kind)
        yield readers_figure(analysis, kind)
        for each in analysis.results:
            if each.region is kind and each.rater.kind in (RaterKind.MODEL, RaterKind.LEVEL):
                yield rater_confusion_figure(analysis, each)


def _against_readers(analysis: StudyAnalysis) -> Iterator[StudyFigure | None]:
    for kind in kinds_of(analysis):
        for version in analysis.scope.versions:
            yield differences_figure(analysis, kind, version=version)
        yield merits_figure(analysis, kind, "against_readers")


def _aided(analysis: StudyAnalysis) -> Iterator[StudyFigure | None]:
    for kind in kinds_of(analysis):
        yield aided_figure(analysis, kind)
        yield merits_figure(analysis, kind, "aided")


def _roc(analysis: StudyAnalysis) -> Iterator[StudyFigure | None]:
    for kind in kinds_of(analysis):
        for cut in (1, 2, 3):
            yield roc_figure(analysis, kind, cut=cut)


def _agreement(analysis: StudyAnalysis) -> Iterator[StudyFigure | None]:
    for kind in kinds_of(analysis):
        yield from agreement_figures(analysis, kind)


def _subgroups(analysis: StudyAnalysis) -> Iterator[StudyFigure | None]:
    for kind in kinds_of(analysis):
        yield subgroups_figure(analysis, kind)
    yield hardest_figure(analysis)


def _repeats(analysis: StudyAnalysis) -> Iterator[StudyFigure | None]:
    for kind in kinds_of(analysis):
        yield from repeat_figures(analysis, kind)


def _calibration(analysis: StudyAnalysis) -> Iterator[StudyFigure | None]:
    for kind in kinds_of(analysis):
        yield from calibration_figures(analysis, kind)


FIGURES_OF: dict[str, Callable[[StudyAnalysis], Iterator[StudyFigure | None]]] = {
    "accuracy": _accuracy, "against_readers": _against_readers, "aided": _aided, "roc": _roc, "agreement": _agreement,
    "subgroups": _subgroups, "times": time_figures, "repeats": _repeats, "calibration": _calibration,
}


def _section(section: Section, figures: list[StudyFigure]) -> Iterator[str]:
    yield f"<h2>{_text(section.title)}</h2>"
    for paragraph in section.paragraphs:
        if paragraph:
            yield f"<p>{_text(paragraph)}</p>"
    for number, each in enumerate(figures, 1):
        yield each.figure.to_html(full_html=False, include_plotlyjs=False, div_id=f"{section.key}-{number}-{each.key}",
                                  config={"displaylogo": False, "responsive": True})
    for table in section.tables:
        yield _table(table)


def _table(table: Table) -> str:
    def line(cells: tuple[str, ...], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{_text(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(line(row, "td") for row in table.rows)
    caption = f"<caption>{_text(table.caption)}</caption>"
    return f'<div class="wide"><table>{caption}{line(table.head, "th")}{body}</table></div>'


def _text(value: object) -> str:
    return html.escape(str(value))
