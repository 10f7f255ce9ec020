"""Who works on the collection: invite, and take a role away with a reason."""

from __future__ import annotations

import html
from collections.abc import Sequence

import streamlit as st

from lss_core.permissions import Role
from lss_core.study import people
from lss_core.study.people import Member
from ui import providers
from ui.curate.opened import OpenCollection
from ui.study import people_tab
from ui.study.people_tab import SIGNED_IN
from ui.study.wording import moment
from ui.tables import table

ROLES = {
    Role.ANNOTATOR: "Draws regions and grades cases alone; sees no patient, no site and no other person's work.",
    Role.COORDINATOR: "Imports scans, invites annotators, follows the progress; locks nothing.",
    Role.PI: "Runs the collection: names the two annotators and who adjudicates, locks reference and split.",
}
TOO_FEW = (
    "Every case is graded by two people alone, and a third settles where they differ: invite three annotators, or two "
    "and settle in joint sessions. Nobody of this collection can be a reader of a study on its control set."
)


def show(opened: OpenCollection) -> None:
    """The people, a form that invites one, and the way to remove one."""
    members = people.members(opened.engine, opened.actor, opened.collection_id)
    givable = tuple(ROLES) if opened.is_pi else (Role.ANNOTATOR,)
    people_tab.invite_form(opened, givable, ROLES)
    st.html(_table(members))
    if sum(member.role is Role.ANNOTATOR for member in members) < 2:
        st.info(TOO_FEW, icon=":material/person_add:")
    people_tab.offer_removal(opened, [each for each in members if each.role in givable], of="this collection")


def _table(members: Sequence[Member]) -> str:
    signs_in = providers.configured() is not None
    head = ("Person", "Role", "Specialty", "Invited", *([SIGNED_IN] if signs_in else []))
    rows = [_row(member)[: len(head)] for member in members]
    return table(head, rows, label="People of this collection")


def _row(member: Member) -> list[str]:
    name = html.escape(member.name) or "<small>no name stated</small>"
    return [
        f"{name}<br><small>{html.escape(member.email)}</small>", html.escape(member.role.label.capitalize()),
        html.escape(member.specialty) or "—", moment(member.invited_at), "yes" if member.has_signed_in else "not yet",
    ]
