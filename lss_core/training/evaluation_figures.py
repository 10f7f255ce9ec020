"""The figures of an evaluation, for the model card and for pages."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go

from lss_core.figures import ForestRow, bland_altman_figure, confusion_figure, forest_figure, reliability_figure
from lss_core.training.evaluation import Evaluation, Performance
from lss_core.vocabulary import CANAL_AP, RECESS_HEIGHT, SAC_AREA, unit_of

MEASURES = {SAC_AREA: "dural sac area", CANAL_AP: "canal AP diameter", RECESS_HEIGHT: "lateral recess height"}


def figures_of(evaluation: Evaluation, part: Performance, *, label: str) -> Mapping[str, go.Figure]:
    """Figures of one kind of region by name: "confusion", "reliability", "subgroups", and one per measure.

    Args:
        label: Of the kind of region, as `Evaluation.parts` names it.
    """
    name = f"{label}, model {evaluation.model_version}"
    measured_on = evaluation.statement
    rows = [ForestRow(group.attribute, group.value, group.accuracy, group.regions) for group in part.subgroups]
    figures = {
        "confusion": confusion_figure(part.confusion, part.missed_by_grade, title=name, measured_on=measured_on),
        "reliability": reliability_figure(
            part.calibration.bins, expected_error=part.calibration.expected_error, title=name, measured_on=measured_on
        ),
        "subgroups": forest_figure(
            rows, overall=part.accuracy, regions=part.regions, title=name, measured_on=measured_on
        ),
    }
    for measure, error in part.measures.items():
        figures[measure] = bland_altman_figure(
            error.points, bias=error.bias, lower=error.lower_limit, upper=error.upper_limit, regions=error.regions,
            unit=unit_of(measure), title=f"{name}, {MEASURES[measure]}", measured_on=measured_on,
        )
    return figures
