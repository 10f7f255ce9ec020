"""The three regions of a case: proposed by the detector, accepted, moved or drawn by each annotator alone."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import numpy as np
from sqlalchemy import Engine
from sqlmodel import Session, col, select

from lss_core.curation.levels import own_case
from lss_core.curation.parts import Purpose, is_usable, parts_now
from lss_core.permissions import Permission
from lss_core.study import audit
from lss_core.study.actors import Actor, check_in_collection
from lss_core.study.clock import utc_now
from lss_core.study.connection import lock_writers, reading, transaction
from lss_core.study.curation_tables import CuratedLevel, CuratedScan, ProposedBox, RegionBox
from lss_core.study.database import Account
from lss_core.vocabulary import Box, Refusal, Region

SAME_PX = 0.01                                  # edges nearer than this are the same: what a browser rounds away
Boxes = Mapping[int, Mapping[Region, Box]]      # by slice


class BoxOrigin(StrEnum):
    """How an annotator came to a box."""

    ACCEPTED = "accepted"                       # the proposal as it was
    MOVED = "moved"                             # the proposal, corrected
    DRAWN = "drawn"                             # where nothing was proposed
    COPIED = "copied"                           # the annotator's own box of another slice
    REMOVED = "removed"                         # there is no such region here


@dataclass(frozen=True)
class CaseBoxes:
    """What an annotator sees of a case. `proposed` is empty where no model may propose."""

    proposed: Boxes
    mine: Boxes


@dataclass(frozen=True)
class BoxAgreement:
    """How far the boxes of two annotators overlap (intersection over union); the figures are NaN where n is 0."""

    region: Region
    n: int                                      # pairs: same case, slice and region, drawn by both
    median: float
    low_quartile: float
    high_quartile: float


def save_boxes(
    engine: Engine, actor: Actor, collection_id: int, case_id: int, slice_index: int, boxes: Mapping[Region, Box], *,
    copied_from: int | None = None, now: datetime | None = None,
) -> dict[Region, BoxOrigin]:
    """Keep how an annotator leaves a slice: all its boxes, so that one that is missing now was taken away.

    Args:
        copied_from: The slice whose boxes the annotator copied; a box that differs from the one there is not a copy.

    Returns:
        What changed, and how the annotator came to it; a region that is as it was is left out.

    Raises:
        Refusal: not an annotator here, no such case or slice, or a box outside of the slice (left or top).
    """
    now = now or utc_now()
    with transaction(engine) as session:
        lock_writers(session)
        check_in_collection(session, actor, collection_id, Permission.ANNOTATE)
        _, scan = own_case(session, collection_id, case_id)
        if not 0 <= slice_index < scan.slices:
            raise Refusal(f"Slice {slice_index + 1} cannot be: the scan has {scan.slices} slices.")
        _check_inside(boxes)
        mine = _own(session, case_id, actor.account_id)
        proposals = _proposals(session, collection_id, case_id, scan, slice_index)
        copied = {} if copied_from is None else mine.get(copied_from, {})
        changed = _changes(boxes, mine.get(slice_index, {}), copied, {r: box for r, (_, box) in proposals.items()})
        session.add_all(
            RegionBox(
                case_id=case_id, slice_index=slice_index, region=region, account_id=actor.account_id, origin=origin,
                box=json.dumps(boxes[region].as_list()) if region in boxes else "", at=now,
                copied_from=copied_from if origin is BoxOrigin.COPIED else None,
                proposal_id=proposals[region][0] if region in proposals else None,
            )
            for region, origin in changed.items()
        )
        if changed:
            audit.append(session, at=now, actor=actor.email, action="save regions", study_id=collection_id,
                         subject=f"case {case_id} slice {slice_index}", new=changed)
        return changed


def boxes_of(engine: Engine, actor: Actor, collection_id: int, case_id: int) -> CaseBoxes:
    """The proposals for a case and the actor's own boxes, never those of another annotator.

    Raises:
        Refusal: not permitted, or no such case.
    """
    with reading(engine) as session:
        check_in_collection(session, actor, collection_id, Permission.CURATE)
        _, scan = own_case(session, collection_id, case_id)
        return CaseBoxes(
            {index: {region: box for region, (_, box) in found.items()}
             for index, found in _proposed(session, collection_id, case_id, scan).items()},
            _own(session, case_id, actor.account_id),
        )


def drawn_cases(engine: Engine, actor: Actor, collection_id: int) -> frozenset[int]:
    """The cases on whose level's slice the actor has a box.

    Raises:
        Refusal: not permitted.
    """
    with reading(engine) as session:
        check_in_collection(session, actor, collection_id, Permission.CURATE)
        slices = _slices(session, collection_id)
        return frozenset(
            case_id for case_id, slice_index, _, account_id in _latest(session, collection_id)
            if account_id == actor.account_id and slices.get(case_id) == slice_index
        )


def final_boxes(engine: Engine, actor: Actor, collection_id: int, case_id: int) -> dict[Region, Box]:
    """The regions of a case on its level's slice: each edge the mean of the annotators' latest boxes.

    Raises:
        Refusal: not permitted, or no such case.
    """
    with reading(engine) as session:
        check_in_collection(session, actor, collection_id, Permission.IMPORT_SCANS)
        own_case(session, collection_id, case_id)
        return mean_boxes(session, collection_id).get(case_id, {})


def mean_boxes(session: Session, collection_id: int) -> dict[int, dict[Region, Box]]:
    """Case to the mean boxes on its level's slice; a region that nobody drew is left out."""
    drawn: dict[tuple[int, Region], list[Box]] = defaultdict(list)
    slices = _slices(session, collection_id)
    for (case_id, slice_index, region, _), box in _latest(session, collection_id).items():
        if slices.get(case_id) == slice_index:
            drawn[case_id, region].append(box)
    found: dict[int, dict[Region, Box]] = defaultdict(dict)
    for (case_id, region), boxes in sorted(drawn.items()):
        found[case_id][region] = _mean(boxes)
    return dict(found)


def box_agreement(engine: Engine, actor: Actor, collection_id: int) -> tuple[BoxAgreement, ...]:
    """For each region the overlap of what two annotators drew on the same slices.

    Raises:
        Refusal: not permitted: annotators do not learn how another one draws.
    """
    with reading(engine) as session:
        check_in_collection(session, actor, collection_id, Permission.IMPORT_SCANS)
        together: dict[tuple[int, int, Region], list[Box]] = defaultdict(list)
        for (case_id, slice_index, region, _), box in sorted(_latest(session, collection_id).items()):
            together[case_id, slice_index, region].append(box)
    return tuple(
        _agreement(region, [overlap(*boxes[:2]) for (*_, of), boxes in together.items()
                            if of is region and len(boxes) >= 2])
        for region in Region
    )


def box_origins(engine: Engine, actor: Actor, collection_id: int) -> dict[str, Counter[BoxOrigin]]:
    """How often each annotator, by e-mail, accepted, moved, drew, copied or took away a box.

    Raises:
        Refusal: not permitted.
    """
    with reading(engine) as session:
        check_in_collection(session, actor, collection_id, Permission.IMPORT_SCANS)
        rows = session.exec(
            select(Account.email, RegionBox.origin).select_from(RegionBox)
            .join(Account, col(Account.id) == RegionBox.account_id)
            .join(CuratedLevel, col(CuratedLevel.id) == RegionBox.case_id)
            .where(CuratedLevel.collection_id == collection_id)
        ).all()
    found: dict[str, Counter[BoxOrigin]] = defaultdict(Counter)
    for email, origin in rows:
        found[email][BoxOrigin(origin)] += 1
    return dict(found)


def overlap(first: Box, second: Box) -> float:
    """Intersection over union, 0..1."""
    rows = min(first.row1, second.row1) - max(first.row0, second.row0)
    cols = min(first.col1, second.col1) - max(first.col0, second.col0)
    shared = max(rows, 0.0) * max(cols, 0.0)
    return float(shared / (np.prod(first.size) + np.prod(second.size) - shared))


def _changes(
    boxes: Mapping[Region, Box], before: Mapping[Region, Box], copied: Mapping[Region, Box],
    proposals: Mapping[Region, Box],
) -> dict[Region, BoxOrigin]:
    changed = {}
    for region, box in boxes.items():
        if not _same(box, before.get(region)):
            changed[region] = _origin(box, copied.get(region), proposals.get(region))
    return changed | {region: BoxOrigin.REMOVED for region in before if region not in boxes}


def _origin(box: Box, copied: Box | None, proposal: Box | None) -> BoxOrigin:
    if _same(box, proposal):
        return BoxOrigin.ACCEPTED
    if _same(box, copied):
        return BoxOrigin.COPIED
    return BoxOrigin.DRAWN if proposal is None else BoxOrigin.MOVED


def _same(box: Box, other: Box | None) -> bool:
    return other is not None and bool(np.allclose(box.as_list(), other.as_list(), rtol=0, atol=SAME_PX))


def _check_inside(boxes: Mapping[Region, Box]) -> None:
    """The far edges are checked where the pixels are: the database does not know how many there are."""
    for region, box in boxes.items():
        if not np.isfinite(box.as_list()).all() or min(box.row0, box.col0) < -0.5:
            raise Refusal(f"The box of the {region.label.lower()} lies outside the slice; move it onto the spine.")


def _proposals(
    session: Session, collection_id: int, case_id: int, scan: CuratedScan, slice_index: int
) -> dict[Region, tuple[int, Box]]:
    return _proposed(session, collection_id, case_id, scan).get(slice_index, {})


def _proposed(
    session: Session, collection_id: int, case_id: int, scan: CuratedScan
) -> dict[int, dict[Region, tuple[int, Box]]]:
    """By slice and region the number of the last proposal and its box; none for who is in the control set."""
    parts = parts_now(session, collection_id)
    if not is_usable(parts.get(scan.patient), Purpose.ANNOTATE_WITH_MODEL, is_locked=bool(parts)):
        return {}
    rows = session.exec(select(ProposedBox).where(ProposedBox.case_id == case_id).order_by(col(ProposedBox.id)))
    found: dict[int, dict[Region, tuple[int, Box]]] = defaultdict(dict)
    for row in rows:
        found[row.slice_index][Region(row.region)] = (row.id or 0, Box(*json.loads(row.box)))
    return dict(found)


def _own(session: Session, case_id: int, account_id: int) -> dict[int, dict[Region, Box]]:
    rows = session.exec(
        select(RegionBox).where(RegionBox.case_id == case_id, RegionBox.account_id == account_id)
        .order_by(col(RegionBox.id))
    )
    found: dict[int, dict[Region, Box]] = defaultdict(dict)
    for (_, slice_index, region, _), box in _last_of(rows).items():
        found[slice_index][region] = box
    return dict(found)


def _latest(session: Session, collection_id: int) -> dict[tuple[int, int, Region, int], Box]:
    """(case, slice, region, account) to the last box, without what was taken away, of all scans that are kept."""
    return _last_of(session.exec(
        select(RegionBox).join(CuratedLevel, col(CuratedLevel.id) == RegionBox.case_id)
        .join(CuratedScan, col(CuratedScan.id) == CuratedLevel.curated_scan_id)
        .where(CuratedLevel.collection_id == collection_id, col(CuratedScan.removed_at).is_(None))
        .order_by(col(RegionBox.id))
    ))


def _last_of(rows: Iterable[RegionBox]) -> dict[tuple[int, int, Region, int], Box]:
    last = {(row.case_id, row.slice_index, Region(row.region), row.account_id): row.box for row in rows}
    return {key: Box(*json.loads(box)) for key, box in last.items() if box}


def _slices(session: Session, collection_id: int) -> dict[int, int | None]:
    """Case to the slice of its level."""
    rows = session.exec(
        select(CuratedLevel.id, CuratedLevel.slice_index).where(CuratedLevel.collection_id == collection_id)
    )
    return {case_id: slice_index for case_id, slice_index in rows if case_id is not None}


def _mean(boxes: list[Box]) -> Box:
    return Box(*np.mean([box.as_list() for box in boxes], axis=0).tolist())


def _agreement(region: Region, overlaps: list[float]) -> BoxAgreement:
    low, median, high = np.quantile(overlaps, (0.25, 0.5, 0.75)) if overlaps else (np.nan,) * 3
    return BoxAgreement(region, len(overlaps), float(median), float(low), float(high))
