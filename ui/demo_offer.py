"""The offer to make the demo studies, at the first start and wherever no study is to be shown yet."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field

import streamlit as st
from sqlalchemy import Engine

from lss_core.demo.study import has_demo, make_demo
from lss_core.grading.pipeline import Grader
from lss_core.imaging.store import ScanStore
from lss_core.settings import Settings
from lss_core.vocabulary import Refusal
from ui import providers, resources

log = logging.getLogger(__name__)
VERSIONS = ("v1", "v2")
MINUTES = "about four minutes"
POLL_S = 1.0


@dataclass
class DemoJob:
    """The one making of the demo in this process; it goes on while pages come and go."""

    what: str = ""
    share: float = 0.0
    running: bool = False
    failed: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, engine: Engine, settings: Settings) -> None:
        """Begin, unless it runs already."""
        with self.lock:
            if self.running:
                return
            self.running, self.failed, self.share, self.what = True, "", 0.0, "Loading the models"
        threading.Thread(target=self._run, args=(engine, settings), name="demo", daemon=True).start()

    def _run(self, engine: Engine, settings: Settings) -> None:
        try:
            graders = [Grader.load(version, models=settings.models) for version in VERSIONS]
            make_demo(engine, ScanStore(settings.image_store), graders, progress=self._tell)
        except Refusal as refusal:
            self.failed = str(refusal)
        except Exception:
            log.exception("The demo could not be made")
            self.failed = "The demo could not be made; the server's log says why."
        finally:
            self.running = False

    def _tell(self, what: str, share: float) -> None:
        self.what, self.share = what, share


@st.cache_resource(show_spinner=False)
def job() -> DemoJob:
    return DemoJob()


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
            job().start(resources.studies(), Settings.from_environment())
            st.rerun()


@st.fragment(run_every=POLL_S)
def _show_progress() -> None:
    if not job().running:
        st.rerun(scope="app")
    st.progress(min(job().share, 1.0), text=f"Making the demo studies: {job().what} …")
