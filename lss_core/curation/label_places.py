"""Where an annotator stands: their own places, drawn once and in an order of their own, and which one is due.

Asks of labels only how often the actor has labelled a case, and of a scan neither patient, site nor name.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Engine, exists, func
from sqlmodel import Session, col, select

from lss_core.curation.plan import needed_plan
from lss_core.permissions import Permission
from lss_core.study import audit
from lss_core.study import curation_tables as tables
from lss_core.study.actors import Actor, check_in_collection
from lss_core.study.connection import lock_writers, transaction
from lss_core.study.curation_tables import CuratedLevel, CuratedScan, Label, LabelPlace
from lss_core.study.database import Scan
from lss_core.study.places import UNKNOWN_CASE, Denied
from lss_core.vocabulary import DiscLevel, Refusal

NOT_NAMED = "The plan does not name you to label in this collection."


@dataclass(frozen=True)
class OwnPlace:
    """A place whose case is to be labelled: confirmed, and not taken out."""

    place: LabelPlace
    level: DiscLevel
    slice_index: int
    scan_key: str
    revisions: int                              # of the own label; 0: none yet


@contextmanager
def denials_noted(
    engine: Engine, actor: Actor, action: str, now: datetime, *, collection_id: int | None = None
) -> Iterator[None]:
    """Write a line of the audit log for each `Denied` that is raised inside, and let it go on."""
    try:
        yield
    except Denied as denied:
        with transaction(engine) as session:
            audit.append(session, at=now, actor=actor.email, action=f"refused: {action}", study_id=collection_id,
                         subject="unknown case", reason=str(denied))
        raise


def check_annotator(session: Session, actor: Actor, collection_id: int) -> tables.LabelPlan:
    check_in_collection(session, actor, collection_id, Permission.ANNOTATE)
    plan = needed_plan(session, collection_id)
    if actor.account_id not in (plan.first, plan.second):
        raise Refusal(NOT_NAMED)
    return plan


def cases_to_label(session: Session, collection_id: int) -> list[int]:
    """The cases of confirmed scans that are not taken out."""
    found = session.exec(
        select(CuratedLevel.id).join(CuratedScan, col(CuratedScan.id) == CuratedLevel.curated_scan_id)
        .where(CuratedLevel.collection_id == collection_id, *_counted()).order_by(col(CuratedLevel.id))
    )
    return [case_id for case_id in found if case_id is not None]


def lacks_places(session: Session, actor: Actor, collection_id: int) -> bool:
    """Whether there are cases to label that have no place in the actor's order yet."""
    placed = exists().where(col(LabelPlace.case_id) == CuratedLevel.id, col(LabelPlace.account_id) == actor.account_id)
    return session.exec(
        select(CuratedLevel.id).join(CuratedScan, col(CuratedScan.id) == CuratedLevel.curated_scan_id)
        .where(CuratedLevel.collection_id == collection_id, *_counted(), ~placed).limit(1)
    ).first() is not None


def _without_place(session: Session, actor: Actor, collection_id: int) -> list[int]:
    placed = select(LabelPlace.case_id).where(
        LabelPlace.account_id == actor.account_id, LabelPlace.collection_id == collection_id
    )
    known = set(session.exec(placed))
    return [case_id for case_id in cases_to_label(session, collection_id) if case_id not in known]


def add_places(engine: Engine, actor: Actor, collection_id: int, now: datetime) -> None:
    """Put the cases that have no place yet behind the others, in an order drawn from the annotator's seed."""
    with transaction(engine) as session:
        lock_writers(session)
        plan = check_annotator(session, actor, collection_id)
        seed = lot(plan.seed, actor.email)
        drawn = sorted(_without_place(session, actor, collection_id), key=lambda case_id: lot(seed, case_id))
        last = session.exec(
            select(func.max(LabelPlace.position)).where(
                LabelPlace.account_id == actor.account_id, LabelPlace.collection_id == collection_id
            )
        ).one() or 0
        session.add_all(
            LabelPlace(token=secrets.token_urlsafe(16), collection_id=collection_id, account_id=actor.account_id,
                       case_id=case_id, position=position)
            for position, case_id in enumerate(drawn, last + 1)
        )
        if drawn:
            audit.append(session, at=now, actor=actor.email, action="draw label order", study_id=collection_id,
                         subject=f"places {last + 1} to {last + len(drawn)} of {actor.email}",
                         new={"seed": seed, "order": drawn})


def own_place(session: Session, actor: Actor, token: str) -> OwnPlace:
    """The actor's own place of that token.

    Raises:
        Denied: unknown, another annotator's, taken out, or the actor no longer labels here; all told alike.
    """
    place = session.exec(
        select(LabelPlace).where(LabelPlace.token == token, LabelPlace.account_id == actor.account_id)
    ).first()
    if place is None:
        raise Denied(UNKNOWN_CASE)
    try:
        check_annotator(session, actor, place.collection_id)
    except Refusal as refusal:
        raise Denied(UNKNOWN_CASE) from refusal
    found = session.exec(_own(actor, place.collection_id).where(LabelPlace.id == place.id)).first()
    if found is None:
        raise Denied(UNKNOWN_CASE)
    return _as_place(found)


def due_place(session: Session, actor: Actor, collection_id: int) -> OwnPlace | None:
    """The first place of the actor's order without a label."""
    found = session.exec(_own(actor, collection_id).where(~_labelled()).limit(1)).first()
    return None if found is None else _as_place(found)


def labelled_places(session: Session, actor: Actor, collection_id: int) -> list[OwnPlace]:
    """The actor's places with a label, in their order."""
    return [_as_place(found) for found in session.exec(_own(actor, collection_id).where(_labelled())).all()]


def number_of(session: Session, found: OwnPlace) -> tuple[int, int]:
    """(12, 75): the place is the twelfth of 75 that count now."""
    place = found.place
    counts = _places(select(func.count()), place.account_id, place.collection_id)
    return session.exec(counts.where(LabelPlace.position <= place.position)).one(), session.exec(counts).one()


def numbers_of(session: Session, actor: Actor, collection_id: int) -> dict[int, int]:
    """Case to its number, 1, 2, ..., among the actor's places that count now."""
    cases = _places(select(LabelPlace.case_id), actor.account_id, collection_id)
    found = session.exec(cases.order_by(col(LabelPlace.position)))
    return {case_id: number for number, case_id in enumerate(found, 1)}


def _places(selected: Any, account_id: int, collection_id: int) -> Any:
    """What is selected, of an account's places that count now."""
    return (
        selected.select_from(LabelPlace).join(CuratedLevel, col(CuratedLevel.id) == LabelPlace.case_id)
        .join(CuratedScan, col(CuratedScan.id) == CuratedLevel.curated_scan_id)
        .join(Scan, col(Scan.id) == CuratedScan.scan_id)
        .where(LabelPlace.account_id == account_id, LabelPlace.collection_id == collection_id, *_counted())
    )


def _own(actor: Actor, collection_id: int) -> Any:
    """The actor's places that count now, in their order, each with how often it was labelled."""
    revisions = (
        select(func.count()).select_from(Label).where(Label.place_id == LabelPlace.id).correlate(LabelPlace)
        .scalar_subquery()
    )
    places = select(LabelPlace, CuratedLevel.level, CuratedLevel.slice_index, Scan.key).add_columns(revisions)
    return _places(places, actor.account_id, collection_id).order_by(col(LabelPlace.position))


def _labelled() -> ColumnElement[bool]:
    return exists().where(col(Label.place_id) == LabelPlace.id)


def _as_place(found: Any) -> OwnPlace:
    place, level, slice_index, key, revisions = found
    return OwnPlace(place, DiscLevel(level), slice_index, key, revisions)


def _counted() -> tuple:
    """Which levels are to be labelled, where `CuratedScan` is joined."""
    return (col(CuratedLevel.slice_index).is_not(None), col(CuratedScan.removed_at).is_(None),
            col(CuratedScan.levels_confirmed_at).is_not(None))


def lot(*parts: object) -> str:
    """SHA-256 of the parts, in hexadecimal; sorting by it is shuffling, the same on every machine."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()
