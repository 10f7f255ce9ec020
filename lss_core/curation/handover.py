"""The locked control set becomes the cases of a reader study, whose readers had no part in its reference."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from lss_core.curation.parts import Part, parts_now, split_now
from lss_core.curation.reference import ReferenceRow, values_of
from lss_core.curation.split import NOT_LOCKED
from lss_core.permissions import Permission
from lss_core.study import audit
from lss_core.study import curation_tables as tables
from lss_core.study.actors import Actor, check_in_collection
from lss_core.study.cases import put_cases
from lss_core.study.clock import utc_now
from lss_core.study.connection import lock_writers, reading, transaction
from lss_core.study.curation_tables import CuratedScan
from lss_core.study.database import Scan, Study
from lss_core.study.new_cases import NewCase, NewOutput, NewReference
from lss_core.study.studies import add_study
from lss_core.vocabulary import Refusal

SOURCE = "two annotators, adjudicated; reference version {}, sha256 {}"
NO_CONTROL = "The locked split has no control case; there is nothing to hand over."


def open_reader_study(
    engine: Engine, actor: Actor, collection_id: int, *, title: str,
    outputs: Mapping[int, Sequence[NewOutput]] | None = None, now: datetime | None = None,
) -> Study:
    """A reader study in draft with all cases of the locked control set, whole or not at all.

    The scans are not stored again. Who has or had a role in the collection cannot read in the study.

    Args:
        outputs: Case of the collection to what the model versions found in it.

    Raises:
        Refusal: not permitted here or to create studies, no title, no locked control set, or outputs of another case.
    """
    now, outputs = now or utc_now(), outputs or {}
    with transaction(engine) as session:
        lock_writers(session)
        check_in_collection(session, actor, collection_id, Permission.SPLIT)
        split, by_case = _control(session, collection_id)
        if odd := sorted(outputs.keys() - by_case.keys()):
            raise Refusal(f"Case {odd[0]} has model outputs and is not in the locked control set.")
        reference = session.get_one(tables.ReferenceVersion, split.reference_version_id)
        source = SOURCE.format(reference.number, reference.sha256)
        scans = _scans(session, collection_id)
        cases = [_new_case(rows, *scans[rows[0].scan_id], source, outputs.get(case_id, ()))
                 for case_id, rows in by_case.items()]
        study = add_study(session, actor, title=title, collection_id=collection_id, now=now)
        put_cases(session, actor, study, cases, now)
        audit.append(session, at=now, actor=actor.email, action="open reader study", study_id=collection_id,
                     subject=study.title, new={"study": study.token, "cases": len(cases), "split": split.sha256,
                                               "control_sha256": split.control_sha256})
        return study


def opened_studies(engine: Engine, actor: Actor, collection_id: int) -> tuple[Study, ...]:
    """The reader studies that were opened on this collection's control set, the newest first.

    Raises:
        Refusal: not permitted.
    """
    with reading(engine) as session:
        check_in_collection(session, actor, collection_id, Permission.IMPORT_SCANS)
        return tuple(session.exec(
            select(Study).where(Study.collection_id == collection_id).order_by(col(Study.id).desc())
        ).all())


def _control(session: Session, collection_id: int) -> tuple[tables.SplitVersion, dict[int, list[ReferenceRow]]]:
    """The locked split, and case to its reference, of the control set."""
    split = split_now(session, collection_id)
    if split is None:
        raise Refusal(NOT_LOCKED)
    parts = parts_now(session, collection_id)
    by_case: dict[int, list[ReferenceRow]] = defaultdict(list)
    for row in values_of(session, session.get_one(tables.ReferenceVersion, split.reference_version_id)):
        if parts.get(row.patient) is Part.CONTROL:
            by_case[row.case_id].append(row)
    if not by_case:
        raise Refusal(NO_CONTROL)
    return split, dict(by_case)


def _scans(session: Session, collection_id: int) -> dict[int, tuple[CuratedScan, Scan]]:
    rows = session.exec(
        select(CuratedScan, Scan).join(Scan, col(Scan.id) == CuratedScan.scan_id)
        .where(CuratedScan.collection_id == collection_id)
    )
    return {scan.id or 0: (scan, stored) for scan, stored in rows}


def _new_case(
    rows: Sequence[ReferenceRow], scan: CuratedScan, stored: Scan, source: str, outputs: Sequence[NewOutput]
) -> NewCase:
    first = rows[0]
    return NewCase(
        scan_key=stored.key, scan_sha256=stored.sha256, simulated=stored.simulated, level=first.level,
        slice_index=first.slice_index, patient=scan.patient, name=f"{scan.patient} {first.level.value} ({scan.id})",
        site=scan.site, scanner=scan.manufacturer, slice_thickness_mm=scan.slice_thickness_mm,
        reference={row.region: NewReference(row.grade) for row in rows}, source=source, outputs=tuple(outputs),
    )
