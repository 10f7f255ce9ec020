"""The disc levels of a scan: proposed by the software, corrected and confirmed by a person. A level is a case."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from lss_core.curation.parts import Part, Purpose, check_patient, parts_now
from lss_core.curation.scans import own_scan
from lss_core.permissions import Permission, Role
from lss_core.study import audit
from lss_core.study.actors import Actor, check_in_collection, roles_in
from lss_core.study.clock import utc_now
from lss_core.study.connection import lock_writers, reading, transaction
from lss_core.study.curation_tables import CuratedLevel, CuratedScan, Label, LevelMark, ProposedBox
from lss_core.study.database import Scan
from lss_core.vocabulary import Box, DiscLevel, Refusal, Region


@dataclass(frozen=True)
class ProposedLevel:
    """What the software found at one level: the slice, and the regions on it."""

    level: DiscLevel
    slice_index: int                            # of the stored volume
    boxes: Mapping[Region, Box] = field(default_factory=dict)      # pixels of that slice
    version: str = ""                           # of the networks


@dataclass(frozen=True)
class CuratedCase:
    """One level of one scan. Annotators get neither its patient ("") nor its part (None)."""

    case_id: int
    scan_id: int
    scan_key: str
    patient: str
    level: DiscLevel
    slice_index: int                            # of the stored volume
    slices: int                                 # of the scan
    confirmed: bool                             # its levels were seen by a person
    part: Part | None


def propose_levels(
    engine: Engine, actor: Actor, collection_id: int, scan_id: int, proposed: Sequence[ProposedLevel], *,
    now: datetime | None = None,
) -> None:
    """Keep what the software found in a scan. Where a person has put a level, or its slice is the same, it stays.

    Raises:
        Refusal: not permitted, no such scan or slice, levels that are confirmed, or a patient of the control set.
    """
    now = now or utc_now()
    with transaction(engine) as session:
        lock_writers(session)
        check_in_collection(session, actor, collection_id, Permission.IMPORT_SCANS)
        scan = own_scan(session, collection_id, scan_id)
        check_patient(session, collection_id, scan.patient, Purpose.ANNOTATE_WITH_MODEL)
        if scan.levels_confirmed_at is not None:
            raise Refusal(f"The levels of scan {scan_id} are confirmed; the software proposes nothing any more.")
        for each in proposed:
            _check_slice(scan, each.slice_index)
            row = _row_of(session, scan, each.level)
            if _last_marked_by(session, row) is None and row.slice_index != each.slice_index:
                _mark(session, row, each.slice_index, account_id=None, version=each.version, at=now)
            _add_boxes(session, row, each, now)
        audit.append(session, at=now, actor=actor.email, action="propose levels", study_id=collection_id,
                     subject=f"scan {scan_id}", new={each.level: each.slice_index for each in proposed})


def set_level(
    engine: Engine, actor: Actor, collection_id: int, scan_id: int, level: DiscLevel, slice_index: int | None, *,
    now: datetime | None = None,
) -> None:
    """Put a level on a slice, or say with None that it is not in this scan.

    Raises:
        Refusal: not permitted, no such scan or slice, or a label rests on the former slice.
    """
    now = now or utc_now()
    with transaction(engine) as session:
        lock_writers(session)
        check_in_collection(session, actor, collection_id, Permission.CURATE)
        scan = own_scan(session, collection_id, scan_id)
        if slice_index is not None:
            _check_slice(scan, slice_index)
        row = _row_of(session, scan, DiscLevel(level))
        if row.slice_index == slice_index and _last_marked_by(session, row) is not None:
            return
        if row.slice_index != slice_index:
            _refuse_labelled(session, row)
        old = row.slice_index
        _mark(session, row, slice_index, account_id=actor.account_id, version="", at=now)
        audit.append(session, at=now, actor=actor.email, action="set level", study_id=collection_id,
                     subject=f"scan {scan_id} {row.level}", old=old, new=slice_index)


def confirm_levels(
    engine: Engine, actor: Actor, collection_id: int, scan_id: int, *, now: datetime | None = None
) -> None:
    """Say that a scan's levels were seen and are right: from now on its cases are labelled.

    Raises:
        Refusal: not permitted, no such scan, no level in it, or levels that are not in the order of the slices.
    """
    now = now or utc_now()
    with transaction(engine) as session:
        lock_writers(session)
        check_in_collection(session, actor, collection_id, Permission.CURATE)
        scan = own_scan(session, collection_id, scan_id)
        placed = _placed(session, scan)
        _check_order(placed)
        if scan.levels_confirmed_at is None:
            scan.levels_confirmed_at = now
            audit.append(session, at=now, actor=actor.email, action="confirm levels", study_id=collection_id,
                         subject=f"scan {scan_id}", new=placed)


def cases_of(engine: Engine, actor: Actor, collection_id: int) -> tuple[CuratedCase, ...]:
    """All levels that are in a scan, confirmed or not, in the order of import and from the head down.

    Raises:
        Refusal: not permitted.
    """
    with reading(engine) as session:
        check_in_collection(session, actor, collection_id, Permission.CURATE)
        return tuple(cases_seen_by(session, actor, collection_id))


def stored_scan(engine: Engine, actor: Actor, collection_id: int, scan_id: int) -> tuple[str, str]:
    """(key, SHA-256) under which the image store holds a scan, for whoever may look at it.

    Raises:
        Refusal: not permitted, or no such scan.
    """
    with reading(engine) as session:
        check_in_collection(session, actor, collection_id, Permission.CURATE)
        scan = session.get_one(Scan, own_scan(session, collection_id, scan_id).scan_id)
        return scan.key, scan.sha256


def own_case(session: Session, collection_id: int, case_id: int) -> tuple[CuratedLevel, CuratedScan]:
    """A case of this collection and its scan.

    Raises:
        Refusal: there is no such case, or it was taken out.
    """
    row = session.get(CuratedLevel, case_id)
    if row is None or row.collection_id != collection_id or row.slice_index is None:
        raise Refusal(f"Case {case_id} is not in this collection; reload the page.")
    return row, own_scan(session, collection_id, row.curated_scan_id)


def all_cases(session: Session, collection_id: int) -> list[CuratedCase]:
    """All levels that are in a scan, with their patients and parts."""
    parts = parts_now(session, collection_id)
    rows = session.exec(
        select(CuratedLevel, CuratedScan, Scan).join(CuratedScan, col(CuratedScan.id) == CuratedLevel.curated_scan_id)
        .join(Scan, col(Scan.id) == CuratedScan.scan_id)
        .where(CuratedLevel.collection_id == collection_id, col(CuratedLevel.slice_index).is_not(None),
               col(CuratedScan.removed_at).is_(None))
        .order_by(col(CuratedScan.id), col(CuratedLevel.level))
    ).all()
    return [_as_case(row, scan, stored, parts) for row, scan, stored in rows]


def cases_seen_by(session: Session, actor: Actor, collection_id: int) -> list[CuratedCase]:
    """`all_cases`, without patient and part where the actor is an annotator and no more."""
    cases = all_cases(session, collection_id)
    if roles_in(session, actor.account_id, collection_id) & {Role.PI, Role.COORDINATOR}:
        return cases
    return [replace(case, patient="", part=None) for case in cases]


def _as_case(row: CuratedLevel, scan: CuratedScan, stored: Scan, parts: Mapping[str, Part]) -> CuratedCase:
    assert row.id is not None and scan.id is not None and row.slice_index is not None
    return CuratedCase(
        case_id=row.id, scan_id=scan.id, scan_key=stored.key, patient=scan.patient, level=DiscLevel(row.level),
        slice_index=row.slice_index, slices=scan.slices, confirmed=scan.levels_confirmed_at is not None,
        part=parts.get(scan.patient),
    )


def _row_of(session: Session, scan: CuratedScan, level: DiscLevel) -> CuratedLevel:
    """The row of a level, made where there is none."""
    assert scan.id is not None
    row = session.exec(
        select(CuratedLevel).where(CuratedLevel.curated_scan_id == scan.id, CuratedLevel.level == level)
    ).first()
    if row is None:
        row = CuratedLevel(collection_id=scan.collection_id, curated_scan_id=scan.id, level=level)
        session.add(row)
        session.flush()
    return row


def _mark(
    session: Session, row: CuratedLevel, slice_index: int | None, *, account_id: int | None, version: str, at: datetime
) -> None:
    assert row.id is not None
    row.slice_index = slice_index
    session.add(LevelMark(case_id=row.id, slice_index=slice_index, account_id=account_id, version=version, at=at))


def _last_marked_by(session: Session, row: CuratedLevel) -> int | None:
    """Who put the level last; None for the software, or nobody."""
    return session.exec(
        select(LevelMark.account_id).where(LevelMark.case_id == row.id).order_by(col(LevelMark.id).desc()).limit(1)
    ).first()


def _add_boxes(session: Session, row: CuratedLevel, proposed: ProposedLevel, now: datetime) -> None:
    assert row.id is not None
    session.add_all(
        ProposedBox(case_id=row.id, slice_index=proposed.slice_index, region=region, box=json.dumps(box.as_list()),
                    version=proposed.version, at=now)
        for region, box in proposed.boxes.items()
    )


def _check_slice(scan: CuratedScan, slice_index: int) -> None:
    if not 0 <= slice_index < scan.slices:
        raise Refusal(f"Slice {slice_index + 1} cannot be: the scan has {scan.slices} slices.")


def _refuse_labelled(session: Session, row: CuratedLevel) -> None:
    if session.exec(select(Label.id).where(Label.case_id == row.id).limit(1)).first() is not None:
        raise Refusal(f"{row.level} of this scan is labelled on its slice already, and can no longer be moved.")


def _placed(session: Session, scan: CuratedScan) -> dict[str, int]:
    """Level to slice, from the head down."""
    rows = session.exec(
        select(CuratedLevel.level, CuratedLevel.slice_index).where(
            CuratedLevel.curated_scan_id == scan.id, col(CuratedLevel.slice_index).is_not(None)
        ).order_by(col(CuratedLevel.level))
    )
    return {level: index for level, index in rows if index is not None}


def _check_order(placed: Mapping[str, int]) -> None:
    """Slices run from the feet up, as every stored volume does."""
    if not placed:
        raise Refusal("No level is placed in this scan; place one, or remove the scan with a reason.")
    for (upper, above), (lower, below) in pairwise(placed.items()):
        if above <= below:
            raise Refusal(f"{upper} is on slice {above + 1} and {lower} on slice {below + 1}: {upper} lies above "
                          f"{lower}, where slices count up toward the head. Correct one of them.")
