"""Work on a collection that goes on while pages come and go: one of a kind at a time for each collection."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

import streamlit as st

from lss_core.vocabulary import Refusal
from ui.background import Job, Progress
from ui.curate.opened import OpenCollection
from ui.wording import plain

POLL_S = 1.0
Stop = Callable[[], bool]
Work = Callable[[Progress, Stop], tuple[str, ...]]      # gives the sentences that say what was done


class Kind(StrEnum):
    """What is done in the background, as it is shown."""

    IMPORT = "Importing"
    PROPOSALS = "Looking for discs and regions"
    TRAINING_SET = "Writing the training set"
    EVALUATION = "Evaluating on the control set"
    HANDOVER = "Grading the control set"


STOPPED = "Stopped as asked; what was done before stays."
BROKEN = "{} failed; the server's log says why. What was done before stays; start it again to go on."


@dataclass
class CollectionJob(Job[tuple[str, ...]]):
    """One piece of work on one collection, running or last. It can be asked to stop, and begun again."""

    work: Work | None = None                    # that goes on where it stopped, when it is begun again
    asked: threading.Event = field(default_factory=threading.Event, repr=False)

    def begin(self, work: Work, *, can_resume: bool = True) -> None:
        """Begin in the background.

        Args:
            can_resume: The same work begun again finds what it needs.

        Raises:
            Refusal: the same kind of work runs already on this collection.
        """
        self.check_free()
        self.asked.clear()
        self.work = work if can_resume else None
        if not self.start(lambda progress: work(progress, self.asked.is_set)):
            raise Refusal(f"{self.name} runs already; wait until it is done, or stop it.")

    def check_free(self) -> None:
        """Raise Refusal where the work runs already."""
        if self.running:
            raise Refusal(f"{self.name} runs already; wait until it is done, or stop it.")

    @property
    def is_stopped(self) -> bool:
        """Whether the last work ended because it was asked to."""
        return not self.running and self.asked.is_set()


@st.cache_resource(show_spinner=False)
def _jobs() -> dict[tuple[str, int, Kind], CollectionJob]:
    return {}


def job_of(opened: OpenCollection, kind: Kind) -> CollectionJob:
    """The work of a kind on a collection; one that has not run where there was none."""
    key = (str(opened.engine.url), opened.collection_id, kind)      # collections of two databases may have one number
    return _jobs().setdefault(key, CollectionJob(kind.value, BROKEN.format(kind.value)))


def stoppable(progress: Progress, stop: Stop) -> Progress:
    """Progress that ends the work, by a Refusal, where it is asked to stop: for work that tells how far it is and asks
    nothing."""

    def tell(what: str, share: float) -> None:
        if stop():
            raise Refusal(STOPPED)
        progress(what, share)

    return tell


def show(job: CollectionJob) -> bool:
    """How far the work is, or how it ended; whether it runs."""
    if job.running:
        _show_progress(job)
        return True
    if job.failed:
        st.error(job.failed, icon=":material/block:")
    if job.report:
        first, *more = map(plain, job.report)
        st.success(first, icon=":material/check_circle:")
        if more:
            with st.expander("More on this", expanded=True):
                st.markdown("\n".join(f"- {sentence}" for sentence in more))
    if job.work and (job.is_stopped or job.failed):
        st.button("Go on where it stopped", key=f"resume-{job.name}", icon=":material/play_arrow:", type="primary",
                  on_click=_resume, args=(job,))
    return False


@st.fragment(run_every=POLL_S)
def _show_progress(job: CollectionJob) -> None:
    if not job.running:
        st.rerun(scope="app")
    left, right = st.columns([5, 1], vertical_alignment="center")
    left.progress(min(job.share, 1.0), text=f"{job.name}: {job.what} … It goes on when you leave this page.")
    stopping = job.asked.is_set()
    if right.button("Stopping …" if stopping else "Stop", key=f"stop-{job.name}", icon=":material/stop:",
                    disabled=stopping):
        job.asked.set()


def _resume(job: CollectionJob) -> None:
    if job.work and not job.running:
        job.begin(job.work)
