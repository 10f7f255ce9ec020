"""Where the two annotators differ: one region after another, decided by the adjudicator or in a joint session."""

from __future__ import annotations

import html
from collections.abc import Sequence

import streamlit as st

from lss_core.curation import adjudication
from lss_core.curation import plan as plans
from lss_core.curation.adjudication import Disagreement
from lss_core.study import people
from lss_core.study.protocol import SCHEME
from lss_core.vocabulary import Grade, Refusal, counted
from ui import viewer
from ui.curate import scan_view
from ui.curate.opened import OpenCollection
from ui.reading import instructions
from ui.reading.criteria import NOT_GRADABLE_REASONS, criterion
from ui.study.confirm import announce
from ui.tables import table
from ui.viewer import Scene
from ui.wording import plain

# Side by side on a wide window, one below the other where the viewer would get too small to read.
LAYOUT = """<style>
@media (max-width: 1100px) {
  .st-key-adjudicate > [data-testid="stLayoutWrapper"] > [data-testid="stHorizontalBlock"] { flex-direction: column; }
  .st-key-adjudicate > [data-testid="stLayoutWrapper"] > [data-testid="stHorizontalBlock"] > [data-testid="stColumn"] {
    width: 100%; flex: 1 1 100%; min-width: 0; }
}
</style>"""
NOT_GRADABLE = "not_gradable"
EMPTY = "Nothing is to be decided. A disagreement appears here once both annotators are done with its case."
ALL_DECIDED = "Everything is decided. The principal investigator can lock the reference."
BY_WHOM = "Who said which is not shown."
CHAIRED = "You are not the adjudicator of the plan, so you decide as the chair of a joint session."


def show(opened: OpenCollection) -> None:
    """The list, and the one that is being decided."""
    found = adjudication.disagreements(opened.engine, opened.actor, opened.collection_id)
    if not found:
        st.info(EMPTY, icon=":material/balance:")
        return
    left = [each for each in found if not each.is_decided]
    st.progress(1 - len(left) / len(found),
                text=f"{len(found) - len(left)} of {counted(len(found), 'disagreement')} decided")
    if left:
        _decide(opened, left)
    else:
        st.success(ALL_DECIDED, icon=":material/check_circle:")
    st.html(table(("Disagreement", "Region", "Grades of the two", "Decision"), [_row(each) for each in found],
                  label="Disagreements"))


def in_words(grade: int | None) -> str:
    """'2 moderate'; 'not gradable' for None."""
    return "not gradable" if grade is None else f"{grade} {Grade(grade).label}"


def _row(found: Disagreement) -> list[str]:
    decision = "open"
    if found.is_decided:
        why = f": {html.escape(found.not_gradable)}" if found.not_gradable else ""
        decision = f"{in_words(found.decision)}{why}<br><small>{html.escape(found.reason)}</small>"
    return [f"{found.number} · {found.level.value}", found.region.label, " / ".join(map(in_words, found.grades)),
            decision]


def _decide(opened: OpenCollection, left: Sequence[Disagreement]) -> None:
    """The images of one disagreement beside the form that decides it; the first one unless another is chosen."""
    chosen = left[0]
    if len(left) > 1:
        key = f"adjudicate-{opened.collection_id}-{len(left)}"      # anew after each decision: the first is next
        chosen = st.selectbox("To decide", left, key=key, format_func=_title)
    st.html(LAYOUT)
    with st.container(key="adjudicate"):
        images, form = st.columns([3, 2], gap="medium")
        with images:
            _show_images(opened, chosen)
        with form:
            _ask(opened, chosen)
            with st.expander("Criteria with pictures", icon=":material/menu_book:"):
                instructions.show_criteria((chosen.region,), SCHEME)


def _title(found: Disagreement) -> str:
    return f"{found.number}: {found.level.value}, {found.region.label}"


@st.fragment
def _show_images(opened: OpenCollection, found: Disagreement) -> None:
    """A fragment: a slice that the viewer tells of must not break off the run that stores a decision."""
    token, volume = scan_view.look_at(opened, found.scan_id)
    name = f"{found.case_id}-{found.region.value}"
    scene = Scene(token=token, slice_index=found.slice_index, jump=name, boxes_key=name, boxes_slice=found.slice_index,
                  boxes={found.region: found.box} if found.box else {}, grades={}, selected=found.region,
                  levels=[(found.level.value, found.slice_index)])
    viewer.show(scene, volume, key="adjudicate-viewer")


def _ask(opened: OpenCollection, found: Disagreement) -> None:
    st.markdown(f"**{_title(found)}**")
    grades = " and ".join(f"**{in_words(grade)}**" for grade in found.grades)
    st.markdown(f"The two said {grades}. {BY_WHOM}")
    for comment in found.comments:
        st.caption(f"“{plain(comment)}”")
    name = f"{found.case_id}-{found.region.value}"
    with st.form(f"adjudicate-form-{name}"):
        choices = [*(str(int(grade)) for grade in Grade), NOT_GRADABLE]
        chosen = st.radio(
            "The grade", choices, index=None, key=f"adjudicate-grade-{name}",
            format_func=lambda choice: in_words(None if choice == NOT_GRADABLE else int(choice)),
            captions=[*(criterion(found.region, grade) for grade in Grade), "Say why below."],
        )
        why_not = st.selectbox("Why not gradable", ["", *NOT_GRADABLE_REASONS], key=f"adjudicate-why-{name}",
                               help="Only where the region is not gradable.")
        reason = st.text_area("Reason (kept with the decision)", key=f"adjudicate-reason-{name}", height=80,
                              max_chars=2000)
        joint, present = _ask_joint(opened, name)
        asked = st.form_submit_button("Decide", type="primary")
    if asked:
        _store(opened, found, chosen, why_not=why_not, reason=reason, joint=joint, present=present)


def _ask_joint(opened: OpenCollection, name: str) -> tuple[bool, tuple[int, ...]]:
    """Whether it was a joint session, and who was present; the principal investigator chairs those."""
    if not opened.is_pi:
        return False, ()
    plan = plans.plan_of(opened.engine, opened.actor, opened.collection_id)
    known = {member.account_id: member.name or member.email
             for member in people.members(opened.engine, opened.actor, opened.collection_id)}
    both = [account for account in (plan.first, plan.second) if account in known] if plan else []
    joint = True
    if plan and plan.adjudicator == opened.actor.account_id:
        joint = st.checkbox("Decided in a joint session", key=f"adjudicate-joint-{name}")
    else:
        st.caption(CHAIRED)
    present = st.multiselect("Present in the joint session", list(known), both, format_func=known.__getitem__,
                             key=f"adjudicate-present-{name}")
    return joint, tuple(present) if joint else ()


def _store(
    opened: OpenCollection, found: Disagreement, chosen: str | None, *, why_not: str, reason: str, joint: bool,
    present: tuple[int, ...],
) -> None:
    try:
        if chosen is None:
            raise Refusal("Choose a grade, or “not gradable”.")
        if (chosen == NOT_GRADABLE) != bool(why_not):
            raise Refusal("Say why the region is not gradable." if chosen == NOT_GRADABLE else
                          "A graded region has no reason for not being gradable; leave it empty.")
        grade = None if chosen == NOT_GRADABLE else int(chosen)
        adjudication.adjudicate(
            opened.engine, opened.actor, opened.collection_id, case_id=found.case_id, region=found.region, grade=grade,
            not_gradable=why_not, reason=reason, joint=joint, present=present,
        )
    except Refusal as refusal:
        st.error(str(refusal), icon=":material/block:")
        return
    announce(f"{found.level.value}, {found.region.label} is decided: {in_words(grade)}.")
    st.rerun()
