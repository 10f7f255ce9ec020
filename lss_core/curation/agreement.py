"""How well the two annotators agree before anything is decided."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Engine
from sqlmodel import Session, col, select

from lss_core.curation.labels_of_both import both_finished, last_labels
from lss_core.curation.plan import plan_now
from lss_core.permissions import Permission, Role
from lss_core.statistics.agreement import kappa_of_pairs
from lss_core.statistics.estimate import Estimate, bootstrap_sums
from lss_core.study.actors import Actor, check_in_collection, roles_in
from lss_core.study.analysis_values import RegionKind
from lss_core.study.connection import reading
from lss_core.study.curation_tables import CuratedLevel, CuratedScan, Label, LabelGrade
from lss_core.vocabulary import Grade, Refusal, Region

GRADES = tuple(int(grade) for grade in Grade)
TOO_EARLY = "The agreement is shown to annotators when both have labelled every case."


@dataclass(frozen=True)
class RegionAgreement:
    """Two annotators on one kind of region, left and right recess together.

    Attributes:
        n: Regions that both graded, of cases with which both are done.
        percent: Share of them with the same grade, 0..1; the interval is a bootstrap over patients.
        kappa, quadratic: Cohen's kappa, unweighted and with quadratic weights; intervals by patient.
        table: Counts [first][second] over the four grades, and then "not gradable".
    """

    kind: RegionKind
    n: int
    percent: Estimate
    kappa: Estimate
    quadratic: Estimate
    table: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class _Pair:
    """One region of one case as both labelled it."""

    patient: str
    kind: RegionKind
    first: int | None
    second: int | None


def agreement_before_consensus(engine: Engine, actor: Actor, collection_id: int) -> tuple[RegionAgreement, ...]:
    """Agreement of the two over the cases with which both are done, for each kind of region; empty without a plan.

    Raises:
        Refusal: no role in this collection, or an annotator while somebody still labels.
    """
    with reading(engine) as session:
        check_in_collection(session, actor, collection_id, Permission.CURATE)
        if plan_now(session, collection_id) is None:
            return ()
        runs_it = roles_in(session, actor.account_id, collection_id) & {Role.PI, Role.COORDINATOR}
        if not runs_it and not both_finished(session, collection_id):
            raise Refusal(TOO_EARLY)
        pairs = _pairs(session, collection_id)
    return tuple(_agreement(kind, [pair for pair in pairs if pair.kind is kind]) for kind in RegionKind)


def kind_of(region: Region) -> RegionKind:
    return RegionKind.CENTRAL_CANAL if region is Region.CENTRAL_CANAL else RegionKind.LATERAL_RECESS


def grades_of(session: Session, collection_id: int) -> dict[int, dict[Region, LabelGrade]]:
    """Every label of a collection to its regions."""
    found: dict[int, dict[Region, LabelGrade]] = defaultdict(dict)
    for row in session.exec(select(LabelGrade).join(Label).where(Label.collection_id == collection_id)):
        found[row.label_id][Region(row.region)] = row
    return dict(found)


def _pairs(session: Session, collection_id: int) -> list[_Pair]:
    both = last_labels(session, collection_id)
    grades = grades_of(session, collection_id)
    patients = dict(session.exec(
        select(CuratedLevel.id, CuratedScan.patient)
        .join(CuratedScan, col(CuratedScan.id) == CuratedLevel.curated_scan_id)
        .where(CuratedLevel.collection_id == collection_id)
    ).all())
    return [
        _Pair(patients[case_id], kind_of(region), grades[first.id or 0][region].grade,
              grades[second.id or 0][region].grade)
        for case_id, (first, second) in both.items() for region in Region
    ]


def _agreement(kind: RegionKind, pairs: Sequence[_Pair]) -> RegionAgreement:
    graded = [pair for pair in pairs if pair.first is not None and pair.second is not None]
    first, second = np.array([(pair.first, pair.second) for pair in graded], int).reshape(-1, 2).T
    patients = [pair.patient for pair in graded]
    kappa, quadratic = (
        kappa_of_pairs(first, second, categories=GRADES, weights=weights, clusters=patients).estimate
        for weights in ("none", "quadratic")
    )
    return RegionAgreement(kind, len(graded), _percent(graded), kappa, quadratic, _table(pairs))


def _percent(pairs: Sequence[_Pair]) -> Estimate:
    sums: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(2))
    for pair in pairs:
        sums[pair.patient] += (pair.first == pair.second, 1)
    by_patient = np.array([sums[patient] for patient in sorted(sums)]).reshape(-1, 2)
    return bootstrap_sums(by_patient, lambda total: total[:, 0] / total[:, 1])


def _table(pairs: Sequence[_Pair]) -> tuple[tuple[int, ...], ...]:
    counts = np.zeros((len(GRADES) + 1, len(GRADES) + 1), int)
    for pair in pairs:
        counts[_place(pair.first), _place(pair.second)] += 1
    return tuple(tuple(row) for row in counts.tolist())


def _place(grade: int | None) -> int:
    return len(GRADES) if grade is None else grade
