"""Versions evaluated on the control set, from the page: asked for, watched, and the figures that came out."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from lss_core.control_evaluation import evaluate_control, last_evaluation
from lss_core.curation.parts import Part
from lss_core.curation.split import SplitVersion
from lss_core.settings import Settings
from lss_core.training.run_folder import RunState, TrainingRun
from lss_core.vocabulary import Refusal, counted
from ui import resources
from ui.background import Progress
from ui.curate import jobs, links
from ui.curate.jobs import Kind, Stop
from ui.curate.opened import OpenCollection

HOW = (
    "Each chosen version grades the {} of the control set end to end: a region that it misses is an error. Figures of "
    "versions that were trained here go into their cards and stand on the Models page; shipped versions keep theirs. "
    "Decide on your version first: one that is chosen for its figures here is no longer measured by them."
)


def show(opened: OpenCollection, locked: SplitVersion, runs: Sequence[TrainingRun]) -> None:
    """The form, how far the work is, and the figures of the last one."""
    st.subheader("Evaluation on the control set", anchor=False)
    st.markdown(HOW.format(counted(locked.counts[Part.CONTROL].cases, "case")))
    if jobs.show(jobs.job_of(opened, Kind.EVALUATION)):
        return
    _show_last(opened)
    names = [version.name for version in resources.versions() if version.usable]
    # The version that was trained here last is what one comes to evaluate.
    newest = [run.name for run in runs if run.state is RunState.DONE and run.name in names][:1]
    with st.form("evaluate", border=False):
        versions = st.multiselect("Versions", names, newest, key=f"evaluate-versions-{'-'.join(newest)}",
                                  placeholder="Choose one or more")
        asked = st.form_submit_button("Evaluate on the control set")
    if asked and not versions:
        raise Refusal("No version is chosen; choose at least one.")
    if asked:
        _start(opened, versions)


def _show_last(opened: OpenCollection) -> None:
    """The figures of the last evaluation on this control set, if there was one."""
    last = last_evaluation(opened.engine, opened.actor, opened.collection_id, Settings.from_environment())
    if last is None:
        return
    with st.container(horizontal=True):
        links.show("See the figures on the Models page", "models")
        st.download_button("Evaluation as HTML", last.page, "evaluation.html", "text/html",
                           icon=":material/download:", on_click="ignore", key="evaluation-html")
    with st.expander("The last evaluation as text", expanded=True):
        st.code(last.figures, language=None)


def _start(opened: OpenCollection, versions: Sequence[str]) -> None:
    store, settings = resources.scans(), Settings.from_environment()

    def work(progress: Progress, stop: Stop) -> tuple[str, ...]:
        evaluate_control(opened.engine, store, opened.actor, opened.collection_id, settings, versions=versions,
                         progress=jobs.stoppable(progress, stop))
        return ("Evaluated. The figures are below, and in the cards of the versions that were trained here.",)

    jobs.job_of(opened, Kind.EVALUATION).begin(work)
    st.rerun()
