"""A made-up collection: small volumes of noise in a store, two annotators, an adjudicator, made by the services."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine
from sqlmodel import select

from lss_core.curation import adjudication, collections, labels, levels, plan, reference, regions, scans, split
from lss_core.curation.levels import CuratedCase, ProposedLevel
from lss_core.curation.scans import NewScan
from lss_core.imaging.store import ScanStore
from lss_core.imaging.volume import Volume
from lss_core.permissions import Role
from lss_core.study import people
from lss_core.study.actors import Actor, actor_of
from lss_core.study.connection import open_database, reading
from lss_core.study.curation_tables import LabelPlace
from lss_core.study.entry import Entry, RegionEntry
from lss_core.vocabulary import Box, DiscLevel, Region
from tests.planted import person
from tests.studies import volume as noise

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
SLICES = 9
LEVELS = {DiscLevel.L4_5: 6, DiscLevel.L5_S1: 2}        # slice of each level in every scan
BOXES = {
    Region.CENTRAL_CANAL: Box(10, 12, 18, 20),
    Region.LEFT_LATERAL_RECESS: Box(11, 20, 17, 25),
    Region.RIGHT_LATERAL_RECESS: Box(11, 7, 17, 12),
}
NETWORKS = "planted-networks"
PI_NAME = "Petra Investigator"                    # to sign with; the local user signs as "local user"
PLANTED_PATIENT, PLANTED_SITE, PLANTED_NAME = "PLANTEDPATIENT", "PLANTEDSITE", "PLANTEDNAME"


@dataclass(frozen=True)
class Curated:
    """A collection and its people. `outsider` has an account and no role in it."""

    engine: Engine
    store: ScanStore
    collection_id: int
    token: str
    pi: Actor
    coordinator: Actor
    first: Actor
    second: Actor
    third: Actor                            # adjudicates
    outsider: Actor

    def cases(self) -> tuple[CuratedCase, ...]:
        return levels.cases_of(self.engine, self.pi, self.collection_id)


def curated(
    url: str, images: Path, *, patients: int = 6, confirmed: bool = True, proposed: bool = True, simulated: bool = True,
    site_of: Callable[[int], str] = lambda number: PLANTED_SITE, local: bool = False,
) -> Curated:
    """A collection of one scan a patient, with two levels each, and everybody invited.

    Args:
        confirmed: The levels are confirmed, so that the cases can be labelled.
        proposed: The software has proposed the levels with `BOXES` on their slices; else a person has placed them.
        site_of: From a patient's number, 1, 2, ..., to the site.
        local: The principal investigator is the local user, as pages have it where nobody signs in.
    """
    engine, store = open_database(url), ScanStore(str(images))
    made = _empty(engine, store, local)
    for number in range(1, patients + 1):
        scan_id = add_scan(made, number, simulated=simulated, site=site_of(number))
        place_levels(made, scan_id, proposed=proposed)
        if confirmed:
            levels.confirm_levels(engine, made.pi, made.collection_id, scan_id, now=NOON)
    return made


def add_scan(
    made: Curated, number: int, *, volume: Volume | None = None, simulated: bool = True, site: str = PLANTED_SITE,
    **what,
) -> int:
    """The scan of patient n, noise unless another volume is given; its number in the collection."""
    volume = volume or noise(seed=number, slices=SLICES)
    stored = made.store.put(volume)
    known = {"patient": f"{PLANTED_PATIENT}-{number:02d}", "source_digest": f"{number:064x}",
             "name": f"{PLANTED_NAME}-{number}", "sex": "FM"[number % 2], "age_years": 40.0 + number,
             "manufacturer": "PLANTEDMAKER"}
    new = NewScan(scan_key=stored.key, scan_sha256=stored.sha256, simulated=simulated, slices=len(volume.hu),
                  slice_thickness_mm=3.0, site=site, **(known | what))
    return scans.add_scan(made.engine, made.pi, made.collection_id, new, now=NOON)


def place_levels(made: Curated, scan_id: int, *, proposed: bool = True) -> None:
    if proposed:
        found = [ProposedLevel(level, index, BOXES, NETWORKS) for level, index in LEVELS.items()]
        levels.propose_levels(made.engine, made.pi, made.collection_id, scan_id, found, now=NOON)
        return
    for level, index in LEVELS.items():
        levels.set_level(made.engine, made.pi, made.collection_id, scan_id, level, index, now=NOON)


def _empty(engine: Engine, store: ScanStore, local: bool) -> Curated:
    people.allow_studies(engine, "outsider@example.org", now=NOON)
    pi = people.local_account(engine) if local else _investigator(engine)
    made = collections.create(engine, pi, title="Made-up collection", now=NOON)
    assert made.id is not None
    invited = {name: _invited(engine, pi, made.id, name, role) for name, role in (
        ("coordinator", Role.COORDINATOR), ("first", Role.ANNOTATOR), ("second", Role.ANNOTATOR),
        ("third", Role.ANNOTATOR),
    )}
    return Curated(engine, store, made.id, made.token, person(engine, pi.email),
                   outsider=person(engine, "outsider@example.org"), **invited)


def _investigator(engine: Engine) -> Actor:
    people.allow_studies(engine, "pi@example.org", now=NOON)
    pi = person(engine, "pi@example.org")
    people.state_experience(engine, pi, name=PI_NAME, specialty="spine surgery", years_of_experience=20,
                            lumbar_cts_a_year=500, now=NOON)
    return pi


def _invited(engine: Engine, pi: Actor, collection_id: int, name: str, role: Role) -> Actor:
    member = people.invite(engine, pi, collection_id, email=f"{name}@example.org", role=role, now=NOON)
    with reading(engine) as session:
        return actor_of(session, member.account_id)


def name_plan(made: Curated, *, adjudicator: bool = True) -> None:
    """The first and the second annotate; the third decides."""
    third = made.third.account_id if adjudicator else None
    plan.set_plan(made.engine, made.pi, made.collection_id,
                  plan.LabelPlan(made.first.account_id, made.second.account_id, third), now=NOON)


def draw_boxes(made: Curated) -> None:
    """Two annotators who differ by a pixel or so, so that the final boxes have fractions."""
    for case in made.cases():
        for annotator, shift in ((made.first, 0.0), (made.second, 1.3)):
            boxes = {region: Box(*(edge + shift for edge in box.as_list())) for region, box in BOXES.items()}
            regions.save_boxes(made.engine, annotator, made.collection_id, case.case_id, case.slice_index, boxes)


def graded(*grades: int | None) -> Entry:
    """An entry with one grade for all regions, or one for each; None is "not gradable"."""
    each = grades * 3 if len(grades) == 1 else grades
    return Entry({
        region: RegionEntry(grade, None, "" if grade is not None else "metal artefact")
        for region, grade in zip(Region, each, strict=True)
    })


def label(made: Curated, annotator: Actor, grade_of: Callable[[int], int] = lambda case_id: case_id % 4) -> int:
    """Label all cases that are due for an annotator; returns how many."""
    count = 0
    while (task := labels.next_case(made.engine, annotator, made.collection_id, now=NOON)) is not None:
        case_id = case_of(made, task.token)
        labels.submit_label(made.engine, annotator, task.token, change=1, revision=1, entry=graded(grade_of(case_id)),
                            now=NOON)
        count += 1
    return count


def label_all(made: Curated, *, differing: int = 2) -> None:
    """Both label all cases; grade `case_id % 4`, but for the first so many cases the second is one grade off."""
    apart = {case.case_id for case in made.cases()[:differing]}
    name_plan(made)
    label(made, made.first)
    label(made, made.second, lambda case_id: abs(case_id % 4 - 1) if case_id in apart else case_id % 4)


def decide_all(made: Curated) -> int:
    """The adjudicator takes the milder grade everywhere; returns how many decisions that were."""
    found = adjudication.disagreements(made.engine, made.third, made.collection_id)
    for each in found:
        adjudication.adjudicate(made.engine, made.third, made.collection_id, case_id=each.case_id, region=each.region,
                                grade=each.grades[0], reason="the fat is kept", now=NOON)
    return len(found)


def locked_reference(made: Curated, *, differing: int = 2) -> reference.ReferenceVersion:
    """Labelled, decided and locked."""
    label_all(made, differing=differing)
    decide_all(made)
    return reference.lock_reference(made.engine, made.pi, made.collection_id, typed_name=made.pi.name, now=NOON)


def case_of(made: Curated, token: str) -> int:
    """The case that a label token stands for."""
    with reading(made.engine) as session:
        return session.exec(select(LabelPlace.case_id).where(LabelPlace.token == token)).one()


def locked_split(made: Curated, **what) -> split.SplitVersion:
    """Labelled, decided, referenced and split; `what` goes into the plan."""
    locked_reference(made)
    return split.lock_split(made.engine, made.pi, made.collection_id, split.SplitPlan(**what), typed_name=made.pi.name,
                            now=NOON)
