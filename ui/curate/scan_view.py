"""The scan that a browser tab looks at: opened from the image store for whom the service lets, under a random token."""

from __future__ import annotations

import streamlit as st

from lss_core.curation import levels
from lss_core.imaging.volume import Volume
from lss_core.vocabulary import Refusal
from ui import resources
from ui.curate.opened import OpenCollection

SEEN = "curate-scan"                            # of the session: (the scan's key, its token)
NO_COOKIE = "The browser sent no cookie, so the images cannot be shown. Allow cookies and reload."


def look_at(opened: OpenCollection, scan_id: int) -> tuple[str, Volume]:
    """The token under which this browser, and no other, may ask for a scan's pixels, and the scan.

    A scan is opened once for as long as it stays in view.

    Raises:
        Refusal: not permitted, the browser sent no cookie, or the stored scan is lost or damaged.
    """
    key, sha256 = levels.stored_scan(opened.engine, opened.actor, opened.collection_id, scan_id)
    visitor = opened.visitor
    if not visitor.has_cookie:
        raise Refusal(NO_COOKIE)
    before, token = st.session_state.get(SEEN, ("", ""))
    volume = resources.images().volume(token, owner=visitor.session) if before == key else None
    if volume is None:
        resources.images().release(token)
        with st.spinner("Opening the scan …", show_time=False):
            volume = resources.scans().open(key, sha256=sha256)
        token = resources.images().put(volume, owner=visitor.session)
        st.session_state[SEEN] = (key, token)
    return resources.lease().add(token), volume
