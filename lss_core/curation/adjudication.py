"""Where the two annotators differ: decided by a third, or by several in a joint session."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from lss_core.curation.agreement import grades_of
from lss_core.curation.labels_of_both import last_labels
from lss_core.curation.levels import CuratedCase, all_cases
from lss_core.curation.plan import needed_plan, plan_now
from lss_core.curation.regions import mean_boxes
from lss_core.permissions import Permission, Role
from lss_core.study import audit
from lss_core.study.actors import Actor, check_in_collection, roles_in
from lss_core.study.clock import utc_now
from lss_core.study.connection import lock_writers, reading, transaction
from lss_core.study.curation_tables import Adjudication, CuratedLevel, Label, LabelGrade, LabelPlan
from lss_core.study.database import Account
from lss_core.study.entry import RegionEntry
from lss_core.vocabulary import Box, DiscLevel, Refusal, Region


@dataclass(frozen=True)
class Disagreement:
    """A region that the two label differently. Who said which is not told.

    Attributes:
        number: A running number within the collection's disagreements.
        grades: Of the two, the milder one first and "not gradable" (None) last.
        comments: Of the two, in alphabetical order, where they wrote any.
        box: Where the annotators drew the region; None where nobody did.
        decision: The grade that was decided; None also where "not gradable" was, with `not_gradable`.
    """

    case_id: int
    number: int
    level: DiscLevel
    region: Region
    grades: tuple[int | None, int | None]
    comments: tuple[str, ...]
    slice_index: int
    box: Box | None
    is_decided: bool
    decision: int | None
    not_gradable: str
    reason: str
    scan_id: int
    scan_key: str = field(repr=False)


@dataclass(frozen=True)
class Ruling:
    """A region of two labels, and what was decided where they differ."""

    first: LabelGrade
    second: LabelGrade
    decided: Adjudication | None

    @property
    def differs(self) -> bool:
        return self.first.grade != self.second.grade


def disagreements(engine: Engine, actor: Actor, collection_id: int) -> tuple[Disagreement, ...]:
    """The regions on which the two differ, of cases with which both are done: for the adjudicator and the PI.

    Raises:
        Refusal: anybody else, the two annotators among them.
    """
    with reading(engine) as session:
        _check_adjudicates(session, actor, collection_id)
        if plan_now(session, collection_id) is None:
            return ()
        cases = {case.case_id: case for case in all_cases(session, collection_id)}
        boxes = mean_boxes(session, collection_id)
        differing = [(key, each) for key, each in rulings(session, collection_id).items() if each.differs]
        comments = _comments(session, collection_id)
        return tuple(
            _disagreement(cases[case_id], number, region, each, boxes.get(case_id, {}).get(region), comments[case_id])
            for number, ((case_id, region), each) in enumerate(differing, 1)
        )


def adjudicate(
    engine: Engine, actor: Actor, collection_id: int, *, case_id: int, region: Region, grade: int | None,
    not_gradable: str = "", reason: str, joint: bool = False, present: Sequence[int] = (), now: datetime | None = None,
) -> None:
    """Decide one region. A later decision of the same region counts in place of the former, which stays stored.

    Args:
        grade: 0 to 3, or None with the reason in `not_gradable`.
        joint: Decided by several; else by the adjudicator alone, whom the plan names.
        present: Account ids of those who decided jointly.

    Raises:
        Refusal: not permitted, the two do not differ there, no grade, no reason, or a joint session of fewer than two.
    """
    now, region = now or utc_now(), Region(region)
    if not RegionEntry(grade, None, not_gradable).is_answered:
        raise Refusal("A decision is a grade from 0 to 3, or the reason why the region is not gradable.")
    if not reason.strip():
        raise Refusal("A decision needs a reason; it stays with the reference.")
    with transaction(engine) as session:
        lock_writers(session)
        plan = _check_may_decide(session, actor, collection_id, joint=joint)
        _check_present(session, collection_id, joint, present)
        ruling = rulings(session, collection_id).get((case_id, region))
        if ruling is None or not ruling.differs:
            raise Refusal(f"The two annotators do not differ on the {region.label.lower()} of case {case_id}.")
        row = Adjudication(
            case_id=case_id, region=region, first_label_id=ruling.first.label_id,
            second_label_id=ruling.second.label_id, grade=grade, not_gradable=not_gradable.strip(),
            reason=reason.strip(), joint=joint, present=json.dumps(sorted(set(present))), at=now,
            account_id=actor.account_id, sha256="",
        )
        row.sha256 = adjudication_digest(session, row)
        session.add(row)
        session.flush()
        audit.append(session, at=now, actor=actor.email, action="adjudicate", study_id=plan.collection_id,
                     subject=f"adjudication {row.id}", new={"sha256": row.sha256}, reason=reason.strip())


def rulings(session: Session, collection_id: int) -> dict[tuple[int, Region], Ruling]:
    """(case, region) to the two labels and the decision, of all cases with which both are done."""
    both = last_labels(session, collection_id)
    grades = grades_of(session, collection_id)
    decided = _decided(session, collection_id)
    found = {}
    for case_id, (first, second) in both.items():
        for region in Region:
            decision = decided.get((case_id, region, first.id, second.id))
            found[case_id, region] = Ruling(grades[first.id or 0][region], grades[second.id or 0][region], decision)
    return found


def adjudication_digest(session: Session, row: Adjudication) -> str:
    """SHA-256 over everything that a decision says, with names that stay the same in another database."""
    labels = [session.get_one(Label, each).sha256 for each in (row.first_label_id, row.second_label_id)]
    content = [
        *labels, row.region, row.grade, row.not_gradable, row.reason, row.joint,
        [session.get_one(Account, each).email for each in (row.account_id, *json.loads(row.present))],
        row.at.astimezone(UTC).isoformat(),
    ]
    return hashlib.sha256(audit.canonical(content).encode()).hexdigest()


def _decided(session: Session, collection_id: int) -> dict[tuple[int, Region, int | None, int | None], Adjudication]:
    """By case, region and the labels between which it decides, the decision that counts."""
    rows = session.exec(
        select(Adjudication).join(CuratedLevel, col(CuratedLevel.id) == Adjudication.case_id)
        .where(CuratedLevel.collection_id == collection_id).order_by(col(Adjudication.id))
    )
    return {(row.case_id, Region(row.region), row.first_label_id, row.second_label_id): row for row in rows}


def _check_adjudicates(session: Session, actor: Actor, collection_id: int) -> None:
    """For whoever the plan names, and for the principal investigator, who chairs joint sessions."""
    check_in_collection(session, actor, collection_id, Permission.ADJUDICATE)
    plan = plan_now(session, collection_id)
    is_pi = Role.PI in roles_in(session, actor.account_id, collection_id)
    if not is_pi and (plan is None or actor.account_id != plan.adjudicator):
        raise Refusal("Disagreements are shown to the adjudicator whom the plan names, and to the principal "
                      "investigator.")


def _check_may_decide(session: Session, actor: Actor, collection_id: int, *, joint: bool) -> LabelPlan:
    _check_adjudicates(session, actor, collection_id)
    plan = needed_plan(session, collection_id)
    if not joint and actor.account_id != plan.adjudicator:
        raise Refusal("Alone only the adjudicator decides whom the plan names; say who was present in a joint session.")
    return plan


def _check_present(session: Session, collection_id: int, joint: bool, present: Sequence[int]) -> None:
    if joint != bool(present) or (joint and len(set(present)) < 2):
        raise Refusal("A joint session is of at least two people: name who was present; else decide alone and name "
                      "nobody.")
    for account_id in present:
        if not roles_in(session, account_id, collection_id):
            raise Refusal("Somebody who is named as present has no role in this collection; invite them first.")


def _comments(session: Session, collection_id: int) -> Mapping[int, tuple[str, ...]]:
    return {
        case_id: tuple(sorted(label.comment for label in labels if label.comment.strip()))
        for case_id, labels in last_labels(session, collection_id).items()
    }


def _disagreement(
    case: CuratedCase, number: int, region: Region, ruling: Ruling, box: Box | None, comments: tuple[str, ...]
) -> Disagreement:
    low, high = sorted((ruling.first.grade, ruling.second.grade), key=lambda grade: (grade is None, grade))
    decided = ruling.decided
    return Disagreement(
        case_id=case.case_id, number=number, level=case.level, region=region, grades=(low, high), comments=comments,
        slice_index=case.slice_index, box=box, is_decided=decided is not None,
        decision=decided.grade if decided else None, not_gradable=decided.not_gradable if decided else "",
        reason=decided.reason if decided else "", scan_id=case.scan_id, scan_key=case.scan_key,
    )
