"""The offer to make the demo studies, at the first start and wherever no study is to be shown yet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import streamlit as st
from sqlalchemy import Engine

from lss_core.demo.study import DemoStudies, has_demo, make_demo
from lss_core.grading.pipeline import Grader
from lss_core.imaging.store import ScanStore
from lss_core.settings import Settings
from ui import providers, resources
from ui.background import Job, Progress

VERSIONS = ("v1", "v2")
MINUTES = "about four minutes"
POLL_S = 1.0


@st.cache_resource(show_spinner=False)
def job() -> Job[DemoStudies]:
    """The one making of the demo in this process."""
    return Job("demo", "The demo could not be made; the server's log says why.")


def _work(engine: Engine, store: ScanStore, models: Path) -> Callable[[Progress], DemoStudies]:
    def make(progress: Progress) -> DemoStudies:
        progress("Loading the models", 0.0)
        graders = [Grader.load(version, models=models) for version in VERSIONS]
        return make_demo(engine, store, graders, progress=progress)

    return make


def show() -> None:
    """The offer, or how far the making is; nothing where the demo is there, or where people sign in."""
    if providers.configured() is not None:
        return
    if job().running:
        _show_progress()
    elif not has_demo(resources.studies()):
        _show_offer()


def _show_offer() -> None:
    with st.container(border=True):
        st.markdown(
            "**See it with something in it.** The demo makes two reader studies of simulated scans with nine simulated "
            f"readers: one finished, one open to read in. It takes {MINUTES} on two cores and works in the background. "
            "It is marked as a demo everywhere, and no scan of a person is in it."
        )
        if job().failed:
            st.error(job().failed)
        if st.button("Make the demo studies", icon=":material/science:", key="make-demo"):
            job().start(_work(resources.studies(), resources.scans(), Settings.from_environment().models))
            st.rerun()


@st.fragment(run_every=POLL_S)
def _show_progress() -> None:
    if not job().running:
        st.rerun(scope="app")
    st.progress(min(job().share, 1.0), text=f"Making the demo studies: {job().what} …")
