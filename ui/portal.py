"""The frame around every page: title, research-use banner, who is there, navigation by what they may do."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from lss_core.permissions import Permission
from lss_core.study.actors import Actor
from ui import access, banner, providers, sign_in
from ui.access import Visitor

PAGES = Path(__file__).resolve().parent.parent / "pages"
ICON = Path(__file__).parent / "favicon.png"
# File and address, title, icon, and what one must be permitted to see it in the menu. The page's own guard is the wall.
ENTRIES = (
    ("read", "Read", "visibility", Permission.READ_CASES),
    ("study", "Studies", "science", Permission.MANAGE_STUDY),
    ("dashboard", "Dashboard", "monitoring", Permission.SEE_RESULTS),
    ("curate", "Curate", "inventory_2", Permission.CURATE),
    ("grade", "Grade a scan", "radiology", Permission.GRADE),
    ("models", "Models", "deployed_code", Permission.READ_MODELS),
    ("account", "Account", "person", Permission.READ_ABOUT),
    ("about", "About", "info", Permission.READ_ABOUT),
)
FIRST = "grade"                                 # where the bare address leads who does not read


def show_frame() -> Visitor | None:
    """The banner, and beside it the way out, or whom the local user acts as; returns the visitor."""
    visitor = access.present()
    if visitor is None or visitor.actor is None:
        banner.show()
    elif providers.configured() is None:
        _show_local(visitor, visitor.actor)
    else:
        left, right = st.columns([8, 1], vertical_alignment="center")
        with left:
            banner.show()
        if right.button("Sign out", help=f"Signed in as {visitor.name}", width="stretch"):
            sign_in.sign_out(visitor.session)
    return visitor


def _show_local(visitor: Visitor, actor: Actor) -> None:
    known = sign_in.whom_to_act_as()
    if len(known) == 1:
        banner.show(acting_as=visitor.name)
        return
    left, right = st.columns([5, 1], vertical_alignment="center")
    with left:
        banner.show(acting_as=visitor.name)
    with right:
        sign_in.offer_acting(actor, known, cookie=visitor.session if visitor.has_cookie else "")


def pages_for(visitor: Visitor | None) -> dict[str, st.Page]:
    """The pages in a visitor's menu. Who is not signed in may ask for all: each shows the way to sign in."""
    return {
        name: st.Page(PAGES / f"{name}.py", title=title, icon=f":material/{icon}:", url_path=name)
        for name, title, icon, permission in ENTRIES
        if visitor is None or permission in visitor.permissions
    }


def open_first_page() -> None:
    """Send the bare address to the first page, so that each page has one address of its own."""
    st.switch_page(pages["read"] if visitor and "read" in pages else pages[FIRST])


st.set_page_config(page_title="Lumbar Stenosis Studio", page_icon=str(ICON), layout="wide")
visitor = show_frame()
pages = pages_for(visitor)
start = st.Page(open_first_page, title="Start", url_path="start", default=True, visibility="hidden")
st.navigation([start, *pages.values()], position="top" if visitor else "hidden").run()
