"""Two annotators label every case, each alone, in an order of their own, blind to each other, model and patient.

The functions here ask of labels the actor's own rows alone, and of the other annotator only whether a case is done:
from then on neither can change their label of it. They ask no table of proposals, references or models, and of a scan
neither patient, site nor name. Who asks for what is not theirs is refused like for what never existed, and that is
noted in the audit log.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from lss_core.curation.label_places import (
    OwnPlace,
    add_places,
    check_annotator,
    denials_noted,
    due_place,
    labelled_places,
    lacks_places,
    number_of,
    numbers_of,
    own_place,
)
from lss_core.curation.labels_of_both import AnnotatorProgress, progress_of
from lss_core.curation.plan import plan_now
from lss_core.permissions import Permission, Role
from lss_core.study import audit
from lss_core.study.actors import Actor, check_in_collection, roles_in
from lss_core.study.clock import utc_now
from lss_core.study.connection import lock_writers, reading, transaction
from lss_core.study.curation_tables import Label, LabelDraft, LabelGrade
from lss_core.study.entry import Entry, RegionEntry
from lss_core.study.places import UNKNOWN_CASE, Denied
from lss_core.study.protocol import Protocol
from lss_core.study.reading import ScanPlace
from lss_core.study.version import SOFTWARE_VERSION
from lss_core.vocabulary import DiscLevel, Refusal, Region

ASKED = Protocol(ask_confidence=False)          # all three regions, a grade or a reason for each
BOTH_DONE = "Both annotators are done with this case, so that its labels stay as they are."


@dataclass(frozen=True)
class LabelTask:
    """One case as its annotator sees it. No field could hold another label, the model, the patient or a source.

    Attributes:
        token: The only name of the case that a browser may learn.
        number, total: "Case 12 of 75".
        entry: The draft; for an own label that is opened again, what it says.
        revision: Of the label that is asked; `submit_label` wants it.
        change: Of the stored draft; the browser counts on from it.
        scan_key: Of the image store; stays on the server.
    """

    token: str
    number: int
    total: int
    level: DiscLevel
    entry: Entry
    revision: int
    change: int
    slice_index: int
    scan_key: str = field(repr=False)


@dataclass(frozen=True)
class OwnLabel:
    """A case that the actor has labelled. `may_correct` until the other annotator is done with it too."""

    token: str
    number: int
    level: DiscLevel
    entry: Entry
    submitted_at: datetime
    may_correct: bool


@dataclass(frozen=True)
class LabelReceipt:
    """Proof that a label is stored. `already`: an earlier submission stored it, and this one changed nothing."""

    label_id: int
    submitted_at: datetime
    already: bool


def next_case(
    engine: Engine, actor: Actor, collection_id: int, *, token: str | None = None, now: datetime | None = None
) -> LabelTask | None:
    """The first case of the actor's order without a label, the same from any browser; None where all are labelled.

    Args:
        token: An own case that is labelled, to open it again in place of the one that is due.

    Raises:
        Denied: not a case of the actor; noted in the audit log.
        Refusal: not an annotator here, not named by the plan, or a case with which both are done.
    """
    now = now or utc_now()
    with denials_noted(engine, actor, "label case", now, collection_id=collection_id):
        with reading(engine) as session:
            check_annotator(session, actor, collection_id)
            is_lacking = lacks_places(session, actor, collection_id)
        if is_lacking:
            add_places(engine, actor, collection_id, now)
        with reading(engine) as session:
            found = _to_correct(session, actor, token) if token else due_place(session, actor, collection_id)
            return None if found is None else _task(session, found)


def label_images(engine: Engine, actor: Actor, token: str, *, now: datetime | None = None) -> ScanPlace:
    """The images of an own case, due or labelled.

    Raises:
        Denied: not a case of the actor; noted in the audit log.
    """
    with denials_noted(engine, actor, "label images", now or utc_now()), reading(engine) as session:
        found = own_place(session, actor, token)
        return ScanPlace(token, found.slice_index, ASKED.slices_around_mm, found.scan_key)


def is_due(engine: Engine, actor: Actor, token: str, *, now: datetime | None = None) -> bool:
    """Whether an own case waits for a label, or has one that is being corrected; False tells another tab to go on.

    Raises:
        Denied: not a case of the actor; noted in the audit log.
    """
    with denials_noted(engine, actor, "label case", now or utc_now()), reading(engine) as session:
        found = own_place(session, actor, token)
        return not found.revisions or session.get(LabelDraft, found.place.id) is not None


def save_label_draft(
    engine: Engine, actor: Actor, token: str, *, change: int, entry: Entry, now: datetime | None = None
) -> int:
    """Keep what the annotator has entered so far; a draft that a newer one has overtaken is left out.

    Returns:
        The count of the draft that is now stored.

    Raises:
        Denied: not a case of the actor; noted in the audit log.
        Refusal: both are done with the case.
    """
    now = now or utc_now()
    with denials_noted(engine, actor, "label draft", now), transaction(engine) as session:
        lock_writers(session)
        found = own_place(session, actor, token)
        _check_open(session, actor, found)
        draft = session.get(LabelDraft, found.place.id)
        if draft is None:
            assert found.place.id is not None
            draft = LabelDraft(place_id=found.place.id, change=change - 1)
            session.add(draft)
        if change >= draft.change:
            draft.change, draft.content, draft.updated_at = change, entry.canonical, now
        return draft.change


def submit_label(
    engine: Engine, actor: Actor, token: str, *, change: int, revision: int, entry: Entry,
    now: datetime | None = None,
) -> LabelReceipt:
    """Store a label, for good; a correction is one more revision. Sent again, it gives the first receipt.

    Args:
        change: The annotator's count of changes; one that is behind the stored draft is refused, since another
            window holds newer input.
        revision: `LabelTask.revision`.

    Raises:
        Denied: not a case of the actor; noted in the audit log.
        Refusal: not complete, not the case that is due, overtaken by another window, or both are done with the case.
    """
    now = now or utc_now()
    with denials_noted(engine, actor, "submit label", now), transaction(engine) as session:
        lock_writers(session)
        found = own_place(session, actor, token)
        if stored := _revision_of(session, found, revision):
            return _receipt(stored, already=True)
        _check_submittable(session, actor, found, change, revision)
        entry.check_complete(ASKED)
        label = _store(session, actor, found, entry, revision, now)
        audit.append(session, at=now, actor=actor.email, action="submit label", study_id=label.collection_id,
                     subject=f"label {label.id}",
                     new={"place": found.place.position, "revision": revision, "sha256": label.sha256})
        return _receipt(label, already=False)


def my_labels(engine: Engine, actor: Actor, collection_id: int) -> tuple[OwnLabel, ...]:
    """What the actor has labelled, in their order.

    Raises:
        Refusal: not an annotator here.
    """
    with reading(engine) as session:
        check_in_collection(session, actor, collection_id, Permission.ANNOTATE)
        by_both = _cases_of_others(session, actor, collection_id)
        last = _last_entries(session, actor, collection_id)
        numbers = numbers_of(session, actor, collection_id)
        return tuple(
            OwnLabel(each.place.token, numbers[each.place.case_id], each.level, entry, label.submitted_at,
                     each.place.case_id not in by_both)
            for each in labelled_places(session, actor, collection_id)
            for label, entry in [last[each.place.case_id]]
        )


def label_progress(engine: Engine, actor: Actor, collection_id: int) -> tuple[AnnotatorProgress, ...]:
    """How far the two are, for those who run the collection; an annotator gets their own row alone.

    Raises:
        Refusal: no role in this collection.
    """
    with reading(engine) as session:
        check_in_collection(session, actor, collection_id, Permission.CURATE)
        plan = plan_now(session, collection_id)
        sees_both = roles_in(session, actor.account_id, collection_id) & {Role.PI, Role.COORDINATOR}
        people = [] if plan is None else [plan.first, plan.second]
        return tuple(
            progress_of(session, collection_id, each) for each in people if sees_both or each == actor.account_id
        )


def entry_of(session: Session, label: Label) -> Entry:
    """What a label says."""
    rows = session.exec(select(LabelGrade).where(LabelGrade.label_id == label.id)).all()
    return as_entry(label, rows)


def as_entry(label: Label, rows: Iterable[LabelGrade]) -> Entry:
    """What a label says, from the rows of its regions.

    Raises:
        Refusal: they hold what nobody could have entered.
    """
    regions = {Region(row.region): RegionEntry(row.grade, None, row.not_gradable) for row in rows}
    return Entry(regions, label.image_quality, label.comment)


def label_digest(label: Label, entry: Entry, *, place_token: str) -> str:
    """SHA-256 over everything that a label says, with names that stay the same in another database."""
    content = [
        place_token, label.revision, label.slice_index, json.loads(entry.canonical),
        label.submitted_at.astimezone(UTC).isoformat(), label.software_version,
    ]
    return hashlib.sha256(audit.canonical(content).encode()).hexdigest()


def _to_correct(session: Session, actor: Actor, token: str) -> OwnPlace:
    found = own_place(session, actor, token)
    if not found.revisions:
        raise Denied(UNKNOWN_CASE)
    _check_open(session, actor, found)
    return found


def _last_entries(session: Session, actor: Actor, collection_id: int) -> dict[int, tuple[Label, Entry]]:
    """Case to the actor's own label that counts, and what it says."""
    own = (Label.collection_id == collection_id, Label.account_id == actor.account_id)
    grades: dict[int, list[LabelGrade]] = defaultdict(list)
    for row in session.exec(select(LabelGrade).join(Label).where(*own)):
        grades[row.label_id].append(row)
    labels = session.exec(select(Label).where(*own).order_by(col(Label.revision)))
    last = {label.case_id: label for label in labels}
    return {case_id: (label, as_entry(label, grades[label.id or 0])) for case_id, label in last.items()}


def _cases_of_others(session: Session, actor: Actor, collection_id: int) -> frozenset[int]:
    """The cases that somebody else has labelled: of their labels, nothing but that they are there."""
    return frozenset(session.exec(
        select(Label.case_id).where(Label.collection_id == collection_id, Label.account_id != actor.account_id)
        .distinct()
    ))


def _check_open(session: Session, actor: Actor, found: OwnPlace) -> None:
    others = select(Label.id).where(Label.case_id == found.place.case_id, Label.account_id != actor.account_id)
    if found.revisions and session.exec(others.limit(1)).first() is not None:
        raise Refusal(BOTH_DONE)


def _check_submittable(session: Session, actor: Actor, found: OwnPlace, change: int, revision: int) -> None:
    due = due_place(session, actor, found.place.collection_id)
    if revision != found.revisions + 1 or (revision == 1 and (due is None or due.place.id != found.place.id)):
        raise Refusal("Another case is due; reload the page to go on with it.")
    _check_open(session, actor, found)
    draft = session.get(LabelDraft, found.place.id)
    if draft is not None and change < draft.change:
        raise Refusal("This case was changed in another window since; reload the page to see the newer entries.")


def _store(
    session: Session, actor: Actor, found: OwnPlace, entry: Entry, revision: int, now: datetime
) -> Label:
    """The label's rows in place of the draft's."""
    assert found.place.id is not None
    label = Label(
        collection_id=found.place.collection_id, place_id=found.place.id, case_id=found.place.case_id,
        account_id=actor.account_id, revision=revision, slice_index=found.slice_index,
        image_quality=entry.image_quality, comment=entry.comment, submitted_at=now,
        software_version=SOFTWARE_VERSION, sha256="",
    )
    label.sha256 = label_digest(label, entry, place_token=found.place.token)
    session.add(label)
    session.flush()
    assert label.id is not None
    session.add_all(
        LabelGrade(label_id=label.id, region=region, grade=each.grade, not_gradable=each.not_gradable)
        for region, each in entry.regions.items()
    )
    if (draft := session.get(LabelDraft, found.place.id)) is not None:
        session.delete(draft)
    return label


def _task(session: Session, found: OwnPlace) -> LabelTask:
    number, total = number_of(session, found)
    draft = session.get(LabelDraft, found.place.id)
    label = _last(session, found) if draft is None else None
    entry = Entry.parse(draft.content) if draft else entry_of(session, label) if label else Entry()
    return LabelTask(
        token=found.place.token, number=number, total=total, level=found.level, entry=entry,
        revision=found.revisions + 1, change=draft.change if draft else 0, slice_index=found.slice_index,
        scan_key=found.scan_key,
    )


def _last(session: Session, found: OwnPlace) -> Label | None:
    """The own label that counts."""
    return _revision_of(session, found, found.revisions)


def _revision_of(session: Session, found: OwnPlace, revision: int) -> Label | None:
    return session.exec(select(Label).where(Label.place_id == found.place.id, Label.revision == revision)).first()


def _receipt(label: Label, *, already: bool) -> LabelReceipt:
    assert label.id is not None
    return LabelReceipt(label.id, label.submitted_at, already)
