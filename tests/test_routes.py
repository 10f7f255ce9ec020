"""The image routes and the guards in front of every request, asked as a browser asks."""

import logging

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from tests.test_images import tiny_volume
from ui import routes, viewer
from ui.access import SESSION_COOKIE
from ui.resources import images

logging.getLogger("streamlit").setLevel(logging.ERROR)


async def page(_):
    return HTMLResponse("<p>page</p>")


async def socket(websocket):
    await websocket.accept()
    await websocket.send_text("open")
    await websocket.close()


GUARDS = (routes.LoopbackOnly, routes.SecurityHeaders, routes.SessionCookie)
SERVER = Starlette(
    routes=[*routes.ROUTES, Route("/", page), WebSocketRoute("/socket", socket)],
    middleware=[Middleware(guard) for guard in GUARDS],
)


def browser(session: str | None = None, *, address: str = "127.0.0.1", host: str = "localhost:8501") -> TestClient:
    cookies = {SESSION_COOKIE: session} if session else None
    return TestClient(SERVER, base_url=f"http://{host}", client=(address, 40000), cookies=cookies)


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


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "192.168.1.5:8501"])
def test_a_request_for_another_host_is_turned_away(host):
    assert browser(host=host).get("/").status_code == 403


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8501", "[::1]:8501"])
def test_a_request_for_this_machine_is_served(host):
    assert browser(host=host).get("/").status_code == 200


def test_a_request_from_another_machine_is_turned_away():
    assert browser(address="192.168.1.7").get("/").status_code == 403


def test_a_websocket_for_another_host_is_not_opened():
    with pytest.raises(WebSocketDisconnect), browser(host="evil.example").websocket_connect("/socket"):
        pass


def test_a_page_gives_a_browser_a_secret_that_scripts_cannot_read():
    cookie = browser().get("/").headers["set-cookie"]
    assert cookie.startswith(f"{SESSION_COOKIE}=")
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert len(cookie.split(";")[0]) > 40


def test_a_browser_keeps_its_secret():
    assert "set-cookie" not in browser("me").get("/").headers


def test_every_page_forbids_what_comes_from_outside():
    headers = browser().get("/").headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "http" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
