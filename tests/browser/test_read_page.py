"""The reading page in a real browser: a study read by keyboard, nothing lost on the way, nothing told too early."""

import random
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from sqlalchemy import Engine
from sqlmodel import col, select

from lss_core.study import desks, reading
from lss_core.study.connection import open_database
from lss_core.study.connection import reading as reads
from lss_core.study.database import Answer, AuditEvent, ReadingItem, ReadingSession, RegionAnswer, Signature
from lss_core.study.protocol import Design, Protocol, Revisit
from lss_core.study.verification import check_records
from lss_core.vocabulary import Region
from tests.browser.conftest import free_port, launch, started_server
from tests.reading_room import PLANTED, QUICK, Room, aided, make_room
from ui.access import SESSION_COOKIE

COOKIE = "reader-of-the-browser-tests-0123456789-0123"
SLOW_MS = 120_000
CASE = re.compile(r"^(Training case|Case) \d+ of \d+ · L4/5$")


@dataclass
class Studio:
    """A started server, and the database and images that it serves."""

    address: str
    engine: Engine
    images: Path


@pytest.fixture(scope="module")
def studio(tmp_path_factory) -> Iterator[Studio]:
    home = tmp_path_factory.mktemp("studio")
    url = f"sqlite:///{home / 'studies.sqlite'}"
    environment = {"LSS_DATA": str(home), "LSS_MODELS": str(home / "models"), "DATABASE_URL": url,
                   "LSS_IMAGES": str(home / "images"), "LSS_MODEL": ""}
    engine = open_database(url)
    with started_server(home / "log.txt", environment=environment) as address:
        yield Studio(address, engine, home / "images")


@pytest.fixture
def room(studio) -> Callable[..., Room]:
    """Makes a study whose first reader sits before the browser."""

    def made(protocol: Protocol = QUICK, *, begun: bool = True, **what) -> Room:
        room = make_room(studio.engine, studio.images, protocol=protocol, **what)
        room.enter(COOKIE)
        if begun:
            desks.begin_session(room.engine, room.readers[0], room.study_id)
        return room

    return made


@pytest.fixture
def context(browser, studio) -> Iterator[BrowserContext]:
    opened = browser.new_context(viewport={"width": 1280, "height": 900})
    opened.add_cookies([{"name": SESSION_COOKIE, "value": COOKIE, "url": studio.address}])
    yield opened
    opened.close()


def open_study(context: BrowserContext, studio: Studio, room: Room) -> Page:
    page = context.new_page()
    page.goto(f"{studio.address}/read?study={room.token}")
    return page


def wait_for_case(page: Page, title: str | re.Pattern[str] = CASE) -> None:
    expect(page.locator(".lssd-title")).to_have_text(title, timeout=SLOW_MS)
    expect(page.locator('.lssv[data-ready="true"]')).to_be_visible(timeout=SLOW_MS)
    expect(page.locator(".lssd-cover")).to_be_hidden(timeout=SLOW_MS)
    page.wait_for_timeout(500)                  # an Enter just after a case appears is meant for the one before


def grade_by_keys(page: Page, *grades: int) -> None:
    for grade in grades:
        for key in (str(grade), ".", "ArrowDown"):
            page.keyboard.press(key)


def saved(page: Page) -> None:
    expect(page.locator('.lssd-state[data-state="saved"]')).to_have_text("Saved", timeout=SLOW_MS)


def title_of(page: Page) -> str:
    return page.locator(".lssd-title").inner_text()


def answers(room: Room) -> list[Answer]:
    """What is stored for the study's first reader."""
    with reads(room.engine) as session:
        return list(session.exec(
            select(Answer).join(ReadingItem).join(ReadingSession)
            .where(ReadingSession.study_id == room.study_id, ReadingSession.account_id == room.readers[0].account_id)
            .order_by(col(Answer.id))
        ).all())


def grades(room: Room, answer: Answer) -> dict[Region, tuple[int | None, int | None]]:
    with reads(room.engine) as session:
        rows = session.exec(select(RegionAnswer).where(RegionAnswer.answer_id == answer.id)).all()
        return {Region(row.region): (row.grade, row.confidence) for row in rows}


def checked(page: Page) -> list[str]:
    return page.eval_on_selector_all(".lssd-grade input:checked", "inputs => inputs.map((input) => input.value)")


def test_a_study_is_read_and_signed_by_keyboard_alone_from_the_statement_of_experience_to_the_thanks(
    context, studio, room
):
    made = room(begun=False, test=2, training=1, experienced=False)
    page = open_study(context, studio, made)
    state_experience(page)
    begin = page.get_by_role("button", name="Begin session 1")
    expect(page.get_by_role("img", name=re.compile("Simulated axial CT"))).to_have_count(8, timeout=SLOW_MS)
    page.get_by_role("checkbox", name="I have read the instructions").focus()
    page.keyboard.press("Space")
    expect(begin).to_be_enabled(timeout=SLOW_MS)
    begin.press("Enter")

    wait_for_case(page, "Training case 1 of 1 · L4/5")
    grade_by_keys(page, 2, 1, 2)
    page.keyboard.press("Enter")
    expect(page.get_by_text("Reference: 2 moderate, as you said.")).to_have_count(2, timeout=SLOW_MS)
    expect(page.get_by_text("Reference: 2 moderate, you said 1 mild.")).to_have_count(1)
    expect(page.get_by_role("button", name="Go on to the counted cases")).to_be_focused()
    page.keyboard.press("Enter")

    for number in (1, 2):
        wait_for_case(page, f"Case {number} of 2 · L4/5")
        grade_by_keys(page, 0, 3, number)
        page.keyboard.press("Enter")
    page.get_by_role("radio", name="I read these cases myself, without help").focus(timeout=SLOW_MS)
    page.keyboard.press("Space")
    page.get_by_label("Your name").focus()
    page.keyboard.type("Rhea Reader")
    page.get_by_role("button", name="Sign this session").press("Enter")
    expect(page.get_by_text("You have read and signed all sessions")).to_be_visible(timeout=SLOW_MS)

    stored = answers(made)
    assert [grades(made, answer)[Region.RIGHT_LATERAL_RECESS] for answer in stored] == [(2, 50), (1, 50), (2, 50)]
    with reads(made.engine) as session:
        signature = session.exec(select(Signature).where(Signature.study_id == made.study_id,
                                                         Signature.what == "session 1")).one()
    assert signature.typed_name == "Rhea Reader"


def state_experience(page: Page) -> None:
    for label, value in (("Name", "Rhea Reader"), ("Specialty", "radiology"), ("Years of experience", "6"),
                         ("Lumbar CTs read a year", "300")):
        page.get_by_label(label).fill(value, timeout=SLOW_MS)
    page.get_by_role("button", name="Save").press("Enter")


def test_nothing_that_reaches_the_browser_tells_what_a_reader_must_not_know(context, studio, room):
    made = room(test=3)
    received: list[bytes] = []
    page = context.new_page()
    page.on("response", lambda response: received.append(told_by(response)))
    page.on("websocket", lambda socket: socket.on(
        "framereceived", lambda frame: received.append(frame if isinstance(frame, bytes) else frame.encode())
    ))
    page.goto(f"{studio.address}/read?study={made.token}")
    for number in (1, 2, 3):
        wait_for_case(page, f"Case {number} of 3 · L4/5")
        grade_by_keys(page, 0, 0, 0)
        page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Sign this session")).to_be_visible(timeout=SLOW_MS)
    received.append(page.content().encode())
    # Without a sign-in provider the frame itself lists whom the local user may act as; no study says it.
    secrets = [planted for planted in PLANTED if "@" not in planted] + made.scan_keys + [str(studio.images)]
    assert sum(b"/slab" in each for each in received) >= 3 and len(received) > 50
    assert not [secret for secret in secrets if any(secret.encode() in each for each in received)]
    assert not any(b"/aid" in each.split(b"\n")[0] for each in received)
    assert not any(b"server-timing" in each.lower() for each in received)


def told_by(response) -> bytes:
    """Address, headers and body of a response; Streamlit's own code and the viewer's are the same for everybody."""
    head = f"{response.url}\n{response.all_headers()}\n".encode()
    if response.url.endswith((".js", ".css", ".woff2", ".png")) or response.status >= 300:
        return head
    return head + response.body()


def test_a_reload_and_a_second_window_land_on_the_same_case_with_its_draft(context, studio, room):
    made = room()
    page = open_study(context, studio, made)
    wait_for_case(page)
    title, token = title_of(page), page.locator(".lssd").get_attribute("data-token")
    grade_by_keys(page, 3, 1)
    page.keyboard.press("c")
    page.keyboard.type("0123 xtb?")
    saved(page)
    page.reload()
    wait_for_case(page, title)
    second = open_study(context, studio, made)
    wait_for_case(second, title)
    for each in (page, second):
        assert each.locator(".lssd").get_attribute("data-token") == token
        assert checked(each) == ["3", "1"]
        expect(each.get_by_role("textbox", name="Comment")).to_have_value("0123 xtb?")


def test_a_case_submitted_in_another_window_is_left_by_this_one(context, studio, room):
    made = room()
    first, second = open_study(context, studio, made), open_study(context, studio, made)
    for page in (first, second):
        wait_for_case(page)
    title = title_of(first)
    grade_by_keys(second, 1, 1, 1)
    second.keyboard.press("Enter")
    expect(second.locator(".lssd-title")).not_to_have_text(title, timeout=SLOW_MS)
    first.bring_to_front()
    first.keyboard.press("2")
    expect(first.locator(".lssd-title")).not_to_have_text(title, timeout=SLOW_MS)
    assert len(answers(made)) == 1


def test_entries_from_another_window_are_taken_over_and_said(context, studio, room):
    made = room()
    first, second = open_study(context, studio, made), open_study(context, studio, made)
    for page in (first, second):
        wait_for_case(page)
    grade_by_keys(second, 3, 3, 3)
    saved(second)
    first.bring_to_front()
    first.keyboard.press("1")
    expect(first.get_by_text("Entries from another window were loaded.")).to_be_visible(timeout=SLOW_MS)
    assert checked(first) == ["3", "3", "3"]


def test_a_lost_connection_is_said_and_the_draft_follows(context, studio, room):
    made = room()
    page = open_study(context, studio, made)
    wait_for_case(page)
    page.route("**/draft", lambda route: route.abort())
    grade_by_keys(page, 2)
    expect(page.get_by_text("Not saved yet, retrying")).to_be_visible(timeout=SLOW_MS)
    grade_by_keys(page, 0)
    page.unroute("**/draft")
    saved(page)
    case = reading.current_case(made.engine, made.readers[0], made.study_id)
    assert case is not None
    assert [case.entry.regions[region].grade for region in Region] == [2, 0, None]


def test_an_answer_whose_receipt_was_lost_is_stored_once(context, studio, room):
    made = room()
    page = open_study(context, studio, made)
    wait_for_case(page)
    title = title_of(page)
    lost = []

    def lose_twice(route) -> None:
        if len(lost) == 2:
            route.continue_()
            return
        route.fetch()                           # the server has it; the browser never hears
        lost.append(route.request.url)
        route.abort()

    page.route("**/submit", lose_twice)
    grade_by_keys(page, 1, 1, 1)
    page.get_by_role("button", name="Submit").dblclick()
    expect(page.locator(".lssd-title")).not_to_have_text(title, timeout=SLOW_MS)
    assert len(lost) == 2 and len(answers(made)) == 1


def test_a_killed_server_and_its_dropped_websockets_lose_and_double_nothing(browser, tmp_path):
    """SIGKILL while a draft is on its way, and while a double-clicked answer is; the open page goes on by itself."""
    engine, port, moments = open_database(f"sqlite:///{tmp_path / 's.sqlite'}"), free_port(), random.Random(1)
    made = make_room(engine, tmp_path / "images", test=2)
    made.enter(COOKIE)
    desks.begin_session(engine, made.readers[0], made.study_id)
    environment = {"LSS_DATA": str(tmp_path), "LSS_MODELS": str(tmp_path / "models"), "LSS_MODEL": "",
                   "DATABASE_URL": f"sqlite:///{tmp_path / 's.sqlite'}", "LSS_IMAGES": str(tmp_path / "images")}
    start = partial(launch, tmp_path / "log.txt", port=port, environment=environment)
    server, dropped = start(), []
    studio = Studio(f"http://127.0.0.1:{port}", engine, tmp_path / "images")
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    try:
        context.add_cookies([{"name": SESSION_COOKIE, "value": COOKIE, "url": studio.address}])
        page = context.new_page()
        page.on("websocket", lambda socket: socket.on("close", lambda each: dropped.append(each)))
        page.goto(f"{studio.address}/read?study={made.token}")
        for number in (1, 2):
            wait_for_case(page, f"Case {number} of 2 · L4/5")
            grade_by_keys(page, 2)
            kill(server, moments)
            grade_by_keys(page, 1)
            expect(page.get_by_text("Not saved yet, retrying")).to_be_visible(timeout=SLOW_MS)
            server = start()
            saved(page)
            grade_by_keys(page, 3)
            page.get_by_role("button", name="Submit").dblclick()
            kill(server, moments)
            server = start()
            submit_until_gone(page, number)
        expect(page.get_by_role("button", name="Sign this session")).to_be_visible(timeout=SLOW_MS)
    finally:
        context.close()
        server.kill()
        server.wait()
    given = [[grades(made, each)[region][0] for region in Region] for each in answers(made)]
    assert given == [[2, 1, 3]] * 2 and len(dropped) >= 4
    assert check_records(engine) == []


def submit_until_gone(page: Page, number: int) -> None:
    """What a reader does before whom the case stays after an outage: load the page anew, and submit it if it is due."""
    title = f"Case {number} of 2 · L4/5"
    here, due = page.locator(".lssd-title").get_by_text(title), page.get_by_role("button", name="Submit")
    next_one = page.locator(".lssd-title").get_by_text(f"Case {number + 1} of 2")
    gone = next_one.or_(page.get_by_role("button", name="Sign this session"))
    for patience_s in (10, 30, 30, 30, 30, 30):     # first for the outage, then for a busy machine
        try:
            expect(gone).to_be_visible(timeout=patience_s * 1000)
            return
        except AssertionError:
            page.reload()
            expect(gone.or_(here)).to_be_visible(timeout=SLOW_MS)
        if here.is_visible():
            wait_for_case(page, title)
            due.click()
    raise AssertionError(f"{title} stays.")


def kill(server: subprocess.Popen, moments: random.Random) -> None:
    time.sleep(moments.uniform(0, 0.05))
    server.kill()
    server.wait()


def test_an_incomplete_case_is_not_submitted_and_the_first_gap_is_shown(context, studio, room):
    made = room()
    page = open_study(context, studio, made)
    wait_for_case(page)
    grade_by_keys(page, 1)
    page.keyboard.press("2")                    # the second region: a grade without confidence
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert").filter(has_text="Left lateral recess: say how sure you are.")).to_be_visible()
    expect(page.get_by_label("Confidence, Left lateral recess, 0 to 100")).to_be_focused()
    assert not answers(made)


def test_not_gradable_takes_a_reason_in_place_of_a_grade(context, studio, room):
    made = room()
    page = open_study(context, studio, made)
    wait_for_case(page)
    title = title_of(page)
    page.keyboard.press("x")
    page.locator(".lssd-reason select").filter(visible=True).select_option("Noise too strong")
    page.get_by_label("Image quality").select_option("Noisy")
    page.locator(".lssv-stage").click()
    page.keyboard.press("ArrowDown")
    grade_by_keys(page, 0, 0)
    page.keyboard.press("Enter")
    expect(page.locator(".lssd-title")).not_to_have_text(title, timeout=SLOW_MS)
    (answer,) = answers(made)
    assert answer.image_quality == "Noisy" and grades(made, answer)[Region.CENTRAL_CANAL] == (None, None)


def test_the_viewers_keys_work_beside_the_forms_and_never_in_the_comment(context, studio, room):
    page = open_study(context, studio, room())
    wait_for_case(page)
    viewer = page.locator(".lssv")
    slice_before = int(viewer.get_attribute("data-slice") or -1)
    page.keyboard.press("PageUp")
    page.keyboard.press("b")
    expect(viewer).to_have_attribute("data-slice", str(slice_before + 1))
    expect(viewer).to_have_attribute("data-window-width", "1800")
    page.locator(".lssv-stage").click()
    page.keyboard.press("3")
    assert checked(page) == ["3"]
    page.keyboard.press("c")
    page.keyboard.type("t0")
    expect(viewer).to_have_attribute("data-window-width", "1800")
    assert checked(page) == ["3"]
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()


def test_single_key_shortcuts_can_be_switched_off(context, studio, room):
    page = open_study(context, studio, room())
    wait_for_case(page)
    page.keyboard.press("?")
    page.get_by_label("Single-key shortcuts").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    page.keyboard.press("b")
    assert checked(page) == []
    expect(page.locator(".lssv")).to_have_attribute("data-window-width", "400")


def test_the_last_window_is_kept_for_the_next_case(context, studio, room):
    page = open_study(context, studio, room())
    wait_for_case(page)
    title = title_of(page)
    page.keyboard.press("b")
    page.wait_for_timeout(300)
    grade_by_keys(page, 1, 1, 1)
    page.keyboard.press("Enter")
    expect(page.locator(".lssd-title")).not_to_have_text(title, timeout=SLOW_MS)
    wait_for_case(page)
    expect(page.locator(".lssv")).to_have_attribute("data-window-width", "1800")


def test_the_next_case_is_there_before_it_is_asked_for(context, studio, room):
    made = room()
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/slab") else None)
    page.goto(f"{studio.address}/read?study={made.token}")
    wait_for_case(page)
    following = reading.next_scan(made.engine, made.readers[0], made.study_id)
    assert following is not None
    page.wait_for_timeout(1000)
    assert [url.split("/")[-2] for url in asked][1:] == [following.token]
    title = title_of(page)
    grade_by_keys(page, 1, 1, 1)
    page.keyboard.press("Enter")
    expect(page.locator(".lssd-title")).not_to_have_text(title, timeout=SLOW_MS)
    wait_for_case(page)
    assert sum(following.token in url for url in asked) == 1


def test_a_break_is_idle_time_and_comes_back_to_the_case(context, studio, room):
    made = room(replace(QUICK, idle_after_s=3600.0))
    page = open_study(context, studio, made)
    wait_for_case(page)
    title = title_of(page)
    grade_by_keys(page, 2)
    saved(page)
    page.get_by_role("button", name="Break").press("Enter")
    expect(page.get_by_role("heading", name="Break")).to_be_visible(timeout=SLOW_MS)
    page.wait_for_timeout(1500)
    page.get_by_role("button", name="Go on").press("Enter")
    wait_for_case(page, title)
    assert checked(page) == ["2"]
    grade_by_keys(page, 2, 2, 2)
    page.keyboard.press("Enter")
    expect(page.locator(".lssd-title")).not_to_have_text(title, timeout=SLOW_MS)
    assert answers(made)[0].idle_s >= 1.5


def test_an_earlier_case_is_changed_where_the_protocol_allows_it_and_the_former_answer_stays(context, studio, room):
    made = room(replace(QUICK, revisit=Revisit.UNTIL_SIGNED), test=2)
    page = open_study(context, studio, made)
    wait_for_case(page, "Case 1 of 2 · L4/5")
    grade_by_keys(page, 1, 1, 1)
    page.keyboard.press("Enter")
    wait_for_case(page, "Case 2 of 2 · L4/5")
    page.get_by_role("button", name="Earlier cases").click()
    page.get_by_role("button", name="Open this case again").click(timeout=SLOW_MS)
    wait_for_case(page, "Case 1 of 2 · L4/5")
    assert checked(page) == ["1", "1", "1"]
    grade_by_keys(page, 3)
    page.keyboard.press("Enter")
    wait_for_case(page, "Case 2 of 2 · L4/5")
    first, second = answers(made)
    assert (first.revision, second.revision) == (1, 2) and first.item_id == second.item_id
    assert grades(made, second)[Region.CENTRAL_CANAL][0] == 3


def test_the_aided_arm_shows_the_models_output_over_and_beside_the_picture(context, studio, room):
    page = open_study(context, studio, room(aided(Design.AIDED)))
    wait_for_case(page)
    expect(page.locator(".lssd-model")).to_have_count(3, timeout=SLOW_MS)
    expect(page.locator(".lssd-model").first).to_contain_text("Model planted-version: 3 severe (88 %)")
    expect(page.locator(".lssv-box")).to_have_count(3)
    heat = page.locator(".lssv-heat")
    expect(heat).to_have_attribute("data-url", re.compile("/central_canal$"))
    page.keyboard.press("ArrowDown")
    expect(heat).to_have_attribute("data-url", re.compile("/left_lateral_recess$"))
    page.keyboard.press("h")
    expect(heat).to_have_count(0)


def test_the_unaided_arm_has_no_box_and_asks_for_no_aid(context, studio, room):
    made = room()
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{studio.address}/read?study={made.token}")
    wait_for_case(page)
    assert not [url for url in asked if "/aid" in url]
    expect(page.locator(".lssv-box")).to_have_count(0)
    status = page.evaluate("token => fetch(`/api/cases/${token}/aid`).then((answer) => answer.status)",
                           page.locator(".lssd").get_attribute("data-token"))
    assert status == 403
    with reads(made.engine) as session:
        noted = session.exec(select(AuditEvent).where(AuditEvent.action == "refused: aid",
                                                      AuditEvent.study_id == made.study_id)).all()
    assert len(noted) == 1


@pytest.mark.parametrize("width", [1280, 800, 390])
def test_a_case_fits_the_window_and_can_be_submitted(context, studio, room, width):
    page = open_study(context, studio, room())
    page.set_viewport_size({"width": width, "height": 900})
    wait_for_case(page)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    submit = page.get_by_role("button", name="Submit")
    submit.scroll_into_view_if_needed()
    expect(submit).to_be_in_viewport()
    for radio in page.locator(".lssd-grade").all():
        box = radio.bounding_box()
        assert box and box["width"] >= 44 and box["height"] >= 24, "large enough to be hit (WCAG 2.5.8)"


def test_a_study_of_somebody_else_is_not_opened_by_its_address(context, studio, room):
    room()
    page = context.new_page()
    page.goto(f"{studio.address}/read?study=unknown")
    expect(page.get_by_text("in which you do not read")).to_be_visible(timeout=SLOW_MS)
