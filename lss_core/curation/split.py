"""The split by patient: drawn with the grades mixed alike, locked under a hash, and what each part may be used for.

How the patients are drawn is in `drawing_lots`. Once locked a patient keeps the part: a later version, for patients who
came later or a corrected reference, adds and never moves.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from lss_core.curation.agreement import kind_of
from lss_core.curation.drawing_lots import draw_parts
from lss_core.curation.levels import CuratedCase, all_cases
from lss_core.curation.parts import Part, Purpose, is_usable, parts_now, split_now
from lss_core.curation.reference import ReferenceRow, reference_digest, rows_of, values_of, version_now
from lss_core.curation.table_one import TableOne, table_of
from lss_core.permissions import OF_ROLE, Permission
from lss_core.study import audit
from lss_core.study import curation_tables as tables
from lss_core.study.actors import Actor, check_in_collection, roles_in
from lss_core.study.clock import utc_now
from lss_core.study.connection import lock_writers, reading, transaction
from lss_core.study.curation_tables import CuratedLevel, CuratedScan
from lss_core.study.database import Account
from lss_core.study.signatures import sign
from lss_core.vocabulary import Refusal

DRAWN = (Part.TRAINING, Part.VALIDATION, Part.CONTROL)
MEANING = "I approve this division of the patients"
NOT_LOCKED = "The split is not locked yet; the principal investigator draws and locks it."


@dataclass(frozen=True)
class SplitPlan:
    """How the patients are divided.

    Attributes:
        ratios: Of training, validation and control; the default is that of Li et al. (Spine 2024;49:884-891).
        external_sites: Patients with a scan of one of these sites are the external set, whatever else they have.
    """

    ratios: tuple[float, ...] = (0.623, 0.229, 0.148)
    seed: int = 1
    external_sites: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.ratios) != len(DRAWN) or min(self.ratios) < 0 or abs(sum(self.ratios) - 1) > 1e-6:
            raise Refusal(f"The ratios {self.ratios} cannot be: three are needed, none below 0, that add up to 1.")

    @property
    def canonical(self) -> str:
        """JSON with sorted keys and no spaces: equal plans give equal text."""
        return audit.canonical(asdict(self))

    @classmethod
    def parse(cls, text: str) -> SplitPlan:
        values = json.loads(text)
        return cls(tuple(values["ratios"]), values["seed"], tuple(values["external_sites"]))


@dataclass(frozen=True)
class PartCount:
    """What is in one part. `grades`: how many regions have each grade; None is "not gradable"."""

    patients: int
    scans: int
    cases: int
    grades: Mapping[int | None, int]


@dataclass(frozen=True)
class SplitDraft:
    """A split before it is locked. `counts` holds the external set only where there is one."""

    plan: SplitPlan
    assignment: Mapping[str, Part]              # patient to part
    counts: Mapping[Part, PartCount]
    table_one: TableOne


@dataclass(frozen=True)
class SplitVersion:
    """A locked split."""

    number: int
    sha256: str                                 # of plan, patients and reference
    control_sha256: str                         # of the control set's patients, cases and their reference
    reference_number: int
    reference_sha256: str
    plan: SplitPlan
    reason: str
    locked_at: datetime
    locked_by: str                              # e-mail
    assignment: Mapping[str, Part]
    counts: Mapping[Part, PartCount]


def propose_split(engine: Engine, actor: Actor, collection_id: int, plan: SplitPlan) -> SplitDraft:
    """Draw a split and keep nothing: the same plan draws the same patients again.

    Raises:
        Refusal: not permitted, or the reference is not locked.
    """
    with reading(engine) as session:
        check_in_collection(session, actor, collection_id, Permission.SPLIT)
        rows = _reference(session, collection_id)
        drawn = _drawn(session, collection_id, plan, rows)
        return SplitDraft(plan, drawn, _counts(drawn, rows),
                          table_of(session, collection_id, drawn))


def lock_split(
    engine: Engine, actor: Actor, collection_id: int, plan: SplitPlan, *, typed_name: str, reason: str = "",
    now: datetime | None = None,
) -> SplitVersion:
    """Draw the split again and freeze it under a hash and a signature. From now on the control set is isolated.

    Raises:
        Refusal: not permitted, the reference is not locked, a part that is asked for stays empty, a later version
            without a reason or without a difference, or the name is not the account's.
    """
    now = now or utc_now()
    with transaction(engine) as session:
        lock_writers(session)
        check_in_collection(session, actor, collection_id, Permission.SPLIT)
        rows = _reference(session, collection_id)
        drawn = _drawn(session, collection_id, plan, rows)
        _check_filled(plan, drawn)
        version = _new_version(session, actor, collection_id, plan, drawn, reason.strip(), now)
        name = f"split {version.number}"
        sign(session, actor, collection_id, typed_name=typed_name, meaning=MEANING, what=name, sha256=version.sha256,
             at=now)
        audit.append(session, at=now, actor=actor.email, action="lock split", study_id=collection_id, subject=name,
                     new={"sha256": version.sha256, "control_sha256": version.control_sha256,
                          "patients": dict(Counter(drawn.values()))}, reason=reason.strip())
        return _as_version(session, version)


def split_of(engine: Engine, actor: Actor, collection_id: int) -> SplitVersion | None:
    """The newest locked split, or None.

    Raises:
        Refusal: not permitted: annotators do not learn which case is in which part.
    """
    with reading(engine) as session:
        check_in_collection(session, actor, collection_id, Permission.IMPORT_SCANS)
        version = split_now(session, collection_id)
        return None if version is None else _as_version(session, version)


def cases_for(engine: Engine, actor: Actor, collection_id: int, purpose: Purpose) -> tuple[CuratedCase, ...]:
    """The cases that may be used for a purpose: the one door to the parts of a collection.

    For training and calibration these are the cases of the locked part alone; for an evaluation all parts, the control
    set only for who may split; for annotating with a model all but a locked control set.

    Raises:
        Refusal: not permitted, or the split is not locked yet where it must be.
    """
    with reading(engine) as session:
        check_in_collection(session, actor, collection_id, _needed(purpose))
        is_locked = bool(parts_now(session, collection_id))
        if not is_locked and purpose is not Purpose.ANNOTATE_WITH_MODEL:
            raise Refusal(NOT_LOCKED)
        cases = [case for case in all_cases(session, collection_id)
                 if is_usable(case.part, purpose, is_locked=is_locked)]
        if purpose is Purpose.EVALUATE and not _may_split(session, actor, collection_id):
            cases = [case for case in cases if case.part is not Part.CONTROL]
        return tuple(cases)


def reference_for(engine: Engine, actor: Actor, collection_id: int, purpose: Purpose) -> tuple[ReferenceRow, ...]:
    """The reference of `cases_for`, as the locked split has it.

    Raises:
        Refusal: as `cases_for`.
    """
    usable = {case.case_id for case in cases_for(engine, actor, collection_id, purpose)}
    with reading(engine) as session:
        version = split_now(session, collection_id)
        if version is None:
            raise Refusal(NOT_LOCKED)
        reference = session.get_one(tables.ReferenceVersion, version.reference_version_id)
        return tuple(row for row in values_of(session, reference) if row.case_id in usable)


def simulated_in(engine: Engine, actor: Actor, collection_id: int, part: Part) -> frozenset[bool]:
    """Whether the scans of a part are simulated: {True}, {False} or both.

    Raises:
        Refusal: not permitted, or the split is not locked.
    """
    with reading(engine) as session:
        check_in_collection(session, actor, collection_id, Permission.IMPORT_SCANS)
        parts = parts_now(session, collection_id)
        if not parts:
            raise Refusal(NOT_LOCKED)
        return frozenset(row.simulated for row in _reference(session, collection_id) if parts.get(row.patient) is part)


def split_digests(
    session: Session, collection_id: int, plan_text: str, reference: tables.ReferenceVersion,
    assignment: Mapping[str, str],
) -> tuple[str, str]:
    """SHA-256 of plan, patients and reference, and of the control set's patients, cases and their reference."""
    control = {patient for patient, part in assignment.items() if part == Part.CONTROL}
    of_case = _patient_of_case(session, collection_id)
    rows = [row for row in rows_of(session, reference) if of_case.get(row.case_id) in control]
    return (
        _digest([plan_text, sorted(assignment.items()), reference.sha256]),
        _digest([sorted(control), reference_digest(session, collection_id, rows)]),
    )


def _needed(purpose: Purpose) -> Permission:
    return Permission.IMPORT_SCANS if purpose is Purpose.ANNOTATE_WITH_MODEL else Permission.TRAIN


def _may_split(session: Session, actor: Actor, collection_id: int) -> bool:
    return any(Permission.SPLIT in OF_ROLE[role] for role in roles_in(session, actor.account_id, collection_id))


def _reference(session: Session, collection_id: int) -> list[ReferenceRow]:
    version = version_now(session, collection_id)
    if version is None:
        raise Refusal("The reference is not locked yet; the split mixes its grades alike, so lock it first.")
    return list(values_of(session, version))


def _drawn(
    session: Session, collection_id: int, plan: SplitPlan, rows: Sequence[ReferenceRow]
) -> dict[str, Part]:
    """Patient to part: those of a locked split stay, external ones go by site, the others by lot."""
    mixes: dict[str, Counter] = defaultdict(Counter)
    for row in rows:
        mixes[row.patient][kind_of(row.region).value, row.grade] += 1
    locked = {patient: part for patient, part in parts_now(session, collection_id).items() if patient in mixes}
    sites = _sites(session, collection_id)
    external = {patient for patient in mixes if patient not in locked and sites[patient] & set(plan.external_sites)}
    external |= {patient for patient, part in locked.items() if part is Part.EXTERNAL}
    inner = {patient: mix for patient, mix in mixes.items() if patient not in external}
    taken = {patient: DRAWN.index(part) for patient, part in locked.items() if patient in inner}
    drawn = draw_parts(inner, plan.ratios, seed=plan.seed, taken=taken)
    found = {patient: DRAWN[number] for patient, number in drawn.items()} | dict.fromkeys(external, Part.EXTERNAL)
    return dict(sorted(found.items()))


def _check_filled(plan: SplitPlan, drawn: Mapping[str, Part]) -> None:
    for part, ratio in zip(DRAWN, plan.ratios, strict=True):
        if ratio > 0 and part not in drawn.values():
            raise Refusal(f"There are too few patients: the {part.value} set would be empty. Import more scans, or set "
                          "its share to 0.")


def _new_version(
    session: Session, actor: Actor, collection_id: int, plan: SplitPlan, drawn: Mapping[str, Part], reason: str,
    now: datetime,
) -> tables.SplitVersion:
    before, reference = split_now(session, collection_id), version_now(session, collection_id)
    assert reference is not None and reference.id is not None
    if before is not None:
        _check_changed(session, collection_id, before, reference, drawn, reason)
    version = tables.SplitVersion(
        collection_id=collection_id, number=before.number + 1 if before else 1, reference_version_id=reference.id,
        content=plan.canonical, reason=reason, sha256="", control_sha256="", locked_by=actor.account_id, locked_at=now,
    )
    version.sha256, version.control_sha256 = split_digests(session, collection_id, plan.canonical, reference, drawn)
    session.add(version)
    session.flush()
    assert version.id is not None
    session.add_all(tables.SplitRow(version_id=version.id, patient=patient, part=part)
                    for patient, part in drawn.items())
    session.flush()
    return version


def _check_changed(
    session: Session, collection_id: int, before: tables.SplitVersion, reference: tables.ReferenceVersion,
    drawn: Mapping[str, Part], reason: str,
) -> None:
    if before.reference_version_id == reference.id and parts_now(session, collection_id) == drawn:
        raise Refusal(f"The split is locked as version {before.number}, and no patient or reference has been added "
                      "since; patients keep their part.")
    if not reason:
        raise Refusal("A new version of the split needs a reason; it stays with the version.")


def _counts(assignment: Mapping[str, Part], rows: Sequence[ReferenceRow]) -> dict[Part, PartCount]:
    parts = [*DRAWN, *({Part.EXTERNAL} & set(assignment.values()))]
    return {part: _count(part, assignment, rows) for part in parts}


def _count(part: Part, assignment: Mapping[str, Part], rows: Sequence[ReferenceRow]) -> PartCount:
    own = [row for row in rows if assignment.get(row.patient) is part]
    return PartCount(
        patients=len({row.patient for row in own}), scans=len({row.scan_id for row in own}),
        cases=len({row.case_id for row in own}), grades=dict(Counter(row.grade for row in own)),
    )


def _as_version(session: Session, row: tables.SplitVersion) -> SplitVersion:
    reference = session.get_one(tables.ReferenceVersion, row.reference_version_id)
    assignment = parts_now(session, row.collection_id)
    return SplitVersion(
        number=row.number, sha256=row.sha256, control_sha256=row.control_sha256, reference_number=reference.number,
        reference_sha256=reference.sha256, plan=SplitPlan.parse(row.content), reason=row.reason,
        locked_at=row.locked_at, locked_by=session.get_one(Account, row.locked_by).email, assignment=assignment,
        counts=_counts(assignment, list(values_of(session, reference))),
    )


def _sites(session: Session, collection_id: int) -> dict[str, set[str]]:
    """Patient to the sites of their scans."""
    rows = session.exec(
        select(CuratedScan.patient, CuratedScan.site)
        .where(CuratedScan.collection_id == collection_id, col(CuratedScan.removed_at).is_(None))
    )
    found: dict[str, set[str]] = defaultdict(set)
    for patient, site in rows:
        found[patient].add(site)
    return dict(found)


def _patient_of_case(session: Session, collection_id: int) -> dict[int, str]:
    rows = session.exec(
        select(CuratedLevel.id, CuratedScan.patient)
        .join(CuratedScan, col(CuratedScan.id) == CuratedLevel.curated_scan_id)
        .where(CuratedLevel.collection_id == collection_id)
    )
    return {case_id: patient for case_id, patient in rows if case_id is not None}


def _digest(content: list) -> str:
    return hashlib.sha256(audit.canonical(content).encode()).hexdigest()
