"""The scans of a collection: brought in, refused, removed, and joined where two are of one patient."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from lss_core.curation.parts import Part, parts_now
from lss_core.permissions import Permission
from lss_core.study import audit
from lss_core.study.actors import Actor, check_in_collection
from lss_core.study.clock import utc_now
from lss_core.study.connection import lock_writers, reading, transaction
from lss_core.study.curation_tables import CuratedScan, RefusedScan
from lss_core.study.database import Scan
from lss_core.vocabulary import Refusal

LONGEST_NAME = 200                              # characters


@dataclass(frozen=True)
class NewScan:
    """A scan that lies in the image store, as it is handed to a collection.

    Attributes:
        patient: Pseudonym; scans of one patient belong together in every split.
        source_digest: Of the source files, such as the SHA-256 of their pixels; the same source is taken once.
        identity_digest: Keyed digest of name, birth date and sex, made before identity was dropped; "" where unknown.
        notes: A sentence each, on what may lower the quality.
    """

    scan_key: str
    scan_sha256: str
    simulated: bool
    patient: str
    source_digest: str
    slices: int
    slice_thickness_mm: float
    site: str = ""
    name: str = ""
    manufacturer: str = ""
    kernel: str = ""
    sex: str = ""
    age_years: float | None = None
    notes: tuple[str, ...] = ()
    identity_digest: str = ""

    def __post_init__(self) -> None:
        for what, text in (("patient", self.patient), ("source digest", self.source_digest)):
            if not text.strip():
                raise Refusal(f"A scan without a {what} cannot be added; name one.")
        if self.slices < 1:
            raise Refusal(f"A scan of {self.slices} slices cannot be added.")


@dataclass(frozen=True)
class CuratedScanRow:
    """A scan as those who curate see it. Annotators get neither patient, site nor name."""

    scan_id: int
    scan_key: str
    simulated: bool
    patient: str
    site: str
    name: str
    manufacturer: str
    kernel: str
    slice_thickness_mm: float
    slices: int
    sex: str
    age_years: float | None
    notes: tuple[str, ...]
    added_at: datetime
    levels_confirmed: bool
    part: Part | None


@dataclass(frozen=True)
class RefusedSource:
    """A source that could not become a scan, with the sentence that says why."""

    name: str
    reason: str
    source_digest: str
    at: datetime


@dataclass(frozen=True)
class PossibleDuplicate:
    """Two pseudonyms that may be one person, and why."""

    first: str
    second: str
    reason: str


def add_scan(engine: Engine, actor: Actor, collection_id: int, new: NewScan, *, now: datetime | None = None) -> int:
    """Add one scan and return its number; the same source again gives the number that it has.

    A simulated scan marks the collection as a demo, for good.

    Raises:
        Refusal: not permitted, or the stored scan has another content than was said.
    """
    now = now or utc_now()
    with transaction(engine) as session:
        lock_writers(session)
        collection = check_in_collection(session, actor, collection_id, Permission.IMPORT_SCANS)
        if (known := _of_source(session, collection_id, new.source_digest)) is not None:
            return known
        row = _row(session, collection_id, new, now)
        collection.is_demo = collection.is_demo or new.simulated
        _forget_refusal(session, collection_id, new.source_digest)
        audit.append(session, at=now, actor=actor.email, action="add scan", study_id=collection_id,
                     subject=f"scan {row.id}", new={"sha256": new.scan_sha256, "source": new.source_digest})
        assert row.id is not None
        return row.id


def note_refused(
    engine: Engine, actor: Actor, collection_id: int, *, name: str, reason: str, source_digest: str,
    now: datetime | None = None,
) -> None:
    """Keep which source was refused, and why; the newest reason of a source stays.

    Raises:
        Refusal: not permitted.
    """
    with transaction(engine) as session:
        lock_writers(session)
        check_in_collection(session, actor, collection_id, Permission.IMPORT_SCANS)
        if _of_source(session, collection_id, source_digest) is not None:
            return
        row = _refusal(session, collection_id, source_digest) or RefusedScan(
            collection_id=collection_id, source_digest=source_digest, name="", reason=""
        )
        row.name, row.reason, row.at = name[:LONGEST_NAME], reason, now or utc_now()
        session.add(row)


def known_sources(
    engine: Engine, actor: Actor, collection_id: int, *, refused_too: bool = True
) -> frozenset[str]:
    """The digests of all sources that were ever brought in, removed ones too, and of those that were refused.

    Raises:
        Refusal: not permitted.
    """
    with reading(engine) as session:
        check_in_collection(session, actor, collection_id, Permission.IMPORT_SCANS)
        tables = (CuratedScan, RefusedScan) if refused_too else (CuratedScan,)
        return frozenset(
            digest for table in tables
            for digest in session.exec(select(table.source_digest).where(table.collection_id == collection_id))
        )


def scans_of(engine: Engine, actor: Actor, collection_id: int) -> tuple[CuratedScanRow, ...]:
    """The scans in the order of import, without those that were removed.

    Raises:
        Refusal: not permitted: annotators see scans only through their cases.
    """
    with reading(engine) as session:
        check_in_collection(session, actor, collection_id, Permission.IMPORT_SCANS)
        parts = parts_now(session, collection_id)
        rows = session.exec(
            select(CuratedScan, Scan).join(Scan).where(*_kept(collection_id)).order_by(col(CuratedScan.id))
        ).all()
        return tuple(_as_row(row, scan, parts) for row, scan in rows)


def refused_of(engine: Engine, actor: Actor, collection_id: int) -> tuple[RefusedSource, ...]:
    """The sources that were refused, by name.

    Raises:
        Refusal: not permitted.
    """
    with reading(engine) as session:
        check_in_collection(session, actor, collection_id, Permission.IMPORT_SCANS)
        rows = session.exec(
            select(RefusedScan).where(RefusedScan.collection_id == collection_id)
            .order_by(col(RefusedScan.name), col(RefusedScan.id))
        )
        return tuple(RefusedSource(row.name, row.reason, row.source_digest, row.at) for row in rows)


def remove_scan(
    engine: Engine, actor: Actor, collection_id: int, scan_id: int, *, reason: str, now: datetime | None = None
) -> None:
    """Take a scan out with all its cases. Its rows stay, marked; what was labelled stays too.

    Raises:
        Refusal: not permitted, no such scan, no reason, or a scan of the locked control set.
    """
    now = now or utc_now()
    if not reason.strip():
        raise Refusal("A removal needs a reason; the flow diagram and the audit log keep it.")
    with transaction(engine) as session:
        lock_writers(session)
        check_in_collection(session, actor, collection_id, Permission.IMPORT_SCANS)
        row = own_scan(session, collection_id, scan_id)
        if parts_now(session, collection_id).get(row.patient) is Part.CONTROL:
            raise Refusal("This scan is of the locked control set, which stays as it is.")
        row.removed_at, row.removed_because = now, reason.strip()
        audit.append(session, at=now, actor=actor.email, action="remove scan", study_id=collection_id,
                     subject=f"scan {scan_id}", reason=reason.strip())


def join_patients(
    engine: Engine, actor: Actor, collection_id: int, *, keep: str, other: str, reason: str,
    now: datetime | None = None,
) -> int:
    """Make two pseudonyms one patient, named `keep`; returns how many scans changed their patient.

    Raises:
        Refusal: not permitted, no such patient, no reason, or a patient whose part of a split is locked.
    """
    now = now or utc_now()
    if not reason.strip():
        raise Refusal("Joining two patients needs a reason; the audit log keeps it.")
    with transaction(engine) as session:
        lock_writers(session)
        check_in_collection(session, actor, collection_id, Permission.IMPORT_SCANS)
        rows = session.exec(select(CuratedScan).where(CuratedScan.collection_id == collection_id)).all()
        _check_joinable(session, collection_id, rows, keep, other)
        moved = [row for row in rows if row.patient == other]
        for row in moved:
            row.patient = keep
        audit.append(session, at=now, actor=actor.email, action="join patients", study_id=collection_id,
                     subject=f"patient {keep}", old={"patient": other, "scans": [row.id for row in moved]},
                     new={"patient": keep}, reason=reason.strip())
        return len(moved)


def possible_duplicates(engine: Engine, actor: Actor, collection_id: int) -> tuple[PossibleDuplicate, ...]:
    """Pairs of patients who share pixels, or name, birth date and sex, and are not joined.

    Raises:
        Refusal: not permitted.
    """
    with reading(engine) as session:
        check_in_collection(session, actor, collection_id, Permission.IMPORT_SCANS)
        rows = session.exec(select(CuratedScan, Scan).join(Scan).where(*_kept(collection_id))).all()
    pixels, identity = defaultdict(set), defaultdict(set)
    for row, scan in rows:
        pixels[scan.sha256].add(row.patient)
        identity[row.identity_digest].add(row.patient)
    identity.pop("", None)
    found = dict(_pairs(identity, "the same name, birth date and sex")) | dict(_pairs(pixels, "the same pixels"))
    return tuple(PossibleDuplicate(*pair, reason) for pair, reason in sorted(found.items()))


def own_scan(session: Session, collection_id: int, scan_id: int) -> CuratedScan:
    """A scan that is in this collection.

    Raises:
        Refusal: there is no such scan, or it was removed.
    """
    row = session.get(CuratedScan, scan_id)
    if row is None or row.collection_id != collection_id or row.removed_at is not None:
        raise Refusal(f"Scan {scan_id} is not in this collection; reload the page.")
    return row


def _pairs(by_digest: dict[str, set[str]], reason: str) -> Iterator[tuple[tuple[str, str], str]]:
    for patients in by_digest.values():
        yield from ((pair, reason) for pair in combinations(sorted(patients), 2))


def _kept(collection_id: int) -> tuple:
    return CuratedScan.collection_id == collection_id, col(CuratedScan.removed_at).is_(None)


def _of_source(session: Session, collection_id: int, source_digest: str) -> int | None:
    return session.exec(
        select(CuratedScan.id).where(
            CuratedScan.collection_id == collection_id, CuratedScan.source_digest == source_digest
        )
    ).first()


def _refusal(session: Session, collection_id: int, source_digest: str) -> RefusedScan | None:
    return session.exec(
        select(RefusedScan).where(
            RefusedScan.collection_id == collection_id, RefusedScan.source_digest == source_digest
        )
    ).first()


def _forget_refusal(session: Session, collection_id: int, source_digest: str) -> None:
    if (refusal := _refusal(session, collection_id, source_digest)) is not None:
        session.delete(refusal)


def _row(session: Session, collection_id: int, new: NewScan, now: datetime) -> CuratedScan:
    scan = session.exec(select(Scan).where(Scan.key == new.scan_key)).first()
    if scan is None:
        scan = Scan(key=new.scan_key, sha256=new.scan_sha256, simulated=new.simulated, added_at=now)
        session.add(scan)
        session.flush()
    if (scan.sha256, scan.simulated) != (new.scan_sha256, new.simulated):
        raise Refusal(f"The scan {new.name or new.scan_key} is stored with another content; store it anew.")
    assert scan.id is not None
    patient = _joined(session, collection_id, new.patient.strip())
    row = CuratedScan(
        collection_id=collection_id, scan_id=scan.id, source_digest=new.source_digest,
        identity_digest=new.identity_digest, patient=patient, imported_as=new.patient.strip(), site=new.site.strip(),
        name=new.name[:LONGEST_NAME], manufacturer=new.manufacturer, kernel=new.kernel,
        slice_thickness_mm=new.slice_thickness_mm, slices=new.slices, sex=new.sex, age_years=new.age_years,
        notes=json.dumps(new.notes, ensure_ascii=False), added_at=now,
    )
    session.add(row)
    session.flush()
    return row


def _joined(session: Session, collection_id: int, pseudonym: str) -> str:
    """The patient that a pseudonym stands for: another one where it was joined before."""
    return session.exec(
        select(CuratedScan.patient).where(
            CuratedScan.collection_id == collection_id, CuratedScan.imported_as == pseudonym
        ).order_by(col(CuratedScan.id).desc()).limit(1)
    ).first() or pseudonym


def _check_joinable(
    session: Session, collection_id: int, rows: Sequence[CuratedScan], keep: str, other: str
) -> None:
    if keep == other:
        raise Refusal("Name two different patients to join.")
    if unknown := sorted({keep, other} - {row.patient for row in rows}):
        raise Refusal(f"There is no patient {unknown[0]} in this collection.")
    parts = parts_now(session, collection_id)
    if other in parts and parts.get(keep) != parts[other]:
        raise Refusal(f"Patient {other} is in the locked {parts[other]} set, and {keep} is not; patients of different "
                      "parts cannot be joined. Remove the scans of one of them, with this reason.")


def _as_row(row: CuratedScan, scan: Scan, parts: dict[str, Part]) -> CuratedScanRow:
    assert row.id is not None
    return CuratedScanRow(
        scan_id=row.id, scan_key=scan.key, simulated=scan.simulated, patient=row.patient, site=row.site, name=row.name,
        manufacturer=row.manufacturer, kernel=row.kernel, slice_thickness_mm=row.slice_thickness_mm, slices=row.slices,
        sex=row.sex, age_years=row.age_years, notes=tuple(json.loads(row.notes)), added_at=row.added_at,
        levels_confirmed=row.levels_confirmed_at is not None, part=parts.get(row.patient),
    )
