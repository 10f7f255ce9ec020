"""Who gets in, and to what: a really started server with a real OpenID provider, asked raw and by Chromium."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest
from playwright.sync_api import expect
from sqlmodel import select
from websockets.exceptions import InvalidStatus

from lss_core.study import audit, people, signins
from lss_core.study.connection import reading, transaction
from lss_core.study.database import Account, SignIn
from tests.browser.conftest import ROOT
from tests.people_cases import acting, audit_lines
from tests.sign_in_server import EVERYBODY, Studio, installation
from tests.streamlit_client import SLOW_S, Tab, open_tab, page_text, sign_in, to_provider, visitor
from ui.access import SESSION_COOKIE

SIGN_IN = "open to people who were invited"
LOCKED = "This page needs the permission"
IDENTITY_COOKIE = "_streamlit_user"
SIGNED_IN = {"pi", "coordinator", "annotator", "reader", "creator", "no-role"}
# Every page to those who may see it; a signed-out visitor sees none.
PAGES = {
    "grade": SIGNED_IN, "models": SIGNED_IN, "about": SIGNED_IN, "account": SIGNED_IN,
    "study": {"pi", "coordinator", "creator"}, "read": {"reader"}, "dashboard": {"pi", "coordinator"},
    "curate": {"pi", "coordinator", "annotator", "creator"},
}
TITLES = {"grade": "Grade a lumbar CT", "models": "Models", "about": "About Lumbar Stenosis Studio",
          "account": "Account", "study": "Studies", "read": "Reading", "dashboard": "Dashboard",
          "curate": "Collections"}
PRIVATE = ("/api/volumes/x", "/api/overlays/x", "/api/cases/x/slab", "/media/x.png")


@pytest.fixture(scope="module")
def studio(tmp_path_factory) -> Iterator[Studio]:
    with installation(tmp_path_factory.mktemp("studio")) as studio:
        yield studio


@pytest.fixture(scope="module")
def server(studio) -> Iterator[str]:
    with studio.started() as address:
        yield address


@pytest.fixture(scope="module")
def profiles(studio, server) -> dict[str, httpx.Client]:
    """A signed-in browser profile for each person who may come in."""
    opened = {}
    for subject in sorted(SIGNED_IN):
        opened[subject] = visitor(server)
        answer = sign_in(opened[subject], subject)
        assert answer.status_code == 302, answer.text
    studio.without_roles("no-role")
    return opened


@pytest.fixture
def reader(server) -> httpx.Client:
    """A profile of its own, just signed in as the reader."""
    client = visitor(server)
    assert sign_in(client, "reader").status_code == 302
    return client


def shown(tab: Tab, page: str) -> bool:
    """Whether a page was shown; otherwise the first page, the way to sign in, or the guard's sentence stands there."""
    elsewhere = any(each.WhichOneof("type") == "page_not_found" for each in tab.messages)
    return not elsewhere and SIGN_IN not in tab.text and LOCKED not in tab.text and TITLES[page] in tab.text


def is_in(client: httpx.Client) -> bool:
    """Whether a profile is signed in: for pages and for routes, which must agree."""
    page = SIGN_IN not in page_text(client, "about")
    route = client.get("/api/volumes/x").status_code != 401
    assert page is route
    return page


def copied(client: httpx.Client, *names: str, **changed: str) -> httpx.Client:
    """A profile elsewhere into which these cookies were copied."""
    thief = visitor(str(client.base_url))
    for name in names:
        thief.cookies.set(name, client.cookies[name])
    for name, value in changed.items():
        thief.cookies.set(name, value)
    return thief


def test_every_page_stands_in_the_table():
    assert {path.stem for path in (ROOT / "pages").glob("*.py")} <= set(PAGES)


@pytest.mark.parametrize("who", sorted(SIGNED_IN))
def test_a_person_sees_the_pages_of_their_roles_and_no_others(profiles, who):
    for page, allowed in PAGES.items():
        with open_tab(profiles[who], page) as tab:
            tab.run()
            assert shown(tab, page) is (who in allowed), page
            assert set(tab.menu) - {""} == {each for each, others in PAGES.items() if who in others}


def test_no_page_tells_a_reader_of_anybody_else(profiles):
    """All frames of the websocket, words and binary alike, of every page that a reader may see."""
    others = [f"{subject}@example.org" for subject in EVERYBODY if subject != "reader"]
    for page, allowed in PAGES.items():
        if "reader" in allowed:
            with open_tab(profiles["reader"], page) as tab:
                frames = b"".join(each.SerializeToString() for each in tab.run().messages)
            assert not [email for email in others if email.encode() in frames], page


def test_who_is_not_signed_in_sees_the_way_to_sign_in_and_nothing_else(server):
    client = visitor(server)
    for page in [*PAGES, ""]:
        with open_tab(client, page) as tab:
            text = tab.run().text
            assert SIGN_IN in text and tab.menu == [], page
    assert [client.get(path).status_code for path in PRIVATE] == [401] * len(PRIVATE)
    upload = client.put("/_stcore/upload_file/session/file", files={"file": b"x"})
    assert upload.status_code == 401


def test_pages_opened_on_a_fresh_server_before_anything_else_are_guarded(tmp_path):
    with installation(tmp_path) as studio:
        with studio.started() as address:
            reader = visitor(address)
            sign_in(reader, "reader")
        with studio.started() as address:
            for page in PAGES:
                assert SIGN_IN in page_text(visitor(address), page), page
        with studio.started() as address:
            with open_tab(reader, "study") as tab:
                assert not shown(tab.run(), "study")
            with open_tab(reader, "read") as tab:
                assert shown(tab.run(), "read"), "a session outlives a restart of the server"


@pytest.mark.parametrize(("who", "sentence"), [
    ("stranger", "is not invited to any study"), ("unverified", "does not vouch"), ("impostor", "another identity"),
])
def test_nobody_else_gets_in(studio, profiles, server, who, sentence):
    client, before = visitor(server), len(audit_lines(studio.engine, "refuse sign-in"))
    answer = sign_in(client, who)
    assert answer.status_code == 403 and sentence in answer.text and "Research use only" in answer.text
    assert not {name for name in client.cookies if name.startswith((IDENTITY_COOKIE, SESSION_COOKIE))}
    assert not is_in(client)
    lines = audit_lines(studio.engine, "refuse sign-in")
    assert len(lines) == before + 1 and sentence in lines[-1].reason


def test_a_sign_in_broken_off_at_the_provider_is_refused_and_logged(studio, server):
    client, before = visitor(server), len(audit_lines(studio.engine, "fail sign-in"))
    back = httpx.post(to_provider(client), data={"action": "deny"}, timeout=SLOW_S).headers["location"]
    answer = client.get(back)
    assert answer.status_code == 403 and "did not succeed" in answer.text
    assert len(audit_lines(studio.engine, "fail sign-in")) == before + 1


def test_the_way_back_from_the_provider_works_once_and_in_one_browser(server):
    client, other = visitor(server), visitor(server)
    back = httpx.post(to_provider(client), data={"sub": "reader"}, timeout=SLOW_S).headers["location"]
    assert other.get(back).status_code == 403, "another browser did not ask for it"
    assert not is_in(other)
    assert client.get(back).status_code == 302 and is_in(client)
    assert client.get(back).status_code == 403


def test_the_secret_is_new_at_sign_in_and_one_that_was_planted_before_opens_nothing(server):
    client = visitor(server)
    client.cookies.set(SESSION_COOKIE, "planted", domain="localhost.local", path="/")
    answer = sign_in(client, "reader")
    cookie = next(each for each in answer.headers.get_list("set-cookie") if each.startswith(SESSION_COOKIE))
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and "planted" not in cookie
    assert not is_in(copied(client, IDENTITY_COOKIE, **{SESSION_COOKIE: "planted"}))


def test_neither_cookie_opens_anything_alone(reader):
    assert is_in(copied(reader, IDENTITY_COOKIE, SESSION_COOKIE)), "together they are the session"
    assert not is_in(copied(reader, IDENTITY_COOKIE))
    assert not is_in(copied(reader, SESSION_COOKIE))
    assert not is_in(copied(reader, IDENTITY_COOKIE, **{SESSION_COOKIE: "x" * 43}))
    assert is_in(reader)


def test_cookies_of_two_people_do_not_go_together(reader, profiles):
    assert not is_in(copied(reader, IDENTITY_COOKIE, **{SESSION_COOKIE: profiles["pi"].cookies[SESSION_COOKIE]}))


def test_an_identity_that_this_server_did_not_sign_is_nobody(reader):
    from streamlit.web.server.starlette.starlette_app_utils import create_signed_value

    claims = json.dumps({"is_logged_in": True, "email": "pi@example.org"})
    forged = create_signed_value("another secret of enough length", IDENTITY_COOKIE, claims).decode()
    assert not is_in(copied(reader, SESSION_COOKIE, **{IDENTITY_COOKIE: forged}))


def test_a_session_ends_on_the_server_when_its_person_signs_out(reader):
    thief = copied(reader, IDENTITY_COOKIE, SESSION_COOKIE)
    with open_tab(reader, "account") as other_tab, open_tab(reader, "about") as tab:
        other_tab.run()
        assert tab.run().run(click="Sign out").redirect.endswith("/auth/logout")
        assert not is_in(thief), "replayed, before the browser even followed"
        assert SIGN_IN in other_tab.run().text, "a tab that was open"
    answer = reader.get("/auth/logout")
    assert answer.status_code == 302 and SESSION_COOKIE not in reader.cookies and IDENTITY_COOKIE not in reader.cookies
    assert not is_in(reader)


def test_asking_for_the_way_out_by_its_address_ends_the_session_too(reader):
    thief = copied(reader, IDENTITY_COOKIE, SESSION_COOKIE)
    reader.get("/auth/logout")
    assert not is_in(thief)


@pytest.mark.parametrize("field", ["last_seen_at", "created_at"])
def test_an_expired_session_is_refused_and_stays_so(studio, reader, field):
    def shift(by: timedelta) -> None:
        with transaction(studio.engine) as session:
            row = session.exec(select(SignIn).order_by(SignIn.id.desc())).first()
            setattr(row, field, getattr(row, field) + by)

    assert is_in(reader)
    shift(-timedelta(hours=12, seconds=1))
    assert not is_in(reader)
    shift(timedelta(hours=12, seconds=1))
    assert not is_in(reader)


def test_a_revoked_session_is_refused(studio, reader):
    with reading(studio.engine) as session:
        row = session.exec(select(SignIn).order_by(SignIn.id.desc())).first()
    signins.revoke(studio.engine, acting(studio.engine, row.account_id), sign_in_id=row.id)
    assert not is_in(reader)


def test_signing_out_everywhere_ends_the_session_of_another_browser(server):
    here, there = visitor(server), visitor(server)
    for client in (here, there):
        sign_in(client, "annotator")
    with open_tab(here, "account") as tab:
        tab.run().run(click="Sign out everywhere")
    assert not is_in(here) and not is_in(there)


def test_a_disabled_person_is_out_at_once(studio, server):
    client = visitor(server)
    sign_in(client, "creator")
    people.disable(studio.engine, "creator@example.org", reason="a test")
    try:
        assert not is_in(client)
        assert sign_in(visitor(server), "creator").status_code == 403
    finally:
        with transaction(studio.engine) as session:
            session.exec(select(Account).where(Account.email == "creator@example.org")).one().disabled = False


def test_a_page_of_another_site_opens_no_websocket(reader):
    with pytest.raises(InvalidStatus, match="403"), open_tab(reader, "about", origin="http://evil.example") as tab:
        tab.run()


def test_the_server_answers_under_its_own_name_only(studio, server):
    for host in ("evil.example", f"127.0.0.1:{studio.port}"):
        assert httpx.get(server, headers={"Host": host}, timeout=SLOW_S).status_code == 403


def test_nobody_acts_as_somebody_else_where_people_sign_in(profiles):
    for who in ("pi", "creator"):
        text = page_text(profiles[who], "about")
        assert "Acting as" not in text and "Now acting as" not in text


def test_no_address_of_a_person_stands_in_the_log_and_the_audit_log_is_whole(studio, profiles, reader):
    assert not re.search(r"[\w-]+@example\.org", studio.log.read_text())
    assert audit.verify(studio.engine) == []
    assert {line.subject for line in audit_lines(studio.engine, "bind account")} >= {"reader@example.org"}


def test_a_person_signs_in_and_out_in_a_browser(browser, studio, server, tmp_path):
    context = browser.new_context()
    page, addresses = context.new_page(), []
    page.on("request", lambda request: addresses.append(request.url))
    page.goto(f"{server}/read")
    page.get_by_role("button", name="Sign in").click(timeout=SLOW_S * 1000)
    page.get_by_role("button", name="pi", exact=True).click(timeout=SLOW_S * 1000)
    expect(page.get_by_role("link", name="Studies")).to_be_visible(timeout=SLOW_S * 1000)
    assert page.url.startswith(server)
    (cookie,) = [each for each in context.cookies() if each["name"] == SESSION_COOKIE]
    assert cookie["httpOnly"] and cookie["sameSite"] == "Lax"
    page.goto(f"{server}/account")
    expect(page.get_by_text("Signed in as pi@example.org")).to_be_visible(timeout=SLOW_S * 1000)
    expect(page.get_by_text("this browser")).to_be_visible()
    page.get_by_role("button", name="Sign out", exact=True).first.click()
    page.wait_for_url(f"{studio.provider}/**", timeout=SLOW_S * 1000)
    page.goto(f"{server}/account")
    expect(page.get_by_role("button", name="Sign in")).to_be_visible(timeout=SLOW_S * 1000)
    assert not [each["name"] for each in context.cookies(server) if each["name"] in (SESSION_COOKIE, IDENTITY_COOKIE)]
    assert not any("example.org" in each for each in addresses)
    context.close()


def test_a_person_who_is_not_invited_reads_why(browser, server):
    context = browser.new_context()
    page = context.new_page()
    page.goto(server)
    page.get_by_role("button", name="Sign in").click(timeout=SLOW_S * 1000)
    page.get_by_role("button", name="stranger", exact=True).click(timeout=SLOW_S * 1000)
    expect(page.get_by_role("alert")).to_contain_text("is not invited", timeout=SLOW_S * 1000)
    page.get_by_role("link", name="Back to the sign-in page").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible(timeout=SLOW_S * 1000)
    context.close()
