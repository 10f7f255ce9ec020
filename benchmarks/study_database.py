"""The next case and its submit with 100,000 answers in the database, against 100, in the same run.

    python -m benchmarks.study_database [--answers N] [--cases N] [--urls FEW MANY]

One reader reads by turns in two databases (SQLite, or two empty ones that `--urls` names), which differ in the answers
of others alone. Printed are the medians of both and, of each act, the median of the ratios of its turns: above 1 the
larger database is slower.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TypeVar

from sqlalchemy import Engine, insert, text
from sqlmodel import Session, select

from lss_core.permissions import Role
from lss_core.study import audit, cases, lifecycle, people, studies
from lss_core.study.actors import Actor, actor_of
from lss_core.study.clock import utc_now
from lss_core.study.connection import open_database, reading, transaction
from lss_core.study.database import Account, Answer, AuditEvent, Case, ReadingItem, ReadingSession, RegionAnswer, Study
from lss_core.study.desks import begin_session
from lss_core.study.entry import Entry, RegionEntry
from lss_core.study.places import protocol_now
from lss_core.study.reading import current_case
from lss_core.study.submitting import save_draft, submit
from lss_core.vocabulary import DiscLevel, Region

T = TypeVar("T")
ACTS = ("next case", "draft", "submit")
RATIO_LIMIT = 1.3


@dataclass(frozen=True)
class Desk:
    """A database with one study and a reader who has begun."""

    engine: Engine
    study_id: int
    reader: Actor


def main() -> int:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        urls = arguments.urls or [f"sqlite:///{Path(folder) / name}.sqlite" for name in ("few", "many")]
        counts = (100, arguments.answers)
        desks = [_desk(url, arguments.cases, count) for url, count in zip(urls, counts, strict=True)]
        few, many = [], []
        for _ in range(arguments.cases):
            few.append(_read(desks[0]))
            many.append(_read(desks[1]))
        for desk in desks:
            desk.engine.dispose()
    ratios = {act: median(b[k] / a[k] for a, b in zip(few, many, strict=True)) for k, act in enumerate(ACTS)}
    print(json.dumps({
        "database": desks[0].engine.dialect.name, "answers": counts, "cases": arguments.cases,
        "median_ms": {act: [round(1000 * median(turn[k] for turn in turns), 2) for turns in (few, many)]
                      for k, act in enumerate(ACTS)},
        "ratio": {act: round(ratio, 3) for act, ratio in ratios.items()}, "limit": RATIO_LIMIT,
    }))
    return int(max(ratios.values()) > RATIO_LIMIT)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--answers", type=int, default=100_000)
    parser.add_argument("--cases", type=int, default=100, help="of the session that is read")
    parser.add_argument("--urls", nargs=2, metavar=("FEW", "MANY"), help="empty databases, such as postgresql://...")
    return parser.parse_args()


def _read(desk: Desk) -> tuple[float, float, float]:
    """Seconds of each act on the case that is due."""
    shown_s, case = _timed(lambda: current_case(desk.engine, desk.reader, desk.study_id))
    assert case is not None
    entry = Entry({region: RegionEntry(1, 80) for region in Region})
    draft_s, change = _timed(lambda: save_draft(desk.engine, desk.reader, case.token, change=1, entry=entry))
    submit_s, _ = _timed(
        lambda: submit(desk.engine, desk.reader, case.token, change=change, entry=entry, revision=case.revision)
    )
    return shown_s, draft_s, submit_s


def _timed(act: Callable[[], T]) -> tuple[float, T]:
    begin = time.perf_counter()
    result = act()
    return time.perf_counter() - begin, result


def _desk(url: str, case_count: int, answers: int) -> Desk:
    """A database with so many answers of other readers."""
    engine = open_database(url)
    pi = people.local_account(engine)
    study_id = studies.create(engine, pi, title="Benchmark").id
    assert study_id is not None
    cases.add_cases(engine, pi, study_id, [_case(number) for number in range(case_count)])
    member = people.invite(engine, pi, study_id, email="reader@example.org", role=Role.READER)
    with reading(engine) as session:
        reader = actor_of(session, member.account_id)
    people.state_experience(engine, reader, name="Reader", specialty="radiology", years_of_experience=5,
                            lumbar_cts_a_year=100)
    lifecycle.lock(engine, pi, study_id, typed_name=pi.name, meaning="benchmark")
    with transaction(engine) as session:
        _fill(session, study_id, answers)
    begin_session(engine, reader, study_id)
    return Desk(engine, study_id, reader)


def _case(number: int) -> cases.NewCase:
    return cases.NewCase(
        scan_key=f"scan {number}", scan_sha256=f"{number:064x}", simulated=True, level=DiscLevel.L4_5, slice_index=40,
        patient=f"P{number}", source="simulated",
        reference={region: cases.NewReference(number % 4) for region in Region},
    )


def _fill(session: Session, study_id: int, answers: int) -> None:
    """Answers of others to the same cases, each with its regions and its line of the audit log, as bare rows."""
    now, study = utc_now(), session.get_one(Study, study_id)
    version_id = protocol_now(session, study.id)[1].id
    case_ids = session.exec(select(Case.id)).all()
    for first in range(0, answers, len(case_ids)):
        account = Account(email=f"other{first}@example.org", created_at=now)
        session.add(account)
        session.flush()
        begun = ReadingSession(study_id=study_id, account_id=account.id or 0, number=1, seed="x", begun_at=now,
                               completed_at=now, years_of_experience=9, protocol_version_id=version_id or 0)
        session.add(begun)
        session.flush()
        ids = range(first + 1, min(first + len(case_ids), answers) + 1)
        session.execute(insert(ReadingItem), [
            {"id": n, "token": f"token {n}", "session_id": begun.id, "position": n - first, "kind": "test",
             "case_id": case_ids[n - first - 1], "arm": "unaided", "is_repeat": False} for n in ids])
        session.execute(insert(Answer), [
            {"id": n, "item_id": n, "revision": 1, "image_quality": "", "comment": "", "shown_at": now, "idle_s": 0.0,
             "submitted_at": now, "protocol_version_id": version_id, "software_version": "x", "sha256": "x"}
            for n in ids])
        session.execute(insert(RegionAnswer), [
            {"answer_id": n, "region": region, "grade": 1, "confidence": 80, "not_gradable": ""}
            for n in ids for region in Region])
    last = audit.append(session, at=now, actor="system", action="fill").id or 0
    session.execute(insert(AuditEvent), [
        {"id": last + n, "at": now, "actor": "x", "action": "submit answer", "study_id": study_id, "subject": "",
         "old": "", "new": "", "reason": "", "previous_hash": "x", "hash": "x"} for n in range(1, answers + 1)])
    if session.get_bind().dialect.name == "postgresql":
        _count_on(session)


def _count_on(session: Session) -> None:
    """Let PostgreSQL number the next rows after those that were given their numbers."""
    for table in (ReadingItem, Answer, AuditEvent):
        name = table.__tablename__
        session.execute(text(f"select setval(pg_get_serial_sequence('{name}', 'id'), max(id)) from {name}"))


if __name__ == "__main__":
    raise SystemExit(main())
