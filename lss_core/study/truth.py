"""The reference standard and the model outputs of a study: for those who may see them, never for the reading path."""

from __future__ import annotations

from sqlmodel import Session, col, select

from lss_core.study.database import Case, ModelOutput, Reference
from lss_core.vocabulary import Region


def references_of(session: Session, study_id: int) -> dict[int, dict[Region, Reference]]:
    """Case id to the reference that counts, by region."""
    rows = session.exec(
        select(Reference).join(Case).where(Case.study_id == study_id, col(Case.removed_at).is_(None))
        .order_by(col(Reference.id))
    )
    found: dict[int, dict[Region, Reference]] = {}
    for row in rows:
        found.setdefault(row.case_id, {})[Region(row.region)] = row
    return found


def outputs_of(session: Session, study_id: int) -> dict[int, list[ModelOutput]]:
    """Case id to all that the model versions found."""
    rows = session.exec(
        select(ModelOutput).join(Case).where(Case.study_id == study_id, col(Case.removed_at).is_(None))
        .order_by(col(ModelOutput.id))
    )
    found: dict[int, list[ModelOutput]] = {}
    for row in rows:
        found.setdefault(row.case_id, []).append(row)
    return found
