"""The server killed at random moments during 200 submissions, with double clicks and two tabs: nothing is lost."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from lss_core.study import acting, desks, reading
from lss_core.study.actors import Actor
from lss_core.study.connection import open_database, snapshot
from lss_core.study.database import Answer, Draft, ReadingItem, RegionAnswer
from lss_core.study.entry import Entry
from lss_core.study.protocol import Protocol
from lss_core.study.reading import BlindedCase
from lss_core.study.verification import check_records
from tests.read_study import READERS, Made, graded, make_study, sign

ROOT = Path(__file__).resolve().parent.parent
CASES = 99                                      # and one training case: 200 submissions of two readers
ANSWERS_BETWEEN_KILLS = (10, 50)                # requests that are answered, not cases


class Mortal:
    """The server, and whoever kills it: after a random number of answered requests, at a random moment."""

    def __init__(self, process: subprocess.Popen[str], seed: int) -> None:
        assert process.stdout
        self._process, self._random = process, random.Random(seed)
        self.port, self.kills = int(process.stdout.readline()), 0
        self._server = int(process.stdout.readline())
        self._left, self._lock = 5, threading.Lock()

    def answered(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left == 0:
                threading.Timer(self._random.uniform(0, 0.03), self._kill).start()

    def _kill(self) -> None:
        os.kill(self._server, signal.SIGKILL)
        assert self._process.stdout
        self._server = int(self._process.stdout.readline())
        with self._lock:
            self.kills, self._left = self.kills + 1, self._random.randint(*ANSWERS_BETWEEN_KILLS)


class Browser:
    """One reader's browser: drafts at each change, then the answer from two tabs at once; what fails is sent again."""

    def __init__(self, engine: Engine, mortal: Mortal, made: Made, reader: Actor, seed: int) -> None:
        self.cookie = f"cookie-of-{reader.email}-{seed}"
        acting.act_as(engine, cookie=self.cookie, account_id=reader.account_id)
        self._engine, self._mortal, self._study, self._reader = engine, mortal, made.study_id, reader
        self._random = random.Random(seed)
        self.failures = 0
        self.receipts: dict[str, list[dict]] = {}
        self.sent: dict[str, list[Entry]] = {}

    def read_all(self) -> None:
        with ThreadPoolExecutor(2) as tabs:
            while case := reading.current_case(self._engine, self._reader, self._study):
                self._read(case, tabs)

    def _read(self, case: BlindedCase, tabs: ThreadPoolExecutor) -> None:
        entry, change = graded(self._random.randrange(4)), case.change
        for _ in range(2):
            change += 1
            self._send_draft(case.token, change, graded(self._random.randrange(4)))
        other = Entry(entry.regions, comment="from the other tab") if self._random.random() < 0.5 else entry
        self.sent[case.token] = [entry, other]
        body = {"change": change + 1, "revision": case.revision}
        clicks = [body | {"entry": json.loads(each.canonical)} for each in (entry, other)]
        self.receipts[case.token] = list(tabs.map(partial(self._until_answered, case.token, "submit"), clicks))

    def _send_draft(self, token: str, change: int, entry: Entry) -> None:
        """What is stored after a failure is this change or the one before."""
        while self._post(token, "draft", {"change": change, "entry": json.loads(entry.canonical)}) is None:
            with snapshot(self._engine) as session:
                stored = session.exec(select(Draft.change).join(ReadingItem).where(ReadingItem.token == token)).one()
            assert stored in (change - 1, change)

    def _until_answered(self, token: str, what: str, body: dict) -> dict:
        while (reply := self._post(token, what, body)) is None:
            pass
        return reply

    def _post(self, token: str, what: str, body: dict) -> dict | None:
        """The reply, or None where the server was gone. Anything but a good reply is an error of the server."""
        connection = http.client.HTTPConnection("127.0.0.1", self._mortal.port, timeout=60)
        headers = {"Origin": f"http://127.0.0.1:{self._mortal.port}", "Cookie": f"lss_session={self.cookie}"}
        try:
            connection.request("POST", f"/api/cases/{token}/{what}", json.dumps(body), headers)
            reply = connection.getresponse()
            content = reply.read()
        except (ConnectionError, http.client.HTTPException):
            self.failures += 1
            return None
        finally:
            connection.close()
        assert reply.status == 200, content
        self._mortal.answered()
        return json.loads(content)


@contextmanager
def mortal_server(database: str, data: Path, seed: int) -> Iterator[Mortal]:
    environment = os.environ | {"DATABASE_URL": database, "LSS_DATA": str(data)}
    process = subprocess.Popen([sys.executable, "-m", "tests.mortal_server"], cwd=ROOT, env=environment, text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        yield Mortal(process, seed)
    finally:
        process.communicate(timeout=60)


@pytest.fixture
def engine(database):
    engine = open_database(database)
    yield engine
    engine.dispose()


def test_a_server_killed_during_200_submissions_loses_and_doubles_nothing(engine, database, tmp_path):
    made = make_study(engine, protocol=Protocol(), tests=CASES)
    for reader in made.readers:
        desks.begin_session(engine, reader, made.study_id)
    with mortal_server(database, tmp_path, seed=1) as mortal:
        browsers = [Browser(engine, mortal, made, reader, seed) for seed, reader in enumerate(made.readers)]
        with ThreadPoolExecutor(len(READERS)) as people:
            list(people.map(Browser.read_all, browsers))
    assert mortal.kills >= 12 and sum(browser.failures for browser in browsers) >= 10
    with snapshot(engine) as session:
        answers = session.exec(select(ReadingItem.token, Answer).join(Answer)).all()
        assert session.exec(select(Draft)).all() == []
        stored = {token: (answer, session.exec(select(RegionAnswer).where(RegionAnswer.answer_id == answer.id)).all())
                  for token, answer in answers}
    receipts = {token: each for browser in browsers for token, each in browser.receipts.items()}
    assert len(answers) == len(stored) == len(receipts) == 200
    for browser in browsers:
        for token, entries in browser.sent.items():
            check_answer(*stored[token], entries, receipts[token])
    for reader in made.readers:
        sign(made, reader)
    assert check_records(engine) == []


def check_answer(answer: Answer, regions: Sequence[RegionAnswer], entries: list[Entry], receipts: list[dict]) -> None:
    """One of the two clicks is stored, whole, and both were told of the same answer."""
    whole = {(row.region, row.grade, row.confidence) for row in regions}
    assert len(regions) == 3 and answer.revision == 1
    assert (whole, answer.comment) in [
        ({(region.value, each.grade, each.confidence) for region, each in entry.regions.items()}, entry.comment)
        for entry in entries
    ]
    assert {receipt["submitted_at"] for receipt in receipts} == {answer.submitted_at.isoformat()}
    assert any(receipt["already"] for receipt in receipts)
