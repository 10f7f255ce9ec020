"""Importing cases: a control set with its reference, or simulated patients."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st

from lss_core import control_set
from lss_core.control_set import ImportReport, Progress
from lss_core.grading.pipeline import Grader
from lss_core.study.database import CaseKind
from lss_core.training.data import EVALUATION_SEEDS
from lss_core.training.scan_sets import SimulatedSet
from lss_core.vocabulary import DiscLevel, Refusal, counted
from ui import providers, resources
from ui.study import uploaded_set
from ui.study.import_job import ImportJob, job_of
from ui.study.opened import OpenStudy

KINDS = {CaseKind.TEST: "Test cases, counted", CaseKind.TRAINING: "Training cases, with feedback"}
SEEDS = {CaseKind.TEST: 1_500_001, CaseKind.TRAINING: 1_600_001}     # other patients than the models' evaluation
UPLOAD, FOLDER, SIMULATED = "Upload", "Folder on this computer", "Simulated patients"
POLL_S = 1.0
Work = Callable[[Progress], ImportReport]


def show(opened: OpenStudy) -> None:
    """The form, or how far the running import is, and what the last one did."""
    job = job_of(str(opened.engine.url), opened.study_id)
    if job.running:
        _show_progress(opened)
        return
    _show_outcome(job)
    with st.expander("Import cases", expanded=True, icon=":material/upload:"):
        try:
            _ask(opened, job)
        except Refusal as refusal:
            st.error(str(refusal), icon=":material/block:")


@st.fragment(run_every=POLL_S)
def _show_progress(opened: OpenStudy) -> None:
    job = job_of(str(opened.engine.url), opened.study_id)
    if not job.running:
        st.rerun(scope="app")
    st.progress(min(job.share, 1.0), text=f"Importing: {job.what} … It goes on when you leave this page.")


def _show_outcome(job: ImportJob) -> None:
    if job.failed:
        st.error(job.failed, icon=":material/block:")
    if job.report:
        known = f" {counted(job.report.known, 'case')} were there already." if job.report.known else ""
        st.success(f"{counted(job.report.added, 'case')} imported.{known}", icon=":material/check_circle:")
        for sentence in job.report.refused:
            st.warning(sentence, icon=":material/warning:")


def _ask(opened: OpenStudy, job: ImportJob) -> None:
    sources = [SIMULATED, UPLOAD] if providers.configured() else [SIMULATED, FOLDER, UPLOAD]
    left, right = st.columns(2)
    source = left.radio("From", sources, horizontal=True, key="import-source")
    kind = right.radio("As", list(KINDS), format_func=KINDS.__getitem__, horizontal=True, key="import-kind")
    names = [each.name for each in resources.versions() if each.usable]
    versions = st.multiselect(
        "Model versions that grade the cases", names, names, key="import-versions",
        help="Their grades and heat maps are stored beside each case: what an aided reader sees, and what is compared.",
    )
    ask = {SIMULATED: _ask_simulated, FOLDER: _ask_folder, UPLOAD: _ask_upload}[source]
    ask(opened, job, kind, versions)


def _ask_simulated(opened: OpenStudy, job: ImportJob, kind: CaseKind, versions: Sequence[str]) -> None:
    """Patients that are rendered; their reference is measured on the drawn anatomy."""
    first, second, third = st.columns([1, 1, 2])
    count = int(first.number_input("Patients", 1, 200, 4, 1, key="import-patients"))
    seed = int(second.number_input(
        "Seed", EVALUATION_SEEDS[0], EVALUATION_SEEDS[-1], SEEDS[kind], 1, key=f"import-seed-{kind.value}",
        help="Another seed draws other patients. Test and training patients must differ.",
    ))
    levels = third.multiselect("Levels", list(DiscLevel), list(DiscLevel), key="import-levels",
                               format_func=lambda level: level.value)
    st.caption("The study is then marked as simulated for good: no figure of it is clinical.")
    if st.button("Import simulated patients", type="primary", key="import-simulated"):
        if not levels:
            raise Refusal("No level is chosen; choose at least one.")
        scans = SimulatedSet(count, seed)
        wanted = dict.fromkeys(scans.patients(), levels)

        def work(progress: Progress) -> ImportReport:
            return control_set.import_scans(
                opened.engine, resources.scans(), opened.actor, opened.study_id, scans, graders=_graders(versions),
                kind=kind, levels=wanted, progress=progress,
            )

        _start(job, work)


def _ask_folder(opened: OpenStudy, job: ImportJob, kind: CaseKind, versions: Sequence[str]) -> None:
    """A folder of the server's own disk; offered only where its one user sits at it."""
    path = st.text_input("Path of the folder", placeholder="/data/control-set", key="import-path", help=WHAT_IS_A_SET)
    if st.button("Import the folder", type="primary", key="import-folder"):
        folder = uploaded_set.set_in(Path(path).expanduser()) if path.strip() else None
        if folder is None:
            raise Refusal("Name the folder that holds reference.csv.")
        _start(job, _folder_work(opened, folder, kind, versions))


def _ask_upload(opened: OpenStudy, job: ImportJob, kind: CaseKind, versions: Sequence[str]) -> None:
    """A ZIP, or a folder, sent by the browser and deleted after the import."""
    rounds = st.session_state.setdefault("import-rounds", 0)
    left, right = st.columns(2)
    archive = left.file_uploader("ZIP of a control set", type="zip", key=f"import-zip-{rounds}", help=WHAT_IS_A_SET)
    folder = right.file_uploader("or its folder", accept_multiple_files="directory", key=f"import-files-{rounds}",
                                 help=WHAT_IS_A_SET)
    files = [archive] if archive else list(folder or [])
    if st.button("Import the upload", type="primary", key="import-upload", disabled=not files):
        place = Path(tempfile.mkdtemp(prefix="lss-control-set-"))
        try:
            work = _folder_work(opened, uploaded_set.unpack(files, place), kind, versions)
        except Refusal:
            shutil.rmtree(place, ignore_errors=True)
            raise
        st.session_state["import-rounds"] = rounds + 1
        _start(job, _then_removed(work, place))


def _folder_work(opened: OpenStudy, folder: Path, kind: CaseKind, versions: Sequence[str]) -> Work:
    def work(progress: Progress) -> ImportReport:
        return control_set.import_control_set(
            opened.engine, resources.scans(), opened.actor, opened.study_id, folder, graders=_graders(versions),
            kind=kind, progress=progress,
        )

    return work


def _then_removed(work: Work, place: Path) -> Work:
    def removing(progress: Progress) -> ImportReport:
        try:
            return work(progress)
        finally:
            shutil.rmtree(place, ignore_errors=True)

    return removing


def _graders(versions: Sequence[str]) -> list[Grader]:
    return [resources.grader(version) for version in versions]


def _start(job: ImportJob, work: Work) -> None:
    job.start(work)
    st.rerun()


WHAT_IS_A_SET = (
    "A folder with reference.csv (columns patient, series_uid, level, region, grade, measure_name, measure_value, "
    "sop_instance_uid, row0, col0, row1, col1) and one folder of DICOM files for each patient, named as in the column "
    "patient. Identity is removed before anything is stored."
)
