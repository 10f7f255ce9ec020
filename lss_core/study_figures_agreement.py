"""Figures of agreement: every two raters as a heat map, experience levels, and readers with themselves."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator

import numpy as np
import plotly.graph_objects as go

from lss_core.figures import BLUE, GREEN, INK, ORANGE, WHITE_TO_BLUE, titled
from lss_core.statistics.estimate import Estimate
from lss_core.study.analysis_values import AgreementPanel, RegionKind, RepeatPanel, StudyAnalysis
from lss_core.study_figures import ESTIMATE_HEAD, Line, StudyFigure, estimate_cells, forest
from lss_core.vocabulary import counted

MOST_PRINTED = 14               # raters up to which the cells hold their figures
PAIR_HEAD = ("region", "arm", "first", "second", *ESTIMATE_HEAD)


def agreement_figures(analysis: StudyAnalysis, region: RegionKind) -> Iterator[StudyFigure]:
    """For each arm the heat map of pairs, then pairs within and between experience levels."""
    for panel in analysis.agreement:
        if panel.region is region:
            yield _heat_map(panel, analysis)
            yield _groups(panel, analysis)


def _heat_map(panel: AgreementPanel, analysis: StudyAnalysis) -> StudyFigure:
    place = {name: k for k, name in enumerate(panel.raters)}
    values = np.full((len(place), len(place)), math.nan)
    words = [["" for _ in place] for _ in place]
    for pair in panel.pairs:
        for a, b in ((place[pair.first], place[pair.second]), (place[pair.second], place[pair.first])):
            values[a, b] = pair.kappa.value
            words[a][b] = html.escape(f"{pair.first} and {pair.second}: {pair.kappa}, {pair.kappa.n} patients")
    shown = [[None if math.isnan(each) else each for each in row] for row in values]
    names = [html.escape(name) for name in panel.raters]
    figure = go.Figure(go.Heatmap(
        z=shown, x=names, y=names, customdata=words, colorscale=WHITE_TO_BLUE, zmin=0, zmax=1, xgap=1, ygap=1,
        texttemplate="%{z:.2f}" if len(names) <= MOST_PRINTED else None, textfont={"color": INK},
        colorbar={"title": "kappa"},
        hovertemplate="%{customdata}<extra></extra>",
    ))
    figure.update_xaxes(type="category")
    figure.update_yaxes(type="category", autorange="reversed")
    title = f"{panel.region.label}, {panel.arm}: kappa (quadratic weights) of every two raters"
    figure = titled(figure, title, analysis.statement, height=240 + 26 * len(names), left=110)
    rows = tuple((panel.region, panel.arm, each.first, each.second, *estimate_cells(each.kappa))
                 for each in panel.pairs)
    return StudyFigure(f"agreement-{panel.region}-{panel.arm}", figure, PAIR_HEAD, rows, analysis.statement)


def _groups(panel: AgreementPanel, analysis: StudyAnalysis) -> StudyFigure:
    lines = [
        Line(f"within {each.first}", each.kappa, _patients(each.kappa), BLUE) if each.first == each.second
        else Line(f"{each.first} with {each.second}", each.kappa, _patients(each.kappa), ORANGE)
        for each in panel.groups
    ]
    lines += [Line(each.name, each.estimate, _patients(each.estimate), GREEN, "diamond") for each in panel.among]
    title = f"{panel.region.label}, {panel.arm}: mean kappa within and between experience levels, and of all readers"
    figure = forest(lines, title=title, statement=analysis.statement, axis="agreement")
    rows = (*((panel.region, panel.arm, each.first, each.second, *estimate_cells(each.kappa)) for each in panel.groups),
            *((panel.region, panel.arm, "all readers", each.name, *estimate_cells(each.estimate))
              for each in panel.among))
    return StudyFigure(f"agreement-levels-{panel.region}-{panel.arm}", figure, PAIR_HEAD, rows, analysis.statement)


def _patients(estimate: Estimate) -> str:
    return f", {counted(estimate.n, 'patient')}"


def repeat_figures(analysis: StudyAnalysis, region: RegionKind) -> Iterator[StudyFigure]:
    """Kappa of each reader with himself."""
    for panel in analysis.repeats:
        if panel.region is region:
            yield _repeats(panel, analysis)


def _repeats(panel: RepeatPanel, analysis: StudyAnalysis) -> StudyFigure:
    everybody = (*panel.of_readers, panel.everybody)
    lines = [Line(each.reader, each.kappa, f", {each.repeats} repeats", ORANGE if each is not panel.everybody else BLUE)
             for each in everybody]
    title = f"{panel.region.label}: readers with themselves ({panel.kind}), kappa (quadratic weights)"
    figure = forest(lines, title=title, statement=analysis.statement, axis="kappa")
    rows = tuple((panel.region, panel.kind, each.reader, each.repeats, each.missing, each.equal.value,
                  *estimate_cells(each.kappa)) for each in everybody)
    head = ("region", "kind", "reader", "repeats", "not graded twice", "share equal", *ESTIMATE_HEAD)
    return StudyFigure(f"repeats-{panel.region}-{panel.kind.replace(' ', '-')}", figure, head, rows, analysis.statement)
