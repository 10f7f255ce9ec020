"""The trainings of a collection: how far each is, its curves and its log, stop and go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from lss_core import training_runs
from lss_core.figures import curve_figure
from lss_core.settings import Settings
from lss_core.training.run_folder import RunState, TrainingRun
from lss_core.vocabulary import Refusal
from ui.curate import links
from ui.curate.opened import OpenCollection
from ui.study.confirm import announce
from ui.study.progress_tab import duration
from ui.study.wording import moment
from ui.wording import plain

POLL_S = 2.0
EMPTY = "No training yet."
SAYS = {
    RunState.QUEUED: "waits for the training before it",
    RunState.RUNNING: "trains",
    RunState.STOPPED: "stopped; it can go on where it was",
    RunState.INTERRUPTED: "interrupted, as by a restart of the machine; it can go on from its last save",
    RunState.FAILED: "failed",
    RunState.DONE: "done; the version is among the models",
}


def show(opened: OpenCollection) -> tuple[TrainingRun, ...]:
    """All trainings, the newest first, which are returned too; looked at again while one is active."""
    st.subheader("Trainings", anchor=False)
    found = _runs(opened)
    if not found:
        st.caption(EMPTY)
    elif not all(run.state.ended for run in found):
        _watch(opened)
    else:
        _show_runs(opened, found)
    return found


def _runs(opened: OpenCollection) -> tuple[TrainingRun, ...]:
    return training_runs.runs(opened.engine, opened.actor, opened.collection_id, Settings.from_environment())


@st.fragment(run_every=POLL_S)
def _watch(opened: OpenCollection) -> None:
    found = _runs(opened)
    if all(run.state.ended for run in found):
        st.rerun(scope="app")                   # nothing is left to watch, and a new version may be there
    _show_runs(opened, found)


def _show_runs(opened: OpenCollection, found: Sequence[TrainingRun]) -> None:
    for number, run in enumerate(found):
        with st.container(border=True, key=f"training-{run.id}"):
            _show_run(opened, run, newest=number == 0)


def _show_run(opened: OpenCollection, run: TrainingRun, *, newest: bool) -> None:
    st.markdown(f"**{plain(run.name)}** · {run.network}, {run.configuration} · {SAYS[run.state]}")
    st.caption(f"Begun by {plain(run.who)}, {moment(run.started_at or run.created_at)}"
               + (f", ended {moment(run.ended_at)}" if run.ended_at else ""))
    if run.reason:
        (st.error if run.state is RunState.FAILED else st.info)(plain(run.reason))
    if run.state is not RunState.DONE:
        st.progress(min(run.step / run.steps, 1.0) if run.steps else 0.0, text=_how_far(run))
    _offer_acts(opened, run)
    if run.curve:
        points = [{"step": point.step, **point.validation,
                   **{f"training_{name}": value for name, value in point.training.items()}} for point in run.curve]
        figure = curve_figure(points, title=f"Training of {run.name}", measured_on="Own training and validation sets")
        with st.expander("Curves", expanded=newest):
            st.plotly_chart(figure, key=f"curves-{run.id}", theme=None, config={"displaylogo": False})
    if run.log_tail:
        with st.expander("End of the log"):
            st.code(run.log_tail, language=None)


def _how_far(run: TrainingRun) -> str:
    parts = [f"Step {run.step} of {run.steps}" if run.steps else "Not begun"]
    if run.state is RunState.RUNNING and run.samples_per_s:
        parts.append(f"{run.samples_per_s:.1f} samples a second")
    if run.state is RunState.RUNNING and run.left_s is not None:
        parts.append(f"{duration(run.left_s)} left")
    return " · ".join(parts)


def _offer_acts(opened: OpenCollection, run: TrainingRun) -> None:
    """Stop what is active, go on with what was stopped, and the way to what is done."""
    if not run.state.ended:
        if st.button("Stop", icon=":material/stop:", key=f"stop-{run.id}"):
            _act(opened, run, training_runs.stop, "is asked to stop; it saves its state first")
    elif run.state.resumable:
        if st.button("Go on", icon=":material/play_arrow:", key=f"resume-{run.id}"):
            _act(opened, run, training_runs.resume, "goes on")
    else:
        links.show("See it on the Models page", "models")


def _act(opened: OpenCollection, run: TrainingRun, do: Callable[..., object], said: str) -> None:
    try:
        do(opened.engine, opened.actor, opened.collection_id, Settings.from_environment(), run.id)
    except Refusal as refusal:
        st.error(str(refusal), icon=":material/block:")
        return
    announce(f"The training of {run.name} {said}.")
    st.rerun(scope="app")
