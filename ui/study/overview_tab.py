"""Where the study stands: what is missing before the lock, the next step, and the acts that move it on."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass

import streamlit as st

from lss_core.permissions import Permission
from lss_core.study import readiness, studies
from lss_core.study.studies import StudySummary
from lss_core.vocabulary import Refusal, counted
from ui.study import acts, protocol_tab
from ui.study.confirm import announce
from ui.study.opened import OpenStudy
from ui.study.wording import STATES, moment
from ui.tables import table

DONE, OPEN, HINT = ":green[:material/check_circle:]", ":material/radio_button_unchecked:", ":blue[:material/info:]"


@dataclass(frozen=True)
class Step:
    """One line of the checklist. `is_done` None: a hint, which the lock does not wait for."""

    sentence: str
    tab: str
    is_done: bool | None

    @property
    def mark(self) -> str:
        return HINT if self.is_done is None else DONE if self.is_done else OPEN


def show(opened: OpenStudy) -> None:
    """The state, what comes next, and the study's title."""
    summary = studies.study_of(opened.engine, opened.actor, opened.study_id)
    st.markdown(STATES[opened.state])
    if opened.is_draft:
        _show_draft(opened, summary)
    else:
        _show_locked(opened, summary)
    if Permission.EDIT_PROTOCOL in opened.may:
        _rename(opened)


def _show_draft(opened: OpenStudy, summary: StudySummary) -> None:
    missing = readiness.what_is_missing(opened.engine, opened.actor, opened.study_id)
    steps = list(_steps(opened, summary, missing))
    following = next((step for step in steps if step.is_done is False), None)
    with st.container(border=True, gap="xsmall"):
        st.subheader("Before the lock", anchor=False)
        for number, step in enumerate(steps):
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(f"{step.mark} {step.sentence}", width="stretch")
                if not step.is_done:
                    st.button(f"Go to {step.tab}", key=f"go-{number}", icon=":material/arrow_forward:",
                              type="primary" if step is following else "tertiary", on_click=_go, args=(step.tab,))
    if not missing and not protocol_tab.has_unsaved_changes(opened):
        acts.offer_lock(opened)


def _steps(opened: OpenStudy, summary: StudySummary, missing: tuple[str, ...]) -> Iterator[Step]:
    """What is there, then what is missing, then what would be wise."""
    protocol, _ = studies.protocol_of(opened.engine, opened.actor, opened.study_id)
    if summary.test_cases:
        yield Step(f"{counted(summary.test_cases, 'test case')} imported", "Cases", True)
    if summary.readers:
        yield Step(f"{counted(summary.readers, 'reader')} invited", "People", True)
    if protocol_tab.has_unsaved_changes(opened):
        yield Step("You changed the protocol and did not save it; save or discard the changes.", "Protocol", False)
    for sentence in missing:
        yield Step(sentence, _tab_of(sentence), False)
    if not protocol.instructions.strip():
        yield Step("Readers get no instructions of yours yet: say what counts as which grade.", "Protocol", None)
    if not summary.training_cases:
        yield Step("There is no training case: readers begin with the first counted case.", "Cases", None)
    if not protocol.versions:
        yield Step("No model version is compared with the readers.", "Protocol", None)
    if not protocol.analysis.text.strip():
        yield Step("The analysis plan has no words yet; write it before anybody reads.", "Protocol", None)


def _tab_of(sentence: str) -> str:
    """Where a missing thing is mended."""
    if "repeats" in sentence or "heat map" in sentence:
        return "Protocol"
    return "People" if "reader" in sentence.lower() and "case" not in sentence else "Cases"


def _go(tab: str) -> None:
    st.session_state["tab"] = tab


def _show_locked(opened: OpenStudy, summary: StudySummary) -> None:
    left, middle, right = st.columns(3)
    left.metric("Test cases", summary.test_cases, border=True)
    middle.metric("Training cases", summary.training_cases, border=True)
    right.metric("Readers", summary.readers, border=True)
    acts.offer(opened)
    st.subheader("Locked protocol", anchor=False)
    _show_versions(opened)


def _show_versions(opened: OpenStudy) -> None:
    versions = studies.protocol_versions(opened.engine, opened.actor, opened.study_id)
    rows = [
        [f"Version {each.number}", moment(each.locked_at), html.escape(each.reason) or "first lock",
         f"<code>{each.sha256}</code>"]
        for each in reversed(versions)
    ]
    st.html(table(["Protocol", "Locked and signed", "Reason", "SHA-256"], rows, label="Versions of the protocol"))
    st.caption(
        "The hash covers the protocol, the cases, their reference standard and the model outputs. Note it in your "
        "study file: nobody can change any of them later without changing it."
    )


def _rename(opened: OpenStudy) -> None:
    with st.expander("Title"), st.form(f"rename-{opened.study_id}", border=False):
        title = st.text_input("Title", opened.title, max_chars=200, label_visibility="collapsed")
        st.caption("Readers see it. It must not tell prevalence, hypothesis or site.")
        asked = st.form_submit_button("Rename")
    if not asked:
        return
    try:
        studies.rename(opened.engine, opened.actor, opened.study_id, title=title)
    except Refusal as refusal:
        st.error(str(refusal), icon=":material/block:")
        return
    announce("The study has a new title.")
    st.rerun()
