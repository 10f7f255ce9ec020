"""What can be taken out of the study after unblinding: tables, codebook and bundle, each with its hash."""

from __future__ import annotations

import hashlib
import html
from collections.abc import Mapping

import streamlit as st

from lss_core.study import export
from lss_core.study.database import StudyState
from ui.study import badges
from ui.study.opened import OpenStudy
from ui.tables import table

BEFORE = (
    "Answers, reference and model grades can be exported once the study is closed and unblinded: until then nobody may "
    "see them side by side. For a backup in the meantime use `python -m lss_core backup FILE` on the server."
)
CONTENT = """
One ZIP holds everything an analysis needs: **readings.csv** (a row for each reader, case, region and showing),
**reference.csv**, **model.csv**, **codebook.csv** (what each column means), and **bundle.json** (protocol versions,
seeds, orders, signatures, hashes and the audit log), from which `python -m lss_core import` makes an equal study.
Readers stand under codes in the tables; the bundle tells who they are, so keep it apart from what you publish.
"""
HEAD = ("File", "Bytes", "SHA-256")


def show(opened: OpenStudy) -> None:
    """A sentence before unblinding; downloads after it."""
    if opened.state is not StudyState.UNBLINDED:
        st.info(BEFORE, icon=":material/lock:")
        return
    if opened.is_demo:
        st.warning(badges.SIMULATED, icon=":material/science:")
    st.markdown(CONTENT)
    key = f"export-{opened.study_id}"
    if st.button("Make the export", icon=":material/archive:", type="primary", key="make-export"):
        with st.spinner("Collecting …"):
            st.session_state[key] = export.export_study(opened.engine, opened.actor, opened.study_id)
    st.caption("Each export is written to the audit log with the hashes of its files.")
    if files := st.session_state.get(key):
        _offer(opened, files)


def _offer(opened: OpenStudy, files: Mapping[str, bytes]) -> None:
    rows = [[html.escape(name), f"{len(content):,}", f"<code>{hashlib.sha256(content).hexdigest()}</code>"]
            for name, content in files.items()]
    st.html(table(HEAD, rows, label="Files of the export"))
    st.download_button("Everything (ZIP)", export.zipped(files), f"study-{opened.token}.zip", "application/zip",
                       icon=":material/download:", on_click="ignore", key="export-zip", type="primary")
    with st.container(horizontal=True):
        for name, content in files.items():
            st.download_button(name, content, name, icon=":material/download:", on_click="ignore", key=f"export-{name}")
