"""The table of multi-reader comparisons as a figure: every figure of merit with its variance components."""

from __future__ import annotations

from lss_core.figures import BLUE, GREEN, ORANGE, VERMILION
from lss_core.study.analysis_values import MrmcResult, RegionKind, StudyAnalysis
from lss_core.study.report_tables import FIGURES
from lss_core.study_figures import ESTIMATE_HEAD, Cell, Line, StudyFigure, estimate_cells, forest, p_text

COLOUR_OF_FIGURE = {"accuracy": "#000000", "sensitivity": BLUE, "specificity": GREEN, "kappa": ORANGE, "auc": VERMILION}
COMPONENTS = ("var reader", "var arm x reader", "var error", "cov1", "cov2", "cov3")


def merits_figure(analysis: StudyAnalysis, region: RegionKind, section: str) -> StudyFigure | None:
    """The table of multi-reader comparisons as a forest: every figure of merit, for all readers; None where there is
    none.

    Args:
        section: "against_readers" or "aided".
    """
    found = [each for each in getattr(analysis, section) if each.region is region and not each.level]
    if not found:
        return None
    lines = [
        Line(f"{FIGURES[each.figure]}: {each.first} - {each.second}", each.difference,
             f", n = {each.regions}, p {p_text(each.p_value)}", COLOUR_OF_FIGURE[each.figure], "diamond")
        for each in found
    ]
    title = f"{region.label}: every figure of merit, {found[0].readers} readers taken for {found[0].readers_are}"
    figure = forest(lines, title=title, statement=analysis.statement, axis="difference, first minus second", zero=0.0)
    rows = tuple(
        (each.region, each.figure, each.first, each.second, each.readers, each.regions, each.patients, each.readers_are,
         each.design, each.covariance, each.first_mean.value, each.second_mean.value, each.se, each.df,
         *estimate_cells(each.difference), each.p_value, *_components(each)) for each in found
    )
    head = ("region", "figure", "first", "second", "readers", "regions", "patients", "readers taken for", "design",
            "covariance", "mean of first", "mean of second", "se", "df", *ESTIMATE_HEAD, "p", *COMPONENTS)
    return StudyFigure(f"mrmc-{section.replace('_', '-')}-{region}", figure, head, rows, analysis.statement)


def _components(result: MrmcResult) -> tuple[Cell, ...]:
    parts = result.components
    return (parts.var_reader, parts.var_interaction, parts.var_error, parts.cov1, parts.cov2, parts.cov3)
