"""The software's proposals of levels and regions, as work in the background."""

from __future__ import annotations

import streamlit as st

from lss_core import proposals
from lss_core.curation.proposing import scans_to_propose
from lss_core.settings import Settings
from lss_core.vocabulary import Refusal, counted
from ui import resources
from ui.background import Progress
from ui.curate import jobs
from ui.curate.jobs import Kind, Stop
from ui.curate.opened import OpenCollection

HELP = (
    "Looks for discs in every scan without levels, and for regions on every level that has none proposed, also where "
    "you placed it yourself. What a person has marked stays. "
    "Scans of a locked control set are left out: no model may propose anything on them."
)


def _tell_what_is_left(opened: OpenCollection) -> None:
    """Scans and levels that a run would look at."""
    left = scans_to_propose(opened.engine, opened.actor, opened.collection_id)
    empty, bare = sum(not scan.has_levels for scan in left), sum(len(scan.bare) for scan in left if scan.has_levels)
    if empty:
        st.caption(f"{counted(empty, 'scan')} without levels so far.")
    if bare:
        st.caption(f"{counted(bare, 'level')} without proposed regions so far.")


def show(opened: OpenCollection) -> None:
    """The button that begins, or how far the work is."""
    job = jobs.job_of(opened, Kind.PROPOSALS)
    if jobs.show(job):
        return
    _tell_what_is_left(opened)
    if not st.button("Propose levels and regions", icon=":material/auto_awesome:", help=HELP, key="propose"):
        return
    models = Settings.from_environment().models

    def work(progress: Progress, stop: Stop) -> tuple[str, ...]:
        report = proposals.propose_all(opened.engine, resources.scans(), opened.actor, opened.collection_id,
                                       progress=progress, stop=stop, models=models)
        done = f"{counted(report.scans, 'scan')} looked at: correct and confirm what was proposed."
        return done, *report.refused, *report.doubted

    try:
        job.begin(work)
    except Refusal as refusal:
        st.error(str(refusal), icon=":material/block:")
        return
    st.rerun()
