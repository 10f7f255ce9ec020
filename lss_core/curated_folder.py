"""The parts of a curated set as folders that `train` and `evaluate` read: DICOM a patient, reference.csv, set.json.

What is written comes from the image store, which holds no identity, and from the locked reference; site, names and
notes of the scans stay here. A writing that was stopped goes on where it ended.
"""

from __future__ import annotations

import csv
import os
import re
import secrets
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydicom.uid import generate_uid
from sqlalchemy import Engine
from sqlmodel import Session, col, select

from lss_core.curation.parts import Part, Purpose, check_usable, parts_now, split_now
from lss_core.curation.reference import ReferenceRow, values_of, version_now
from lss_core.held_lock import holding
from lss_core.imaging.deidentify import known_kernel, known_manufacturer
from lss_core.imaging.dicom_out import CONTROL, CtHeader, write_series
from lss_core.imaging.store import ScanStore
from lss_core.imaging.volume import Volume
from lss_core.permissions import Permission
from lss_core.simulation.series import CANAL_AP_COLUMN, REFERENCE_COLUMNS, simulated_header
from lss_core.study import audit
from lss_core.study.actors import Actor, check_in_collection
from lss_core.study.clock import utc_now
from lss_core.study.connection import lock_writers, reading, transaction
from lss_core.study.curation_tables import CuratedScan, SplitVersion
from lss_core.study.database import Scan
from lss_core.study.version import SOFTWARE_VERSION
from lss_core.training.set_mark import WHAT, SetMark, read_mark, write_mark
from lss_core.vocabulary import Refusal

PURPOSES = {
    Part.TRAINING: Purpose.TRAIN, Part.VALIDATION: Purpose.CALIBRATE, Part.CONTROL: Purpose.EVALUATE,
    Part.EXTERNAL: Purpose.EVALUATE,
}
OLDEST_YEARS = 90.0                     # older patients are few enough to be found by their age
PARTIAL = ".partial-"
LOCK, REFERENCE = ".writing", "reference.csv"
UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class _SetScan:
    """A scan of the set: where it goes, and what is written of it."""

    folder: str
    patient: str
    part: Part
    key: str
    sha256: str
    simulated: bool
    sex: str
    age_years: float | None
    manufacturer: str
    kernel: str
    rows: tuple[ReferenceRow, ...]


def export_set(
    engine: Engine, store: ScanStore, actor: Actor, collection_id: int, parts: Sequence[Part], out: Path,
    progress: Progress | None = None,
) -> Path:
    """Write parts of a collection's locked split into a folder; returns the path of its reference.csv.

    Args:
        parts: The control set is written alone, and marked, so that no training reads it.
        progress: Called with what is being done and the share of the scans done, 0..1.

    Raises:
        Refusal: not permitted, nothing is locked, nothing graded in these parts, or the folder holds something else.
    """
    tell = progress or (lambda what, share: None)
    mark, scans = _content(engine, actor, collection_id, tuple(dict.fromkeys(parts)))
    _refuse_foreign(out, mark)
    out.mkdir(parents=True, exist_ok=True)
    with holding(out / LOCK):
        _refuse_foreign(out, mark)
        if (known := read_mark(out)) is not None and known.complete:
            return out / REFERENCE
        _note(engine, actor, collection_id, mark)
        write_mark(out, mark)           # first, so that an unfinished control set is one already
        _clear_partial(out)
        for number, scan in enumerate(scans):
            tell(f"Writing scan {number + 1} of {len(scans)}", number / len(scans))
            _write_scan(store, scan, out)
        _write_reference(scans, out)
        write_mark(out, replace(mark, complete=True))
    tell("Written", 1.0)
    return out / REFERENCE


def _note(engine: Engine, actor: Actor, collection_id: int, mark: SetMark) -> None:
    """Keep in the audit log who wrote which scans."""
    with transaction(engine) as session:
        lock_writers(session)
        audit.append(
            session, at=utc_now(), actor=actor.email, action="write set", study_id=collection_id,
            subject=" and ".join(mark.parts),
            new={"scans": len(mark.patients), "reference": mark.reference_sha256, "split": mark.split_sha256},
        )


def set_digest(engine: Engine, actor: Actor, collection_id: int, parts: Sequence[Part]) -> str:
    """What `export_set` would write, as a SHA-256: another reference, split or choice of scans has another one, and
    belongs into another folder.

    Raises:
        Refusal: as `export_set`, but for the folder.
    """
    mark, _ = _content(engine, actor, collection_id, tuple(dict.fromkeys(parts)))
    return mark.digest()


def series_uid_of(scan_key: str) -> str:
    """The series UID that a stored scan has in every written set."""
    return str(generate_uid(entropy_srcs=["lss-curated-series", scan_key]))


def _content(
    engine: Engine, actor: Actor, collection_id: int, parts: tuple[Part, ...]
) -> tuple[SetMark, list[_SetScan]]:
    """What belongs into the folder, by the record as it is now."""
    if not parts:
        raise Refusal("Name at least one part of the split: training, validation, control or external.")
    if Part.CONTROL in parts and len(parts) > 1:
        raise Refusal("The control set is written alone, so that it never lies among scans to train on.")
    with reading(engine) as session:
        needed = Permission.SPLIT if Part.CONTROL in parts else Permission.TRAIN
        collection = check_in_collection(session, actor, collection_id, needed)
        split, reference = split_now(session, collection_id), version_now(session, collection_id)
        for part in parts:
            check_usable(part, PURPOSES[part], is_locked=split is not None)
        assert split is not None                # check_usable refuses where nothing is locked
        if reference is None:
            raise Refusal("No version of the reference is locked yet; lock one first.")
        part_of = parts_now(session, collection_id)
        scans = list(_scans(session, list(values_of(session, reference)), part_of, parts))
        if not scans:
            raise Refusal(f"No case of the {' and '.join(parts)} part has a graded region; nothing is written.")
        control = _control_scans(session, split, part_of)
        mark = SetMark(
            what=WHAT, collection=collection.token, parts=tuple(part.value for part in parts),
            reference_number=reference.number, reference_sha256=reference.sha256, split_number=split.number,
            split_sha256=split.sha256, simulated=all(scan.simulated for scan in scans),
            patients={scan.folder: scan.patient for scan in scans},
            control_patients=tuple(sorted({patient for patient, _ in control})),
            control_series=tuple(sorted(series_uid_of(key) for _, key in control)), software_version=SOFTWARE_VERSION,
        )
        return mark, scans


def _scans(
    session: Session, rows: Sequence[ReferenceRow], part_of: dict[str, Part], parts: Sequence[Part]
) -> Iterator[_SetScan]:
    """The scans with a graded region, in the order of patients and of import."""
    by_scan: dict[int, list[ReferenceRow]] = defaultdict(list)
    for row in rows:
        if part_of.get(row.patient) in parts and row.grade is not None:
            by_scan[row.scan_id].append(row)
    taken: set[str] = set()
    for scan_id, own in sorted(by_scan.items(), key=lambda item: (item[1][0].patient, item[0])):
        curated = session.get_one(CuratedScan, scan_id)
        stored = session.get_one(Scan, curated.scan_id)
        yield _SetScan(
            folder=_folder_name(curated.patient, taken), patient=curated.patient, part=part_of[curated.patient],
            key=stored.key, sha256=stored.sha256, simulated=stored.simulated, sex=curated.sex,
            age_years=curated.age_years, manufacturer=curated.manufacturer, kernel=curated.kernel, rows=tuple(own),
        )


def _folder_name(patient: str, taken: set[str]) -> str:
    """The pseudonym as one folder's name; the second scan of a patient gets a folder NAME-2."""
    name = UNSAFE.sub("_", patient)[:64] or "_"
    free = next(each for each in (name, *(f"{name}-{n}" for n in range(2, 10_000))) if each not in taken)
    taken.add(free)
    return free


def _control_scans(session: Session, split: SplitVersion, part_of: dict[str, Part]) -> list[tuple[str, str]]:
    """(patient, key) of every scan of the control set at its lock, graded or not: of one split always the same."""
    found = session.exec(
        select(CuratedScan.patient, Scan.key).join(Scan, col(Scan.id) == CuratedScan.scan_id)
        .where(CuratedScan.collection_id == split.collection_id, col(CuratedScan.added_at) <= split.locked_at)
    ).all()
    return [(patient, key) for patient, key in found if part_of.get(patient) is Part.CONTROL]


def _refuse_foreign(out: Path, mark: SetMark) -> None:
    """Leave alone what somebody else put there, or another version of the set."""
    if out.exists() and not out.is_dir():
        raise Refusal(f"{out} is a file; name a new folder.")
    there = [path.name for path in out.iterdir()] if out.is_dir() else []
    known = read_mark(out) if there else None
    if known is None and set(there) - {LOCK}:
        raise Refusal(f"{out} holds other files already; name a new folder.")
    if known is not None and known.digest() != mark.digest():
        raise Refusal(f"{out} holds another part or version of a curated set; name a new folder.")


def _clear_partial(out: Path) -> None:
    """Remove what a writing that was stopped had not finished."""
    for path in out.glob(f"{PARTIAL}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _write_scan(store: ScanStore, scan: _SetScan, out: Path) -> None:
    """Write a scan's folder whole, or not at all."""
    if (out / scan.folder).exists():
        return
    partial = out / f"{PARTIAL}{secrets.token_hex(4)}"
    write_series(_named(store.open(scan.key, sha256=scan.sha256), scan.key), partial, _header(scan))
    os.rename(partial, out / scan.folder)


def _named(volume: Volume, key: str) -> Volume:
    """The volume with UIDs of its own: none of the source is kept, and the same scan always gets the same."""
    uids = tuple(str(generate_uid(entropy_srcs=["lss-curated-image", key, str(i)])) for i in range(volume.shape[0]))
    return replace(volume, series_uid=series_uid_of(key), sop_instance_uids=uids)


def _header(scan: _SetScan) -> CtHeader:
    age = None if scan.age_years is None else min(scan.age_years, OLDEST_YEARS)
    if scan.simulated:
        header = simulated_header(scan.folder, sex=scan.sex, age_years=age, kernel=scan.kernel)
    else:
        header = CtHeader(
            patient=scan.folder, patient_name=f"{scan.folder}^", description="De-identified lumbar spine",
            comment="", deidentified_by="PS3.15 basic profile at import; UIDs and dates made anew",
            manufacturer=known_manufacturer(scan.manufacturer) or "", model_name="",
            kernel=known_kernel(scan.kernel) or "", sex=scan.sex, age_years=age,
        )
    return replace(header, comment=f"{header.comment} {CONTROL}".strip()) if scan.part is Part.CONTROL else header


def _write_reference(scans: Sequence[_SetScan], out: Path) -> None:
    """Write reference.csv last and in one step: a folder without it is not read as a set."""
    partial = out / f"{PARTIAL}{REFERENCE}"
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow((*REFERENCE_COLUMNS, CANAL_AP_COLUMN))
        writer.writerows(_reference_row(scan, row) for scan in scans for row in scan.rows)
    os.replace(partial, out / REFERENCE)


def _reference_row(scan: _SetScan, row: ReferenceRow) -> tuple[object, ...]:
    image = generate_uid(entropy_srcs=["lss-curated-image", scan.key, str(row.slice_index)])
    box = [f"{edge:.3f}" for edge in row.box.as_list()] if row.box else [""] * 4
    return (scan.folder, series_uid_of(scan.key), row.level.value, row.region.value, row.grade, "", "", image, *box, "")
