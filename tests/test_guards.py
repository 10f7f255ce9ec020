"""The guards in front of every request, asked as a browser asks."""

import logging

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from ui import callback, guards, providers, routes, viewer
from ui.access import SESSION_COOKIE, same_origin
from ui.providers import Provider, SignInSetup

logging.getLogger("streamlit").setLevel(logging.ERROR)
HTTP = SignInSetup("http://studio.example:8501", frozenset({"studio.example", "other.example"}), (Provider("p", "P"),))
HTTPS = SignInSetup("https://studio.example", frozenset({"studio.example"}), (Provider("p", "P"),))


async def page(_):
    return HTMLResponse("<p>page</p>")


async def cookie(_):
    answer = HTMLResponse("<p>page</p>")
    answer.set_cookie("a", "1")
    answer.set_cookie("b", "2", secure=True)
    return answer


async def origin(request: Request):
    return JSONResponse(same_origin(request))


async def socket(websocket):
    await websocket.accept()
    await websocket.send_text("open")
    await websocket.close()


def browser(
    session: str | None = None, *, setup: SignInSetup | None = None, address: str = "127.0.0.1",
    host: str = "localhost:8501", headers: dict[str, str] | None = None,
) -> TestClient:
    server = Starlette(
        routes=[*routes.ROUTES, Route("/", page), Route("/cookie", cookie), Route("/_stcore/health", page),
                Route("/origin", origin, methods=["POST"]), WebSocketRoute("/socket", socket)],
        middleware=guards.stack(setup),
    )
    cookies = {SESSION_COOKIE: session} if session else None
    return TestClient(
        server, base_url=f"http://{host}", client=(address, 40000), cookies=cookies, headers=headers,
        follow_redirects=False,
    )


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "192.168.1.5:8501"])
def test_a_request_for_another_host_is_turned_away(host):
    assert browser(host=host).get("/").status_code == 403


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8501", "[::1]:8501"])
def test_a_request_for_this_machine_is_served(host):
    assert browser(host=host).get("/").status_code == 200


def test_a_request_from_another_machine_is_turned_away():
    assert browser(address="192.168.1.7").get("/").status_code == 403


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "x-forwarded-host"])
def test_a_request_that_a_proxy_passed_on_is_turned_away_where_nobody_signs_in(header):
    assert browser(headers={header: "127.0.0.1"}).get("/").status_code == 403
    assert browser(setup=HTTP, host="studio.example", headers={header: "10.0.0.1"}).get("/").status_code == 200


def test_a_websocket_for_another_host_is_not_opened():
    for setup in (None, HTTP):
        with pytest.raises(WebSocketDisconnect), browser(setup=setup, host="evil.example").websocket_connect("/socket"):
            pass


def test_a_page_gives_a_browser_a_secret_that_scripts_cannot_read():
    cookie = browser().get("/").headers["set-cookie"]
    assert cookie.startswith(f"{SESSION_COOKIE}=")
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert len(cookie.split(";")[0]) > 40


def test_a_browser_keeps_its_secret():
    assert "set-cookie" not in browser("me").get("/").headers


def test_where_people_sign_in_a_page_alone_gives_no_secret():
    assert "set-cookie" not in browser(setup=HTTP, host="studio.example").get("/").headers


def test_every_page_forbids_what_comes_from_outside():
    for setup, host in ((None, "localhost"), (HTTP, "studio.example")):
        headers = browser(setup=setup, host=host).get("/").headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "http" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("host", ["studio.example", "STUDIO.example:9000", "other.example"])
def test_a_server_where_people_sign_in_answers_under_its_names(host):
    assert browser(setup=HTTP, host=host, address="203.0.113.9").get("/").status_code == 200


@pytest.mark.parametrize("host", ["localhost:8501", "evil.example", "studio.example.evil.example", "127.0.0.1"])
def test_a_server_where_people_sign_in_does_not_answer_under_other_names(host):
    asked = browser(setup=HTTP, host=host)
    assert asked.get("/").status_code == 403
    assert asked.get("/_stcore/health").status_code == 200, "whatever watches the server may ask whether it lives"


@pytest.mark.parametrize("path", ["/api/volumes/x", "/api/overlays/x", "/api/cases/x/submit", "/media/x.png",
                                  "/_stcore/upload_file/session/file"])
def test_what_is_private_is_for_signed_in_people_only(path, monkeypatch, tmp_path):
    monkeypatch.setattr(providers, "configured", lambda: HTTP)
    monkeypatch.setenv("LSS_DATA", str(tmp_path))
    asked = browser("made-up", setup=HTTP, host="studio.example")
    assert [asked.request(method, path).status_code for method in ("GET", "PUT", "POST")] == [401, 401, 401]


def test_the_viewers_code_is_public():
    asked = browser(setup=HTTP, host="studio.example")
    assert asked.get(f"/api/viewer/{viewer.DIGEST}.js").status_code == 200


def test_behind_tls_every_cookie_is_secure_and_elsewhere_none_is_changed():
    secure = browser(setup=HTTPS, host="studio.example").get("/cookie").headers.get_list("set-cookie")
    plain = browser(setup=HTTP, host="studio.example").get("/cookie").headers.get_list("set-cookie")
    assert [each.count("Secure") for each in secure] == [1, 1]
    assert [each.count("Secure") for each in plain] == [0, 1]


@pytest.mark.parametrize(("headers", "same"), [
    ({"Origin": "http://localhost:8501"}, True), ({"Origin": "http://LOCALHOST:8501"}, True),
    ({"Origin": "http://localhost:9999"}, False), ({"Origin": "http://evil.example"}, False),
    ({"Origin": "http://localhost:8501.evil.example"}, False), ({}, False), ({"Origin": "null"}, False),
    ({"Origin": "null", "Sec-Fetch-Site": "same-origin"}, True), ({"Sec-Fetch-Site": "same-site"}, False),
    ({"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"}, False),
])
def test_a_change_must_come_from_a_page_of_this_server(headers, same):
    assert browser(headers=headers).post("/origin").json() is same


def test_failures_of_unknown_visitors_do_not_fill_the_audit_log(monkeypatch):
    budget, clock = callback.Budget(), iter([0.0] * 25 + [callback.WITHIN_S + 1])
    monkeypatch.setattr(callback.time, "monotonic", lambda: next(clock))
    assert [budget.take() for _ in range(25)] == [True] * callback.RECORDED + [False] * (25 - callback.RECORDED)
    assert budget.take()
