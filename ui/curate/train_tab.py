"""Training on the curated set: start, watch, stop, go on; then the evaluation on the control set."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from lss_core import training_runs
from lss_core.curated_parts import write_parts
from lss_core.curation import split
from lss_core.curation.parts import Part
from lss_core.curation.split import SplitVersion
from lss_core.grading.pipeline import SHARED_DETECTOR
from lss_core.permissions import Permission
from lss_core.settings import Settings
from lss_core.training_runs import NewRun, configurations, default_configuration
from lss_core.vocabulary import Refusal, counted
from ui import resources
from ui.background import Progress
from ui.curate import control_evaluation, jobs, training_view
from ui.curate.jobs import Kind, Stop
from ui.curate.opened import OpenCollection

NOT_LOCKED = "Lock the reference and the split first: a training uses the locked training set."
NETWORKS = {
    "classifier": "Classifier: grades the regions",
    "detector": "Detector: finds the regions, learnt from your boxes",
}
HOW = (
    "The training set is written into a folder of this installation, and a process of its own trains on it: it goes on "
    "when you leave this page and when the app is started again. The control set is never read."
)


def show(opened: OpenCollection) -> None:
    """The form that starts a training, the trainings so far, and the evaluation."""
    locked = split.split_of(opened.engine, opened.actor, opened.collection_id)
    if locked is None:
        st.info(NOT_LOCKED, icon=":material/lock_open:")
        return
    st.markdown(HOW)
    if not jobs.show(jobs.job_of(opened, Kind.TRAINING_SET)):
        with st.expander("New training", expanded=True, icon=":material/model_training:"):
            _ask(opened, locked)
    runs = training_view.show(opened)
    if Permission.SPLIT in opened.may:
        control_evaluation.show(opened, locked, runs)


def _ask(opened: OpenCollection, locked: SplitVersion) -> None:
    training, validation = locked.counts[Part.TRAINING], locked.counts[Part.VALIDATION]
    left, right = st.columns(2)
    network = left.selectbox("Network", list(NETWORKS), format_func=NETWORKS.__getitem__, key="train-network")
    advice = default_configuration(training.patients)
    known = configurations(Settings.from_environment(), network)
    if not known:
        raise Refusal(f"No {network} is installed to go on from; install the shipped models first.")
    first = known.index(advice.configuration) if advice.configuration in known else 0
    configuration = right.selectbox("Configuration", known, first, key=f"train-configuration-{network}")
    st.caption(f"Advised: **{advice.configuration}**. {advice.why}")
    with st.form("train", border=False):
        name_at, steps_at = st.columns(2)
        name = name_at.text_input("Name of the new version", placeholder="for example own-1", max_chars=60,
                                  key="train-name")
        steps = steps_at.number_input("Steps (empty: as the configuration says)", 1, 1_000_000, None, 1,
                                      key="train-steps")
        detector = SHARED_DETECTOR
        if network == "classifier" and len(detectors := resources.detectors()) > 1:
            detector = st.selectbox(
                "Detector that grades with the new version", detectors, key="train-detector",
                format_func=lambda name: "the shared one" if name == SHARED_DETECTOR else name,
                help="A detector that was trained here on your boxes, or the one that all versions share.",
            )
        checked = st.checkbox(
            f"Check on the validation set ({counted(validation.patients, 'patient')})", value=validation.patients > 0,
            disabled=validation.patients == 0, key="train-validation",
            help="Curves and the calibration of probabilities come from it.",
        )
        asked = st.form_submit_button("Start the training", type="primary")
    if asked:
        if not name.strip():
            raise Refusal("A new version needs a name; write one.")
        _start(opened, network=network, configuration=configuration, name=name.strip(),
               steps=None if steps is None else int(steps), detector="" if detector == SHARED_DETECTOR else detector,
               checked=checked)


def _start(
    opened: OpenCollection, *, network: str, configuration: str, name: str, steps: int | None, detector: str,
    checked: bool,
) -> None:
    """Write what is not written yet, and then begin."""
    store, settings = resources.scans(), Settings.from_environment()
    parts: Sequence[Part] = (Part.TRAINING, Part.VALIDATION) if checked else (Part.TRAINING,)

    def work(progress: Progress, stop: Stop) -> tuple[str, ...]:
        written = write_parts(opened.engine, store, opened.actor, opened.collection_id, settings, parts,
                              progress=jobs.stoppable(progress, stop))
        wanted = NewRun(name=name, data=written[Part.TRAINING], validation=written.get(Part.VALIDATION),
                        network=network, configuration=configuration, steps=steps, detector=detector)
        training_runs.start(opened.engine, opened.actor, opened.collection_id, settings, wanted)
        return (f"The training of {name} is started; it is in the list below.",)

    jobs.job_of(opened, Kind.TRAINING_SET).begin(work)
    st.rerun()
