"""Without sign-in the server serves this machine only, and its user may act as anybody, which the frame says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from starlette.requests import HTTPConnection
from streamlit.runtime.context import ContextProxy, StreamlitCookies, StreamlitHeaders
from streamlit.testing.v1 import AppTest

from lss_core.permissions import Role
from lss_core.study import acting, people
from tests.people_cases import add_person, add_study
from ui import access, banner
from ui.access import SESSION_COOKIE
from ui.resources import studies

ROOT = Path(__file__).resolve().parent.parent
READER = "reader@example.org"


@pytest.fixture
def here(monkeypatch, tmp_path) -> None:
    """A browser on this machine, and an empty installation."""
    monkeypatch.setenv("LSS_DATA", str(tmp_path))
    monkeypatch.setattr(ContextProxy, "headers", StreamlitHeaders([("Host", "localhost:8501")]))
    monkeypatch.setattr(ContextProxy, "ip_address", None)
    monkeypatch.setattr(ContextProxy, "cookies", StreamlitCookies({SESSION_COOKIE: "me"}))


def reader_in_a_study() -> int:
    return add_person(studies(), READER, (add_study(studies()), Role.READER), name="Ada")


def frame() -> AppTest:
    app = AppTest.from_file(str(ROOT / "ui/portal.py"), default_timeout=120).run()
    assert not app.exception, app.exception
    return app


def choices(app: AppTest) -> list:
    return [each for each in app.selectbox if each.label == "Acting as"]


def said(app: AppTest) -> str:
    return "\n".join([*(each.proto.body for each in app.get("html")), *(each.value for each in app.error)])


def page() -> None:
    """Says for whom it keeps its state."""
    import streamlit as st

    from ui import access

    visitor = access.require(access.Permission.READ_ABOUT)
    st.session_state.setdefault("note", f"kept for {visitor.name}")
    st.markdown(st.session_state.note)


def request(cookie: str | None) -> HTTPConnection:
    headers = [(b"cookie", f"{SESSION_COOKIE}={cookie}".encode())] if cookie else []
    return HTTPConnection({"type": "http", "headers": headers})


@pytest.mark.parametrize("address", [None, "", "0.0.0.0", "::", "192.168.1.5", "example.org"])
def test_the_server_refuses_to_listen_where_others_could_come_in(address):
    with pytest.raises(SystemExit, match="Refusing to listen"):
        access.refuse_open_address(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "::1"])
def test_the_server_listens_on_the_loopback(address):
    access.refuse_open_address(address)
    assert access.is_loopback_host(address)


@pytest.mark.parametrize("host", ["localhost:1", "LOCALHOST", "127.9.9.9:80", "[::1]", "[::1]:8501"])
def test_loopback_names_are_known(host):
    assert access.is_loopback_host(host)


@pytest.mark.parametrize("host", ["", "localhost.evil", "127.0.0.1.evil", "2130706433", "0x7f.1", "evil:80", "[evil]"])
def test_other_names_are_not_loopback(host):
    assert not access.is_loopback_host(host)


def test_the_frame_says_that_nobody_signs_in_and_whom_the_user_acts_as(here):
    app = frame()
    assert banner.LOCAL in said(app) and "Now acting as: local user." in said(app)
    assert not choices(app), "there is nobody else to act as"


def test_the_local_user_acts_as_a_reader_on_pages_and_on_routes_alike(here):
    reader_in_a_study()
    app = frame()
    (choice,) = choices(app)
    choice.select(f"Ada ({READER})").run()
    assert not app.exception and "Now acting as: Ada." in said(app)
    assert access.actor_of_request(request("me")).email == READER
    assert access.actor_of_request(request("another browser")).email == people.LOCAL_EMAIL
    assert access.actor_of_request(request(None)) is None
    choices(frame())[0].select("local user").run()
    assert access.actor_of_request(request("me")).email == people.LOCAL_EMAIL


@pytest.mark.parametrize(("who", "may"), [("reader", {"read"}), ("local user", {"study"})])
def test_the_menu_holds_what_the_person_may_do(here, who, may):
    account_id = reader_in_a_study()
    if who == "reader":
        acting.act_as(studies(), cookie="me", account_id=account_id)
    for name in ("study", "read"):
        app = AppTest.from_file(str(ROOT / f"pages/{name}.py"), default_timeout=120).run()
        refused = any("This page needs the permission" in each.value for each in app.error)
        assert refused is (name not in may)


def test_what_one_person_saw_in_a_tab_is_not_shown_to_the_next(here):
    account_id = reader_in_a_study()
    app = AppTest.from_function(page, default_timeout=120).run()
    assert app.markdown[0].value == "kept for local user"
    acting.act_as(studies(), cookie="me", account_id=account_id)
    assert app.run().markdown[0].value == "kept for Ada"


def test_a_browser_without_cookies_is_the_local_user_and_cannot_act_as_others(here, monkeypatch):
    reader_in_a_study()
    monkeypatch.setattr(ContextProxy, "cookies", StreamlitCookies({}))
    app = frame()
    assert "Now acting as: local user." in said(app) and choices(app)[0].disabled


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-Ip"])
def test_a_request_that_a_proxy_passed_on_is_not_the_local_user(here, monkeypatch, header):
    headers = StreamlitHeaders([("Host", "localhost:8501"), (header, "127.0.0.1")])
    monkeypatch.setattr(ContextProxy, "headers", headers)
    app = AppTest.from_function(page, default_timeout=120).run()
    assert app.error[0].value == access.ONLY_HERE and not app.markdown


def test_a_database_that_cannot_be_opened_is_said_and_shows_nothing(here, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "mysql://somewhere/studies")
    app = AppTest.from_function(page, default_timeout=120).run()
    assert "SQLite and PostgreSQL are supported" in app.error[0].value and not app.markdown


@pytest.mark.parametrize(("content", "address", "sentence"), [
    ("[auth", "127.0.0.1", "secrets.toml cannot be read"),
    ('[auth]\nredirect_uri = "http://localhost:1/oauth2callback"\n', "127.0.0.1", "cookie_secret"),
    (None, "0.0.0.0", "no sign-in is configured"),
])
def test_a_server_that_would_be_open_does_not_start(tmp_path, content, address, sentence):
    file = tmp_path / "secrets.toml"
    if content is not None:
        file.write_text(content)
    done = subprocess.run(
        [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", "0", "--server.address", address],
        cwd=ROOT, env={**os.environ, "STREAMLIT_SECRETS_FILES": str(file), "LSS_DATA": str(tmp_path)},
        capture_output=True, text=True, timeout=240,
    )
    assert done.returncode != 0 and sentence in done.stdout + done.stderr
