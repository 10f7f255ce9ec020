"""The software proposes levels and regions, never on the control set."""

import pytest
from sqlmodel import select

from lss_core.curation import levels, regions
from lss_core.curation.proposing import ScanToPropose, scans_to_propose
from lss_core.proposals import Locator, propose_all, propose_scan
from lss_core.study.connection import reading
from lss_core.study.curation_tables import ProposedBox
from lss_core.vocabulary import DiscLevel, Refusal, Region
from tests.curated import Curated, add_scan, curated, locked_split
from tests.phantoms import DISC_HU, LUMBOSACRAL_HU, THORACIC_HU, marked_volume, marker_grader

VERSION = "markers"
DISCS = {20: LUMBOSACRAL_HU, 36: DISC_HU, 54: DISC_HU}


@pytest.fixture(scope="module")
def locator() -> Locator:
    return Locator(marker_grader(), VERSION)


@pytest.fixture
def empty(tmp_path) -> Curated:
    return curated(f"sqlite:///{tmp_path / 'studies.sqlite'}", tmp_path / "images", patients=0)


def add_marked(made: Curated, number: int = 1, **what) -> int:
    return add_scan(made, number, volume=marked_volume(discs=DISCS), **what)


def test_levels_and_regions_are_proposed_and_nothing_is_confirmed(empty, locator):
    scan_id = add_marked(empty)
    report = propose_all(empty.engine, empty.store, empty.pi, empty.collection_id, locator=locator)
    assert (report.scans, report.refused, report.stopped) == (1, (), False)
    cases = empty.cases()
    assert {case.level: case.slice_index for case in cases} == {
        DiscLevel.L5_S1: 20, DiscLevel.L4_5: 36, DiscLevel.L3_4: 54
    }
    assert not any(case.confirmed for case in cases)
    proposed = regions.boxes_of(empty.engine, empty.first, empty.collection_id, cases[0].case_id).proposed
    assert set(proposed) == {cases[0].slice_index} and set(proposed[cases[0].slice_index]) == set(Region)
    assert scan_id == cases[0].scan_id


def test_a_second_run_looks_at_nothing_again(empty, locator):
    add_marked(empty)
    for _ in range(2):
        report = propose_all(empty.engine, empty.store, empty.pi, empty.collection_id, locator=locator)
    assert report.scans == 0


def test_regions_are_proposed_on_a_slice_that_a_person_chose(empty, locator):
    scan_id = add_marked(empty)
    levels.set_level(empty.engine, empty.first, empty.collection_id, scan_id, DiscLevel.L4_5, 40)
    levels.confirm_levels(empty.engine, empty.first, empty.collection_id, scan_id)
    propose_all(empty.engine, empty.store, empty.pi, empty.collection_id, locator=locator)
    (case,) = empty.cases()
    proposed = regions.boxes_of(empty.engine, empty.first, empty.collection_id, case.case_id).proposed
    assert case.slice_index == 40 and set(proposed[40]) == set(Region)


def test_a_scan_without_a_spine_is_named_and_the_others_go_on(empty, locator):
    air = marked_volume(discs=DISCS)
    air.hu[:] = -1000
    add_scan(empty, 1, volume=air)
    add_marked(empty, 2)
    report = propose_all(empty.engine, empty.store, empty.pi, empty.collection_id, locator=locator)
    assert report.scans == 2 and len(report.refused) == 1
    assert report.refused[0].startswith("Scan 1: This scan holds no bone")
    assert {case.scan_id for case in empty.cases()} == {2}


def test_a_scan_whose_levels_may_be_numbered_wrongly_is_named(empty, locator):
    add_marked(empty, 1)
    add_scan(empty, 2, volume=marked_volume(discs={**DISCS, 72: THORACIC_HU}))
    report = propose_all(empty.engine, empty.store, empty.pi, empty.collection_id, locator=locator)
    (sentence,) = report.doubted
    assert sentence.startswith("Scan 2: The numbering of the levels is in doubt") and report.refused == ()


def test_a_stopped_run_goes_on_where_it_was(empty, locator):
    for number in (1, 2):
        add_marked(empty, number)
    asked = iter([False, True])
    stopped = propose_all(empty.engine, empty.store, empty.pi, empty.collection_id, locator=locator,
                          stop=lambda: next(asked))
    assert (stopped.scans, stopped.stopped) == (1, True)
    assert propose_all(empty.engine, empty.store, empty.pi, empty.collection_id, locator=locator).scans == 1


def test_a_scan_of_the_locked_control_set_is_not_even_opened(tmp_path, locator):
    made = curated(f"sqlite:///{tmp_path / 'studies.sqlite'}", tmp_path / "images", proposed=False)
    before = {scan.scan_id for scan in scans_to_propose(made.engine, made.pi, made.collection_id)}
    locked_split(made)
    control = {case.scan_id for case in made.cases() if case.part == "control"}
    after = {scan.scan_id: scan for scan in scans_to_propose(made.engine, made.pi, made.collection_id)}
    assert control and before - set(after) == control
    case = next(case for case in made.cases() if case.scan_id in control)
    forged = ScanToPropose(case.scan_id, case.scan_key, _sha256(made, case.scan_id), True, {case.case_id: 1})
    with pytest.raises(Refusal, match="of the locked control set"):
        propose_scan(made.engine, made.store, made.pi, made.collection_id, forged, locator)
    with reading(made.engine) as session:
        assert session.exec(select(ProposedBox)).all() == []


def _sha256(made: Curated, scan_id: int) -> str:
    return levels.stored_scan(made.engine, made.pi, made.collection_id, scan_id)[1]
