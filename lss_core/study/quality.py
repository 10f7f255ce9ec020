"""What may be wrong with the readings, found without knowing what is right: no table of the truth is asked here.

The flags speak of a reader's habits (haste, one grade for everything, many cases not gradable), never of a grade by
name, and so may be seen while the study is blinded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from lss_core.permissions import Permission
from lss_core.study.actors import Actor, check_in_study
from lss_core.study.connection import snapshot
from lss_core.study.database import (
    Account,
    Answer,
    Case,
    CaseKind,
    ReadingItem,
    ReadingSession,
    RegionAnswer,
)
from lss_core.study.lifecycle import unfinished_readers

FAST_S = 5.0                            # a case without idle time below it is very fast
FEW = 10                                # cases or regions below which a share says nothing
MANY_FAST = 0.10                        # shares above which a reader is flagged
ONE_GRADE = 0.90
ONE_CONFIDENCE = 0.95
MANY_NOT_GRADABLE = 0.20
MANY_QUALITY = 0.30
LONG_IDLE_S = 600.0                     # in one case
REMARKED = 0.5                          # of the readers of a case: its image is then named


@dataclass(frozen=True)
class ReadingQuality:
    """One reader's test answers of all sessions, the last revision of each.

    Attributes:
        median_s: Time of a case without idle time; None without answers.
        longest_idle_s: Of one case.
        not_gradable: Of `regions`.
        remarked: Cases with a remark on the image.
        flags: A sentence each.
    """

    account_id: int
    name: str
    cases: int
    regions: int
    median_s: float | None
    fast: int
    longest_idle_s: float
    not_gradable: int
    remarked: int
    changed: int                        # cases answered more than once
    seconds: tuple[float, ...]          # of each case without idle time
    flags: tuple[str, ...]


@dataclass(frozen=True)
class ImageRemarks:
    """A case whose image at least half of its readers remarked on."""

    number: int
    level: str
    readers: int
    remarked: int
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class StudyQuality:
    """Of all who have submitted a case, and who of the study's readers has not signed every session."""

    unfinished: frozenset[str]          # e-mails
    readers: tuple[ReadingQuality, ...]
    images: tuple[ImageRemarks, ...]


@dataclass(frozen=True)
class _Given:
    """One submitted case."""

    account_id: int
    case: int
    level: str
    answer: Answer
    regions: tuple[RegionAnswer, ...]

    @property
    def seconds(self) -> float:
        return (self.answer.submitted_at - self.answer.shown_at).total_seconds() - self.answer.idle_s


def study_quality(engine: Engine, actor: Actor, study_id: int) -> StudyQuality:
    """Readers by name, then cases by number.

    Raises:
        Refusal: no role that sees the progress.
    """
    with snapshot(engine) as session:
        check_in_study(session, actor, study_id, Permission.SEE_PROGRESS)
        given, unfinished = _given(session, study_id), frozenset(unfinished_readers(session, study_id))
        names = {account.id: account.name or account.email for account in session.exec(
            select(Account).where(col(Account.id).in_({each.account_id for each in given})))}
    by_reader: dict[int, list[_Given]] = {}
    for each in given:
        by_reader.setdefault(each.account_id, []).append(each)
    readers = [_of_reader(account_id, names[account_id], own) for account_id, own in by_reader.items()]
    readers.sort(key=lambda each: (each.name, each.account_id))
    return StudyQuality(unfinished, tuple(readers), tuple(_images(given)))


def _given(session: Session, study_id: int) -> list[_Given]:
    regions: dict[int, list[RegionAnswer]] = {}
    for row in session.exec(
        select(RegionAnswer).join(Answer).join(ReadingItem).join(ReadingSession)
        .where(ReadingSession.study_id == study_id).order_by(col(RegionAnswer.region))
    ):
        regions.setdefault(row.answer_id, []).append(row)
    rows = session.exec(
        select(ReadingSession.account_id, Case, ReadingItem.id, Answer)
        .join(ReadingItem, col(ReadingItem.session_id) == ReadingSession.id)
        .join(Case, col(Case.id) == ReadingItem.case_id).join(Answer, col(Answer.item_id) == ReadingItem.id)
        .where(ReadingSession.study_id == study_id, ReadingItem.kind == CaseKind.TEST).order_by(col(Answer.revision))
    )
    last = {
        item_id: _Given(account_id, case.number, case.level, answer, tuple(regions.get(answer.id or 0, ())))
        for account_id, case, item_id, answer in rows
    }
    return list(last.values())


def _of_reader(account_id: int, name: str, own: Sequence[_Given]) -> ReadingQuality:
    regions = [region for each in own for region in each.regions]
    found = ReadingQuality(
        account_id=account_id, name=name, cases=len(own), regions=len(regions),
        median_s=median(each.seconds for each in own) if own else None,
        fast=sum(each.seconds < FAST_S for each in own), longest_idle_s=max(each.answer.idle_s for each in own),
        not_gradable=sum(region.grade is None for region in regions),
        remarked=sum(bool(each.answer.image_quality) for each in own),
        changed=sum(each.answer.revision > 1 for each in own), seconds=tuple(each.seconds for each in own), flags=(),
    )
    return replace(found, flags=(*_flags_of_times(found), *_flags_of_answers(found, regions)))


def _flags_of_times(found: ReadingQuality) -> Iterator[str]:
    if found.cases >= FEW and found.fast > MANY_FAST * found.cases:
        yield f"{found.fast} of {found.cases} cases took less than {FAST_S:g} s."
    if found.longest_idle_s >= LONG_IDLE_S:
        yield f"A case lay open without a sign of the reader for {found.longest_idle_s / 60:.0f} min."


def _flags_of_answers(found: ReadingQuality, regions: Sequence[RegionAnswer]) -> Iterator[str]:
    grades = Counter(region.grade for region in regions if region.grade is not None)
    confidences = Counter(region.confidence for region in regions if region.confidence is not None)
    if sum(grades.values()) >= FEW and _most(grades) > ONE_GRADE:
        yield f"One and the same grade in {_most(grades):.0%} of the regions."
    if sum(confidences.values()) >= FEW and _most(confidences) > ONE_CONFIDENCE:
        yield f"One and the same confidence in {_most(confidences):.0%} of the regions."
    if found.regions >= FEW and found.not_gradable > MANY_NOT_GRADABLE * found.regions:
        yield f"{found.not_gradable} of {found.regions} regions were called not gradable."
    if found.cases >= FEW and found.remarked > MANY_QUALITY * found.cases:
        yield f"Remarks on the image in {found.remarked} of {found.cases} cases."


def _most(counts: Counter) -> float:
    """Share of the most frequent value."""
    return counts.most_common(1)[0][1] / sum(counts.values())


def _images(given: Sequence[_Given]) -> Iterator[ImageRemarks]:
    by_case: dict[int, list[_Given]] = {}
    for each in given:
        by_case.setdefault(each.case, []).append(each)
    for number, own in sorted(by_case.items()):
        remarks: dict[int, str] = {}
        for each in own:
            remarks[each.account_id] = each.answer.image_quality or remarks.get(each.account_id, "")
        remarked = [text for text in remarks.values() if text]
        if len(remarked) >= REMARKED * len(remarks):
            yield ImageRemarks(number, own[0].level, len(remarks), len(remarked), tuple(sorted(set(remarked))))
