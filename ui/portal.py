"""The frame around every page: title, research-use banner, navigation."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from ui import banner

PAGES = Path(__file__).resolve().parent.parent / "pages"
ICON = Path(__file__).parent / "favicon.png"

st.set_page_config(page_title="Lumbar Stenosis Studio", page_icon=str(ICON), layout="wide")
banner.show()

grade = st.Page(PAGES / "grade.py", title="Grade a scan", icon=":material/radiology:", url_path="grade")
models = st.Page(PAGES / "models.py", title="Models", icon=":material/deployed_code:", url_path="models")
about = st.Page(PAGES / "about.py", title="About", icon=":material/info:", url_path="about")


def open_first_page() -> None:
    """Send the bare address to the first page, so that each page has one address of its own."""
    st.switch_page(grade)


start = st.Page(open_first_page, title="Start", url_path="start", default=True, visibility="hidden")
st.navigation([start, grade, models, about], position="top").run()
