"""The demo: one finished study and one that is still being read, made through the same services as any study.

Scans are simulated, readers are simulated (`lss_core.demo.readers`), and moments lie in the past; the orders, arms,
washouts, answers, signatures and the audit log are those that the services made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from sqlalchemy import Engine
from sqlmodel import col, select

from lss_core.control_set import import_scans
from lss_core.demo.readers import READERS, DemoReader, SeenRegion, read_case
from lss_core.grading.pipeline import Grader
from lss_core.imaging.store import ScanStore
from lss_core.permissions import Role
from lss_core.study import cases, desks, finishing, lifecycle, people, reading, studies, submitting
from lss_core.study.actors import Actor, actor_of
from lss_core.study.clock import utc_now
from lss_core.study.connection import reading as reads
from lss_core.study.connection import transaction
from lss_core.study.database import Account, Arm, CaseKind, ReadingItem, ReadingSession, Study
from lss_core.study.entry import Entry, RegionEntry
from lss_core.study.protocol import Aid, AnalysisPlan, Design, Protocol
from lss_core.training.scan_sets import SimulatedSet
from lss_core.vocabulary import DiscLevel, Refusal, Region

Progress = Callable[[str, float], None]
SEED = 1_700_147                        # an evaluation seed: no network was trained on its patients
FINISHED = "DEMO: simulated readers on simulated cases (finished)"
OPEN = "DEMO: simulated readers on simulated cases (open for reading)"
INSTRUCTIONS = (
    "This is a **demonstration**: the scans are drawn by software, and no patient was scanned. Grade the central canal "
    "and both lateral recesses of the level that is shown, from 0 (normal) to 3 (severe)."
)
SITE = "simulated"
BEGAN_DAYS_AGO = 75
TRAINING_LEVELS = (DiscLevel.L3_4, DiscLevel.L4_5)
LEVELS_EACH = 3                         # of the five levels of a patient


@dataclass(frozen=True)
class DemoStudies:
    finished: int                       # ids of the studies
    open: int


def has_demo(engine: Engine) -> bool:
    """Whether this database holds the demo, or a part of it that was stopped."""
    with reads(engine) as session:
        return session.exec(select(Study.id).where(col(Study.title).in_([FINISHED, OPEN]))).first() is not None


def make_demo(
    engine: Engine, store: ScanStore, graders: Sequence[Grader], *, patients: int = 14, readers: int = len(READERS),
    progress: Progress | None = None, now: datetime | None = None,
) -> DemoStudies:
    """Make both studies; the local user is their principal investigator.

    Args:
        graders: Model versions to compare; the first one is the aid of the aided arm.
        patients: Simulated patients in the finished study; the open one has a third of them.
        readers: How many of the nine simulated readers read.
        progress: Called with what is being done and the share of the work that is done.

    Raises:
        Refusal: the database holds the demo already.
    """
    if has_demo(engine):
        raise Refusal(
            "The demo studies are in this database already. Answers are never deleted: for a fresh demo, start with "
            "another data folder (LSS_DATA)."
        )
    tell = progress or (lambda what, share: None)
    now = now or utc_now()
    local = people.local_account(engine, now=now)
    names = READERS[:: max(1, len(READERS) // readers)][:readers]
    shares = {"finished": (0.0, 0.7), "read": (0.7, 0.75), "open": (0.75, 1.0)}

    def within(part: str) -> Progress:
        begin, end = shares[part]
        return lambda what, share: tell(what, begin + (end - begin) * share)

    finished = _set_up(engine, store, local, graders, title=FINISHED, patients=patients, seed=SEED, readers=names,
                       began=now - timedelta(days=BEGAN_DAYS_AGO), progress=within("finished"))
    _finish(engine, local, finished, names, began=now - timedelta(days=BEGAN_DAYS_AGO), progress=within("read"))
    opened = _set_up(engine, store, local, graders, title=OPEN, patients=max(1, patients // 3), seed=SEED + 1,
                     readers=names, began=now - timedelta(days=3), progress=within("open"))
    _begin_some(engine, opened, names, began=now - timedelta(days=2))
    tell("The demo is ready", 1.0)
    return DemoStudies(finished, opened)


def _set_up(
    engine: Engine, store: ScanStore, local: Actor, graders: Sequence[Grader], *, title: str, patients: int, seed: int,
    readers: Sequence[DemoReader], began: datetime, progress: Progress,
) -> int:
    """A locked study with its cases and readers."""
    study_id = studies.create(
        engine, local, title=title, protocol=_protocol(graders, patients), is_demo=True, now=began
    ).id
    assert study_id is not None
    scans = SimulatedSet(patients, seed)
    import_scans(engine, store, local, study_id, scans, graders=graders, levels=_levels(scans), site=SITE,
                 progress=lambda what, share: progress(f"{what}: drawing and grading", 0.9 * share))
    training = SimulatedSet(1, seed + 100)
    import_scans(engine, store, local, study_id, training, graders=graders, kind=CaseKind.TRAINING, site=SITE,
                 levels={patient: TRAINING_LEVELS for patient in training.patients()},
                 progress=lambda what, share: progress("Training cases", 0.9 + 0.1 * share))
    for reader in readers:
        _add_reader(engine, reader, began)
        people.invite(engine, local, study_id, email=reader.email, role=Role.READER, now=began)
    lifecycle.lock(engine, local, study_id, typed_name=people.LOCAL_NAME,
                 meaning="I approve this protocol (demonstration).", now=began + timedelta(hours=1))
    return study_id


def _protocol(graders: Sequence[Grader], patients: int) -> Protocol:
    first = graders[0]
    return Protocol(
        instructions=INSTRUCTIONS, design=Design.CROSSOVER_SESSIONS, sessions=2, washout_days=28,
        aid=Aid(first.version, first.weights_sha256, heat_map=True), repeats=min(4, patients * LEVELS_EACH // 2),
        seed=str(SEED), versions=tuple(grader.version for grader in graders), own_result=True,
        analysis=AnalysisPlan(text="Demonstration: simulated readers on simulated cases. Nothing here is clinical."),
    )


def _levels(scans: SimulatedSet) -> Mapping[str, tuple[DiscLevel, ...]]:
    """Some levels of each patient, drawn from the set's seed."""
    rng = np.random.default_rng(scans.seed)
    return {
        patient: tuple(rng.choice(np.array(list(DiscLevel)), size=LEVELS_EACH, replace=False))
        for patient in scans.patients()
    }


def _add_reader(engine: Engine, reader: DemoReader, now: datetime) -> None:
    with transaction(engine) as session:
        if session.exec(select(Account.id).where(Account.email == reader.email)).first() is None:
            session.add(Account(
                email=reader.email, name=reader.name, specialty=reader.specialty, is_demo=True, created_at=now,
                years_of_experience=reader.years_of_experience, lumbar_cts_a_year=reader.lumbar_cts_a_year,
            ))


def _finish(
    engine: Engine, local: Actor, study_id: int, readers: Sequence[DemoReader], *, began: datetime, progress: Progress
) -> None:
    """All readers read both sessions; then the study is closed and unblinded."""
    known = _measures(engine, local, study_id)
    for number, reader in enumerate(readers):
        progress(f"{reader.name} reads", number / len(readers))
        actor = _actor_of(engine, reader)
        for session_number, day in ((1, 2), (2, 35)):
            starts = began + timedelta(days=day + number % 5, hours=8 + number % 9)
            _read_session(engine, actor, reader, study_id, known, session_number, starts=starts)
    ended = began + timedelta(days=45)
    lifecycle.close(engine, local, study_id, reason="All readers have finished.", now=ended)
    lifecycle.unblind(engine, local, study_id, reason="The analysis begins.", now=ended + timedelta(hours=1))


def _begin_some(engine: Engine, study_id: int, readers: Sequence[DemoReader], *, began: datetime) -> None:
    """In the open study some readers have signed the first session, some are in it, some have not begun."""
    local = people.local_account(engine)
    known = _measures(engine, local, study_id)
    for number, reader in enumerate(readers):
        share = (1.0, 0.5, 0.0)[number % 3]
        if share:
            _read_session(engine, _actor_of(engine, reader), reader, study_id, known, 1,
                          starts=began + timedelta(hours=number), share=share)


Known = Mapping[int, Mapping[Region, float]]        # case to the reference measure of each region, mm2 or mm


def _measures(engine: Engine, local: Actor, study_id: int) -> Known:
    """What a simulated reader's behaviour starts from; no person's reading path asks this."""
    return {
        row.case_id: {
            region: each.measure for region, each in (row.reference or {}).items() if each.measure is not None
        }
        for row in cases.cases_of(engine, local, study_id)
    }


def _read_session(
    engine: Engine, actor: Actor, reader: DemoReader, study_id: int, known: Known, session_number: int, *,
    starts: datetime, share: float = 1.0,
) -> None:
    """Read one session from its first case, up to a share of it; the whole is signed."""
    desks.begin_session(engine, actor, study_id, now=starts)
    case_of = _case_of(engine, actor, study_id)
    moment, showings = starts, dict.fromkeys(known, session_number * 10)
    while (case := reading.current_case(engine, actor, study_id, now=moment)) is not None:
        if case.kind is CaseKind.TEST and case.number > share * case.total:
            return
        case_id = case_of[case.token]
        given = read_case(
            reader, _seen(engine, actor, case, known[case_id], moment), case_seed=case_id, showing=showings[case_id],
            position=case.number, total=case.total,
        )
        showings[case_id] += 1
        entry = Entry(
            {region: RegionEntry(
                grade=None if each.grade is None else int(each.grade),
                confidence=None if each.grade is None else each.confidence, not_gradable=each.not_gradable,
            ) for region, each in given.regions.items()},
            image_quality=given.image_quality,
        )
        first = moment + timedelta(seconds=0.4 * given.duration_s)
        change = submitting.save_draft(engine, actor, case.token, change=case.change + 1, entry=entry, now=first)
        moment += timedelta(seconds=given.duration_s)
        submitting.submit(engine, actor, case.token, change=change, entry=entry, revision=case.revision, now=moment)
        moment += timedelta(seconds=2)
    finishing.sign_session(engine, actor, study_id, typed_name=reader.name, now=moment,
                       meaning="I read these cases myself (simulated reader).")


def _seen(
    engine: Engine, actor: Actor, case: reading.BlindedCase, measures: Mapping[Region, float], now: datetime
) -> tuple[SeenRegion, ...]:
    shown = reading.aid(engine, actor, case.token, now=now).regions if case.arm is Arm.AIDED else {}
    return tuple(
        SeenRegion(region, measures[region], _expected(shown[region].probabilities) if region in shown else None)
        for region in case.regions
    )


def _expected(probabilities: tuple[float, float, float, float] | None) -> float | None:
    return None if probabilities is None else sum(grade * p for grade, p in enumerate(probabilities))


def _actor_of(engine: Engine, reader: DemoReader) -> Actor:
    with reads(engine) as session:
        return actor_of(session, session.exec(select(Account.id).where(Account.email == reader.email)).one() or 0)


def _case_of(engine: Engine, actor: Actor, study_id: int) -> Mapping[str, int]:
    """Token to case, which a person's browser never learns."""
    with reads(engine) as session:
        return dict(session.exec(
            select(ReadingItem.token, ReadingItem.case_id).join(ReadingSession)
            .where(ReadingSession.study_id == study_id, ReadingSession.account_id == actor.account_id)
        ).all())
