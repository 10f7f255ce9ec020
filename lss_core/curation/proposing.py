"""What the software may still look at, and the regions that it proposes on slices that a person chose.

What a model proposes for the levels of a scan goes through `levels.propose_levels`. Neither takes or gives anything of
a locked control set.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from lss_core.curation.levels import CuratedCase, all_cases, own_case
from lss_core.curation.parts import Purpose, check_patient, is_usable, parts_now
from lss_core.permissions import Permission
from lss_core.study import audit
from lss_core.study.actors import Actor, check_in_collection
from lss_core.study.clock import utc_now
from lss_core.study.connection import lock_writers, reading, transaction
from lss_core.study.curation_tables import CuratedLevel, CuratedScan, ProposedBox
from lss_core.study.database import Scan
from lss_core.vocabulary import Box, Refusal, Region


@dataclass(frozen=True)
class ScanToPropose:
    """A scan on which something can still be proposed.

    Attributes:
        has_levels: Somebody, or the software, has placed levels in it; else they are to be found.
        bare: Case to the slice of its level, where no region is proposed on that slice.
    """

    scan_id: int
    scan_key: str
    scan_sha256: str
    has_levels: bool
    bare: Mapping[int, int]


def scans_to_propose(engine: Engine, actor: Actor, collection_id: int) -> tuple[ScanToPropose, ...]:
    """The scans without levels, or with a level without proposed regions; none of a locked control set.

    Raises:
        Refusal: not permitted.
    """
    with reading(engine) as session:
        check_in_collection(session, actor, collection_id, Permission.IMPORT_SCANS)
        parts = parts_now(session, collection_id)
        proposed = _proposed_slices(session, collection_id)
        cases: dict[int, list[CuratedCase]] = defaultdict(list)
        for case in all_cases(session, collection_id):
            cases[case.scan_id].append(case)
        seen = set(session.exec(
            select(CuratedLevel.curated_scan_id).where(CuratedLevel.collection_id == collection_id)
        ))
        rows = session.exec(
            select(CuratedScan, Scan).join(Scan, col(Scan.id) == CuratedScan.scan_id)
            .where(CuratedScan.collection_id == collection_id, col(CuratedScan.removed_at).is_(None))
            .order_by(col(CuratedScan.id))
        ).all()
    found = [
        ScanToPropose(scan.id or 0, stored.key, stored.sha256, scan.id in seen, {
            case.case_id: case.slice_index for case in cases[scan.id or 0]
            if (case.case_id, case.slice_index) not in proposed
        })
        for scan, stored in rows
        if is_usable(parts.get(scan.patient), Purpose.ANNOTATE_WITH_MODEL, is_locked=bool(parts))
    ]
    return tuple(each for each in found if each.bare or not each.has_levels)


def propose_boxes(
    engine: Engine, actor: Actor, collection_id: int, case_id: int, slice_index: int, boxes: Mapping[Region, Box], *,
    version: str, now: datetime | None = None,
) -> None:
    """Keep what the detector found on a slice of a case; what annotators drew stays as it is.

    Raises:
        Refusal: not permitted, no such case or slice, or a patient of the locked control set.
    """
    now = now or utc_now()
    with transaction(engine) as session:
        lock_writers(session)
        check_in_collection(session, actor, collection_id, Permission.IMPORT_SCANS)
        _, scan = own_case(session, collection_id, case_id)
        check_patient(session, collection_id, scan.patient, Purpose.ANNOTATE_WITH_MODEL)
        if not 0 <= slice_index < scan.slices:
            raise Refusal(f"Slice {slice_index + 1} cannot be: the scan has {scan.slices} slices.")
        session.add_all(
            ProposedBox(case_id=case_id, slice_index=slice_index, region=region, box=json.dumps(box.as_list()),
                        version=version, at=now)
            for region, box in boxes.items()
        )
        audit.append(session, at=now, actor=actor.email, action="propose regions", study_id=collection_id,
                     subject=f"case {case_id} slice {slice_index}", new={"version": version, "regions": sorted(boxes)})


def _proposed_slices(session: Session, collection_id: int) -> set[tuple[int, int]]:
    """(case, slice) on which anything is proposed."""
    rows = session.exec(
        select(ProposedBox.case_id, ProposedBox.slice_index)
        .join(CuratedLevel, col(CuratedLevel.id) == ProposedBox.case_id)
        .where(CuratedLevel.collection_id == collection_id).distinct()
    )
    return set(rows.all())
