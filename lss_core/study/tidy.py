"""The rows of a study's tidy tables, one dictionary a row with the columns of `codebook`; test cases alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from sqlmodel import Session, col, select

from lss_core.study.cases import outputs_of, references_of
from lss_core.study.database import (
    Answer,
    Case,
    CaseKind,
    CaseOrigin,
    ModelOutput,
    ProtocolVersion,
    ReadingItem,
    ReadingSession,
    RegionAnswer,
    Study,
)
from lss_core.study.places import protocol_now

Row = dict[str, Any]


def reading_rows(session: Session, study: Study) -> list[Row]:
    """One row a reader, test case, region and showing, of the last revision; in the order of readers and showing."""
    regions = _region_answers(session, study)
    experience, codes = _experience(session, study), reader_codes(session, study)
    versions = dict(session.exec(
        select(ProtocolVersion.id, ProtocolVersion.number).where(ProtocolVersion.study_id == study.id)
    ).all())
    return [
        {
            "reader": codes[reading_session.account_id], "experience": experience[reading_session.account_id],
            "patient": origin.patient, "case": case.number, "level": case.level, "arm": item.arm,
            "session": reading_session.number, "position": item.position, "is_repeat": item.is_repeat,
            "duration_s": round((answer.submitted_at - answer.shown_at).total_seconds(), 3),
            "idle_s": round(answer.idle_s, 3), "image_quality": answer.image_quality, "comment": answer.comment,
            "submitted_at": answer.submitted_at, "revision": answer.revision,
            "protocol_version": versions[answer.protocol_version_id], "software_version": answer.software_version,
            "region": region.region, "grade": region.grade, "confidence": region.confidence,
            "not_gradable": region.not_gradable,
        }
        for reading_session, item, case, origin, answer in _last_answers(session, study)
        for region in regions[answer.id]
    ]


def reference_rows(session: Session, study: Study) -> list[Row]:
    """One row a test case and region."""
    references = references_of(session, study.id or 0)
    return [
        {
            "patient": origin.patient, "case": case.number, "level": case.level, "region": region.value,
            "grade": row.grade, "measure": row.measure, "source": row.source, "name": origin.name, "site": origin.site,
            "scanner": origin.scanner, "slice_thickness_mm": origin.slice_thickness_mm,
        }
        for case, origin in _test_cases(session, study)
        for region, row in sorted(references.get(case.id or 0, {}).items())
    ]


def model_rows(session: Session, study: Study) -> list[Row]:
    """One row a model version, test case and region."""
    outputs = outputs_of(session, study.id or 0)
    names = _version_names([row for rows in outputs.values() for row in rows])
    rows = [
        {
            "version": names[row.version, row.weights_sha256], "case": case.number, "level": case.level,
            "region": row.region, "grade": row.grade, "p0": row.p0, "p1": row.p1, "p2": row.p2, "p3": row.p3,
            "measure": row.measure, "not_gradable": row.not_gradable, "weights_sha256": row.weights_sha256,
        }
        for case, _ in _test_cases(session, study) for row in outputs.get(case.id or 0, [])
    ]
    return sorted(rows, key=lambda row: (row["version"], row["case"], row["region"]))


def reader_codes(session: Session, study: Study) -> dict[int, str]:
    """Account to R01, R02, ... in the order in which the readers began their first session."""
    accounts = session.exec(
        select(ReadingSession.account_id).where(ReadingSession.study_id == study.id).order_by(col(ReadingSession.id))
    )
    return {account_id: f"R{place:02}" for place, account_id in enumerate(dict.fromkeys(accounts), 1)}


def _experience(session: Session, study: Study) -> dict[int, str]:
    """Account to its experience level: of the years stated at the first session, by the newest protocol."""
    protocol, _ = protocol_now(session, study.id or 0)
    firsts = session.exec(select(ReadingSession).where(ReadingSession.study_id == study.id, ReadingSession.number == 1))
    return {first.account_id: protocol.experience(first.years_of_experience).value for first in firsts}


def _last_answers(
    session: Session, study: Study
) -> list[tuple[ReadingSession, ReadingItem, Case, CaseOrigin, Answer]]:
    rows = session.exec(
        select(ReadingSession, ReadingItem, Case, Answer)
        .join(ReadingItem, col(ReadingItem.session_id) == ReadingSession.id)
        .join(Case, col(Case.id) == ReadingItem.case_id).join(Answer, col(Answer.item_id) == ReadingItem.id)
        .where(ReadingSession.study_id == study.id, ReadingItem.kind == CaseKind.TEST)
        .order_by(col(Answer.revision))
    ).all()
    origins = {origin.case_id: origin for _, origin in _test_cases(session, study)}
    places = {account_id: place for place, account_id in enumerate(reader_codes(session, study))}
    last = {item.id: (opened, item, case, origins[item.case_id], answer) for opened, item, case, answer in rows}
    return sorted(last.values(), key=lambda each: (places[each[0].account_id], each[0].number, each[1].position))


def _region_answers(session: Session, study: Study) -> dict[int | None, list[RegionAnswer]]:
    rows = session.exec(
        select(RegionAnswer).join(Answer).join(ReadingItem).join(ReadingSession)
        .where(ReadingSession.study_id == study.id).order_by(col(RegionAnswer.region))
    )
    found: dict[int | None, list[RegionAnswer]] = defaultdict(list)
    for row in rows:
        found[row.answer_id].append(row)
    return found


def _test_cases(session: Session, study: Study) -> Sequence[tuple[Case, CaseOrigin]]:
    return session.exec(
        select(Case, CaseOrigin).join(CaseOrigin, col(CaseOrigin.case_id) == Case.id)
        .where(Case.study_id == study.id, Case.kind == CaseKind.TEST, col(Case.removed_at).is_(None))
        .order_by(col(Case.number))
    ).all()


def _version_names(outputs: list[ModelOutput]) -> dict[tuple[str, str], str]:
    """(version, weights) to a name that is of one model alone."""
    weights: dict[str, set[str]] = defaultdict(set)
    for row in outputs:
        weights[row.version].add(row.weights_sha256)
    return dict(_named(weights))


def _named(weights: dict[str, set[str]]) -> Iterator[tuple[tuple[str, str], str]]:
    for version, hashes in weights.items():
        for sha256 in hashes:
            yield (version, sha256), version if len(hashes) == 1 else f"{version} {sha256[:8]}"
