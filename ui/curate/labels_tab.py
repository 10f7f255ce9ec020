"""Labelling: for an annotator the desk with the case that is due, for those who run the collection how far both are."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from lss_core.curation import labels
from lss_core.curation import plan as plans
from lss_core.curation.labels import LabelTask, OwnLabel
from lss_core.permissions import Permission
from lss_core.study.protocol import SCHEME
from lss_core.vocabulary import Refusal, Region, counted
from ui.curate import label_desk
from ui.curate.opened import OpenCollection
from ui.reading import instructions
from ui.study.wording import moment

RESTING, EARLIER = "label-break", "label-earlier"       # in the tab's state: a break, and the token of an earlier case
NO_PLAN = "Nobody is named yet to label. The principal investigator names two annotators under Plan."
NOT_NAMED = "The plan does not name you to label here."
NO_COOKIE = "The browser sent no cookie, so no case can be shown. Allow cookies for this site and reload the page."
NOTHING_DUE = "No case is ready to be labelled: the levels of no scan are confirmed yet."
FINISHED = (
    "You have labelled all {}. Thank you. You may correct a label until both of you are done with its case; the former "
    "one stays stored."
)
HOW = (
    "Grade each region from 0 to 3, or say why it is not gradable. Keys: **0 to 3** grade the marked region and **X** "
    "says not gradable, **arrow up and down** change the region, **Enter** submits, **?** lists all keys. Every change "
    "is saved at once; you may stop at any time and go on later, on another computer too."
)
NOTE = "Labelled alone and blind"


def show(opened: OpenCollection) -> None:
    """The desk for who labels, the progress for who runs the collection."""
    plan = plans.plan_of(opened.engine, opened.actor, opened.collection_id)
    if plan is None:
        st.info(NO_PLAN, icon=":material/group:")
        return
    if Permission.IMPORT_SCANS in opened.may:
        show_progress(opened)
    if Permission.ANNOTATE not in opened.may:
        return
    if opened.actor.account_id not in (plan.first, plan.second):
        st.info(NOT_NAMED, icon=":material/group:")
    elif not opened.visitor.has_cookie:
        st.error(NO_COOKIE, icon=":material/cookie_off:")
    elif RESTING in st.session_state:
        _show_break()
    else:
        _show_case(opened)


def show_progress(opened: OpenCollection) -> None:
    """How far each annotator is."""
    for each in labels.label_progress(opened.engine, opened.actor, opened.collection_id):
        st.text(f"{each.name}: {each.done} of {counted(each.total, 'case')} labelled")
        st.progress(each.done / each.total if each.total else 0.0)


def _show_case(opened: OpenCollection) -> None:
    earlier = labels.my_labels(opened.engine, opened.actor, opened.collection_id)
    task = _task(opened)
    if task is None:
        _show_end(earlier)
        return
    with st.expander("Criteria with pictures, and keys", icon=":material/menu_book:"):
        st.markdown(HOW)
        instructions.show_criteria(tuple(Region), SCHEME)
    asked = label_desk.show(task, key=f"label-desk-{opened.collection_id}", note=NOTE,
                            may_go_back=any(each.may_correct for each in earlier))
    if asked and asked[1] == task.token:
        _follow(asked[0], earlier)


def _task(opened: OpenCollection) -> LabelTask | None:
    """The case that is due, or the earlier one that the annotator opened again."""
    token = st.session_state.get(EARLIER)
    if token is not None:
        try:
            return labels.next_case(opened.engine, opened.actor, opened.collection_id, token=token)
        except Refusal as refusal:
            st.session_state.pop(EARLIER)
            st.toast(str(refusal))
    return labels.next_case(opened.engine, opened.actor, opened.collection_id)


def _follow(asked: str, earlier: Sequence[OwnLabel]) -> None:
    """Do what the desk asks; "reload" asks nothing but this run."""
    if asked == "rest":
        st.session_state[RESTING] = True
    elif asked == "back":
        _choose_earlier(earlier)
        return
    elif asked in ("done", "leave"):
        st.session_state.pop(EARLIER, None)
    else:
        return
    st.rerun()


@st.dialog("Earlier cases")
def _choose_earlier(earlier: Sequence[OwnLabel]) -> None:
    _offer_earlier(earlier)


def _offer_earlier(earlier: Sequence[OwnLabel]) -> None:
    """The own labels that may be corrected."""
    open_ones = [each for each in earlier if each.may_correct]
    if not open_ones:
        st.caption("No label can be corrected: both annotators are done with every case that you labelled.")
        return
    chosen = st.selectbox("Case", open_ones, index=len(open_ones) - 1, format_func=_in_words, key="label-earlier-case")
    st.caption("The former label stays stored. The new one counts in its place.")
    if st.button("Open this case again", key="label-earlier-open"):
        st.session_state[EARLIER] = chosen.token
        st.rerun()


def _in_words(label: OwnLabel) -> str:
    return f"Case {label.number}, {label.level.value}, labelled {moment(label.submitted_at)}"


def _show_break() -> None:
    st.subheader("Break", anchor=False)
    st.markdown("Your entries are saved. You may also close the page.")
    if st.button("Go on", type="primary", key="label-go-on"):
        st.session_state.pop(RESTING)
        st.rerun()


def _show_end(earlier: Sequence[OwnLabel]) -> None:
    if not earlier:
        st.info(NOTHING_DUE, icon=":material/hourglass_empty:")
        return
    st.success(FINISHED.format(counted(len(earlier), "case")), icon=":material/check_circle:")
    with st.expander("Look at an earlier case again"):
        _offer_earlier(earlier)
