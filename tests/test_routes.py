"""The image routes, asked as a browser asks."""

import logging

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from tests.test_images import tiny_volume
from ui import routes, viewer
from ui.access import SESSION_COOKIE
from ui.resources import images

logging.getLogger("streamlit").setLevel(logging.ERROR)


SERVER = Starlette(routes=routes.ROUTES)


def browser(session: str | None = None) -> TestClient:
    return TestClient(SERVER, cookies={SESSION_COOKIE: session} if session else None)


def test_the_owner_receives_the_pixels_and_nothing_else():
    volume = tiny_volume()
    answer = browser("me").get(f"/api/volumes/{images().put(volume, owner='me')}")
    assert answer.status_code == 200
    assert answer.content == volume.hu.astype("<i2").tobytes()
    assert answer.headers["cache-control"] == "no-store"


def test_the_owner_receives_a_heat_map():
    heat = np.arange(6, dtype=np.uint8).reshape(2, 3)
    answer = browser("me").get(f"/api/overlays/{images().put(heat, owner='me')}")
    assert answer.content == bytes(range(6))


@pytest.mark.parametrize("kind", ["volumes", "overlays"])
@pytest.mark.parametrize("session", [None, "you"])
def test_another_session_is_told_that_there_is_nothing(kind, session):
    token = images().put(tiny_volume() if kind == "volumes" else np.zeros((2, 2), np.uint8), owner="me")
    assert browser(session).get(f"/api/{kind}/{token}").status_code == 404


def test_a_foreign_token_and_a_guessed_one_are_answered_alike():
    token = images().put(tiny_volume(), owner="me")
    foreign, guessed = (browser("you").get(f"/api/volumes/{each}") for each in (token, "x" * len(token)))
    assert (foreign.status_code, foreign.content) == (guessed.status_code, guessed.content)


def test_the_viewer_is_served_as_javascript_that_may_be_cached():
    answer = browser().get(f"/api/viewer/{viewer.DIGEST}.js")
    assert answer.headers["content-type"].startswith("text/javascript")
    assert "immutable" in answer.headers["cache-control"]
