"""Bringing scans in: from a folder of the server, an upload, or the PACS; then what was found of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from itertools import chain
from pathlib import Path

import streamlit as st

from lss_core import scan_import
from lss_core.imaging.incoming import private_folder
from lss_core.imaging.pacs import Pacs, PacsQuery, PacsStudy
from lss_core.imaging.pseudonyms import SiteKeys
from lss_core.import_report import Count, ImportChoices, ImportSummary, Take
from lss_core.server_folder import NOT_SET, folder_below
from lss_core.settings import Settings
from lss_core.vocabulary import Refusal, counted
from ui import resources
from ui.background import Progress
from ui.curate import jobs, scans_report
from ui.curate.jobs import CollectionJob, Kind, Stop, Work
from ui.curate.opened import OpenCollection
from ui.study.uploaded_set import place_in

UPLOAD, FOLDER, PACS = "Upload", "Folder on the server", "PACS"
FOUND = "curate-pacs-found"                     # of the session: the last query, and the studies that it found
EARLIEST = date(1990, 1, 1)
PACS_NOT_SET = (
    "Asking a PACS is switched off. Whoever runs this installation can name one DICOMweb address: set LSS_PACS_URL, "
    "LSS_PACS_USER and LSS_PACS_PASSWORD and restart."
)
WHAT_IS_TAKEN = {
    Take.BEST: "The best axial series of each study",
    Take.ALL: "Every axial series that shows the lumbar spine",
}
PRIVACY = (
    "Identity ends here: each patient gets a pseudonym that only this site can undo, and of a scan only pixels, "
    "geometry, sex, age and make of the scanner are kept. What cannot be used is listed below with the reason. "
    "The same series is never taken twice, so that an import that stopped is simply begun again."
)


def show(opened: OpenCollection) -> None:
    """The forms, or how far the running import is; then the scans."""
    job = jobs.job_of(opened, Kind.IMPORT)
    if not jobs.show(job):
        with st.expander("Import scans", expanded=True, icon=":material/upload:"):
            try:
                _ask(opened, job)
            except Refusal as refusal:
                st.error(str(refusal), icon=":material/block:")
    scans_report.show(opened)


def _ask(opened: OpenCollection, job: CollectionJob) -> None:
    st.caption(PRIVACY)
    settings = Settings.from_environment()
    pacs = Pacs.from_settings(settings)
    sources = [UPLOAD, *([FOLDER] if settings.import_folder else []), *([PACS] if pacs else [])]
    source = st.radio("From", sources, horizontal=True, key="curate-import-source")
    left, right = st.columns(2)
    site = left.text_input("Site (optional)", key="curate-import-site", max_chars=80, placeholder="for example: A",
                           help="Scans of one site can be set apart as an external set. Annotators never see it.")
    take = right.selectbox("Take", list(WHAT_IS_TAKEN), format_func=WHAT_IS_TAKEN.__getitem__, key="curate-import-take")
    begin = _Beginning(opened, job, settings, site.strip(), ImportChoices(take=take))
    if source == UPLOAD:
        _ask_upload(begin)
    elif source == FOLDER:
        _ask_folder(begin)
    elif pacs:
        _ask_pacs(begin, pacs)
    if len(sources) < 3:
        st.caption(" ".join(([] if settings.import_folder else [NOT_SET]) + ([] if pacs else [PACS_NOT_SET])))


@dataclass(frozen=True)
class _Beginning:
    """What every import is begun with."""

    opened: OpenCollection
    job: CollectionJob
    settings: Settings
    site: str
    choices: ImportChoices

    @property
    def keys(self) -> SiteKeys:
        return SiteKeys.of(self.settings.data)

    def paths(self, paths: Sequence[Path]) -> Work:
        """The import of files and folders."""
        def work(progress: Progress, stop: Stop) -> tuple[str, ...]:
            return scan_import.import_into(
                self.opened.engine, resources.scans(), self.opened.actor, self.opened.collection_id, paths,
                keys=self.keys, site=self.site, choices=self.choices, progress=progress, stop=stop,
            ).sentences()

        return work

    def queries(self, pacs: Pacs, queries: Sequence[PacsQuery]) -> Work:
        """The import of what searches of the PACS find, one after the other."""
        def work(progress: Progress, stop: Stop) -> tuple[str, ...]:
            done = []
            for number, query in enumerate(queries):
                done.append(scan_import.import_from_pacs(
                    self.opened.engine, resources.scans(), self.opened.actor, self.opened.collection_id, pacs, query,
                    keys=self.keys, site=self.site, choices=self.choices, stop=stop,
                    progress=_part_of(progress, number, len(queries)),
                ))
                if done[-1].stopped:
                    break
            return _together(done).sentences()

        return work

    def start(self, work: Work, *, can_resume: bool = True) -> None:
        """Begin, and show how far it is."""
        self.job.begin(work, can_resume=can_resume)
        st.rerun()


def _together(summaries: Sequence[ImportSummary]) -> ImportSummary:
    """One report of several runs."""
    return ImportSummary(
        files=sum(each.files for each in summaries), studies=sum(each.studies for each in summaries),
        added=sum(each.added for each in summaries), known=sum(each.known for each in summaries),
        refused=sum(each.refused for each in summaries), not_taken=sum(each.not_taken for each in summaries),
        left_out=_added_up([each.left_out for each in summaries]),
        reasons=_added_up([each.reasons for each in summaries]),
        notes=_added_up([each.notes for each in summaries]), duplicates=summaries[-1].duplicates,
        stopped=any(each.stopped for each in summaries),
    )


def _added_up(counts: Sequence[Sequence[Count]]) -> tuple[Count, ...]:
    total: Counter[str] = Counter()
    for each in chain.from_iterable(counts):
        total[each.what] += each.number
    return tuple(Count(what, number) for what, number in total.most_common())


def _part_of(progress: Progress, number: int, total: int) -> Progress:
    return lambda what, share: progress(f"study {number + 1} of {total}, {what}", (number + share) / total)


def _ask_folder(begin: _Beginning) -> None:
    """A folder of the server's own disk, below the one that the operator set."""
    name = st.text_input("Folder, counted from the import folder", key="curate-import-folder", placeholder="2023/march",
                         help="Left empty, everything in the import folder is taken.")
    if st.button("Import the folder", type="primary", key="curate-import-start"):
        begin.start(begin.paths([folder_below(begin.settings.import_folder, name)]))


def _ask_upload(begin: _Beginning) -> None:
    """ZIPs, DICOM files, or a folder, sent by the browser and deleted after the import."""
    rounds = st.session_state.setdefault("curate-import-rounds", 0)
    left, right = st.columns(2)
    files = left.file_uploader("ZIP or DICOM files", accept_multiple_files=True, key=f"curate-files-{rounds}")
    folder = right.file_uploader("or a folder", accept_multiple_files="directory", key=f"curate-folder-{rounds}")
    sent = [*files, *folder]
    if not st.button("Import the upload", type="primary", key="curate-import-start", disabled=not sent):
        return
    with ExitStack() as until_begun:
        place = until_begun.enter_context(private_folder(begin.keys.folder))
        for number, file in enumerate(sent):
            place_in(place, f"{number}/{file.name}").write_bytes(file.getbuffer())
        begin.job.check_free()
        begin.job.begin(_then_removed(begin.paths([place]), until_begun.pop_all()), can_resume=False)
    st.session_state["curate-import-rounds"] = rounds + 1
    st.rerun()


def _then_removed(work: Work, held: ExitStack) -> Work:
    """The work, and after it, whichever way it ends, the end of the upload."""
    def removing(progress: Progress, stop: Stop) -> tuple[str, ...]:
        with held:
            return work(progress, stop)

    return removing


def _ask_pacs(begin: _Beginning, pacs: Pacs) -> None:
    """A query of the one PACS that the operator named, and a choice of what it found."""
    with st.form("curate-pacs-query", border=False):
        left, second, third, right = st.columns(4)
        patient = left.text_input("Patient ID", key="curate-pacs-patient")
        first = second.date_input("Studies from", value=None, min_value=EARLIEST, key="curate-pacs-first")
        last = third.date_input("to", value=None, min_value=EARLIEST, key="curate-pacs-last")
        body_part = right.text_input("Body part", key="curate-pacs-body", placeholder="LSPINE")
        asked = st.form_submit_button("Search the PACS", icon=":material/search:")
    if asked:
        query = PacsQuery(patient_id=patient.strip(), first_date=first, last_date=last, body_part=body_part.strip())
        with st.spinner("Asking the PACS …", show_time=False):
            st.session_state[FOUND] = (query, pacs.find(query))
    if FOUND not in st.session_state:
        return
    query, found = st.session_state[FOUND]
    if not found:
        st.info("The PACS holds no CT study that fits. Widen the dates or leave the body part empty.",
                icon=":material/search_off:")
        return
    _choose_studies(begin, pacs, query, found)


def _choose_studies(begin: _Beginning, pacs: Pacs, query: PacsQuery, found: Sequence[PacsStudy]) -> None:
    """Which of the studies to import; whose they are is not shown."""
    st.markdown(f"**{counted(len(found), 'study', 'studies')}** found. Tick those to import, or import them all.")
    rows = [
        {"Study": number, "Series": len(each.series), "Images": each.images,
         "Body part": ", ".join(sorted({series.body_part for series in each.series if series.body_part}))}
        for number, each in enumerate(found, 1)
    ]
    ticked = st.dataframe(rows, hide_index=True, on_select="rerun", selection_mode="multi-row",
                          key=f"curate-pacs-rows-{hash(query)}").selection.rows
    with st.container(horizontal=True):
        some = st.button(f"Import {counted(len(ticked), 'ticked study', 'ticked studies')}", type="primary",
                         key="curate-import-start", disabled=not ticked)
        everything = st.button(f"Import all {len(found)}", key="curate-import-all")
    if everything:
        begin.start(begin.queries(pacs, [query]))
    elif some:
        begin.start(begin.queries(pacs, [PacsQuery(study_uid=found[row].study_uid) for row in ticked]))
