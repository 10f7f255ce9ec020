"""The parts of a split, and what each may be used for: the control set is for the final evaluation alone."""

from __future__ import annotations

from enum import StrEnum

from sqlmodel import Session, col, select

from lss_core.study.curation_tables import SplitRow, SplitVersion
from lss_core.vocabulary import Refusal


class Part(StrEnum):
    """Where a patient belongs, with all scans."""

    TRAINING = "training"
    VALIDATION = "validation"
    CONTROL = "control"             # for the final evaluation and the reader study: no model sees it before
    EXTERNAL = "external"           # of other sites, to see how far the figures carry


class Purpose(StrEnum):
    """What somebody wants cases for."""

    TRAIN = "train"                             # weights are fitted
    CALIBRATE = "calibrate"                     # steps are chosen, probabilities are calibrated
    EVALUATE = "evaluate"                       # figures are measured
    ANNOTATE_WITH_MODEL = "annotate with a model"       # a network proposes levels or regions


USABLE = {
    Purpose.TRAIN: frozenset({Part.TRAINING}),
    Purpose.CALIBRATE: frozenset({Part.VALIDATION}),
    Purpose.EVALUATE: frozenset(Part),
    Purpose.ANNOTATE_WITH_MODEL: frozenset({Part.TRAINING, Part.VALIDATION, Part.EXTERNAL}),
}


def is_usable(part: Part | None, purpose: Purpose, *, is_locked: bool) -> bool:
    """Whether cases of a part may be used for a purpose.

    Args:
        part: None for a patient who is in no part: as all before the lock, and later ones until the next.
        is_locked: There is a locked split. Before, a model may propose on every scan, and nothing else is allowed.
    """
    if part is None:
        return purpose is Purpose.ANNOTATE_WITH_MODEL
    return is_locked and part in USABLE[purpose]


def check_usable(part: Part | None, purpose: Purpose, *, is_locked: bool) -> None:
    """Raise Refusal unless `is_usable`."""
    if is_usable(part, purpose, is_locked=is_locked):
        return
    if not is_locked:
        raise Refusal(f"The split is not locked yet: nothing may be used to {purpose.value} before.")
    where = f"of the locked {part.value} set" if part else "in no part of the locked split"
    raise Refusal(f"This is {where}, which nothing may use to {purpose.value}.")


def split_now(session: Session, collection_id: int) -> SplitVersion | None:
    """The newest locked split, if there is one."""
    return session.exec(
        select(SplitVersion).where(SplitVersion.collection_id == collection_id)
        .order_by(col(SplitVersion.number).desc()).limit(1)
    ).first()


def parts_now(session: Session, collection_id: int) -> dict[str, Part]:
    """Patient to part in the newest locked split; empty before the first lock."""
    version = split_now(session, collection_id)
    if version is None:
        return {}
    rows = session.exec(select(SplitRow).where(SplitRow.version_id == version.id))
    return {row.patient: Part(row.part) for row in rows}


def check_patient(session: Session, collection_id: int, patient: str, purpose: Purpose) -> None:
    """Raise Refusal unless a patient's scans may be used for a purpose now."""
    parts = parts_now(session, collection_id)
    check_usable(parts.get(patient), purpose, is_locked=bool(parts))
