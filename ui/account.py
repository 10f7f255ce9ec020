"""The account page: a person's own statement of experience, and their sessions."""

from __future__ import annotations

import streamlit as st

from lss_core.settings import Settings
from lss_core.study import people, signins
from lss_core.study.actors import Actor
from lss_core.study.signins import OpenSession
from lss_core.vocabulary import Refusal
from ui import providers, resources, sign_in
from ui.access import Visitor


def show_profile(visitor: Visitor) -> None:
    """Name and experience, to be stated by whoever reads."""
    if visitor.actor is None:
        return
    stated = people.profile(resources.studies(), visitor.actor)
    st.text(f"Signed in as {stated.email}." if providers.configured() else f"Acting as {stated.email}.")
    with st.form("experience"):
        name = st.text_input("Name", stated.name, max_chars=people.LONGEST_TEXT)
        specialty = st.text_input("Specialty", stated.specialty, max_chars=people.LONGEST_TEXT)
        years = st.number_input("Years of experience", 0.0, float(people.MOST_YEARS), stated.years_of_experience, 0.5)
        cts = st.number_input("Lumbar CTs read a year", 0, people.MOST_CTS, stated.lumbar_cts_a_year, 10)
        if st.form_submit_button("Save", type="primary"):
            _save(visitor.actor, name, specialty, years, cts)


def show_sessions(visitor: Visitor) -> None:
    """The browsers in which this person is signed in, and the ways out."""
    if providers.configured() is None or visitor.actor is None:
        return
    st.subheader("Where you are signed in", anchor=False)
    engine, settings = resources.studies(), Settings.from_environment()
    for each in signins.open_sessions(engine, settings, visitor.actor, cookie=visitor.session):
        _show_session(visitor.actor, each)
    here, everywhere, _ = st.columns([1, 1, 3])
    if here.button("Sign out", icon=":material/logout:"):
        sign_in.sign_out(visitor.session)
    if everywhere.button("Sign out everywhere"):
        sign_in.sign_out_everywhere(visitor.actor)


def _save(actor: Actor, name: str, specialty: str, years: float | None, cts: int | None) -> None:
    if years is None or cts is None:
        st.error("State your years of experience and the lumbar CTs that you read a year; 0 is an answer too.")
        return
    try:
        people.state_experience(
            resources.studies(), actor, name=name, specialty=specialty, years_of_experience=years,
            lumbar_cts_a_year=cts,
        )
    except Refusal as refusal:
        st.error(str(refusal))
    else:
        st.success("Saved.")


def _show_session(actor: Actor, each: OpenSession) -> None:
    text, button = st.columns([4, 1], vertical_alignment="center")
    where = "this browser" if each.is_this else "another browser"
    text.markdown(f"**{where}**: since {each.created_at:%Y-%m-%d %H:%M} UTC, last used {each.last_seen_at:%H:%M} UTC")
    if each.is_this or not button.button("End", key=f"end-{each.sign_in_id}", help="Sign that browser out"):
        return
    try:
        signins.revoke(resources.studies(), actor, sign_in_id=each.sign_in_id)
    except Refusal as refusal:
        st.error(str(refusal))
    else:
        st.rerun()
