"""What all sessions share: the image store and the grader, made once."""

from __future__ import annotations

import asyncio
import logging
import threading

import streamlit as st

from lss_core.grading.pipeline import Grader
from lss_core.settings import Settings
from lss_core.vocabulary import Refusal
from ui.images import ImageStore

log = logging.getLogger(__name__)
RECONNECT_S = 120.0                             # as long as Streamlit keeps a session whose connection broke
SWEEP_S = 20.0


@st.cache_resource(show_spinner=False)
def images() -> ImageStore:
    """The pixels that the viewers of all sessions may ask for."""
    settings = Settings.from_environment()
    return ImageStore(lifetime_s=settings.image_lifetime_s, capacity_bytes=settings.image_memory_bytes)


@st.cache_resource(show_spinner=False)
def grader() -> Grader:
    """The configured model version, loaded once."""
    return Grader.load(Settings.from_environment().model_version)


def warm_up() -> threading.Thread:
    """Load the grader in the background, so that the first visitor does not wait for it."""
    thread = threading.Thread(target=_load_grader, name="load-grader", daemon=True)
    thread.start()
    return thread


def _load_grader() -> None:
    try:
        grader()
    except (Refusal, OSError) as error:
        # The page that needs the grader tells its visitor; the server still serves what needs none.
        log.error("The grading model could not be loaded: %s", error)


class Lease:
    """The images of one browser tab."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store
        self._tokens: set[str] = set()

    def add(self, token: str) -> str:
        """Count an image among this tab's."""
        self._tokens.add(token)
        return token

    def release(self) -> None:
        """Let go of all images now."""
        self._store.release(*self._tokens)
        self._tokens.clear()

    def abandon(self) -> None:
        """The tab went away: let go of its images, unless it comes back after a short loss of connection."""
        self._store.abandon(*self._tokens, grace_s=RECONNECT_S)


@st.cache_resource(scope="session", on_release=Lease.abandon, show_spinner=False)
def lease() -> Lease:
    """The images of the tab that runs this page."""
    return Lease(images())


async def sweep_images() -> None:
    """Drop expired images for as long as the server runs, also while nobody asks for any."""
    while True:
        await asyncio.sleep(SWEEP_S)
        images().sweep()
