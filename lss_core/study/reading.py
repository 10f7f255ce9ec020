"""The cases of a reader one by one, blinded by construction.

The functions here and in `submitting` ask no table that holds the truth, patients or other readers. Two ask one more:
`aid` the model's output, in an aided arm alone, and `feedback` the reference of a training case that was submitted.
Both check first, in the service, and write a line of the audit log when they refuse.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Engine, func
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col, select

from lss_core.permissions import Permission
from lss_core.study.actors import Actor, check_in_study
from lss_core.study.clock import utc_now
from lss_core.study.connection import lock_writers, reading, transaction
from lss_core.study.database import (
    Answer,
    Arm,
    Case,
    CaseKind,
    Draft,
    ModelOutput,
    ReadingItem,
    ReadingSession,
    Reference,
    RegionAnswer,
    Scan,
    StudyState,
)
from lss_core.study.entry import Entry, RegionEntry
from lss_core.study.places import (
    UNKNOWN_CASE,
    Denied,
    Due,
    answer_of,
    check_open,
    denials_noted,
    due_places,
    open_session,
    own_place,
    protocol_now,
)
from lss_core.study.protocol import Protocol, Revisit
from lss_core.vocabulary import Box, DiscLevel, Region


@dataclass(frozen=True)
class BlindedCase:
    """One case as its reader sees it. No field could hold the truth, the patient, a source or another reader.

    Attributes:
        token: The only name of the case that a browser may learn.
        number, total: "Case 23 of 300", training cases counted apart.
        scan_key: Of the image store; stays on the server.
        entry: The draft; for a case given back, the former answer.
        revision: Of the answer that is asked; `submit` wants it.
        change: Of the stored draft; the browser counts on from it.
    """

    token: str
    number: int
    total: int
    kind: CaseKind
    level: DiscLevel
    arm: Arm
    regions: tuple[Region, ...]
    ask_confidence: bool
    slice_index: int
    slices_around_mm: float
    entry: Entry
    revision: int
    change: int
    may_go_back: bool
    scan_key: str = field(repr=False)


@dataclass(frozen=True)
class ScanPlace:
    """Which slices of which stored scan a token stands for. Stays on the server but for the pixels."""

    token: str
    slice_index: int
    slices_around_mm: float
    scan_key: str = field(repr=False)


@dataclass(frozen=True)
class AidedRegion:
    """The model's output for one region. Without a grade, `not_gradable` says why."""

    grade: int | None
    probabilities: tuple[float, float, float, float] | None
    slice_index: int | None                     # of the stored scan, on which the model graded
    box: Box | None                             # pixels of that slice
    measure: float | None                       # mm2 for the canal, mm for a recess
    not_gradable: str
    heat_map_key: str | None                    # of the image store; None where none is shown
    heat_map_box: Box | None                    # pixels that the heat map covers


@dataclass(frozen=True)
class AidedView:
    """What the protocol shows of the model."""

    version: str
    regions: Mapping[Region, AidedRegion]


@dataclass(frozen=True)
class RegionFeedback:
    """A training case's region: what the reader said, and the reference. A grade of None is "not gradable"."""

    own: int | None
    reference: int | None
    measure: float | None                       # mm2 for the canal, mm for a recess; None where not measured
    source: str


def current_case(engine: Engine, actor: Actor, study_id: int, *, now: datetime | None = None) -> BlindedCase | None:
    """The case that is due, the same from any browser; None where none is. The first time, its clock starts.

    Raises:
        Refusal: not a reader of this study.
    """
    with reading(engine) as session:
        due = _due(session, actor, study_id)
        if due is None:
            return None
        if draft := session.get(Draft, due.item.id):
            return _blinded(session, due, draft, protocol_now(session, study_id)[0])
    with transaction(engine) as session:
        lock_writers(session)
        due = _due(session, actor, study_id)        # another tab may have submitted meanwhile
        if due is None:
            return None
        start_clock(session, due, now or utc_now())
        draft = session.get_one(Draft, due.item.id)
        return _blinded(session, due, draft, protocol_now(session, study_id)[0])


def next_scan(engine: Engine, actor: Actor, study_id: int) -> ScanPlace | None:
    """What comes after the current case, so that it can be loaded ahead; None at the end."""
    with reading(engine) as session:
        study = check_in_study(session, actor, study_id, Permission.READ_CASES)
        opened = open_session(session, actor.account_id, study_id)
        if opened is None or study.state != StudyState.OPEN:
            return None
        due = due_places(session, opened)
        return _scan_place(session, due[1].item, protocol_now(session, study_id)[0]) if len(due) > 1 else None


def case_images(engine: Engine, actor: Actor, token: str, *, now: datetime | None = None) -> ScanPlace:
    """Which slices to send for a token: of the reader's current or next case, of a training case that was just
    submitted, and, where the protocol lets them go back, of earlier ones.

    Raises:
        Denied: any other token; noted in the audit log.
        Refusal: the study is paused or closed.
    """
    with denials_noted(engine, actor, action="images", token=token, now=now or utc_now()), reading(engine) as session:
        study, reading_session, item = own_place(session, actor, token)
        check_open(study)
        protocol, _ = protocol_now(session, study.id)
        if not _may_see(session, reading_session, item, protocol):
            raise Denied(UNKNOWN_CASE)
        return _scan_place(session, item, protocol)


def aid(engine: Engine, actor: Actor, token: str, *, now: datetime | None = None) -> AidedView:
    """The model's output for the reader's current case, in an aided arm.

    Raises:
        Denied: the arm is unaided, or the case is not the current one; noted in the audit log.
        Refusal: the study is paused or closed.
    """
    with denials_noted(engine, actor, action="aid", token=token, now=now or utc_now()), reading(engine) as session:
        study, reading_session, item = own_place(session, actor, token)
        check_open(study)
        protocol, _ = protocol_now(session, study.id)
        if item.arm != Arm.AIDED or not _is_current(session, reading_session, item) or protocol.aid is None:
            raise Denied("The model's grades are not shown for this case.")
        outputs = session.exec(
            select(ModelOutput).where(
                ModelOutput.case_id == item.case_id, ModelOutput.version == protocol.aid.version,
                ModelOutput.weights_sha256 == protocol.aid.weights_sha256,
            )
        ).all()
        regions = {Region(each.region): _aided(each, protocol.aid.heat_map) for each in outputs}
        return AidedView(protocol.aid.version, {region: regions[region] for region in protocol.regions})


def feedback(
    engine: Engine, actor: Actor, token: str, *, now: datetime | None = None
) -> Mapping[Region, RegionFeedback]:
    """The reference of a training case, after the reader has submitted it.

    Raises:
        Denied: not a training case, not submitted, or not shown by the protocol; noted in the audit log.
    """
    with denials_noted(engine, actor, action="feedback", token=token, now=now or utc_now()), reading(engine) as session:
        study, _, item = own_place(session, actor, token)
        protocol, _ = protocol_now(session, study.id)
        answer = answer_of(session, item, 1)
        if item.kind != CaseKind.TRAINING or not protocol.training_feedback or answer is None:
            raise Denied("The reference of this case is not shown.")
        own = entry_of(session, answer).regions
        rows = session.exec(
            select(Reference).where(Reference.case_id == item.case_id).order_by(col(Reference.id))
        ).all()
        last = {Region(row.region): row for row in rows}
        return {
            region: RegionFeedback(own[region].grade, last[region].grade, last[region].measure, last[region].source)
            for region in protocol.regions
        }


def entry_of(session: Session, answer: Answer) -> Entry:
    """A stored answer as the entry that made it."""
    rows = session.exec(select(RegionAnswer).where(RegionAnswer.answer_id == answer.id)).all()
    regions = {Region(row.region): RegionEntry(row.grade, row.confidence, row.not_gradable) for row in rows}
    return Entry(regions, answer.image_quality, answer.comment)


def _due(session: Session, actor: Actor, study_id: int) -> Due | None:
    study = check_in_study(session, actor, study_id, Permission.READ_CASES)
    opened = open_session(session, actor.account_id, study_id)
    due = due_places(session, opened, limit=1) if opened and study.state == StudyState.OPEN else []
    return due[0] if due else None


def start_clock(session: Session, due: Due, now: datetime) -> None:
    """Store an empty draft, or the former answer of a case given back, unless there is a draft already."""
    former = answer_of(session, due.item, due.revision - 1)
    values = {
        "item_id": due.item.id, "revision": due.revision, "change": 0,
        "content": entry_of(session, former).canonical if former else "", "shown_at": now, "last_seen_at": now,
        "idle_s": 0.0, "updated_at": now,
    }
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    session.execute(insert(Draft).values(**values).on_conflict_do_nothing())


def _blinded(session: Session, due: Due, draft: Draft, protocol: Protocol) -> BlindedCase:
    item = due.item
    place = _scan_place(session, item, protocol)
    same_kind = (ReadingItem.session_id == item.session_id, ReadingItem.kind == item.kind)
    total, first = session.exec(
        select(func.count(), func.min(ReadingItem.position)).where(*same_kind)
    ).one()
    level = session.exec(select(Case.level).where(Case.id == item.case_id)).one()
    return BlindedCase(
        token=item.token, number=item.position - first + 1, total=total, kind=CaseKind(item.kind),
        level=DiscLevel(level), arm=Arm(item.arm), regions=protocol.regions, ask_confidence=protocol.ask_confidence,
        slice_index=place.slice_index, slices_around_mm=place.slices_around_mm, entry=Entry.parse(draft.content),
        revision=due.revision, change=draft.change, may_go_back=protocol.revisit is Revisit.UNTIL_SIGNED,
        scan_key=place.scan_key,
    )


def _scan_place(session: Session, item: ReadingItem, protocol: Protocol) -> ScanPlace:
    key, slice_index = session.exec(
        select(Scan.key, Case.slice_index).join(Case).where(Case.id == item.case_id)
    ).one()
    return ScanPlace(item.token, slice_index, protocol.slices_around_mm, key)


def _is_current(session: Session, reading_session: ReadingSession, item: ReadingItem) -> bool:
    opened = open_session(session, reading_session.account_id, reading_session.study_id)
    due = due_places(session, opened, limit=1) if opened else []
    return bool(due) and due[0].item.id == item.id


def _may_see(session: Session, reading_session: ReadingSession, item: ReadingItem, protocol: Protocol) -> bool:
    opened = open_session(session, reading_session.account_id, reading_session.study_id)
    if opened is None or opened.id != item.session_id:
        return False
    if item.id in {due.item.id for due in due_places(session, opened)}:
        return True
    earlier_shown = protocol.revisit is Revisit.UNTIL_SIGNED or (
        item.kind == CaseKind.TRAINING and protocol.training_feedback
    )
    return earlier_shown and answer_of(session, item, 1) is not None


def _aided(output: ModelOutput, heat_map: bool) -> AidedRegion:
    probabilities = (output.p0, output.p1, output.p2, output.p3)
    known = tuple(each for each in probabilities if each is not None)
    return AidedRegion(
        grade=output.grade, probabilities=known if len(known) == 4 else None,
        slice_index=output.slice_index, box=_box(output.box), measure=output.measure, not_gradable=output.not_gradable,
        heat_map_key=(output.heat_map_key or None) if heat_map else None,
        heat_map_box=_box(output.heat_map_box) if heat_map else None,
    )


def _box(text: str) -> Box | None:
    return Box(*json.loads(text)) if text else None
