"""How far labelling is, and the labels of both: the one door through which labels of several people come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func
from sqlmodel import Session, col, select

from lss_core.curation.label_places import cases_to_label
from lss_core.curation.plan import name_of, needed_plan, plan_now
from lss_core.study.curation_tables import Label


@dataclass(frozen=True)
class AnnotatorProgress:
    """How far one annotator is."""

    account_id: int
    name: str
    done: int
    total: int
    last_at: datetime | None


def both_finished(session: Session, collection_id: int) -> bool:
    """Whether both have labelled every case that is to be labelled now."""
    plan = plan_now(session, collection_id)
    if plan is None:
        return False
    rows = [progress_of(session, collection_id, each) for each in (plan.first, plan.second)]
    return all(row.total and row.done == row.total for row in rows)


def last_labels(session: Session, collection_id: int) -> dict[int, tuple[Label, Label]]:
    """Case to the labels of the first and the second annotator that count, of cases with which both are done.

    The one door through which labels of several people come: what nobody may see before is not behind it.
    """
    plan = needed_plan(session, collection_id)
    rows = session.exec(
        select(Label).where(Label.collection_id == collection_id, col(Label.account_id).in_((plan.first, plan.second)))
        .order_by(col(Label.revision))
    )
    last = {(row.case_id, row.account_id): row for row in rows}
    open_cases = set(cases_to_label(session, collection_id))
    return {
        case_id: (label, last[case_id, plan.second]) for (case_id, account_id), label in sorted(last.items())
        if account_id == plan.first and (case_id, plan.second) in last and case_id in open_cases
    }


def progress_of(session: Session, collection_id: int, account_id: int) -> AnnotatorProgress:
    to_label = cases_to_label(session, collection_id)
    done: Mapping[int, datetime] = dict(session.exec(
        select(Label.case_id, func.max(Label.submitted_at)).where(
            Label.collection_id == collection_id, Label.account_id == account_id
        ).group_by(col(Label.case_id))
    ).all())
    return AnnotatorProgress(
        account_id, name_of(session, account_id), sum(each in done for each in to_label), len(to_label),
        max(done.values(), default=None),
    )
