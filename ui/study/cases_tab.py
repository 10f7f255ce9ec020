"""The cases of the study: import, the table with the reference for the PI, and removal while it is a draft."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import streamlit as st

from lss_core.permissions import Permission
from lss_core.study import cases
from lss_core.study.cases import CaseRow
from lss_core.study.database import CaseKind, Reference, StudyState
from lss_core.vocabulary import Region, counted
from ui.study import confirm, import_form
from ui.study.confirm import Question, Typed
from ui.study.opened import OpenStudy
from ui.tables import table
from ui.wording import plain

EMPTY = (
    "No case yet. Import a control set, scans with their reference grades, or try simulated patients first. Training "
    "cases are imported in the same way, from other patients."
)
A_PAGE = 50                                     # rows


def show(opened: OpenStudy) -> None:
    """The import, the table, and removal."""
    may_edit = opened.is_draft and Permission.EDIT_PROTOCOL in opened.may
    if may_edit:
        import_form.show(opened)
    rows = cases.cases_of(opened.engine, opened.actor, opened.study_id)
    if not rows:
        st.info(EMPTY, icon=":material/radiology:")
        return
    _show_counts(opened, rows)
    shown = _page(_filtered(rows))
    head = ("Case", "Level", "Patient", *(region.label for region in Region), "Graded by")
    st.html(table(head, [_row(row) for row in shown], label="Cases"))
    if may_edit:
        _remove(opened, rows)


def _show_counts(opened: OpenStudy, rows: Sequence[CaseRow]) -> None:
    test = [row for row in rows if row.kind is CaseKind.TEST]
    patients = len({row.patient for row in test})
    st.markdown(
        f"**{counted(len(test), 'test case')}** of {counted(patients, 'patient')} and "
        f"**{counted(len(rows) - len(test), 'training case')}**."
    )
    if opened.state is not StudyState.UNBLINDED:
        st.caption(
            "The reference below is shown to you as principal investigator alone. Model grades and answers stay hidden "
            "until the study is unblinded." if opened.is_pi else
            "Reference and model grades are hidden from you until the study is unblinded; a tick says that they exist."
        )


def _filtered(rows: Sequence[CaseRow]) -> list[CaseRow]:
    """The rows that contain what is typed, where there are many."""
    if len(rows) <= 10:
        return list(rows)
    text = st.text_input("Find", placeholder="patient, level, site or case number", key="cases-find").strip().lower()
    return [row for row in rows if text in " ".join(_searched(row)).lower()]


def _searched(row: CaseRow) -> tuple[str, ...]:
    return str(row.number), row.kind.value, row.level.value, row.patient, row.name, row.site


def _page(rows: Sequence[CaseRow]) -> Sequence[CaseRow]:
    """One page of the rows."""
    pages = max(1, -(-len(rows) // A_PAGE))
    if pages == 1:
        return rows
    number = int(st.number_input(f"Page of {pages}", 1, pages, 1, 1, key="cases-page", width=160))
    return rows[(number - 1) * A_PAGE : number * A_PAGE]


def _row(row: CaseRow) -> list[str]:
    source = " · ".join(filter(None, (row.site, row.scanner, "simulated" if row.simulated else "")))
    return [
        f"{row.number} <small>{row.kind.value}</small>", row.level.value,
        f"{html.escape(row.patient)}<br><small>{html.escape(source)}</small>",
        *(_reference(row, row.reference, region) for region in Region),
        html.escape(", ".join(sorted(row.versions))) or "no model",
    ]


def _reference(row: CaseRow, reference: Mapping[Region, Reference] | None, region: Region) -> str:
    """The reference grade for those who may see it; whether there is one for the others."""
    if region not in row.referenced:
        return "<strong>missing</strong>"
    if reference is None:
        return "✓"
    grade = reference[region].grade
    return "not gradable" if grade is None else str(grade)


def _remove(opened: OpenStudy, rows: Sequence[CaseRow]) -> None:
    with st.expander("Remove cases"):
        by_id = {row.case_id: row for row in rows}
        chosen = st.multiselect(
            "Cases", list(by_id), key=f"remove-cases-{opened.study_id}", placeholder="Choose cases",
            format_func=lambda id: f"{by_id[id].number}: {by_id[id].patient} {by_id[id].level.value}",
        )
        what = counted(len(chosen), "case")
        named = ", ".join(str(by_id[id].number) for id in chosen)
        question = Question(
            title=f"Remove {what}?", button="Remove", word="remove", reason="Reason (kept in the audit log)",
            consequence=f"{what}: {plain(named)}. Readers will not see them, and they are not counted. They can be "
                        "imported again while the study is a draft.",
        )

        def remove(typed: Typed) -> str:
            for case_id in chosen:
                cases.remove_case(opened.engine, opened.actor, opened.study_id, case_id, reason=typed.reason)
            return f"{what} removed."

        confirm.offer("Remove …", question, remove, key="remove-cases", icon=":material/delete:", disabled=not chosen)
