"""The control set becomes a reader study, with the grades of the chosen versions beside each case."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from lss_core import handing_over
from lss_core.curation import handover, split
from lss_core.permissions import Permission
from lss_core.vocabulary import Refusal
from ui import resources
from ui.background import Progress
from ui.curate import jobs, links
from ui.curate.jobs import Kind, Stop
from ui.curate.opened import OpenCollection

HOW = (
    "The locked control set becomes the cases of a reader study in draft: the same scans, the locked reference, and "
    "for each chosen version its grades and heat maps. You then set the protocol, invite the readers and lock. Whoever "
    "has or had a role in this collection cannot read in that study."
)
NOT_LOCKED = "Lock the reference and the split first: the study's cases are the locked control set."


def show(opened: OpenCollection) -> None:
    """What was handed over, or the form that does it."""
    st.markdown(HOW)
    for study in handover.opened_studies(opened.engine, opened.actor, opened.collection_id):
        links.show(f"Open the study “{study.title}”", "study", study=study.token)
    if jobs.show(jobs.job_of(opened, Kind.HANDOVER)):
        return
    if split.split_of(opened.engine, opened.actor, opened.collection_id) is None:
        st.info(NOT_LOCKED, icon=":material/lock_open:")
        return
    if Permission.SPLIT not in opened.may:
        st.caption("Only the principal investigator hands the control set over.")
        return
    _ask(opened)


def _ask(opened: OpenCollection) -> None:
    names = [version.name for version in resources.versions() if version.usable]
    with st.form("handover", border=True):
        title = st.text_input("Title of the study", max_chars=200, key="handover-title",
                              help="Readers see it. It must not tell prevalence, hypothesis or site.")
        versions = st.multiselect("Model versions that grade the cases", names, names, key="handover-versions")
        asked = st.form_submit_button("Open the reader study", type="primary")
    if not asked:
        return
    if not title.strip():
        raise Refusal("A study needs a title; write one.")
    _start(opened, title.strip(), versions)


def _start(opened: OpenCollection, title: str, versions: Sequence[str]) -> None:
    store = resources.scans()

    def work(progress: Progress, stop: Stop) -> tuple[str, ...]:
        graders = [resources.grader(version) for version in versions]
        study = handing_over.hand_over(opened.engine, store, opened.actor, opened.collection_id, title=title,
                                       graders=graders, progress=jobs.stoppable(progress, stop))
        return (f"The study “{study.title}” is made, in draft.",)

    jobs.job_of(opened, Kind.HANDOVER).begin(work)
    st.rerun()
