"""Table 1 and the flow of patients, from the record alone."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from sqlalchemy import Engine
from sqlmodel import Session, col, select

from lss_core.curation.agreement import kind_of
from lss_core.curation.label_places import cases_to_label
from lss_core.curation.labels_of_both import last_labels
from lss_core.curation.parts import Part, parts_now
from lss_core.curation.plan import plan_now
from lss_core.curation.reference import ReferenceRow, values_of, version_now
from lss_core.permissions import Permission
from lss_core.study.actors import Actor, check_in_collection
from lss_core.study.analysis_values import RegionKind
from lss_core.study.connection import reading
from lss_core.study.curation_tables import CuratedLevel, CuratedScan, RefusedScan
from lss_core.vocabulary import DiscLevel, Grade

ALL = "All"
UNKNOWN = "unknown"
SEXES = {"F": "female", "M": "male", "O": "other", "": UNKNOWN}
MOST_REASONS = 6                                # of one step; the rest is counted together
PATIENTS = ("patient", "patients")


@dataclass(frozen=True)
class TableOne:
    """Strings, as they are printed: a head, and rows whose first cell names them."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def as_csv(self) -> str:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.head, *self.rows])
        return text.getvalue()


@dataclass(frozen=True)
class FlowStep:
    """A step of the flow, and what was left out before it: nothing where `left_out` is empty."""

    label: str
    what: str                                   # "30 scans of 28 patients"
    left_out: str = ""
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Flow:
    """From import to the reference, from above to below."""

    steps: tuple[FlowStep, ...]


@dataclass(frozen=True)
class _Group:
    """What one column of the table counts."""

    scans: Sequence[CuratedScan]
    rows: Sequence[ReferenceRow]

    @property
    def patients(self) -> list[CuratedScan]:
        """One scan for each patient, the first one."""
        first: dict[str, CuratedScan] = {}
        for scan in self.scans:
            first.setdefault(scan.patient, scan)
        return list(first.values())


def table_one(engine: Engine, actor: Actor, collection_id: int) -> TableOne:
    """Patients, scans and grades, all together and for each part of the locked split.

    Raises:
        Refusal: not permitted.
    """
    with reading(engine) as session:
        check_in_collection(session, actor, collection_id, Permission.IMPORT_SCANS)
        return table_of(session, collection_id, parts_now(session, collection_id))


def table_of(session: Session, collection_id: int, assignment: Mapping[str, Part]) -> TableOne:
    """As `table_one`, for any assignment of patients to parts."""
    scans = _kept(session, collection_id)
    version = version_now(session, collection_id)
    rows = list(values_of(session, version)) if version else []
    parts = [part for part in Part if part in assignment.values()]
    groups = {ALL: _Group(scans, rows)} | {part.value.capitalize(): _Group(
        [scan for scan in scans if assignment.get(scan.patient) is part],
        [row for row in rows if assignment.get(row.patient) is part],
    ) for part in parts}
    return TableOne(("", *groups), tuple(_lines(groups)))


def flow(engine: Engine, actor: Actor, collection_id: int) -> Flow:
    """What came in, what was left out and why, and what is in the reference.

    Raises:
        Refusal: not permitted.
    """
    with reading(engine) as session:
        check_in_collection(session, actor, collection_id, Permission.IMPORT_SCANS)
        refused = session.exec(select(RefusedScan.reason).where(RefusedScan.collection_id == collection_id)).all()
        scans = session.exec(select(CuratedScan).where(CuratedScan.collection_id == collection_id)).all()
        cases = _patients_of_cases(session, collection_id)
        labelled = set(last_labels(session, collection_id)) if plan_now(session, collection_id) else set()
        version = version_now(session, collection_id)
        referenced = list(values_of(session, version)) if version else []
    removed = [scan for scan in scans if scan.removed_at is not None]
    kept = [scan for scan in scans if scan.removed_at is None]
    unconfirmed = [scan for scan in kept if scan.levels_confirmed_at is None]
    return Flow(tuple([
        FlowStep("Series found", _counted(len(scans) + len(refused), "series", "series")),
        FlowStep("Imported", _scans(scans), *_left(refused, "series", "series", "Refused")),
        FlowStep("Kept", _scans(kept), *_left([scan.removed_because for scan in removed], "scan", "scans", "Removed")),
        FlowStep("Levels confirmed", _cases(cases), *_left(
            ["levels not confirmed yet"] * len(unconfirmed), "scan", "scans", "Waiting")),
        FlowStep("Labelled by two", _cases({case: cases[case] for case in cases if case in labelled}), *_left(
            ["not labelled by both yet"] * len(cases.keys() - labelled), "case", "cases", "Waiting")),
        *([FlowStep(f"In reference version {version.number}", _cases({r.case_id: r.patient for r in referenced}))]
          if version else []),
    ]))


def _kept(session: Session, collection_id: int) -> Sequence[CuratedScan]:
    return session.exec(
        select(CuratedScan).where(CuratedScan.collection_id == collection_id, col(CuratedScan.removed_at).is_(None))
        .order_by(col(CuratedScan.id))
    ).all()


def _patients_of_cases(session: Session, collection_id: int) -> dict[int, str]:
    """Case to patient, of all that is to be labelled."""
    wanted = set(cases_to_label(session, collection_id))
    rows = session.exec(
        select(CuratedLevel.id, CuratedScan.patient)
        .join(CuratedScan, col(CuratedScan.id) == CuratedLevel.curated_scan_id)
        .where(CuratedLevel.collection_id == collection_id)
    )
    return {case_id: patient for case_id, patient in rows if case_id in wanted}


def _lines(groups: Mapping[str, _Group]) -> Iterable[tuple[str, ...]]:
    def line(label: str, cell: Callable[[_Group], str]) -> tuple[str, ...]:
        return (label, *(cell(group) for group in groups.values()))

    yield line("Patients", lambda group: str(len(group.patients)))
    yield line("Scans", lambda group: str(len(group.scans)))
    yield line("Cases (levels)", lambda group: str(len({row.case_id for row in group.rows})))
    yield line("Age, years: median (quartiles)", lambda group: _spread([scan.age_years for scan in group.patients]))
    for sex in _used(SEXES, [scan.sex for scan in groups[ALL].patients]):
        yield line(f"Sex: {SEXES[sex]}", lambda group, s=sex: _share(
            sum(_known_sex(scan.sex) == s for scan in group.patients), len(group.patients)))
    yield line("Slice thickness, mm: median (quartiles)",
               lambda group: _spread([scan.slice_thickness_mm for scan in group.scans]))
    for maker in sorted({scan.manufacturer or UNKNOWN for scan in groups[ALL].scans}):
        yield line(f"Maker: {maker}", lambda group, m=maker: _share(
            sum((scan.manufacturer or UNKNOWN) == m for scan in group.scans), len(group.scans)))
    for site in sorted({scan.site for scan in groups[ALL].scans if scan.site}):
        yield line(f"Site: {site}", lambda group, s=site: _share(
            sum(scan.site == s for scan in group.scans), len(group.scans)))
    for level in DiscLevel:
        if any(row.level is level for row in groups[ALL].rows):
            yield line(f"Level {level.value}", lambda group, of=level: str(
                len({row.case_id for row in group.rows if row.level is of})))
    for kind in RegionKind:
        yield from _grade_lines(groups, kind)


def _grade_lines(groups: Mapping[str, _Group], kind: RegionKind) -> Iterable[tuple[str, ...]]:
    for grade in (*Grade, None):
        cells = []
        for group in groups.values():
            grades = [row.grade for row in group.rows if kind_of(row.region) is kind]
            cells.append(_share(sum(each == grade for each in grades), len(grades)))
        name = "not gradable" if grade is None else f"{int(grade)} {grade.label}"
        yield (f"{kind.label}: {name}", *cells)


def _known_sex(sex: str) -> str:
    return sex if sex in SEXES else ""


def _used(known: Mapping[str, str], values: Iterable[str]) -> list[str]:
    found = {_known_sex(value) for value in values}
    return [each for each in known if each in found]


def _share(count: int, of: int) -> str:
    return f"{count} ({count / of:.0%})" if of else "0"


def _spread(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return UNKNOWN
    low, high = np.quantile(known, (0.25, 0.75))
    return f"{median(known):.3g} ({low:.3g}–{high:.3g})"


def _scans(scans: Sequence[CuratedScan]) -> str:
    return f"{_counted(len(scans), 'scan', 'scans')} of {_counted(len({s.patient for s in scans}), *PATIENTS)}"


def _cases(cases: Mapping[int, str]) -> str:
    return f"{_counted(len(cases), 'case', 'cases')} of {_counted(len(set(cases.values())), *PATIENTS)}"


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _left(reasons: Sequence[str], one: str, many: str, what: str) -> tuple[str, tuple[str, ...]]:
    """What was left out, and its reasons, the most frequent first."""
    if not reasons:
        return "", ()
    counts = Counter(reasons).most_common()
    told = [f"{count} × {reason}" for reason, count in counts[:MOST_REASONS]]
    rest = sum(count for _, count in counts[MOST_REASONS:])
    return f"{what}: {_counted(len(reasons), one, many)}", tuple(told + ([f"{rest} × other reasons"] if rest else []))
