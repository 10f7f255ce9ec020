"""Small studies for the tests, made by the real services, with values planted where a reader must never find them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine
from sqlmodel import select

from lss_core.permissions import Role
from lss_core.study import cases, lifecycle, people, studies
from lss_core.study.actors import Actor, actor_of
from lss_core.study.connection import reading
from lss_core.study.database import Account, CaseKind
from lss_core.study.desks import begin_session
from lss_core.study.entry import Entry, RegionEntry
from lss_core.study.finishing import sign_session
from lss_core.study.protocol import Aid, Design, Protocol
from lss_core.study.reading import BlindedCase, current_case
from lss_core.study.submitting import submit
from lss_core.vocabulary import Box, DiscLevel, Region

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
WEIGHTS = "f00d" * 16
AID = Aid("planted-version", WEIGHTS)
MEASURE = 77.125
# Text that must never reach a reader, and where it is planted.
PLANTED = {
    "patient": "PLANTEDPATIENT", "name": "PLANTEDNAME", "site": "PLANTEDSITE", "scanner": "PLANTEDSCANNER",
    "source": "PLANTEDSOURCE", "heat_map": "PLANTEDHEATMAP", "version": AID.version, "weights": WEIGHTS,
    "measure": str(MEASURE),
}


@dataclass(frozen=True)
class Made:
    """A study and its people. `outsider` has an account and no role in it."""

    study_id: int
    pi: Actor
    coordinator: Actor
    annotator: Actor
    readers: tuple[Actor, ...]
    outsider: Actor

    @property
    def reader(self) -> Actor:
        return self.readers[0]


def person(engine: Engine, email: str) -> Actor:
    """The actor of an account that is there already."""
    with reading(engine) as session:
        account = session.exec(select(Account).where(Account.email == email)).one()
        return actor_of(session, account.id or 0)


def make_draft(
    engine: Engine, *, protocol: Protocol | None = None, test: int = 4, training: int = 0, readers: int = 1,
    simulated: bool = False,
) -> Made:
    """A study in draft that could be locked. Test case k (from 1) is of patient (k + 1) // 2."""
    people.allow_studies(engine, "pi@example.org", now=NOON)
    people.allow_studies(engine, "outsider@example.org", now=NOON)
    pi = person(engine, "pi@example.org")
    people.state_experience(engine, pi, name="Petra Investigator", specialty="spine surgery", years_of_experience=20,
                            lumbar_cts_a_year=500, now=NOON)
    study_id = studies.create(engine, pi, title="Canal study", protocol=protocol, now=NOON).id
    assert study_id is not None
    for email, role in (("coordinator", Role.COORDINATOR), ("annotator", Role.ANNOTATOR)):
        people.invite(engine, pi, study_id, email=f"{email}@example.org", role=role, now=NOON)
    invited = tuple(add_reader(engine, pi, study_id, number) for number in range(1, readers + 1))
    cases.add_cases(engine, pi, study_id, [new_case(n, CaseKind.TRAINING, simulated) for n in range(1, training + 1)]
                    + [new_case(n, CaseKind.TEST, simulated) for n in range(1, test + 1)], now=NOON)
    return Made(study_id, person(engine, "pi@example.org"), person(engine, "coordinator@example.org"),
                person(engine, "annotator@example.org"), invited, person(engine, "outsider@example.org"))


def make_study(engine: Engine, **what) -> Made:
    """A locked study that is open for reading; see `make_draft`."""
    made = make_draft(engine, **what)
    lifecycle.lock(engine, made.pi, made.study_id, typed_name="Petra Investigator", meaning="I approve", now=NOON)
    return made


def add_reader(engine: Engine, pi: Actor, study_id: int, number: int) -> Actor:
    """Reader n, with n years of experience."""
    email = f"reader{number}@example.org"
    people.invite(engine, pi, study_id, email=email, role=Role.READER, now=NOON)
    people.state_experience(engine, person(engine, email), name=f"Reader {number}", specialty="radiology",
                            years_of_experience=number, lumbar_cts_a_year=100, now=NOON)
    return person(engine, email)


def new_case(number: int, kind: CaseKind, simulated: bool = False) -> cases.NewCase:
    """A case with reference grade `number % 4` everywhere and a model that always says 3."""
    patient = f"{PLANTED['patient']}-{kind}-{(number + 1) // 2}"
    outputs = [
        cases.NewOutput(AID.version, WEIGHTS, region, grade=3, probabilities=(0.0, 0.0625, 0.0625, 0.875),
                        box=Box(10, 20, 30, 40), heat_map_key=PLANTED["heat_map"])
        for region in Region
    ]
    return cases.NewCase(
        scan_key=f"scan-{kind}-{number}", scan_sha256=f"{number:02x}" * 32, simulated=simulated, level=DiscLevel.L4_5,
        slice_index=30 + number, patient=patient, kind=kind, name=f"{PLANTED['name']}-{number}", site=PLANTED["site"],
        scanner=PLANTED["scanner"], slice_thickness_mm=3.0, source=PLANTED["source"], outputs=outputs,
        reference={region: cases.NewReference(number % 4, MEASURE) for region in Region},
    )


def crossover(design: Design = Design.CROSSOVER_SESSIONS, **changes) -> Protocol:
    """Two sessions, 28 days apart, aided by the planted model."""
    return replace(Protocol(design=design, sessions=2, aid=AID, seed="a seed"), **changes)


def complete_entry(case: BlindedCase, grade: int = 1) -> Entry:
    confidence = 80 if case.ask_confidence else None
    return Entry({region: RegionEntry(grade, confidence) for region in case.regions})


def answer_current(
    engine: Engine, reader: Actor, study_id: int, *, grade: int = 1, at: datetime = NOON, takes_s: float = 30.0
) -> BlindedCase | None:
    """Read and submit the case that is due; None where none is."""
    case = current_case(engine, reader, study_id, now=at)
    if case is not None:
        submit(engine, reader, case.token, change=case.change + 1, entry=complete_entry(case, grade),
               revision=case.revision, now=at + timedelta(seconds=takes_s))
    return case


def read_session(
    engine: Engine, reader: Actor, study_id: int, *, grade: int = 1, at: datetime = NOON, sign: bool = True
) -> list[BlindedCase]:
    """A whole session, 40 seconds a case, signed at its end."""
    begin_session(engine, reader, study_id, now=at)
    read = []
    while case := answer_current(engine, reader, study_id, grade=grade, at=at + timedelta(seconds=40 * len(read))):
        read.append(case)
    if sign:
        sign_session(engine, reader, study_id, typed_name=reader.name, meaning="I read these cases myself",
                     now=at + timedelta(seconds=40 * len(read)))
    return read
