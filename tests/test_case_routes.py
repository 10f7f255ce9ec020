"""What a reader's browser may ask and send, asked as a browser asks: over the real services and stored scans."""

import base64
import json
import logging
import time
from dataclasses import replace

import numpy as np
import pytest
from sqlmodel import col, select
from starlette.applications import Starlette
from starlette.testclient import TestClient

from lss_core.study import audit, desks, lifecycle, reading
from lss_core.study.connection import open_database
from lss_core.study.connection import reading as reads
from lss_core.study.database import Answer, AuditEvent, ReadingItem, Reference
from lss_core.study.protocol import Design, Protocol
from lss_core.vocabulary import Grade, Region
from tests.reading_room import BOXES, HEAT, MIDDLE, PLANTED, QUICK, SIDE_PX, Room, aided, make_room, phantom
from ui import case_routes
from ui.access import SESSION_COOKIE

logging.getLogger("streamlit").setLevel(logging.ERROR)
SERVER = Starlette(routes=case_routes.ROUTES)
HOST = "http://localhost:8501"
COOKIE = "c" * 43
FULL = {"regions": {region.value: {"grade": 2, "confidence": 70, "not_gradable": ""} for region in Region}}


@pytest.fixture
def open_room(monkeypatch, tmp_path):
    """Makes a study over an installation of its own, entered by the first reader."""

    def opened(protocol: Protocol = QUICK, **what) -> Room:
        monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'studies.sqlite'}")
        monkeypatch.setenv("LSS_IMAGES", str(tmp_path / "images"))
        engine = open_database(f"sqlite:///{tmp_path / 'studies.sqlite'}")
        room = make_room(engine, tmp_path / "images", protocol=protocol, **what)
        room.enter(COOKIE)
        for reader in room.readers:
            desks.begin_session(room.engine, reader, room.study_id)
        return room

    return opened


@pytest.fixture
def room(open_room) -> Room:
    return open_room()


def browser(cookie: str | None = COOKIE, *, origin: str | None = HOST) -> TestClient:
    headers = {"Origin": origin} if origin else {}
    return TestClient(SERVER, base_url=HOST, cookies={SESSION_COOKIE: cookie} if cookie else None, headers=headers)


def current(room: Room, reader: int = 0) -> reading.BlindedCase:
    case = reading.current_case(room.engine, room.readers[reader], room.study_id)
    assert case is not None
    return case


def following(room: Room) -> str:
    place = reading.next_scan(room.engine, room.readers[0], room.study_id)
    assert place is not None
    return place.token


def send(token: str, what: str, body: object, **client):
    return browser(**client).post(f"/api/cases/{token}/{what}", content=json.dumps(body))


def submit(case: reading.BlindedCase, **changes):
    return send(case.token, "submit", {"change": case.change + 1, "revision": case.revision, "entry": FULL} | changes)


def refusals(room: Room) -> list[AuditEvent]:
    with reads(room.engine) as session:
        return [each for each in session.exec(select(AuditEvent)).all() if each.action.startswith("refused")]


def answers(room: Room) -> int:
    with reads(room.engine) as session:
        return len(session.exec(select(Answer)).all())


def test_the_slab_holds_the_slices_around_the_level_and_nothing_else(room):
    case = current(room)
    answer = browser().get(f"/api/cases/{case.token}/slab")
    number = room.scan_keys.index(case.scan_key)
    expected = phantom(number).hu[MIDDLE - 3 : MIDDLE + 4]
    assert np.array_equal(np.frombuffer(answer.content, "<i2").reshape(7, SIDE_PX, SIDE_PX), expected)
    assert answer.headers["cache-control"] == "no-store"
    assert json.loads(answer.headers["x-slab"]) == {
        "slices": 7, "rows": SIDE_PX, "columns": SIDE_PX, "middle": 3, "spacing": [3.0, 3.0], "hounsfield": True,
        "positions": [0.0, 3.0, 6.0, 9.0, 12.0, 15.0, 18.0],
    }


def test_a_slab_at_the_end_of_a_scan_is_cut_there(open_room):
    room = open_room(replace(QUICK, slices_around_mm=1000.0))
    slab = json.loads(browser().get(f"/api/cases/{current(room).token}/slab").headers["x-slab"])
    assert (slab["slices"], slab["middle"]) == (15, MIDDLE)


def test_the_next_case_may_be_loaded_ahead_but_not_the_one_after(room):
    current(room)
    with reads(room.engine) as session:
        last = session.exec(select(reading.ReadingItem).order_by(col(reading.ReadingItem.session_id))).all()[2]
    assert browser().get(f"/api/cases/{following(room)}/slab").status_code == 200
    assert browser().get(f"/api/cases/{last.token}/slab").status_code == 404


@pytest.mark.parametrize("what", ["slab", "aid", "feedback"])
def test_a_foreign_token_and_a_guessed_one_are_answered_alike_and_noted(room, what):
    current(room)
    foreign, guessed = (
        browser().get(f"/api/cases/{token}/{what}") for token in (current(room, reader=1).token, "x" * 22)
    )
    assert (foreign.status_code, foreign.content) == (guessed.status_code, guessed.content)
    assert foreign.status_code == 404
    assert dict(foreign.headers) == dict(guessed.headers)
    assert len(refusals(room)) == 2


@pytest.mark.parametrize("what", ["draft", "submit", "alive"])
def test_nobody_writes_into_another_readers_case(room, what):
    token = current(room, reader=1).token
    body = {"change": 1, "revision": 1, "entry": FULL}
    foreign, guessed = send(token, what, body), send("x" * 22, what, body)
    assert (foreign.status_code, foreign.content) == (guessed.status_code, guessed.content)
    assert foreign.status_code == 404 and answers(room) == 0
    assert len(refusals(room)) == 2


@pytest.mark.parametrize("path", ["slab", "aid", "feedback"])
def test_without_a_cookie_nothing_is_sent(room, path):
    assert browser(cookie=None).get(f"/api/cases/{current(room).token}/{path}").status_code == 401


@pytest.mark.parametrize("origin", ["http://evil.example", "http://localhost:9999", None, "null"])
@pytest.mark.parametrize("what", ["draft", "submit", "alive"])
def test_a_post_from_another_site_changes_nothing(room, origin, what):
    case = current(room)
    answer = send(case.token, what, {"change": 1, "revision": 1, "entry": FULL}, origin=origin)
    assert answer.status_code == 403
    assert answers(room) == 0 and current(room).change == 0


def test_a_draft_is_kept_and_an_older_one_never_overwrites_it(room):
    token = current(room).token
    assert send(token, "draft", {"change": 5, "entry": FULL}).json() == {"change": 5}
    assert send(token, "draft", {"change": 2, "entry": {}}).json() == {"change": 5}
    assert current(room).entry.regions[Region.CENTRAL_CANAL].grade == 2


@pytest.mark.parametrize("body", [
    [], "text", {"change": 1}, {"change": 1, "entry": None}, {"entry": FULL}, {"change": -1, "entry": FULL},
    {"change": True, "entry": FULL}, {"change": 1, "entry": {"regions": {"canal": {}}}},
    {"change": 1, "entry": {"regions": {"central_canal": {"grade": 4}}}}, {"change": 1, "entry": {"unknown": 1}},
    {"change": 1, "entry": {"comment": "x" * 2001}},
])
def test_a_draft_that_is_none_is_refused_with_a_sentence(room, body):
    answer = send(current(room).token, "draft", body)
    assert answer.status_code == 422 and answer.text.endswith(".")
    assert current(room).change == 0


@pytest.mark.parametrize("content", [b"", b"\xff", b"{", b"[" * 5000])
def test_what_is_not_json_is_refused(room, content):
    assert browser().post(f"/api/cases/{current(room).token}/draft", content=content).status_code == 422


def test_a_body_without_end_is_cut_off(room):
    answer = browser().post(f"/api/cases/{current(room).token}/draft", content=b" " * (case_routes.LARGEST_BODY + 1))
    assert answer.status_code == 413


def test_a_submitted_case_gives_a_receipt_that_tells_nothing_but_the_time(room):
    receipt = submit(current(room))
    assert receipt.status_code == 200 and set(receipt.json()) == {"submitted_at", "already"}
    assert receipt.json()["already"] is False and answers(room) == 1


def test_a_second_submit_gets_the_first_receipt_and_stores_nothing(room):
    case = current(room)
    first, second = submit(case), submit(case, entry={})
    assert second.json() == first.json() | {"already": True}
    assert answers(room) == 1


def test_an_incomplete_answer_is_refused_and_stays_open(room):
    case = current(room)
    answer = submit(case, entry={"regions": {"central_canal": {"grade": 1, "confidence": 5}}})
    assert answer.status_code == 422 and "no answer yet" in answer.text
    assert answers(room) == 0 and current(room).token == case.token


def test_a_draft_after_the_answer_is_told_so(room):
    case = current(room)
    submit(case)
    late = send(case.token, "draft", {"change": 9, "entry": FULL})
    assert late.status_code == 409 and "already submitted" in late.text


def test_a_sign_of_life_tells_another_window_to_go_on(room):
    case = current(room)
    assert send(case.token, "alive", {}).json() == {"open": True}
    submit(case)
    assert send(case.token, "alive", {}).json() == {"open": False}


def test_a_paused_study_takes_no_answer_and_says_so(room):
    case = current(room)
    lifecycle.pause(room.engine, room.pi, room.study_id, reason="scanner")
    answer = submit(case)
    assert answer.status_code == 422 and "paused" in answer.text and answers(room) == 0


def test_the_unaided_arm_gets_no_aid_and_the_asking_is_noted(room):
    answer = browser().get(f"/api/cases/{current(room).token}/aid")
    assert answer.status_code == 403
    assert not [planted for planted in PLANTED if planted in answer.text]
    assert [each.action for each in refusals(room)] == ["refused: aid"]


def test_the_aided_arm_gets_what_the_protocol_shows(open_room):
    room = open_room(aided(Design.AIDED))
    told = browser().get(f"/api/cases/{current(room).token}/aid").json()
    assert (told["version"], told["slice"]) == ("planted-version", 3)
    canal = told["regions"]["central_canal"]
    box = BOXES[Region.CENTRAL_CANAL].as_list()
    assert canal == {
        "grade": 3, "probabilities": [0.0, 0.0625, 0.0625, 0.875], "not_gradable": "", "box": box,
        "heat_map": {"rows": 20, "columns": 24, "box": box, "values": base64.b64encode(HEAT.tobytes()).decode()},
    }


def test_heat_maps_stay_away_where_the_protocol_shows_none(open_room):
    protocol = aided(Design.AIDED)
    assert protocol.aid is not None
    room = open_room(replace(protocol, aid=replace(protocol.aid, heat_map=False)))
    told = browser().get(f"/api/cases/{current(room).token}/aid").json()
    assert told["regions"]["central_canal"]["heat_map"] is None


def test_a_submitted_case_gives_its_aid_no_more(open_room):
    room = open_room(aided(Design.AIDED))
    case = current(room)
    submit(case)
    assert browser().get(f"/api/cases/{case.token}/aid").status_code == 403


def test_a_training_case_tells_its_reference_only_once_it_is_submitted(open_room):
    room = open_room(training=1)
    case = current(room)
    assert browser().get(f"/api/cases/{case.token}/feedback").status_code == 403
    submit(case)
    told = browser().get(f"/api/cases/{case.token}/feedback").json()
    assert told["central_canal"] == {"own": 2, "reference": 2, "source": "PLANTEDSOURCE"}


def test_a_test_case_never_tells_its_reference(room):
    case = current(room)
    submit(case)
    answer = browser().get(f"/api/cases/{case.token}/feedback")
    assert answer.status_code == 403 and "PLANTEDSOURCE" not in answer.text


def test_nothing_that_is_sent_in_the_unaided_arm_tells_what_a_reader_must_not_know(room):
    sent = []
    for _ in room.scan_keys:
        case = current(room)
        told = [browser().get(f"/api/cases/{case.token}/slab"), send(case.token, "draft", {"change": 1, "entry": FULL}),
                send(case.token, "alive", {}), submit(case)]
        sent += [bytes(str(answer.headers), "utf-8") + answer.content for answer in told]
    secrets = [*PLANTED, *room.scan_keys, *(reader.email for reader in room.readers), str(room.store._root)]
    assert len(sent) == 4 * len(room.scan_keys)
    assert not [secret for secret in secrets for each in sent if secret.encode() in each]
    assert not audit.verify(room.engine)


def test_the_time_that_an_answer_takes_does_not_tell_the_truth(open_room):
    """Every other case is severe. A server that did more on the way for one kind would differ in every such case."""
    room = open_room(test=60, truth=lambda number: Grade.SEVERE if number % 2 else Grade.NORMAL)
    severe = tokens_by_truth(room, Grade.SEVERE)
    taken: dict[bool, list[float]] = {True: [], False: []}
    client = browser()
    while case := reading.current_case(room.engine, room.readers[0], room.study_id):
        body = json.dumps({"change": case.change + 1, "revision": case.revision, "entry": FULL})
        begun = time.perf_counter()
        assert client.get(f"/api/cases/{case.token}/slab").status_code == 200
        assert client.post(f"/api/cases/{case.token}/submit", content=body).status_code == 200
        taken[case.token in severe].append(time.perf_counter() - begun)
    assert [len(each) for each in taken.values()] == [30, 30]
    assert permutation_p(taken[True], taken[False]) > 2e-4


def tokens_by_truth(room: Room, grade: Grade) -> set[str]:
    with reads(room.engine) as session:
        query = select(ReadingItem.token).join(Reference, col(Reference.case_id) == ReadingItem.case_id)
        return set(session.exec(query.where(Reference.grade == grade)))


def test_the_permutation_test_would_see_a_query_of_a_millisecond():
    noise = np.random.default_rng(1).gamma(4, 0.5e-3, (2, 30))
    assert permutation_p(list(noise[0]), list(noise[1])) > 1e-3
    assert permutation_p(list(noise[0] + 1.5e-3), list(noise[1])) < 1e-3


def permutation_p(first: list[float], second: list[float]) -> float:
    """Two-sided p of the difference of the mean ranks, by 9,999 permutations."""
    ranks = np.argsort(np.argsort([*first, *second]))
    sides = np.arange(len(ranks)) < len(first)
    rng = np.random.default_rng(0)
    drawn = [abs(ranks[order].mean() - ranks[~order].mean()) for order in (rng.permutation(sides) for _ in range(9999))]
    observed = abs(ranks[sides].mean() - ranks[~sides].mean())
    return (1 + sum(each >= observed for each in drawn)) / 10_000
