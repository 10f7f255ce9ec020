"""The protocol: a form while it is a draft; afterwards as it was locked, and the way to amend it."""

from __future__ import annotations

import html

import streamlit as st

from lss_core.permissions import Permission
from lss_core.study import lifecycle, studies
from lss_core.study.database import StudyState
from lss_core.study.protocol import Protocol, changes
from lss_core.vocabulary import Refusal
from ui import resources
from ui.study import confirm, protocol_form, protocol_view, sample_size
from ui.study.confirm import Question, Typed, announce
from ui.study.opened import OpenStudy
from ui.tables import table

AMENDABLE = (StudyState.OPEN, StudyState.PAUSED, StudyState.CLOSED)
HEAD = ("What", "Before", "After")


def show(opened: OpenStudy) -> None:
    """The form, or the locked protocol."""
    protocol, version = studies.protocol_of(opened.engine, opened.actor, opened.study_id)
    if opened.is_draft and Permission.EDIT_PROTOCOL in opened.may:
        sample_size.show()
        _edit(opened, protocol)
        return
    st.markdown(f"Protocol **version {version.number}**" + (", locked." if version.locked_at else ", a draft."))
    st.html(protocol_view.as_table(protocol))
    if Permission.LOCK_PROTOCOL in opened.may and opened.state in AMENDABLE:
        _amend(opened, protocol, version.number)


def _edit(opened: OpenStudy, saved: Protocol) -> None:
    """The form over the protocol as it was when it was opened here; two people may have it open."""
    base = _base(opened, saved)
    edited = _asked(base, name=_name(opened))
    changed = edited is None or edited != base
    st.session_state[_unsaved(opened)] = changed
    if base != saved and not changed:
        _start_again(opened)
    with st.container(horizontal=True, vertical_alignment="center"):
        save = st.button("Save the protocol", type="primary", icon=":material/save:",
                         disabled=edited is None or not changed or base != saved)
        if changed and st.button("Discard changes", icon=":material/undo:"):
            _start_again(opened)
        st.markdown("Changes that are **not saved**." if changed else "Everything is saved.", width="content")
    if base != saved:
        st.warning("Somebody else saved this protocol while you changed it here. Discard your changes to see theirs.",
                   icon=":material/warning:")
    if save and edited is not None:
        studies.save_protocol(opened.engine, opened.actor, opened.study_id, edited)
        announce("The protocol is saved. It stays a draft until it is locked.")
        _start_again(opened)


def has_unsaved_changes(opened: OpenStudy) -> bool:
    """Whether something was typed into the form, in this tab of the browser, that is not saved."""
    return bool(st.session_state.get(_unsaved(opened)))


def _unsaved(opened: OpenStudy) -> str:
    return f"protocol-unsaved-{opened.study_id}"


def _base(opened: OpenStudy, saved: Protocol) -> Protocol:
    """The protocol that the form began with, in this tab of the browser."""
    return Protocol.parse(st.session_state.setdefault(_key(opened), saved.canonical))


def _key(opened: OpenStudy) -> str:
    return f"protocol-base-{opened.study_id}"


def _name(opened: OpenStudy) -> str:
    """A name for the widgets; a new one for each beginning, so that they begin anew."""
    return f"protocol-{opened.study_id}-{st.session_state.get(_rounds(opened), 0)}"


def _rounds(opened: OpenStudy) -> str:
    return f"protocol-rounds-{opened.study_id}"


def _start_again(opened: OpenStudy) -> None:
    st.session_state.pop(_key(opened), None)
    st.session_state.pop(_unsaved(opened), None)
    st.session_state[_rounds(opened)] = st.session_state.get(_rounds(opened), 0) + 1
    st.rerun()


def _asked(base: Protocol, *, name: str) -> Protocol | None:
    """What the form describes, or None, with the sentence that says why it cannot be."""
    try:
        return protocol_form.ask(protocol_form.form_of(base, name=name, versions=resources.versions()))
    except Refusal as refusal:
        st.error(str(refusal), icon=":material/block:")
        return None


def _amend(opened: OpenStudy, protocol: Protocol, number: int) -> None:
    """A changed protocol as a new version, after what changes was read."""
    if not st.toggle("Amend the protocol", key=f"amending-{opened.study_id}-{number}", persist_state="session"):
        return
    fixed = ", ".join(sorted(protocol_view.NAMES[field].lower() for field in lifecycle.FIXED_BY_READING))
    st.info(f"Once somebody has begun to read, these stay as they are: {fixed}.", icon=":material/info:")
    edited = _asked(protocol, name=f"amendment-{opened.study_id}-{number}")
    if edited is None:
        return
    changed = changes(protocol, edited)
    if not changed:
        st.caption("Nothing is changed yet.")
        return
    rows = [[html.escape(protocol_view.NAMES[field]), *[protocol_view.in_words(field, value) for value in pair]]
            for field, pair in changed.items()]
    st.html(table(HEAD, rows, label="What the amendment changes"))
    question = Question(
        title="Amend the protocol?", button="Sign the amendment", signer=opened.actor.name, reason="Reason",
        consequence=f"Version {number + 1} is locked under a new hash and your signature. Version {number} stays in "
                    "the study, and each answer keeps the number of the version under which it was given.",
    )

    def amend(typed: Typed) -> str:
        new = lifecycle.amend(opened.engine, opened.actor, opened.study_id, edited, reason=typed.reason,
                              typed_name=typed.name)
        return f"Protocol {new.number} is locked. SHA-256 {new.sha256}"

    confirm.offer("Amend …", question, amend, key="amend", icon=":material/edit_document:", primary=True)

