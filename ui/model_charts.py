"""Charts of evaluations and training runs, one version beside the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
import streamlit as st

from lss_core.figures import curve_figure
from lss_core.registry import ModelVersion
from lss_core.training.evaluation import Evaluation
from lss_core.training.evaluation_figures import figures_of
from ui.evaluations import KINDS, parts

# Side by side on a wide window, one below the other where numbers in a chart would run into each other.
LAYOUT = """<style>
@media (max-width: 1000px) {
  [class*="st-key-charts"] [data-testid="stHorizontalBlock"] { flex-direction: column; }
  [class*="st-key-charts"] [data-testid="stColumn"] { width: 100%; flex: 1 1 100%; min-width: 0; }
}
</style>"""
QUIET = {"displayModeBar": False}
Chart = tuple[str, go.Figure]                   # a key of its own, and the figure


def beside(charts: Sequence[Chart], *, key: str) -> None:
    """Charts of one kind, a column for each version."""
    if not charts:
        return
    with st.container(key=f"charts-{key}"):
        for column, (name, figure) in zip(st.columns(len(charts), gap="medium"), charts, strict=True):
            column.plotly_chart(figure, theme=None, key=f"chart-{key}-{name}", config=QUIET)


def of_evaluations(found: Sequence[Evaluation], name: str) -> None:
    """One kind of chart (a name of `figures_of`), for each kind of region; nothing where no version has it."""
    for kind, title in KINDS.items():
        figures = [(each.model_version, _figures(each, kind, title)) for each, _ in parts(found, kind)]
        beside([(version, of[name]) for version, of in figures if name in of], key=f"{name}-{kind}")


@st.cache_resource(show_spinner=False, max_entries=32)
def _figures(evaluation: Evaluation, kind: str, label: str) -> Mapping[str, go.Figure]:
    """All charts of one kind of region, made once."""
    charts = figures_of(evaluation, getattr(evaluation, kind), label=label)
    return {name: _dressed(figure) for name, figure in charts.items()}


def _dressed(figure: go.Figure) -> go.Figure:
    """In the page's narrow type, so that a title fits over half a page, and with no label cut off at the frame."""
    figure.update_layout(font_family='"Source Sans", sans-serif', title_font_size=14)
    return figure.update_traces(cliponaxis=False, selector={"type": "scatter"})


def confusions(found: Sequence[Evaluation]) -> None:
    """Reference against grade, counts."""
    of_evaluations(found, "confusion")


def subgroups(found: Sequence[Evaluation]) -> None:
    """Accuracy by level, side and the scan's attributes; folded, because it is long."""
    with st.expander("Accuracy by level, side, slice thickness, noise, pixel size, kernel and scanner"):
        of_evaluations(found, "subgroups")


def curves(versions: Sequence[ModelVersion]) -> None:
    """How the figures of each training run went; a card without a curve says how to get one."""
    for version in versions:
        card = version.card
        if card is None:
            continue
        curve: Sequence[Mapping[str, float]] = card.metrics.get("curve", ())
        if not curve:
            st.info(
                f"The card of {version.name} holds no training curve. Training records one:\n```\n"
                f"python -m lss_core train classifier --name {version.name} --out models\n```",
                icon=":material/show_chart:",
            )
            continue
        points = [{name.removeprefix("validation_"): value for name, value in point.items()} for point in curve]
        figure = curve_figure(
            points, title=f"{version.name}, training run", measured_on=f"Data of the training run: {card.data}"
        )
        st.plotly_chart(_dressed(figure), theme=None, key=f"curve-{version.name}", config=QUIET)
