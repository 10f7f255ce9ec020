"""The reference standard: what is missing, the lock, the versions with their hash, and the table to download."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Sequence

import streamlit as st

from lss_core.curation import reference
from lss_core.curation.reference import ReferenceVersion
from lss_core.permissions import Permission
from ui.curate.opened import OpenCollection
from ui.study import confirm
from ui.study.confirm import Question, Typed
from ui.study.wording import moment
from ui.tables import table

REASON = "Reason (kept with the version)"


def show(opened: OpenCollection) -> None:
    """The state, the lock, and the locked versions."""
    versions = reference.reference_versions(opened.engine, opened.actor, opened.collection_id)
    state = reference.reference_state(opened.engine, opened.actor, opened.collection_id)
    if state.missing:
        with st.container(border=True, gap="xsmall"):
            st.subheader("Before the lock", anchor=False)
            for sentence in state.missing:
                st.markdown(f":material/radio_button_unchecked: {sentence}")
    elif Permission.LOCK_REFERENCE in opened.may:
        _offer_lock(opened, first=not versions)
    else:
        st.info("Everything is decided. The principal investigator can lock the reference.",
                icon=":material/lock_open:")
    if versions:
        _show_versions(opened, versions)


def _offer_lock(opened: OpenCollection, *, first: bool) -> None:
    st.markdown("Every region has two labels, and where they differ a decision." if first else
                "A new version is needed only where a decision or a label was corrected since the last one.")
    question = Question(
        title="Lock the reference?" if first else "Lock a new version of the reference?",
        consequence="All grades, slices and boxes are frozen under one SHA-256. **A locked version cannot be undone**; "
                    "a correction makes a new version with a reason, and all versions stay.",
        button="Sign and lock", word="lock", signer=opened.actor.name, reason="" if first else REASON,
    )

    def lock(typed: Typed) -> str:
        version = reference.lock_reference(opened.engine, opened.actor, opened.collection_id, typed_name=typed.name,
                                           reason=typed.reason)
        return f"Reference {version.number} is locked. SHA-256 {version.sha256}"

    confirm.offer("Lock the reference …" if first else "Lock a new version …", question, lock, key="lock-reference",
                  icon=":material/lock:", primary=first)


def _show_versions(opened: OpenCollection, versions: Sequence[ReferenceVersion]) -> None:
    rows = [[f"Version {each.number}", moment(each.locked_at), html.escape(each.reason) or "first lock",
             f"<code>{each.sha256}</code>"] for each in reversed(versions)]
    st.html(table(("Reference", "Locked and signed", "Reason", "SHA-256"), rows, label="Versions of the reference"))
    numbers = [each.number for each in reversed(versions)]
    number = numbers[0] if len(numbers) == 1 else st.selectbox("Version", numbers, key="reference-version", width=160)
    locked = reference.reference_rows(opened.engine, opened.actor, opened.collection_id, number=number)
    counts = Counter(row.provenance for row in locked)
    for place, (provenance, count) in zip(st.columns(max(len(counts), 1)), sorted(counts.items()), strict=True):
        place.metric(provenance.capitalize(), count, border=True)
    table_csv = reference.reference_csv(opened.engine, opened.actor, opened.collection_id, number=number)
    st.download_button("Reference as CSV", table_csv, f"reference-{opened.token}-{number}.csv", "text/csv",
                       icon=":material/download:", on_click="ignore", key="reference-csv")

