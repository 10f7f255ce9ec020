"""The acts that move a study on, each behind a question: lock, pause, resume, close, unblind."""

from __future__ import annotations

import streamlit as st

from lss_core.permissions import Permission
from lss_core.study import lifecycle, progress
from lss_core.study.database import StudyState
from lss_core.study.desks import Stage
from lss_core.vocabulary import counted
from ui.study import confirm
from ui.study.confirm import Question, Typed
from ui.study.opened import OpenStudy
from ui.wording import plain

MEANING = "I approve this protocol and take responsibility for the study"
REASON = "Reason (kept in the audit log)"


def offer_lock(opened: OpenStudy) -> None:
    """The lock, for the PI; a sentence for others."""
    with st.container(border=True):
        st.subheader("Lock the protocol", anchor=False)
        st.markdown(
            "Everything that is needed is there. The lock freezes the protocol, the cases, their reference standard "
            "and the model outputs under one SHA-256, and opens the study to its readers."
        )
        if Permission.LOCK_PROTOCOL not in opened.may:
            st.caption("Only the principal investigator can lock.")
            return
        question = Question(
            title="Lock the protocol?",
            consequence="**This cannot be undone.** Cases and reference stay as they are from now on. Later changes of "
                        "the protocol are amendments: new versions with a reason. Your signature is kept.",
            button="Sign and lock", word="lock", signer=opened.actor.name, meaning=MEANING,
        )
        confirm.offer("Lock the protocol …", question, lambda typed: _lock(opened, typed), key="lock",
                      icon=":material/lock:", primary=True)


def _lock(opened: OpenStudy, typed: Typed) -> str:
    version = lifecycle.lock(opened.engine, opened.actor, opened.study_id, typed_name=typed.name,
                             meaning=typed.meaning)
    return f"Protocol {version.number} is locked and the study is open to its readers. SHA-256 {version.sha256}"


def offer(opened: OpenStudy) -> None:
    """The acts that the state allows and the visitor may do."""
    with st.container(horizontal=True):
        for state, needed, act in ACTS:
            if opened.state in state and needed in opened.may:
                act(opened)
    if opened.state is StudyState.CLOSED and Permission.UNBLIND not in opened.may:
        st.caption("Only the principal investigator can unblind.")


def _pause(opened: OpenStudy) -> None:
    question = Question(
        title="Pause the study?", button="Pause", reason=REASON,
        consequence="Readers see that the study is paused. What they have entered is kept; nothing can be submitted "
                    "until the study goes on.",
    )

    def pause(typed: Typed) -> str:
        lifecycle.pause(opened.engine, opened.actor, opened.study_id, reason=typed.reason)
        return "The study is paused."

    confirm.offer("Pause …", question, pause, key="pause", icon=":material/pause:")


def _resume(opened: OpenStudy) -> None:
    question = Question(
        title="Go on with the study?", button="Go on", reason=REASON,
        consequence="Readers can read again, each at the case where they were.",
    )

    def resume(typed: Typed) -> str:
        lifecycle.resume(opened.engine, opened.actor, opened.study_id, reason=typed.reason)
        return "The study goes on."

    confirm.offer("Go on …", question, resume, key="resume", icon=":material/play_arrow:", primary=True)


def _close(opened: OpenStudy) -> None:
    question = Question(
        title="Close the study?", button="Close the study", word="close", reason=REASON,
        consequence=f"**This cannot be undone.** No more answers are taken, and no case can be reopened. Everything "
                    f"stays blinded. {_unfinished(opened)}",
    )

    def close(typed: Typed) -> str:
        unfinished = lifecycle.close(opened.engine, opened.actor, opened.study_id, reason=typed.reason)
        return f"The study is closed. {counted(len(unfinished), 'reader')} had not signed all sessions."

    confirm.offer("Close …", question, close, key="close", icon=":material/lock:")


def _unfinished(opened: OpenStudy) -> str:
    readers = progress.progress(opened.engine, opened.actor, opened.study_id)
    names = [plain(each.name) for each in readers if each.stage is not Stage.DONE]
    if not names:
        return "All readers have signed all sessions."
    return f"{counted(len(names), 'reader')} of {len(readers)} have not signed all sessions: {', '.join(names)}."


def _unblind(opened: OpenStudy) -> None:
    question = Question(
        title="Unblind the study?", button="Unblind", word="unblind", reason=REASON,
        consequence="**This cannot be undone.** Answers may now be seen beside the reference standard and the models, "
                    "and exported. Readers see their own result where the protocol says so.",
    )

    def unblind(typed: Typed) -> str:
        lifecycle.unblind(opened.engine, opened.actor, opened.study_id, reason=typed.reason)
        return "The study is unblinded. Results can be seen and exported."

    confirm.offer("Unblind …", question, unblind, key="unblind", icon=":material/visibility:", primary=True)


ACTS = (
    ((StudyState.OPEN,), Permission.PAUSE, _pause),
    ((StudyState.PAUSED,), Permission.PAUSE, _resume),
    ((StudyState.OPEN, StudyState.PAUSED), Permission.CLOSE_STUDY, _close),
    ((StudyState.CLOSED,), Permission.UNBLIND, _unblind),
)
