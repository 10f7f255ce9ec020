"""A small study that was really read: made, locked, read, signed and closed by the services, on a clock of its own.

The fixture `read_study` gives a test a copy of it, on both databases; it is read once a session, since that takes time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine

from lss_core.imaging.store import ScanStore, StoredScan
from lss_core.imaging.volume import StoredPlane, Volume
from lss_core.permissions import Role
from lss_core.study import cases, desks, finishing, lifecycle, people, revisiting, studies, submitting
from lss_core.study.actors import Actor, actor_of
from lss_core.study.connection import open_database, reading, transaction
from lss_core.study.database import Account, CaseKind
from lss_core.study.entry import Entry, RegionEntry
from lss_core.study.protocol import Aid, Design, Protocol
from lss_core.study.reading import BlindedCase, current_case
from lss_core.vocabulary import DiscLevel, Region
from tests.databases import KINDS, Databases

BEGIN = datetime(2026, 3, 1, 8, tzinfo=UTC)
PI = "pi@example.org"
READERS = ("first@example.org", "second@example.org")
WEIGHTS = "a" * 64
AIDED_TWICE = Protocol(
    design=Design.CROSSOVER_SESSIONS, sessions=2, washout_days=28, aid=Aid("v1", WEIGHTS), repeats=1, versions=("v1",),
)
GRADES = {region: number % 4 for number, region in enumerate(Region)}


@dataclass
class Made:
    """The study and who is in it. `now` is the study's clock, moved on by `tick`."""

    engine: Engine
    study_id: int
    pi: Actor
    readers: tuple[Actor, ...]
    now: datetime = BEGIN
    images: Path | None = None

    def tick(self, seconds: float = 1.0) -> datetime:
        self.now += timedelta(seconds=seconds)
        return self.now


@pytest.fixture(scope="session")
def read_masters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Kind of database to the URL of one that holds the study; filled at the first use of that kind."""
    return {"images": str(tmp_path_factory.mktemp("images"))}


@pytest.fixture(params=KINDS)
def read_study(
    request: pytest.FixtureRequest, databases: Databases, read_masters: dict[str, str]
) -> Iterator[Made]:
    """A study that two readers have read whole; its scans lie in `Made.images`."""
    images = Path(read_masters["images"])
    if request.param not in read_masters:
        read_masters[request.param] = databases.new(request.param)
        engine = open_database(read_masters[request.param])
        read_all(make_study(engine, ScanStore(images)))
        engine.dispose()
    url = databases.copy(read_masters[request.param])
    engine = open_database(url)
    yield known(engine, images)
    engine.dispose()
    databases.drop(url)


def known(engine: Engine, images: Path) -> Made:
    """The study as it lies in a database."""
    with reading(engine) as session:
        accounts = [people._find(session, email) for email in (PI, *READERS)]
        pi, *readers = (actor_of(session, account.id) for account in accounts if account and account.id)
    return Made(engine, 1, pi, tuple(readers), BEGIN + timedelta(days=60), images)


def make_study(
    engine: Engine, store: ScanStore | None = None, *, protocol: Protocol = AIDED_TWICE, tests: int = 6,
    readers: tuple[str, ...] = READERS, title: str = "Canal study",
) -> Made:
    """A locked study of one scan a patient, open for its readers. Without a store, its scans are names alone."""
    pi = add_account(engine, PI, may_create_studies=True)
    study = studies.create(engine, pi, title=title, protocol=protocol, now=BEGIN)
    assert study.id is not None
    made = Made(engine, study.id, pi, ())
    cases.add_cases(engine, pi, study.id, [new_case(store, number, tests) for number in range(tests + 1)], now=BEGIN)
    for email in readers:
        people.invite(engine, pi, study.id, email=email, role=Role.READER, now=made.tick())
    made.readers = tuple(add_account(engine, email, years=3 + 9 * number) for number, email in enumerate(readers))
    lifecycle.lock(engine, pi, study.id, typed_name=pi.name, meaning="I approve", now=made.tick())
    return made


def read_all(made: Made) -> Made:
    """Both sessions of every reader, with one case reopened, signed; the study is then closed and unblinded."""
    for number in (1, 2):
        for reader in made.readers:
            read_session(made, reader)
        if number == 1:
            reopen_first(made, made.readers[0])
            made.tick(29 * 24 * 3600)
    lifecycle.close(made.engine, made.pi, made.study_id, reason="complete", now=made.tick())
    lifecycle.unblind(made.engine, made.pi, made.study_id, reason="analysis", now=made.tick())
    return made


def read_session(made: Made, reader: Actor) -> None:
    desks.begin_session(made.engine, reader, made.study_id, now=made.tick())
    for case in due(made, reader):
        submitting.submit(made.engine, reader, case.token, change=case.change + 1, entry=entry_of(case),
                          revision=case.revision, now=made.tick(20.25))
    sign(made, reader)


def due(made: Made, reader: Actor) -> Iterator[BlindedCase]:
    """The reader's current case, as long as there is one."""
    while case := current_case(made.engine, reader, made.study_id, now=made.tick()):
        yield case


def sign(made: Made, reader: Actor) -> None:
    finishing.sign_session(made.engine, reader, made.study_id, typed_name=reader.name, meaning="I read these myself",
                           now=made.tick())


def reopen_first(made: Made, reader: Actor) -> None:
    """The PI gives back the first answer of a reader, who answers it anew and signs again."""
    item = revisiting.answered_items(made.engine, made.pi, made.study_id, account_id=reader.account_id)[0]
    revisiting.reopen(made.engine, made.pi, made.study_id, item_id=item.item_id, reason="wrong key", now=made.tick())
    for case in due(made, reader):
        submitting.submit(made.engine, reader, case.token, change=case.change + 1, entry=graded(3),
                          revision=case.revision, now=made.tick(15))
    sign(made, reader)


def entry_of(case: BlindedCase) -> Entry:
    """Grades that differ from case to case; the third one is not gradable in one region, and has a comment."""
    if case.number == 3:
        regions = dict(graded(1).regions) | {Region.CENTRAL_CANAL: RegionEntry(not_gradable="  beam hardening ")}
        return Entry(regions, image_quality="noise", comment='=1+1, "quoted"\nüber')
    return graded(case.number % 4)


def graded(grade: int) -> Entry:
    return Entry({region: RegionEntry(grade=grade, confidence=10 + 20 * grade) for region in Region})


def add_account(engine: Engine, email: str, *, may_create_studies: bool = False, years: float = 8.0) -> Actor:
    """A person who has stated everything; an invited one keeps their account."""
    with transaction(engine) as session:
        account = people._find(session, email) or Account(email=email, created_at=BEGIN)
        account.name, account.specialty = email.partition("@")[0].title(), "Radiology"
        account.years_of_experience, account.lumbar_cts_a_year = years, 300
        account.may_create_studies = account.may_create_studies or may_create_studies
        session.add(account)
        session.flush()
        assert account.id is not None
        return actor_of(session, account.id)


def new_case(store: ScanStore | None, number: int, tests: int) -> cases.NewCase:
    """Case `number`; the last one is for training. Patients have names that would be recognised."""
    scan = store.put(tiny_scan(number)) if store else StoredScan(f"{number:032x}", f"{number:064x}")
    heat = store.put_heat_map(np.full((4, 5), number, np.uint8)) if store else f"{number:032x}-{number:064x}"
    outputs = [
        cases.NewOutput("v1", WEIGHTS, region, grade=(number + 1) % 4, probabilities=(0.1, 0.2, 0.3, 0.4),
                        slice_index=2, measure=11.5, heat_map_key=heat)
        for region in Region
    ]
    return cases.NewCase(
        scan_key=scan.key, scan_sha256=scan.sha256, simulated=False, level=DiscLevel.L4_5, slice_index=2,
        patient=f"PATIENT-{number}", kind=CaseKind.TRAINING if number == tests else CaseKind.TEST, name=f"L45-{number}",
        site="SITE-A", scanner="SCANNER-B", slice_thickness_mm=1.25, source="two surgeons, adjudicated",
        reference={region: cases.NewReference((number + grade) % 4, 90.5) for region, grade in GRADES.items()},
        outputs=outputs,
    )


def tiny_scan(number: int) -> Volume:
    return Volume(
        hu=np.full((5, 8, 8), number, np.int16), positions_mm=np.arange(5) * 2.0, pixel_spacing_mm=(0.5, 0.5),
        slice_thickness_mm=2.0, sop_instance_uids=("1.2",) * 5, series_uid="1.2", stored=StoredPlane((8, 8)),
    )
