"""The end of reading: the signature under a session and, after unblinding, the reader's own result."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from lss_core.permissions import Permission
from lss_core.statistics.estimate import Estimate, wilson_interval
from lss_core.study import audit
from lss_core.study.actors import Actor, check_in_study
from lss_core.study.clock import utc_now
from lss_core.study.connection import lock_writers, reading, transaction
from lss_core.study.database import (
    Answer,
    Arm,
    CaseKind,
    ReadingItem,
    ReadingSession,
    RegionAnswer,
    Signature,
    StudyState,
)
from lss_core.study.places import check_open, due_places, open_session, protocol_now
from lss_core.study.signatures import sign
from lss_core.study.truth import references_of
from lss_core.vocabulary import Refusal, Region


@dataclass(frozen=True)
class RegionResult:
    """How one reader did in one region and arm: first showings of test cases that have a reference grade.

    Attributes:
        graded: Cases that the reader graded; `right` of them have the reference's grade.
        off_by_one: Of the graded, those one grade away.
        not_gradable: Cases that the reader called not gradable; they are not in `accuracy`.
    """

    graded: int
    right: int
    off_by_one: int
    not_gradable: int
    accuracy: Estimate


def sign_session(
    engine: Engine, actor: Actor, study_id: int, *, typed_name: str, meaning: str, now: datetime | None = None
) -> Signature:
    """Sign the open session, of which all cases are read; the washout counts from here.

    Raises:
        Refusal: not a reader here, no session is open, a case is still due, the study is not open, or the signature is
            not valid.
    """
    now = now or utc_now()
    with transaction(engine) as session:
        lock_writers(session)
        study = check_in_study(session, actor, study_id, Permission.READ_CASES)
        check_open(study)
        opened = open_session(session, actor.account_id, study_id)
        if opened is None:
            raise Refusal("There is no session to sign: it was signed already, or it has not begun.")
        if due_places(session, opened, limit=1):
            raise Refusal("A case of this session is still to be submitted; sign after the last one.")
        signature = sign(session, actor, study_id, typed_name=typed_name, meaning=meaning,
                         what=f"session {opened.number}", sha256=session_digest(session, opened), at=now)
        opened.completed_at = now
        audit.append(session, at=now, actor=actor.email, action="sign session", study_id=study_id,
                     subject=f"session {opened.number} of {actor.email}", new={"sha256": signature.sha256},
                     reason=signature.meaning)
        return signature


def session_digest(session: Session, reading_session: ReadingSession) -> str:
    """SHA-256 over the hashes of all answers of a session, former revisions included, in the order read."""
    hashes = session.exec(
        select(Answer.sha256).join(ReadingItem).where(ReadingItem.session_id == reading_session.id)
        .order_by(col(ReadingItem.position), col(Answer.revision))
    )
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def own_result(engine: Engine, actor: Actor, study_id: int) -> Mapping[tuple[Arm, Region], RegionResult]:
    """The reader's own result, by arm and region.

    Raises:
        Refusal: not a reader here, not unblinded, or the protocol does not show it.
    """
    with reading(engine) as session:
        study = check_in_study(session, actor, study_id, Permission.READ_CASES)
        protocol, _ = protocol_now(session, study_id)
        if study.state != StudyState.UNBLINDED or not protocol.own_result:
            raise Refusal("Your own result is not shown, or not yet: the study decides that after unblinding.")
        pairs = _pairs(session, study_id, actor.account_id)
        return {key: _result(grades) for key, grades in sorted(pairs.items())}


def _pairs(
    session: Session, study_id: int, account_id: int
) -> dict[tuple[Arm, Region], list[tuple[int | None, int]]]:
    """(own grade, reference grade) of each first showing, of its last revision."""
    rows = session.exec(
        select(ReadingItem, RegionAnswer)
        .join(Answer, col(Answer.item_id) == ReadingItem.id)
        .join(RegionAnswer, col(RegionAnswer.answer_id) == Answer.id)
        .join(ReadingSession, col(ReadingSession.id) == ReadingItem.session_id)
        .where(ReadingSession.study_id == study_id, ReadingSession.account_id == account_id,
               ReadingItem.kind == CaseKind.TEST, col(ReadingItem.is_repeat).is_(False))
        .order_by(col(Answer.revision))
    )
    last = {(item.id, row.region): (item, row) for item, row in rows}
    references = references_of(session, study_id)
    pairs: dict[tuple[Arm, Region], list[tuple[int | None, int]]] = {}
    for item, row in last.values():
        reference = references[item.case_id][Region(row.region)].grade
        if reference is not None:
            pairs.setdefault((Arm(item.arm), Region(row.region)), []).append((row.grade, reference))
    return pairs


def _result(grades: list[tuple[int | None, int]]) -> RegionResult:
    distances = [abs(own - reference) for own, reference in grades if own is not None]
    right = distances.count(0)
    return RegionResult(
        graded=len(distances), right=right, off_by_one=distances.count(1), not_gradable=len(grades) - len(distances),
        accuracy=wilson_interval(right, len(distances)),
    )
