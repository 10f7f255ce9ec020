"""What a study still lacks before its protocol can be locked, and what exactly the lock covers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from lss_core.permissions import Permission, Role
from lss_core.study.actors import Actor, check_in_study
from lss_core.study.connection import reading
from lss_core.study.database import Arm, Case, CaseKind, Membership, ModelOutput, Scan
from lss_core.study.order import most_repeats
from lss_core.study.places import protocol_now
from lss_core.study.protocol import Protocol, arms_of
from lss_core.study.truth import outputs_of, references_of
from lss_core.vocabulary import Region


def what_is_missing(engine: Engine, actor: Actor, study_id: int) -> tuple[str, ...]:
    """A sentence for each thing that stands against the lock; empty where the protocol can be locked.

    Raises:
        Refusal: no role that manages this study.
    """
    with reading(engine) as session:
        check_in_study(session, actor, study_id, Permission.MANAGE_STUDY)
        return tuple(missing(session, study_id, protocol_now(session, study_id)[0]))


def missing(session: Session, study_id: int, protocol: Protocol) -> Iterator[str]:
    """As `what_is_missing`, for a given protocol and within a transaction."""
    cases = session.exec(select(Case).where(Case.study_id == study_id, col(Case.removed_at).is_(None))).all()
    test = [case for case in cases if case.kind == CaseKind.TEST]
    if not test:
        yield "There is no test case; import the control set."
    if protocol.repeats > most_repeats(len(test)):
        yield (f"{protocol.repeats} hidden repeats do not fit among {len(test)} test cases; "
               f"at most {most_repeats(len(test))}.")
    yield from _shared_patients(cases)
    yield from _readers(session, study_id)
    needed = [case for case in cases if case.kind == CaseKind.TEST or protocol.training_feedback]
    yield from _without_reference(session, study_id, protocol, needed)
    yield from _without_output(session, study_id, protocol, cases)


def locked_facts(session: Session, study_id: int, *, at: datetime | None = None) -> list[dict[str, Any]]:
    """What a lock covers beside the protocol, in the order of the cases: scan, level, slice, kind, patient cluster,
    reference and model outputs. `protocol.digest` hashes it, so that none of it changes unseen.

    Args:
        at: The moment of the lock; model outputs that were added later are left out. None: all there are now.
    """
    references, outputs = references_of(session, study_id), outputs_of(session, study_id)
    rows = session.exec(
        select(Case, Scan.sha256).join(Scan).where(Case.study_id == study_id, col(Case.removed_at).is_(None))
        .order_by(col(Case.number))
    )
    return [
        {
            "number": case.number, "scan": sha256, "level": case.level, "slice": case.slice_index, "kind": case.kind,
            "cluster": case.cluster,
            "reference": {region.value: [row.grade, row.measure, row.source]
                          for region, row in references.get(case.id or 0, {}).items()},
            "outputs": sorted(
                [row.version, row.weights_sha256, row.region, row.grade] for row in outputs.get(case.id or 0, [])
                if at is None or row.added_at <= at
            ),
        }
        for case, sha256 in rows
    ]


def _shared_patients(cases) -> Iterator[str]:
    kinds = {kind: {case.cluster for case in cases if case.kind == kind} for kind in CaseKind}
    shared = kinds[CaseKind.TEST] & kinds[CaseKind.TRAINING]
    if shared:
        numbers = sorted(case.number for case in cases if case.cluster in shared and case.kind == CaseKind.TRAINING)
        yield (f"The training cases {_listed(numbers)} are of patients who are in the test set too; remove them, since "
               "their reference is shown to the readers.")


def _readers(session: Session, study_id: int) -> Iterator[str]:
    roles: dict[int, set[str]] = {}
    for row in session.exec(select(Membership).where(Membership.study_id == study_id)):
        if row.removed_at is None or row.role != Role.READER:
            roles.setdefault(row.account_id, set()).add(row.role)
    readers = [each for each in roles.values() if Role.READER in each]
    if not readers:
        yield "There is no reader; invite at least one."
    if any(each != {Role.READER} for each in readers):
        yield "A reader also is, or was, PI, coordinator or annotator of this study; remove one role of that person."


def _without_reference(session: Session, study_id: int, protocol: Protocol, cases) -> Iterator[str]:
    references = references_of(session, study_id)
    lacking = [case.number for case in cases if not set(protocol.regions) <= set(references.get(case.id, {}))]
    if lacking:
        yield f"The cases {_listed(sorted(lacking))} lack a reference of a region that is asked; add it or remove them."


def _without_output(session: Session, study_id: int, protocol: Protocol, cases) -> Iterator[str]:
    outputs = outputs_of(session, study_id)
    if protocol.aid and Arm.AIDED in arms_of(protocol.design):
        aid = (protocol.aid.version, protocol.aid.weights_sha256)
        lacking = _lacking(cases, outputs, protocol, lambda row: (row.version, row.weights_sha256) == aid)
        if lacking:
            yield f"Model {aid[0]}, which is the aid, has not graded the cases {_listed(lacking)}; grade them with it."
        if protocol.aid.heat_map and not lacking:
            yield from _without_heat_map(outputs, protocol, aid)
    test = [case for case in cases if case.kind == CaseKind.TEST]
    for version in protocol.versions:
        lacking = _lacking(test, outputs, protocol, lambda row, version=version: row.version == version)
        if lacking:
            yield f"Model {version}, to be compared, has not graded the cases {_listed(lacking)}; grade them with it."
        hashes = Counter(row.weights_sha256 for rows in outputs.values() for row in rows if row.version == version)
        if len(hashes) > 1:
            yield f"Model {version} graded with {len(hashes)} different weights; a version that is compared has one."


def _without_heat_map(outputs: dict[int, list[ModelOutput]], protocol: Protocol, aid: tuple[str, str]) -> Iterator[str]:
    bare = sum(
        row.grade is not None and not row.heat_map_key and Region(row.region) in protocol.regions
        for rows in outputs.values() for row in rows if (row.version, row.weights_sha256) == aid
    )
    if bare:
        yield (f"{bare} outputs of model {aid[0]} have no heat map, which the aid is to show; make them, or show "
               "grades alone.")


def _lacking(cases, outputs: dict[int, list[ModelOutput]], protocol: Protocol, counts) -> list[int]:
    """Numbers of the cases that have no output of a region that is asked."""
    asked = {region.value for region in protocol.regions}
    return sorted(
        case.number for case in cases
        if not asked <= {row.region for row in outputs.get(case.id, []) if counts(row)}
    )


def _listed(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:10]))
    return shown if len(numbers) <= 10 else f"{shown} and {len(numbers) - 10} more"
