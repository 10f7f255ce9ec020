"""The reference standard: agreed by two, or decided where they differ, and locked in versions under a hash."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from lss_core.curation.adjudication import Ruling, rulings
from lss_core.curation.agreement import grades_of
from lss_core.curation.label_places import cases_to_label
from lss_core.curation.labels_of_both import last_labels
from lss_core.curation.plan import NO_PLAN, plan_now
from lss_core.curation.regions import mean_boxes
from lss_core.permissions import Permission
from lss_core.study import audit
from lss_core.study import curation_tables as tables
from lss_core.study.actors import Actor, check_in_collection
from lss_core.study.clock import utc_now
from lss_core.study.connection import lock_writers, reading, transaction
from lss_core.study.curation_tables import Adjudication, CuratedLevel, CuratedScan, Label
from lss_core.study.database import Account, Scan
from lss_core.study.signatures import sign
from lss_core.vocabulary import Box, DiscLevel, Refusal, Region

MEANING = "I approve these grades as the reference standard"
COLUMNS = ("case", "scan", "patient", "level", "region", "grade", "not_gradable", "provenance", "first_grade",
           "second_grade", "slice_index", "row0", "col0", "row1", "col1")


class Provenance(StrEnum):
    """How the reference of a region came about."""

    AGREED = "agreed by two"
    ADJUDICATED = "adjudicated by a third"
    JOINT = "joint session"


@dataclass(frozen=True)
class ReferenceState:
    """What stands between now and the lock. `missing` holds a sentence for each thing; empty where it can be locked."""

    missing: tuple[str, ...]
    cases: int                                  # with which both are done
    regions: int
    agreed: int
    adjudicated: int
    joint: int

    @property
    def is_ready(self) -> bool:
        return not self.missing


@dataclass(frozen=True)
class ReferenceVersion:
    """A locked version."""

    number: int
    sha256: str
    reason: str
    locked_at: datetime
    locked_by: str                              # e-mail
    rows: int


@dataclass(frozen=True)
class ReferenceRow:
    """The reference of one region of one case, with where it came from. A grade of None is "not gradable"."""

    case_id: int
    scan_id: int
    patient: str
    simulated: bool
    level: DiscLevel
    slice_index: int
    region: Region
    grade: int | None
    not_gradable: str
    box: Box | None                             # pixels of that slice; None where nobody drew the region
    provenance: Provenance
    first_grade: int | None
    second_grade: int | None
    scan_key: str = field(repr=False)


def reference_state(engine: Engine, actor: Actor, collection_id: int) -> ReferenceState:
    """What is missing before the reference can be locked.

    Raises:
        Refusal: no role in this collection.
    """
    with reading(engine) as session:
        check_in_collection(session, actor, collection_id, Permission.CURATE)
        if plan_now(session, collection_id) is None:
            return ReferenceState((NO_PLAN,), 0, 0, 0, 0, 0)
        decided = rulings(session, collection_id)
        counts = Counter(map(_provenance, decided.values()))
        return ReferenceState(
            missing=tuple(_missing(session, collection_id, decided)), cases=len({case_id for case_id, _ in decided}),
            regions=len(decided), agreed=counts[Provenance.AGREED], adjudicated=counts[Provenance.ADJUDICATED],
            joint=counts[Provenance.JOINT],
        )


def lock_reference(
    engine: Engine, actor: Actor, collection_id: int, *, typed_name: str, reason: str = "",
    now: datetime | None = None,
) -> ReferenceVersion:
    """Freeze what is decided as a new version, under a hash and a signature.

    Raises:
        Refusal: not permitted, something is missing (each named), a later version without a reason or without a
            difference, or the name is not the account's.
    """
    now = now or utc_now()
    with transaction(engine) as session:
        lock_writers(session)
        check_in_collection(session, actor, collection_id, Permission.LOCK_REFERENCE)
        decided = rulings(session, collection_id) if plan_now(session, collection_id) else {}
        if missing := tuple(_missing(session, collection_id, decided)):
            raise Refusal(" ".join(missing))
        before = version_now(session, collection_id)
        rows = _new_rows(session, collection_id, decided)
        version = tables.ReferenceVersion(
            collection_id=collection_id, number=before.number + 1 if before else 1, reason=reason.strip(),
            sha256=reference_digest(session, collection_id, rows), locked_by=actor.account_id, locked_at=now,
        )
        _check_new(before, version)
        session.add(version)
        session.flush()
        assert version.id is not None
        for row in rows:
            row.version_id = version.id
        session.add_all(rows)
        name = f"reference {version.number}"
        sign(session, actor, collection_id, typed_name=typed_name, meaning=MEANING, what=name, sha256=version.sha256,
             at=now)
        audit.append(session, at=now, actor=actor.email, action="lock reference", study_id=collection_id, subject=name,
                     new={"sha256": version.sha256, "rows": len(rows)}, reason=reason.strip())
        return _as_version(version, actor.email, len(rows))


def reference_versions(engine: Engine, actor: Actor, collection_id: int) -> tuple[ReferenceVersion, ...]:
    """The locked versions, the first one first.

    Raises:
        Refusal: no role in this collection.
    """
    with reading(engine) as session:
        check_in_collection(session, actor, collection_id, Permission.CURATE)
        found = session.exec(
            select(tables.ReferenceVersion, Account.email)
            .join(Account, col(Account.id) == tables.ReferenceVersion.locked_by)
            .where(tables.ReferenceVersion.collection_id == collection_id)
            .order_by(col(tables.ReferenceVersion.number))
        ).all()
        return tuple(_as_version(row, email, len(rows_of(session, row))) for row, email in found)


def reference_rows(
    engine: Engine, actor: Actor, collection_id: int, *, number: int | None = None
) -> tuple[ReferenceRow, ...]:
    """The rows of a locked version, of the newest where none is named; empty where none is locked.

    Raises:
        Refusal: not permitted: annotators do not learn the reference; or there is no such version.
    """
    with reading(engine) as session:
        check_in_collection(session, actor, collection_id, Permission.IMPORT_SCANS)
        version = version_now(session, collection_id) if number is None else _numbered(session, collection_id, number)
        return tuple(values_of(session, version)) if version else ()


def reference_csv(engine: Engine, actor: Actor, collection_id: int, *, number: int | None = None) -> bytes:
    """`reference_rows` as CSV, a line for each region.

    Raises:
        Refusal: as `reference_rows`.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in reference_rows(engine, actor, collection_id, number=number):
        box = [f"{edge:.3f}" for edge in row.box.as_list()] if row.box else [""] * 4
        writer.writerow([row.case_id, row.scan_id, row.patient, row.level, row.region, row.grade, row.not_gradable,
                         row.provenance, row.first_grade, row.second_grade, row.slice_index, *box])
    return text.getvalue().encode()


def version_now(session: Session, collection_id: int) -> tables.ReferenceVersion | None:
    """The newest locked version, if there is one."""
    return session.exec(
        select(tables.ReferenceVersion).where(tables.ReferenceVersion.collection_id == collection_id)
        .order_by(col(tables.ReferenceVersion.number).desc()).limit(1)
    ).first()


def rows_of(session: Session, version: tables.ReferenceVersion) -> Sequence[tables.ReferenceRow]:
    """The rows of a version as they are stored."""
    return session.exec(
        select(tables.ReferenceRow).where(tables.ReferenceRow.version_id == version.id)
        .order_by(col(tables.ReferenceRow.id))
    ).all()


def values_of(session: Session, version: tables.ReferenceVersion) -> Iterator[ReferenceRow]:
    """The rows of a version with their scans, without those of scans that were taken out since."""
    found = session.exec(
        select(tables.ReferenceRow, CuratedLevel, CuratedScan, Scan)
        .join(CuratedLevel, col(CuratedLevel.id) == tables.ReferenceRow.case_id)
        .join(CuratedScan, col(CuratedScan.id) == CuratedLevel.curated_scan_id)
        .join(Scan, col(Scan.id) == CuratedScan.scan_id)
        .where(tables.ReferenceRow.version_id == version.id, col(CuratedScan.removed_at).is_(None))
        .order_by(col(tables.ReferenceRow.id))
    ).all()
    grades = grades_of(session, version.collection_id)
    for row, level, scan, stored in found:
        yield ReferenceRow(
            case_id=row.case_id, scan_id=scan.id or 0, patient=scan.patient, simulated=stored.simulated,
            level=DiscLevel(level.level), slice_index=row.slice_index, region=Region(row.region), grade=row.grade,
            not_gradable=row.not_gradable, box=Box(*json.loads(row.box)) if row.box else None,
            provenance=Provenance(row.provenance), first_grade=grades[row.first_label_id][Region(row.region)].grade,
            second_grade=grades[row.second_label_id][Region(row.region)].grade, scan_key=stored.key,
        )


def reference_digest(session: Session, collection_id: int, rows: Sequence[tables.ReferenceRow]) -> str:
    """SHA-256 over the rows as canonical JSON, with names that stay the same in another database: the scan's SHA-256
    and the level in place of numbers, and the hashes of the labels and decisions on which each row rests."""
    scans = _scan_names(session, collection_id)
    labels = dict(session.exec(select(Label.id, Label.sha256).where(Label.collection_id == collection_id)).all())
    decisions = dict(session.exec(
        select(Adjudication.id, Adjudication.sha256).join(CuratedLevel)
        .where(CuratedLevel.collection_id == collection_id)
    ).all())
    content = sorted(
        [*scans.get(row.case_id, ()), row.slice_index, row.region, -1 if row.grade is None else row.grade,
         row.not_gradable, row.provenance, labels.get(row.first_label_id, ""), labels.get(row.second_label_id, ""),
         decisions.get(row.adjudication_id, ""), row.box]
        for row in rows
    )
    return hashlib.sha256(audit.canonical(content).encode()).hexdigest()


def _provenance(ruling: Ruling) -> Provenance | None:
    """None while two differ and nothing is decided."""
    if not ruling.differs:
        return Provenance.AGREED
    if ruling.decided is None:
        return None
    return Provenance.JOINT if ruling.decided.joint else Provenance.ADJUDICATED


def _missing(
    session: Session, collection_id: int, decided: dict[tuple[int, Region], Ruling]
) -> Iterator[str]:
    if plan_now(session, collection_id) is None:
        yield NO_PLAN
        return
    unconfirmed = session.exec(select(CuratedScan.id).where(
        CuratedScan.collection_id == collection_id, col(CuratedScan.removed_at).is_(None),
        col(CuratedScan.levels_confirmed_at).is_(None),
    )).all()
    if unconfirmed:
        yield f"Scans whose levels nobody has confirmed: {len(unconfirmed)}; confirm them, or remove the scans."
    to_label = cases_to_label(session, collection_id)
    if not to_label:
        yield "There is no case to label: import scans and confirm their levels."
    elif left := len(to_label) - len(last_labels(session, collection_id)):
        yield f"Cases that are not labelled by both annotators: {left} of {len(to_label)}."
    if undecided := sum(_provenance(each) is None for each in decided.values()):
        yield f"Disagreements that nobody has decided: {undecided}."


def _new_rows(
    session: Session, collection_id: int, decided: dict[tuple[int, Region], Ruling]
) -> list[tables.ReferenceRow]:
    boxes = mean_boxes(session, collection_id)
    slices = {case_id: first.slice_index for case_id, (first, _) in last_labels(session, collection_id).items()}
    return [
        _new_row(case_id, slices[case_id], region, ruling, boxes.get(case_id, {}).get(region))
        for (case_id, region), ruling in sorted(decided.items())
    ]


def _new_row(
    case_id: int, slice_index: int, region: Region, ruling: Ruling, box: Box | None
) -> tables.ReferenceRow:
    """Where two agree on "not gradable", the reason of the first counts."""
    decision = ruling.decided if ruling.differs else None
    of = decision or ruling.first
    provenance = _provenance(ruling)
    assert provenance is not None
    return tables.ReferenceRow(
        version_id=0, case_id=case_id, slice_index=slice_index, region=region, grade=of.grade,
        not_gradable=of.not_gradable, provenance=provenance, first_label_id=ruling.first.label_id,
        second_label_id=ruling.second.label_id, adjudication_id=decision.id if decision else None,
        box=json.dumps([round(edge, 3) for edge in box.as_list()]) if box else "",
    )


def _check_new(before: tables.ReferenceVersion | None, version: tables.ReferenceVersion) -> None:
    if before is None:
        return
    if before.sha256 == version.sha256:
        raise Refusal(f"Nothing has changed since version {before.number}; there is nothing to lock.")
    if not version.reason:
        raise Refusal("A new version of the reference needs a reason; it stays with the version.")


def _numbered(session: Session, collection_id: int, number: int) -> tables.ReferenceVersion:
    found = session.exec(
        select(tables.ReferenceVersion).where(
            tables.ReferenceVersion.collection_id == collection_id, tables.ReferenceVersion.number == number
        )
    ).first()
    if found is None:
        raise Refusal(f"There is no version {number} of the reference; reload the page.")
    return found


def _scan_names(session: Session, collection_id: int) -> dict[int, tuple[str, str]]:
    """Case to the SHA-256 of its scan and its level."""
    rows = session.exec(
        select(CuratedLevel.id, Scan.sha256, CuratedLevel.level)
        .join(CuratedScan, col(CuratedScan.id) == CuratedLevel.curated_scan_id)
        .join(Scan, col(Scan.id) == CuratedScan.scan_id).where(CuratedLevel.collection_id == collection_id)
    )
    return {case_id: (sha256, level) for case_id, sha256, level in rows if case_id is not None}


def _as_version(row: tables.ReferenceVersion, email: str, rows: int) -> ReferenceVersion:
    return ReferenceVersion(row.number, row.sha256, row.reason, row.locked_at, email, rows)
