"""Scans of a collection: brought in once, refused with a reason, removed, joined; their levels and regions."""

import math

import pytest
from sqlmodel import col, select

from lss_core.curation import collections, levels, regions, scans
from lss_core.curation.levels import ProposedLevel
from lss_core.curation.regions import BoxOrigin
from lss_core.permissions import Role
from lss_core.study import people, studies
from lss_core.study.connection import reading
from lss_core.study.curation_tables import LevelMark, RegionBox
from lss_core.vocabulary import Box, DiscLevel, Refusal, Region
from tests.curated import BOXES, LEVELS, SLICES, Curated, add_scan, curated, place_levels

CANAL = Region.CENTRAL_CANAL


@pytest.fixture
def made(tmp_path) -> Curated:
    return curated(f"sqlite:///{tmp_path / 'studies.sqlite'}", tmp_path / "images", patients=2, confirmed=False)


def here(made: Curated, who=None) -> tuple:
    return made.engine, who or made.pi, made.collection_id


# Collections


def test_a_collection_is_listed_for_those_who_have_a_role_and_is_no_reader_study(made):
    (own,) = collections.my_collections(made.engine, made.coordinator)
    assert (own.title, own.roles, own.scans, own.cases) == ("Made-up collection", {Role.COORDINATOR}, 2, 0)
    assert collections.my_collections(made.engine, made.outsider) == ()
    assert studies.my_studies(made.engine, made.pi) == ()
    with pytest.raises(Refusal, match="no role in this study"):
        studies.study_of(made.engine, made.pi, made.collection_id)
    with pytest.raises(Refusal, match="no role in this collection"):
        collections.collection_of(*here(made, made.outsider))


def test_a_reader_study_is_no_collection(made):
    study = studies.create(made.engine, made.outsider, title="Readers")
    with pytest.raises(Refusal, match="no role in this collection"):
        collections.collection_of(made.engine, made.outsider, study.id)


def test_nobody_reads_in_a_collection(made):
    with pytest.raises(Refusal, match="Nobody reads in a collection"):
        people.invite(made.engine, made.pi, made.collection_id, email="reader@example.org", role=Role.READER)


def test_a_collection_is_found_by_number_or_token(made):
    for name in (str(made.collection_id), made.token):
        assert collections.collection_named(made.engine, name).id == made.collection_id
    with pytest.raises(Refusal, match=r"no collection 'x'; there are: 1 \(Made-up collection\)"):
        collections.collection_named(made.engine, "x")
    assert collections.principal_of(made.engine, made.collection_id).email == made.pi.email


# Scans


def test_the_same_source_is_taken_once(made):
    known = add_scan(made, 1)
    assert known == 1 and len(scans.scans_of(*here(made))) == 2
    assert f"{1:064x}" in scans.known_sources(*here(made))


def test_a_simulated_scan_marks_the_collection_for_good(made):
    assert collections.collection_of(*here(made)).is_demo


def test_a_refused_source_is_kept_with_its_reason_until_it_is_taken(made):
    scans.note_refused(*here(made), name="S-1", reason="too few slices", source_digest="d" * 64)
    scans.note_refused(*here(made), name="S-1", reason="no bone in view", source_digest="d" * 64)
    (refused,) = scans.refused_of(*here(made))
    assert refused.reason == "no bone in view"
    assert "d" * 64 in scans.known_sources(*here(made))
    assert "d" * 64 not in scans.known_sources(*here(made), refused_too=False)
    add_scan(made, 3, source_digest="d" * 64)
    assert scans.refused_of(*here(made)) == ()


def test_a_removed_scan_leaves_with_its_cases_and_is_not_taken_again(made):
    with pytest.raises(Refusal, match="needs a reason"):
        scans.remove_scan(*here(made), 1, reason=" ")
    scans.remove_scan(*here(made), 1, reason="metal")
    assert {case.scan_id for case in made.cases()} == {2}
    assert add_scan(made, 1) == 1 and len(scans.scans_of(*here(made))) == 1
    with pytest.raises(Refusal, match="Scan 1 is not in this collection"):
        levels.confirm_levels(*here(made), 1)


def test_patients_who_share_pixels_or_identity_are_pairs(made):
    twice = scans.scans_of(*here(made))[0]
    with reading(made.engine):
        key, sha256 = levels.stored_scan(*here(made), twice.scan_id)
    scans.add_scan(*here(made), scans.NewScan(
        scan_key=key, scan_sha256=sha256, simulated=True, patient="other name", source_digest="e" * 64, slices=SLICES,
        slice_thickness_mm=3.0,
    ))
    for number, patient in ((5, "P-5"), (6, "P-6")):
        add_scan(made, number, patient=patient, identity_digest="same")
    found = {(each.first, each.second): each.reason for each in scans.possible_duplicates(*here(made))}
    assert found == {(twice.patient, "other name"): "the same pixels",
                     ("P-5", "P-6"): "the same name, birth date and sex"}


def test_joined_patients_are_one_also_for_scans_that_come_later(made):
    first, second = (scan.patient for scan in scans.scans_of(*here(made)))
    assert scans.join_patients(*here(made), keep=first, other=second, reason="married name") == 1
    later = add_scan(made, 9, patient=second)
    assert {scan.patient for scan in scans.scans_of(*here(made))} == {first} and later == 3
    with pytest.raises(Refusal, match="There is no patient"):
        scans.join_patients(*here(made), keep=first, other=second, reason="again")


def test_annotators_get_neither_scans_nor_patients(made):
    with pytest.raises(Refusal, match="permits you to import scans"):
        scans.scans_of(*here(made, made.first))
    assert {(case.patient, case.part) for case in levels.cases_of(*here(made, made.first))} == {("", None)}


# Levels


def test_what_a_person_placed_stays_whatever_the_software_finds_later(made):
    levels.set_level(*here(made, made.first), 1, DiscLevel.L4_5, 5)
    found = [ProposedLevel(level, 1 + index, {}, "v2") for level, index in LEVELS.items()]
    levels.propose_levels(*here(made), 1, found)
    placed = {case.level: case.slice_index for case in made.cases() if case.scan_id == 1}
    assert placed == {DiscLevel.L4_5: 5, DiscLevel.L5_S1: LEVELS[DiscLevel.L5_S1] + 1}


def test_who_placed_a_level_is_kept(made):
    levels.set_level(*here(made, made.first), 1, DiscLevel.L4_5, 5)
    with reading(made.engine) as session:
        marks = session.exec(select(LevelMark.account_id, LevelMark.slice_index, LevelMark.version)
                             .where(LevelMark.case_id == 1).order_by(col(LevelMark.id))).all()
    assert marks == [(None, 6, "planted-networks"), (made.first.account_id, 5, "")]


def test_a_level_that_is_not_in_the_scan_is_no_case(made):
    levels.set_level(*here(made), 1, DiscLevel.L5_S1, None)
    levels.confirm_levels(*here(made), 1)
    assert [case.level for case in made.cases() if case.scan_id == 1] == [DiscLevel.L4_5]


@pytest.mark.parametrize("index", [-1, SLICES])
def test_a_level_outside_the_scan_is_refused(made, index):
    with pytest.raises(Refusal, match="cannot be: the scan has 9 slices"):
        levels.set_level(*here(made), 1, DiscLevel.L4_5, index)


def test_levels_in_the_wrong_order_or_none_at_all_are_not_confirmed(made):
    levels.set_level(*here(made), 1, DiscLevel.L4_5, 1)
    with pytest.raises(Refusal, match="L4/5 is on slice 2 and L5/S1 on slice 3: L4/5 lies above"):
        levels.confirm_levels(*here(made), 1)
    with pytest.raises(Refusal, match="No level is placed"):
        levels.confirm_levels(*here(made), add_scan(made, 7))


def test_confirmed_levels_get_no_proposals_any_more(made):
    levels.confirm_levels(*here(made), 1)
    with pytest.raises(Refusal, match="are confirmed"):
        place_levels(made, 1)


# Regions


def save(made: Curated, who, boxes, *, case_id: int = 1, slice_index: int = 6, **what):
    return regions.save_boxes(*here(made, who), case_id, slice_index, boxes, **what)


def test_how_a_box_came_about_is_decided_against_the_proposal(made):
    moved = Box(12, 12, 20, 20)
    found = save(made, made.first, {**BOXES, CANAL: moved})
    assert found == {CANAL: BoxOrigin.MOVED, Region.LEFT_LATERAL_RECESS: BoxOrigin.ACCEPTED,
                     Region.RIGHT_LATERAL_RECESS: BoxOrigin.ACCEPTED}
    assert save(made, made.first, BOXES, slice_index=7) == dict.fromkeys(BOXES, BoxOrigin.DRAWN)
    copied = {**BOXES, CANAL: moved}
    assert save(made, made.first, copied, slice_index=5, copied_from=6) == dict.fromkeys(copied, BoxOrigin.COPIED)
    changed = {**copied, CANAL: Box(1, 1, 5, 5)}
    assert save(made, made.first, changed, slice_index=4, copied_from=6)[CANAL] is BoxOrigin.DRAWN
    assert regions.box_origins(*here(made))["first@example.org"][BoxOrigin.COPIED] == 5


def test_what_did_not_change_is_not_stored_again_and_what_is_gone_was_taken_away(made):
    save(made, made.first, BOXES)
    assert save(made, made.first, BOXES) == {}
    assert save(made, made.first, {CANAL: BOXES[CANAL]}) == {
        Region.LEFT_LATERAL_RECESS: BoxOrigin.REMOVED, Region.RIGHT_LATERAL_RECESS: BoxOrigin.REMOVED
    }
    with reading(made.engine) as session:
        assert len(session.exec(select(RegionBox)).all()) == 5
    assert set(regions.boxes_of(*here(made, made.first), 1).mine[6]) == {CANAL}
    assert regions.drawn_cases(*here(made, made.first)) == {1}


def test_the_final_box_is_the_mean_of_the_two(made):
    save(made, made.first, {CANAL: Box(10, 10, 20, 20)})
    save(made, made.second, {CANAL: Box(12, 14, 22, 20)})
    save(made, made.second, {CANAL: Box(0, 0, 5, 5)}, slice_index=5)        # not the level's slice
    assert regions.final_boxes(*here(made), 1) == {CANAL: Box(11, 12, 21, 20)}
    assert regions.final_boxes(*here(made), 2) == {}


def test_the_overlap_of_two_annotators_is_by_hand(made):
    save(made, made.first, {CANAL: Box(0, 0, 10, 10)})
    save(made, made.second, {CANAL: Box(0, 5, 10, 15)})
    save(made, made.first, {CANAL: Box(0, 0, 10, 10)}, case_id=2, slice_index=2)
    save(made, made.second, {CANAL: Box(0, 0, 10, 10)}, case_id=2, slice_index=2)
    canal, left, _ = regions.box_agreement(*here(made))
    assert (canal.n, canal.median) == (2, pytest.approx((50 / 150 + 1) / 2))
    assert left.n == 0 and math.isnan(left.median)


@pytest.mark.parametrize(("box", "slice_index", "told"), [
    (Box(-3, 0, 5, 5), 6, "lies outside the slice"), (Box(0, 0, 5, math.inf), 6, "lies outside the slice"),
    (Box(0, 0, 5, 5), 9, "the scan has 9 slices"),
])
def test_a_box_that_cannot_be_is_refused(made, box, slice_index, told):
    with pytest.raises(Refusal, match=told):
        save(made, made.first, {CANAL: box}, slice_index=slice_index)


def test_only_annotators_draw_and_only_those_who_run_the_collection_see_agreement(made):
    with pytest.raises(Refusal, match="permits you to annotate"):
        save(made, made.coordinator, BOXES)
    for service in (regions.box_agreement, regions.box_origins):
        with pytest.raises(Refusal, match="permits you to import scans"):
            service(*here(made, made.first))


def test_a_summary_counts_for_annotators_their_own_labels(labelled):
    mine = collections.collection_of(*here(labelled, labelled.first))
    assert (mine.scans, mine.cases, mine.labelled) == (8, 16, 16)
    assert collections.collection_of(*here(labelled)).labelled == 16
