"""Asking before an act that cannot be undone: what it does, a word to type, and, where wanted, a reason or a name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from lss_core.vocabulary import Refusal

# In the session: the key of the open question, whether this run has shown it, and a sentence to show.
ASKED, SHOWN, SAID = "study-asked", "study-shown", "study-said"


@dataclass(frozen=True)
class Question:
    """What is asked before an act. Each part of what must be typed is left out where it is empty."""

    title: str
    consequence: str                            # Markdown: what happens, and what can be undone
    button: str
    word: str = ""                              # to be typed
    reason: str = ""                            # label of the field for a reason
    signer: str = ""                            # the name to type as a signature
    meaning: str = ""                           # of the signature, as it is proposed


@dataclass(frozen=True)
class Typed:
    """What was typed into a question; empty where it was not asked."""

    reason: str = ""
    name: str = ""
    meaning: str = ""


def offer(
    label: str, question: Question, do: Callable[[Typed], str], *, key: str, icon: str | None = None,
    primary: bool = False, disabled: bool = False, explain: str | None = None,
) -> None:
    """A button that opens a question.

    Args:
        do: The act; gives the sentence that says what was done. Its Refusal is shown in the question, which stays.
        explain: Shown beside the button when it is pointed at.
    """
    kind = "primary" if primary else "secondary"
    if st.button(label, key=key, icon=icon, type=kind, disabled=disabled, help=explain):
        st.session_state[ASKED] = key
    if st.session_state.get(ASKED) == key and not disabled:
        st.session_state[SHOWN] = True
        st.dialog(question.title, on_dismiss=_forget)(_ask)(question, do)


def begin_run() -> None:
    """Call before the first `offer` of a page."""
    st.session_state[SHOWN] = False


def end_run() -> None:
    """Call after the last `offer` of a page: a question whose act is no longer possible does not come back later."""
    if not st.session_state.get(SHOWN):
        _forget()


def announce(sentence: str) -> None:
    """Say at the top of the page, once, what was done."""
    st.session_state[SAID] = sentence


def show_announcement() -> None:
    """The sentence of the act before this run, if there was one."""
    if sentence := st.session_state.pop(SAID, None):
        st.success(sentence, icon=":material/check_circle:")


def _forget() -> None:
    st.session_state.pop(ASKED, None)


def _ask(question: Question, do: Callable[[Typed], str]) -> None:
    st.markdown(question.consequence)
    with st.form("study-question", border=False, enter_to_submit=not question.reason):
        typed, word = _fields(question)
        with st.container(horizontal=True, horizontal_alignment="right"):
            confirmed = st.form_submit_button(question.button, type="primary")      # first: the Enter key presses it
            cancelled = st.form_submit_button("Cancel")
    if cancelled:
        _forget()
        st.rerun()
    if not confirmed:
        return
    try:
        _check(question, typed, word)
        announce(do(typed))
    except Refusal as refusal:
        st.error(str(refusal), icon=":material/block:")
        return
    _forget()
    st.rerun()


def _fields(question: Question) -> tuple[Typed, str]:
    """What is typed, and the confirming word."""
    reason = st.text_area(question.reason, key="question-reason", height=80) if question.reason else ""
    meaning = st.text_input("What your signature means", question.meaning) if question.meaning else ""
    name = st.text_input(f"Sign with your name: {question.signer}", key="question-name") if question.signer else ""
    word = st.text_input(f"Type **{question.word}** to confirm", key="question-word") if question.word else ""
    return Typed(reason.strip(), name.strip(), meaning.strip()), word.strip()


def _check(question: Question, typed: Typed, word: str) -> None:
    if question.reason and not typed.reason:
        raise Refusal("A reason is needed; it is kept in the audit log.")
    if question.signer and not typed.name:
        raise Refusal(f"A signature is needed: type your name, {question.signer}.")
    if word.casefold() != question.word.casefold():
        raise Refusal(f"Nothing was done: “{word}” is not “{question.word}”. Type {question.word} to confirm.")
