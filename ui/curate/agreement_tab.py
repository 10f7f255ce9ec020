"""How well the two annotators agree before anything is decided."""

from __future__ import annotations

import html
import math

import streamlit as st

from lss_core.curation import agreement
from lss_core.curation.agreement import RegionAgreement
from lss_core.curation_figures import annotators_figure
from lss_core.permissions import Permission
from lss_core.statistics.estimate import Estimate
from ui.curate import labels_tab
from ui.curate.opened import OpenCollection
from ui.evaluations import printed
from ui.tables import table

HEAD = ("Region", "Regions", "Same grade", "Kappa, unweighted", "Kappa, quadratic weights")
EMPTY = "No agreement to show yet: no case was labelled by both annotators."
BASIS = (
    "Labels of cases that both annotators are done with, before any decision. Regions that one of them found not "
    "gradable are counted apart. Intervals are 95 %, by patient, since regions of one patient are not independent."
)
MEASURED_ON = "Labels of the two annotators, before any decision"


def show(opened: OpenCollection) -> None:
    """Progress of both, figures with intervals, and each region's grades of one against the other."""
    if Permission.IMPORT_SCANS in opened.may:
        labels_tab.show_progress(opened)
    found = agreement.agreement_before_consensus(opened.engine, opened.actor, opened.collection_id)
    if not any(each.n for each in found):
        st.info(EMPTY, icon=":material/handshake:")
        return
    st.html(table(HEAD, [_row(each) for each in found], label="Agreement of the two annotators"))
    st.caption(BASIS)
    for each in found:
        figure = annotators_figure(each.table, title=each.kind.label.capitalize(), measured_on=MEASURED_ON)
        st.plotly_chart(figure, key=f"agreement-{each.kind.value}", theme=None, config={"displaylogo": False})


def _row(found: RegionAgreement) -> list[str]:
    return [html.escape(found.kind.label.capitalize()), _counted(found), _percent(found.percent), printed(found.kappa),
            printed(found.quadratic)]


def _counted(found: RegionAgreement) -> str:
    """HTML: how many regions both graded, and how many at least one of them could not grade."""
    ungraded = sum(map(sum, found.table)) - found.n
    return f"{found.n} <small>{ungraded} not gradable</small>" if ungraded else str(found.n)


def _percent(estimate: Estimate) -> str:
    """HTML: '83.3 % (71.2–91.0)'."""
    if math.isnan(estimate.value):
        return printed(estimate)
    if math.isnan(estimate.low + estimate.high):
        return f"{estimate.value:.1%} <small>no interval: {html.escape(estimate.undefined)}</small>"
    return f"{estimate.value:.1%} <small class='interval'>({estimate.low:.1%}–{estimate.high:.1%})</small>"
