"""The results of an unblinded study, for those who may see them; before unblinding nobody gets anything from here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, func
from sqlmodel import Session, col, select

from lss_core.permissions import Permission
from lss_core.study import audit
from lss_core.study.actors import Actor, check_in_study
from lss_core.study.clock import utc_now
from lss_core.study.connection import snapshot, transaction
from lss_core.study.database import (
    Answer,
    Case,
    CaseKind,
    CaseOrigin,
    ModelOutput,
    ProtocolVersion,
    ReadingItem,
    ReadingSession,
    Reference,
    Scan,
    Study,
    StudyState,
)
from lss_core.study.export import tables_of
from lss_core.study.places import protocol_now
from lss_core.study.protocol import AnalysisPlan
from lss_core.study.readings import StudyTables, check_tables
from lss_core.study.truth import outputs_of, references_of
from lss_core.vocabulary import Box, DiscLevel, Refusal, Region

BLINDED = "The study is {}; its results can be seen after it was closed and unblinded."
NOTHING_READ = "Nobody has submitted a test case in this study, so there is nothing to analyse."


@dataclass(frozen=True)
class StudyRecord:
    """What an analysis of a study starts from.

    Attributes:
        version: Names the stored rows it was made of: equal versions of a study have equal tables and plan.
    """

    version: str
    plan: AnalysisPlan
    simulated: bool
    tables: StudyTables


@dataclass(frozen=True)
class ShownOutput:
    """What a model version found in one region; places are those of the stored scan."""

    version: str
    weights_sha256: str
    grade: int | None
    probabilities: tuple[float, ...] | None
    not_gradable: str
    slice_index: int | None
    box: Box | None
    heat_map_key: str                   # "" where none was stored
    heat_map_box: Box | None


@dataclass(frozen=True)
class ShownCase:
    """A case with the truth, for looking at it after unblinding."""

    number: int
    level: DiscLevel
    scan_key: str
    scan_sha256: str
    slice_index: int
    references: Mapping[Region, int | None]         # None: not gradable
    outputs: Mapping[Region, tuple[ShownOutput, ...]]


def record_version(engine: Engine, actor: Actor, study_id: int) -> str:
    """The version of the record of an unblinded study, at the cost of a few counts; ask it before anything cached.

    Raises:
        Refusal: no role that sees results, or the study is not unblinded.
    """
    with snapshot(engine) as session:
        return _version(session, _unblinded(session, actor, study_id))


def study_record(engine: Engine, actor: Actor, study_id: int) -> StudyRecord:
    """Tables and plan of an unblinded study, the same that its export holds.

    Raises:
        Refusal: no role that sees results, the study is not unblinded, or nobody has read.
    """
    with snapshot(engine) as session:
        study = _unblinded(session, actor, study_id)
        tables = tables_of(session, study)
        if tables.readings.empty:
            raise Refusal(NOTHING_READ)
        checked = check_tables(tables.readings, tables.reference, None if tables.model.empty else tables.model)
        protocol, _ = protocol_now(session, study_id)
        return StudyRecord(_version(session, study), protocol.analysis, study.is_demo, checked)


def shown_case(
    engine: Engine, actor: Actor, study_id: int, number: int, *, now: datetime | None = None
) -> ShownCase:
    """A test case with its reference and what the models found. A line of the audit log tells who looked at it.

    Raises:
        Refusal: no role that sees results, the study is not unblinded, or there is no such test case.
    """
    with transaction(engine) as session:
        study = _unblinded(session, actor, study_id)
        found = session.exec(
            select(Case, Scan).join(CaseOrigin, col(CaseOrigin.case_id) == Case.id)
            .join(Scan, col(Scan.id) == Case.scan_id)
            .where(Case.study_id == study_id, Case.number == number, Case.kind == CaseKind.TEST,
                   col(Case.removed_at).is_(None))
        ).first()
        if found is None:
            raise Refusal(f"Case {number} is not a test case of this study.")
        audit.append(session, at=now or utc_now(), actor=actor.email, action="look at case", study_id=study.id,
                     subject=f"case {number}")
        return _shown(session, *found)


def note_report(
    engine: Engine, actor: Actor, study_id: int, *, what: str, content: bytes, now: datetime | None = None
) -> None:
    """Write to the audit log that a report was made of an unblinded study, with its SHA-256.

    Args:
        what: Name of the file and the filter that it states.

    Raises:
        Refusal: no role that sees results, or the study is not unblinded.
    """
    with transaction(engine) as session:
        _unblinded(session, actor, study_id)
        audit.append(session, at=now or utc_now(), actor=actor.email, action="make report", study_id=study_id,
                     subject=what, new={"sha256": hashlib.sha256(content).hexdigest()})


def _unblinded(session: Session, actor: Actor, study_id: int) -> Study:
    study = check_in_study(session, actor, study_id, Permission.SEE_RESULTS)
    if study.state != StudyState.UNBLINDED:
        raise Refusal(BLINDED.format(study.state))
    return study


def _version(session: Session, study: Study) -> str:
    """SHA-256 over how many rows there are and which is the last: rows of these tables are never changed or removed."""
    own = ReadingSession.study_id == study.id, Case.study_id == study.id, ProtocolVersion.study_id == study.id
    counted = (
        select(func.count(), func.max(Answer.id)).select_from(Answer).join(ReadingItem).join(ReadingSession)
        .where(own[0]),
        select(func.count(), func.max(Reference.id)).select_from(Reference).join(Case).where(own[1]),
        select(func.count(), func.max(ModelOutput.id)).select_from(ModelOutput).join(Case).where(own[1]),
        select(func.count(), func.max(ProtocolVersion.id)).where(own[2]),
    )
    content = [study.token, *(list(session.exec(each).one()) for each in counted)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _shown(session: Session, case: Case, scan: Scan) -> ShownCase:
    assert case.id is not None
    references = references_of(session, case.study_id).get(case.id, {})
    outputs = outputs_of(session, case.study_id).get(case.id, [])
    return ShownCase(
        number=case.number, level=DiscLevel(case.level), scan_key=scan.key, scan_sha256=scan.sha256,
        slice_index=case.slice_index, references={region: row.grade for region, row in references.items()},
        outputs={region: tuple(_output(row) for row in outputs if row.region == region) for region in Region},
    )


def _output(row: ModelOutput) -> ShownOutput:
    probabilities = tuple(each for each in (row.p0, row.p1, row.p2, row.p3) if each is not None)
    return ShownOutput(
        version=row.version, weights_sha256=row.weights_sha256, grade=row.grade,
        probabilities=probabilities if len(probabilities) == 4 else None, not_gradable=row.not_gradable,
        slice_index=row.slice_index, box=_box(row.box), heat_map_key=row.heat_map_key,
        heat_map_box=_box(row.heat_map_box),
    )


def _box(edges: str) -> Box | None:
    return Box(*json.loads(edges)) if edges else None
