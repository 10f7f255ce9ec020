"""Upload a CT, see grades per level and region, and why."""

from __future__ import annotations

import streamlit as st

from lss_core.vocabulary import Refusal
from ui import access, cases, review, scan_input

visitor = access.require(access.Permission.GRADE)

st.title("Grade a lumbar CT", anchor=False)
case = cases.current()
# A new name for each case, so that the panel folds away once the scan is graded.
panel = ("Open another scan", f"open-{case.name}") if case else ("Open a scan", "open-first")
with st.expander(panel[0], expanded=case is None, key=panel[1]):
    try:
        scan_input.open_asked_scan(visitor)
    except Refusal as refusal:
        st.error(str(refusal), icon=":material/block:")

if case:
    review.show_summary(case, visitor)
    review.show(case, visitor)
else:
    review.show_empty()
