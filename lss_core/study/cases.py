"""The cases of a study: what readers see apart from what they must not learn, stored in tables of their own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, func
from sqlmodel import Session, col, select

from lss_core.permissions import Permission, Role
from lss_core.study import audit
from lss_core.study.actors import Actor, check_in_study, roles_in
from lss_core.study.clock import utc_now
from lss_core.study.connection import lock_writers, reading, transaction
from lss_core.study.database import Case, CaseKind, CaseOrigin, ModelOutput, Reference, Scan, Study, StudyState
from lss_core.study.new_cases import NewCase, NewOutput, NewReference
from lss_core.study.truth import outputs_of, references_of
from lss_core.vocabulary import Box, DiscLevel, Refusal, Region


@dataclass(frozen=True)
class CaseRow:
    """A case as those who manage the study see it.

    Attributes:
        reference, outputs: None where the viewer may not see them: all but the PI before unblinding.
        referenced: The regions that have a reference, whoever looks.
        versions: The model versions that have graded it, whoever looks.
    """

    case_id: int
    number: int
    kind: CaseKind
    level: DiscLevel
    slice_index: int
    scan_key: str
    simulated: bool
    patient: str
    name: str
    site: str
    scanner: str
    slice_thickness_mm: float | None
    referenced: frozenset[Region]
    versions: frozenset[str]
    reference: Mapping[Region, Reference] | None
    outputs: tuple[ModelOutput, ...] | None


def add_case(engine: Engine, actor: Actor, study_id: int, case: NewCase, *, now: datetime | None = None) -> int:
    """Add one case; see `add_cases`."""
    return add_cases(engine, actor, study_id, [case], now=now)[0]


def add_cases(
    engine: Engine, actor: Actor, study_id: int, cases: Sequence[NewCase], *, now: datetime | None = None
) -> tuple[int, ...]:
    """Add cases to a draft, all or none. A simulated scan marks the study as a demo, for good.

    Returns:
        Their ids.

    Raises:
        Refusal: not permitted, the protocol is locked, or a case is there already.
    """
    now = now or utc_now()
    with transaction(engine) as session:
        lock_writers(session)
        return put_cases(session, actor, _draft_study(session, actor, study_id), cases, now)


def put_cases(
    session: Session, actor: Actor, study: Study, cases: Sequence[NewCase], now: datetime
) -> tuple[int, ...]:
    """`add_cases` within the caller's transaction, which has asked whether the actor may."""
    assert study.id is not None
    number, clusters = _last_number(session, study.id), _clusters(session, study.id)
    ids = tuple(_add(session, study.id, case, number + index, clusters, now) for index, case in enumerate(cases, 1))
    study.is_demo = study.is_demo or any(case.simulated for case in cases)
    audit.append(session, at=now, actor=actor.email, action="add cases", study_id=study.id,
                 subject=f"{len(ids)} cases",
                 new={"numbers": [number + 1, number + len(ids)], "scans": sorted({c.scan_sha256 for c in cases})})
    return ids


def add_outputs(
    engine: Engine, actor: Actor, study_id: int, outputs: Mapping[int, Sequence[NewOutput]], *,
    now: datetime | None = None,
) -> None:
    """Add what a further model version found, case id to its outputs. Outputs are never replaced.

    Raises:
        Refusal: not permitted, unblinded already, not a case of this study, or that version graded the case already.
    """
    now = now or utc_now()
    with transaction(engine) as session:
        lock_writers(session)
        study = check_in_study(session, actor, study_id, Permission.EDIT_PROTOCOL)
        if study.state == StudyState.UNBLINDED:
            raise Refusal("The study is unblinded: a model version that is graded now would no longer be blind to it.")
        known = {case.id for case in _cases(session, study_id)}
        for case_id, each in outputs.items():
            if case_id not in known:
                raise Refusal(f"Case {case_id} is not a case of this study.")
            _add_outputs(session, case_id, each, now)
        audit.append(session, at=now, actor=actor.email, action="add model outputs", study_id=study_id,
                     subject=f"{len(outputs)} cases",
                     new=sorted({f"{o.version} {o.weights_sha256}" for each in outputs.values() for o in each}))


def set_reference(
    engine: Engine, actor: Actor, study_id: int, case_id: int, reference: Mapping[Region, NewReference], *,
    source: str, reason: str, now: datetime | None = None,
) -> None:
    """Correct the reference of a case of a draft: a new row each, and the former ones stay.

    Raises:
        Refusal: not permitted, the protocol is locked, not a case of this study, or no source or reason.
    """
    now = now or utc_now()
    if not source.strip() or not reason.strip():
        raise Refusal("A corrected reference needs its source and a reason; the reason is kept in the audit log.")
    with transaction(engine) as session:
        lock_writers(session)
        _draft_study(session, actor, study_id)
        case = _own_case(session, study_id, case_id)
        _add_reference(session, case_id, reference, source, now)
        audit.append(session, at=now, actor=actor.email, action="set reference", study_id=study_id,
                     subject=f"case {case.number}", new=sorted(region.value for region in reference), reason=reason)


def remove_case(
    engine: Engine, actor: Actor, study_id: int, case_id: int, *, reason: str = "", now: datetime | None = None
) -> None:
    """Leave a case out of a draft. Its rows stay, marked as removed.

    Raises:
        Refusal: not permitted, the protocol is locked, or not a case of this study.
    """
    now = now or utc_now()
    with transaction(engine) as session:
        lock_writers(session)
        _draft_study(session, actor, study_id)
        case = _own_case(session, study_id, case_id)
        case.removed_at = now
        audit.append(session, at=now, actor=actor.email, action="remove case", study_id=study_id,
                     subject=f"case {case.number}", reason=reason.strip())


def cases_of(engine: Engine, actor: Actor, study_id: int) -> tuple[CaseRow, ...]:
    """The cases of a study in the order of import. Before unblinding only the PI sees references and model outputs.

    Raises:
        Refusal: no role that manages this study.
    """
    with reading(engine) as session:
        study = check_in_study(session, actor, study_id, Permission.MANAGE_STUDY)
        sees_truth = study.state == StudyState.UNBLINDED or Role.PI in roles_in(session, actor.account_id, study_id)
        references, outputs = references_of(session, study_id), outputs_of(session, study_id)
        rows = session.exec(
            select(Case, CaseOrigin, Scan).join(CaseOrigin, col(CaseOrigin.case_id) == Case.id)
            .join(Scan, col(Scan.id) == Case.scan_id)
            .where(Case.study_id == study_id, col(Case.removed_at).is_(None)).order_by(col(Case.number))
        ).all()
        return tuple(
            _row(case, origin, scan, references.get(case.id or 0, {}), outputs.get(case.id or 0, []), sees_truth)
            for case, origin, scan in rows
        )


def names_of_cases(engine: Engine, actor: Actor, study_id: int) -> frozenset[str]:
    """The study's own names of its cases, by which an import knows what it has added already.

    Raises:
        Refusal: not permitted.
    """
    with reading(engine) as session:
        check_in_study(session, actor, study_id, Permission.EDIT_PROTOCOL)
        return frozenset(session.exec(
            select(CaseOrigin.name).join(Case).where(Case.study_id == study_id, col(Case.removed_at).is_(None))
        ))


def _row(
    case: Case, origin: CaseOrigin, scan: Scan, reference: dict[Region, Reference], outputs: list[ModelOutput],
    sees_truth: bool,
) -> CaseRow:
    assert case.id is not None
    return CaseRow(
        case_id=case.id, number=case.number, kind=CaseKind(case.kind), level=DiscLevel(case.level),
        slice_index=case.slice_index, scan_key=scan.key, simulated=scan.simulated, patient=origin.patient,
        name=origin.name, site=origin.site, scanner=origin.scanner, slice_thickness_mm=origin.slice_thickness_mm,
        referenced=frozenset(reference), versions=frozenset(output.version for output in outputs),
        reference=reference if sees_truth else None, outputs=tuple(outputs) if sees_truth else None,
    )


def _draft_study(session: Session, actor: Actor, study_id: int) -> Study:
    study = check_in_study(session, actor, study_id, Permission.EDIT_PROTOCOL)
    if study.state != StudyState.DRAFT:
        raise Refusal("The protocol is locked: its cases and their reference stay as they are.")
    return study


def _cases(session: Session, study_id: int) -> Sequence[Case]:
    return session.exec(select(Case).where(Case.study_id == study_id, col(Case.removed_at).is_(None))).all()


def _own_case(session: Session, study_id: int, case_id: int) -> Case:
    case = session.get(Case, case_id)
    if case is None or case.study_id != study_id or case.removed_at is not None:
        raise Refusal(f"Case {case_id} is not a case of this study.")
    return case


def _last_number(session: Session, study_id: int) -> int:
    return session.exec(select(func.max(Case.number)).where(Case.study_id == study_id)).one() or 0


def _clusters(session: Session, study_id: int) -> dict[str, int]:
    """Patient to cluster number, of all cases that the study ever had."""
    rows = session.exec(select(CaseOrigin.patient, Case.cluster).join(Case).where(Case.study_id == study_id))
    return {patient: cluster for patient, cluster in rows}


def _add(
    session: Session, study_id: int, new: NewCase, number: int, clusters: dict[str, int], now: datetime
) -> int:
    scan = _scan(session, new, now)
    _refuse_twice(session, study_id, scan, new)
    assert scan.id is not None
    cluster = clusters.setdefault(new.patient, len(set(clusters.values())) + 1)
    case = Case(study_id=study_id, number=number, scan_id=scan.id, level=new.level, slice_index=new.slice_index,
                kind=new.kind, cluster=cluster)
    session.add(case)
    session.flush()
    assert case.id is not None
    session.add(CaseOrigin(case_id=case.id, patient=new.patient, name=new.name, site=new.site, scanner=new.scanner,
                           slice_thickness_mm=new.slice_thickness_mm))
    _add_reference(session, case.id, new.reference, new.source, now)
    _add_outputs(session, case.id, new.outputs, now)
    return case.id


def _scan(session: Session, new: NewCase, now: datetime) -> Scan:
    scan = session.exec(select(Scan).where(Scan.key == new.scan_key)).first()
    if scan is None:
        scan = Scan(key=new.scan_key, sha256=new.scan_sha256, simulated=new.simulated, added_at=now)
        session.add(scan)
        session.flush()
    if (scan.sha256, scan.simulated) != (new.scan_sha256, new.simulated):
        raise Refusal(f"The scan of case {new.name or new.level.value} is stored with another content; store it anew.")
    return scan


def _refuse_twice(session: Session, study_id: int, scan: Scan, new: NewCase) -> None:
    same = session.exec(
        select(Case).where(Case.study_id == study_id, Case.scan_id == scan.id, Case.level == new.level,
                           col(Case.removed_at).is_(None))
    ).first()
    if same is not None:
        raise Refusal(f"{new.level.value} of this scan is case {same.number} already; a hidden repeat is set in the "
                      "protocol, not by adding a case twice.")


def _add_reference(
    session: Session, case_id: int, reference: Mapping[Region, NewReference], source: str, now: datetime
) -> None:
    session.add_all(
        Reference(case_id=case_id, region=region, grade=each.grade, measure=each.measure, source=source.strip(),
                  added_at=now)
        for region, each in reference.items()
    )


def _add_outputs(session: Session, case_id: int, outputs: Iterable[NewOutput], now: datetime) -> None:
    known = {
        (row.version, row.weights_sha256, row.region)
        for row in session.exec(select(ModelOutput).where(ModelOutput.case_id == case_id))
    }
    for output in outputs:
        if (output.version, output.weights_sha256, output.region) in known:
            raise Refusal(f"Model {output.version} has graded {output.region.label} of case {case_id} already.")
        p0, p1, p2, p3 = output.probabilities or (None,) * 4
        session.add(ModelOutput(
            case_id=case_id, version=output.version, weights_sha256=output.weights_sha256, region=output.region,
            grade=output.grade, p0=p0, p1=p1, p2=p2, p3=p3, not_gradable=output.not_gradable,
            slice_index=output.slice_index, box=_edges(output.box), measure=output.measure,
            heat_map_key=output.heat_map_key, heat_map_box=_edges(output.heat_map_box), added_at=now,
        ))


def _edges(box: Box | None) -> str:
    return json.dumps(box.as_list()) if box else ""
