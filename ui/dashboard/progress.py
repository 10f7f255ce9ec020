"""How far the readers are and how good the record is; nothing here is computed of the reference or of a model."""

from __future__ import annotations

import html
from collections.abc import Sequence

import streamlit as st

from lss_core.study import progress, quality
from lss_core.study.progress import ReaderProgress
from lss_core.study.quality import ImageRemarks, ReadingQuality, StudyQuality
from lss_core.study_figures_progress import completeness_figure, durations_figure
from lss_core.vocabulary import counted
from ui.dashboard import chart
from ui.study.opened import OpenStudy
from ui.study.progress_tab import STAGES, duration
from ui.study.wording import moment
from ui.tables import table

PROGRESS_HEAD = ("Reader", "Where", "Cases", "Last answer", "Flags")
QUALITY_HEAD = ("Reader", "Cases", "Median", "Very fast", "Longest idle", "Not gradable", "Remarks on images",
                "Changed", "Flags")
IMAGES_HEAD = ("Case", "Level", "Readers who remarked", "Remarks")
NO_READER = "No reader yet. Invite readers under Studies, People."
NO_ANSWER = "Nobody has submitted a test case yet."


def show(study: OpenStudy) -> None:
    """Progress, completeness, times, drop-outs and flags."""
    readers = progress.progress(study.engine, study.actor, study.study_id)
    found = quality.study_quality(study.engine, study.actor, study.study_id)
    if not readers and not found.readers:
        st.info(NO_READER, icon=":material/person_add:")
        return
    _show_counts(readers, found)
    st.html(table(PROGRESS_HEAD, [_progress_row(reader) for reader in readers], label="Progress of the readers"))
    if not found.readers:
        st.info(NO_ANSWER, icon=":material/hourglass_empty:")
        return
    chart.show(completeness_figure(readers, found, simulated=study.is_demo), key=f"completeness-{study.study_id}")
    chart.show(durations_figure(found, simulated=study.is_demo), key=f"durations-{study.study_id}")
    _show_quality(found.readers)
    _show_images(found.images)


def _show_counts(readers: Sequence[ReaderProgress], found: StudyQuality) -> None:
    """The study in five numbers."""
    finished = sum(reader.email not in found.unfinished for reader in readers)
    begun = {each.account_id for each in found.readers}
    members = {reader.account_id for reader in readers}
    quiet = sum(any("No answer for" in flag for flag in reader.flags) for reader in readers)
    columns = st.columns(5)
    numbers = (
        ("Readers", str(len(readers))), ("Signed all sessions", f"{finished} of {len(readers)}"),
        ("Begun, not finished", str(sum(reader.account_id in begun and reader.email in found.unfinished
                                        for reader in readers))),
        ("Quiet for a week", str(quiet)), ("Removed with answers", str(len(begun - members))),
    )
    for column, (name, value) in zip(columns, numbers, strict=True):
        column.metric(name, value)
    submitted = counted(sum(each.cases for each in found.readers), "case")
    st.caption(f"{submitted} submitted, hidden repeats included. Times are by the server's clock, without idle time.")


def _progress_row(reader: ReaderProgress) -> list[str]:
    experience = reader.experience.value if reader.experience else "experience not stated"
    return [
        f"{html.escape(reader.name)}<br><small>{experience}</small>",
        f"{STAGES[reader.stage]}<br><small>session {reader.session} of {reader.sessions}</small>",
        f"{reader.done} of {reader.total}" if reader.total else "—", moment(reader.last_answer_at),
        "<br>".join(map(html.escape, reader.flags)) or "—",
    ]


def _show_quality(readers: Sequence[ReadingQuality]) -> None:
    st.subheader("Quality of the record", anchor=False)
    flagged = sum(bool(reader.flags) for reader in readers)
    st.markdown(f"**{flagged} of {counted(len(readers), 'reader')} flagged.** A flag is a question, not a fault.")
    rows = [
        [html.escape(each.name), str(each.cases), duration(each.median_s), str(each.fast),
         duration(each.longest_idle_s), f"{each.not_gradable} of {each.regions}", str(each.remarked),
         str(each.changed), "<br>".join(map(html.escape, each.flags)) or "—"]
        for each in readers
    ]
    st.html(table(QUALITY_HEAD, rows, label="Quality of the record by reader"))
    st.caption(f"Very fast: below {quality.FAST_S:g} s. Flags need at least {quality.FEW} cases; they name no grade.")


def _show_images(images: Sequence[ImageRemarks]) -> None:
    if not images:
        return
    rows = [[str(each.number), each.level, f"{each.remarked} of {each.readers}",
             html.escape("; ".join(each.remarks))] for each in images]
    st.markdown("**Images on which at least half of their readers remarked**")
    st.html(table(IMAGES_HEAD, rows, label="Images with remarks"))
