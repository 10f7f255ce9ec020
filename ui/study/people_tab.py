"""Who is in the study: invite, and take a role away with a reason."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import streamlit as st

from lss_core.permissions import Permission, Role
from lss_core.study import people, studies
from lss_core.study.people import Member
from lss_core.study.protocol import Protocol
from lss_core.vocabulary import Refusal
from ui import providers
from ui.study.confirm import Question, Typed, announce, offer
from ui.study.opened import OpenStudy, Place
from ui.study.wording import ROLES, moment
from ui.tables import table
from ui.wording import plain

HEAD = ("Person", "Role", "Experience", "Invited")
SIGNED_IN = "Signed in"                         # a column where people sign in
INVITED_BY_COORDINATOR = (Role.READER, Role.ANNOTATOR)


def show(opened: OpenStudy) -> None:
    """The people, a form that invites one, and the way to remove one."""
    members = people.members(opened.engine, opened.actor, opened.study_id)
    if Permission.INVITE in opened.may:
        invite_form(opened, _givable(opened), ROLES)
    protocol, _ = studies.protocol_of(opened.engine, opened.actor, opened.study_id)
    st.html(_table(members, protocol))
    if not any(member.role is Role.READER for member in members):
        st.info("No reader yet. Invite at least one before the protocol is locked; more can be invited later.",
                icon=":material/person_add:")
    if Permission.INVITE in opened.may:
        offer_removal(opened, [member for member in members if member.role in _givable(opened)])


def _givable(opened: OpenStudy) -> tuple[Role, ...]:
    """The roles that this person may give and take."""
    return (*INVITED_BY_COORDINATOR, Role.COORDINATOR, Role.PI) if opened.is_pi else INVITED_BY_COORDINATOR


def invite_form(opened: Place, roles: Sequence[Role], what_they_do: Mapping[Role, str]) -> None:
    """Invite a person in one of these roles."""
    with st.form(f"invite-{opened.study_id}", clear_on_submit=False):
        left, middle, right = st.columns([3, 3, 1], vertical_alignment="bottom")
        email = left.text_input("E-mail", placeholder="name@example.org", key="invite-email")
        role = middle.selectbox("Role", roles, format_func=lambda each: each.label.capitalize(), key="invite-role",
                                help=_in_a_list(roles, what_they_do))
        asked = right.form_submit_button("Invite", type="primary", width="stretch")
        st.caption(
            "No message is sent: tell the person the address of this page. The first sign-in with exactly this e-mail "
            "opens the account; nobody else gets in."
        )
    if not asked:
        return
    try:
        member = people.invite(opened.engine, opened.actor, opened.study_id, email=email, role=role)
    except Refusal as refusal:
        st.error(str(refusal), icon=":material/block:")
        return
    announce(f"{member.email} is invited as {member.role.label}.")
    st.session_state.pop("invite-email", None)
    st.rerun()


def _in_a_list(roles: Sequence[Role], what_they_do: Mapping[Role, str]) -> str:
    return "\n".join(f"- **{role.label.capitalize()}**: {what_they_do[role]}" for role in roles)


def _table(members: Sequence[Member], protocol: Protocol) -> str:
    rows = [_row(member, protocol) for member in members]
    if providers.configured() is None:
        return table(HEAD, rows, label="People of this study")
    signed = [[*row, "yes" if member.has_signed_in else "not yet"] for row, member in zip(rows, members, strict=True)]
    return table([*HEAD, SIGNED_IN], signed, label="People of this study")


def _row(member: Member, protocol: Protocol) -> list[str]:
    name = html.escape(member.name) or "<small>no name stated</small>"
    return [
        f"{name}<br><small>{html.escape(member.email)}</small>", html.escape(member.role.label.capitalize()),
        html.escape(experience_in_words(member, protocol)) or "—", moment(member.invited_at),
    ]


def experience_in_words(member: Member, protocol: Protocol) -> str:
    """'senior: spine surgery, 12 years, 300 lumbar CTs a year', as the person stated it."""
    if member.role is not Role.READER:
        return member.specialty
    if member.years_of_experience is None:
        return "not stated yet"
    level = protocol.experience(member.years_of_experience)
    cts = f", {member.lumbar_cts_a_year} lumbar CTs a year" if member.lumbar_cts_a_year is not None else ""
    return f"{level.value}: {member.specialty}, {member.years_of_experience:g} years{cts}"


def offer_removal(opened: Place, members: Sequence[Member], *, of: str = "this study") -> None:
    """Choose a member and confirm."""
    if not members:
        return
    with st.expander("Remove somebody"):
        by_key = {f"{each.account_id} {each.role.value}": each for each in members}
        chosen = st.selectbox(
            "Who", list(by_key), index=None, placeholder="Choose a person and role", key=f"remove-{opened.study_id}",
            format_func=lambda key: f"{by_key[key].email}, {by_key[key].role.label}",
        )
        member = by_key[chosen] if chosen else None
        question = Question(
            title="Remove this person?",
            consequence=_consequence(member) if member else "", button="Remove", word="remove", reason="Reason",
        )

        def remove(typed: Typed) -> str:
            if member is None:
                raise Refusal("Choose a person first.")
            people.remove_member(opened.engine, opened.actor, opened.study_id, account_id=member.account_id,
                                 role=member.role, reason=typed.reason)
            return f"{member.email} is no longer {member.role.label} of {of}."

        offer("Remove …", question, remove, key="remove-member", icon=":material/person_remove:",
              disabled=member is None)


def _consequence(member: Member) -> str:
    kept = " Answers that were given stay in the study and in its analysis." if member.role is Role.READER else ""
    return (
        f"**{plain(member.email)}** loses the role of {member.role.label} at once.{kept} The removal and its reason "
        "are kept in the audit log; an invitation gives the role back."
    )
