"""What all sessions share: the image store, the model versions and their graders, each made once."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from pathlib import Path

import streamlit as st
from sqlalchemy import Engine

from lss_core import registry
from lss_core.grading.pipeline import Grader
from lss_core.imaging.store import ScanStore
from lss_core.registry import DefaultModel, ModelVersion, Stamp
from lss_core.settings import Settings
from lss_core.study.connection import open_database
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


def studies() -> Engine:
    """The database of people and studies, opened once and brought to this software's schema.

    Raises:
        Refusal: it cannot be opened.
    """
    return _studies(Settings.from_environment().database_url)


@st.cache_resource(show_spinner=False, max_entries=2, on_release=Engine.dispose)
def _studies(url: str) -> Engine:
    return open_database(url)


def scans() -> ScanStore:
    """The stored scans and heat maps of all studies."""
    return _scans(Settings.from_environment().image_store)


@st.cache_resource(show_spinner=False, max_entries=2)
def _scans(address: str) -> ScanStore:
    return ScanStore(address)


def versions() -> tuple[ModelVersion, ...]:
    """Every classifier version on disk; looked at again whenever a file changes."""
    models = Settings.from_environment().models
    return _versions(models, registry.files_stamp(models))


@st.cache_resource(show_spinner=False, max_entries=2)
def _versions(models: Path, files: Stamp) -> tuple[ModelVersion, ...]:
    return registry.list_versions(models)


def detectors() -> tuple[str, ...]:
    """Every usable region detector on disk, the shared one first; looked at again whenever a file changes."""
    models = Settings.from_environment().models
    return _detectors(models, registry.files_stamp(models))


@st.cache_resource(show_spinner=False, max_entries=2)
def _detectors(models: Path, files: Stamp) -> tuple[str, ...]:
    return registry.list_detectors(models)


def refused_shared_networks() -> tuple[str, ...]:
    """A sentence for each network that all versions need and that cannot be loaded."""
    models = Settings.from_environment().models
    return _refused_shared_networks(models, registry.files_stamp(models, *registry.SHARED))


@st.cache_resource(show_spinner=False, max_entries=2)
def _refused_shared_networks(models: Path, files: Stamp) -> tuple[str, ...]:
    return registry.refused_shared_networks(models)


def default_model() -> DefaultModel:
    """The version that grades where the user names none.

    Raises:
        Refusal: the settings file cannot be read.
    """
    return registry.default_model(Settings.from_environment())


def grader(version: str) -> Grader:
    """A model version, loaded once for as long as its files stay the same.

    Raises:
        Refusal: a file is missing or is not what its card says.
    """
    models = Settings.from_environment().models
    return _grader(version, models, registry.files_stamp(models, version, *registry.SHARED))


@st.cache_resource(show_spinner=False, max_entries=4)
def _grader(version: str, models: Path, files: Stamp) -> Grader:
    return Grader.load(version, models=models)


def warm_up() -> threading.Thread:
    """Check the model files and load the default grader in the background: the first visitor does not wait for it."""
    thread = threading.Thread(target=_warm_up, name="warm-up", daemon=True)
    thread.start()
    return thread


def _warm_up() -> None:
    try:
        versions()
        refused_shared_networks()
        grader(default_model().version)
    except (Refusal, OSError) as error:
        # The page that needs the grader tells its visitor; the server still serves what needs none.
        log.error("The grading model could not be loaded: %s", error)
    _spare_the_collector()


def _spare_the_collector() -> None:
    """Take what is loaded by now, and stays, out of the garbage collector's sight.

    Streamlit collects garbage after every run of a page. Walking all modules each time took 200 ms, in which no other
    session is served; this way it takes a few.
    """
    gc.collect()
    gc.freeze()


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
