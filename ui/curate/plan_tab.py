"""Who labels: two annotators, each alone, and who decides where they differ."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from lss_core.curation import plan as plans
from lss_core.curation.plan import LabelPlan
from lss_core.permissions import Permission, Role
from lss_core.study import people
from lss_core.study.people import Member
from lss_core.vocabulary import Refusal
from ui.curate.opened import OpenCollection
from ui.study.confirm import announce

TOO_FEW = (
    "Labelling needs two annotators, and this collection has {}. Invite them under People, with the role annotator; "
    "then name them here."
)
HOW = (
    "Two annotators grade every case, each alone and in an order of their own. Neither sees the other's grades, the "
    "model's, the patient or the site, and nobody sees a grade of a case before both have graded it. A third person "
    "decides where they differ; without one, both decide together in a joint session that you chair."
)
JOINT = "Nobody: a joint session of both"


def show(opened: OpenCollection) -> None:
    """The plan as it is, and for the principal investigator the form that sets it."""
    st.markdown(HOW)
    plan = plans.plan_of(opened.engine, opened.actor, opened.collection_id)
    members = people.members(opened.engine, opened.actor, opened.collection_id)
    annotators = {member.account_id: member for member in members if member.role is Role.ANNOTATOR}
    names = {member.account_id: name_of(member) for member in members}
    if plan:
        _show_plan(plan, names)
    if Permission.LOCK_REFERENCE not in opened.may:
        st.caption("Only the principal investigator names who labels.")
    elif len(annotators) < 2:
        st.info(TOO_FEW.format(len(annotators) or "none"), icon=":material/person_add:")
    else:
        _ask(opened, plan, annotators)


def name_of(member: Member) -> str:
    """A person's name, or the address where none was stated."""
    return member.name or member.email


def _show_plan(plan: LabelPlan, names: Mapping[int, str]) -> None:
    decides = names.get(plan.adjudicator, "somebody who left") if plan.adjudicator is not None else JOINT
    left, middle, right = st.columns(3)
    for place, label, value in (
        (left, "First annotator", names.get(plan.first, "somebody who left")),
        (middle, "Second annotator", names.get(plan.second, "somebody who left")), (right, "Adjudicator", decides),
    ):
        with place.container(border=True):
            st.caption(label)
            st.text(value)


def _ask(opened: OpenCollection, plan: LabelPlan | None, annotators: Mapping[int, Member]) -> None:
    ids = list(annotators)

    def place(account: int | None, otherwise: int) -> int:
        return ids.index(account) if account is not None and account in annotators else otherwise

    def named(account: int | None) -> str:
        return JOINT if account is None else name_of(annotators[account])

    with st.form(f"label-plan-{opened.collection_id}"):
        left, middle, right = st.columns(3)
        first = left.selectbox("First annotator", ids, place(plan and plan.first, 0), format_func=named,
                               key="plan-first")
        second = middle.selectbox("Second annotator", ids, place(plan and plan.second, 1), format_func=named,
                                  key="plan-second")
        deciding = [None, *ids]
        third = plan.adjudicator if plan and plan.adjudicator in annotators else None
        adjudicator = right.selectbox("Adjudicator", deciding, deciding.index(third), format_func=named,
                                      key="plan-adjudicator")
        asked = st.form_submit_button("Change the plan" if plan else "Set the plan", type="primary")
    if asked:
        _set(opened, LabelPlan(first, second, adjudicator))


def _set(opened: OpenCollection, plan: LabelPlan) -> None:
    try:
        plans.set_plan(opened.engine, opened.actor, opened.collection_id, plan)
    except Refusal as refusal:
        st.error(str(refusal), icon=":material/block:")
        return
    announce("The plan is set. Both annotators can label as soon as the levels are confirmed.")
    st.rerun()
