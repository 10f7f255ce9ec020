"""The split by patient: seeded, with the grades mixed alike, locked under a hash; no model sees the control set."""

import random
from collections import Counter
from dataclasses import replace

import pytest

from lss_core.curated_folder import export_set
from lss_core.curation import handover, levels, reference, regions, scans, split, table_one
from lss_core.curation.drawing_lots import draw_parts, rounded
from lss_core.curation.parts import Part, Purpose
from lss_core.curation.proposing import propose_boxes, scans_to_propose
from lss_core.curation.split import SplitPlan
from lss_core.permissions import Role
from lss_core.settings import Settings
from lss_core.study import cases, people
from lss_core.study.connection import transaction
from lss_core.study.database import Membership, Study, StudyState
from lss_core.study.desks import begin_session
from lss_core.training.reference import ReferenceSource, check_trainable
from lss_core.training_runs import NewRun, start
from lss_core.vocabulary import Refusal, Region
from tests.curated import BOXES, NOON, PI_NAME, Curated, add_scan, curated, label, locked_reference, locked_split
from tests.planted import person

DEFAULT = SplitPlan().ratios


def here(made: Curated, who=None) -> tuple:
    return made.engine, who or made.pi, made.collection_id


def lock(made: Curated, plan: SplitPlan | None = None, who=None, **what) -> split.SplitVersion:
    return split.lock_split(*here(made, who), plan or SplitPlan(), **({"typed_name": PI_NAME, "now": NOON} | what))


def patients_of(made: Curated, part: Part) -> set[str]:
    return {case.patient for case in made.cases() if case.part is part}


# Drawing lots


@pytest.mark.parametrize(("number", "expected"), [
    (100, [62, 23, 15]), (30, [19, 7, 4]), (7, [4, 2, 1]), (6, [4, 1, 1]), (1, [1, 0, 0]), (0, [0, 0, 0]),
])
def test_shares_are_rounded_to_whole_patients_that_add_up(number, expected):
    assert rounded(number, DEFAULT) == expected


def mixed_patients(number: int, seed: int) -> dict[str, Counter]:
    """Patients of five levels whose grades go together, the severe ones rare."""
    lots = random.Random(seed)
    found = {}
    for index in range(number):
        severity = lots.betavariate(1, 2)
        grades = [min(3, max(0, round(3 * severity + lots.gauss(0, 0.6)))) for _ in range(5)]
        found[f"P{index:04d}"] = Counter(("canal", grade) for grade in grades)
    return found


def test_the_same_seed_draws_the_same_patients_and_another_seed_others():
    patients = mixed_patients(60, 1)
    shuffled = dict(random.Random(3).sample(sorted(patients.items()), len(patients)))
    drawn = draw_parts(patients, DEFAULT, seed=1)
    assert draw_parts(shuffled, DEFAULT, seed=1) == drawn
    assert draw_parts(patients, DEFAULT, seed=2) != drawn


def test_every_part_has_its_share_of_patients_and_of_each_grade():
    patients = mixed_patients(200, 2)
    total = sum(patients.values(), Counter())
    for seed in range(10):
        drawn = draw_parts(patients, DEFAULT, seed=seed)
        assert sorted(Counter(drawn.values()).items()) == list(enumerate(rounded(200, DEFAULT)))
        for part, share in enumerate(DEFAULT):
            own = sum((mix for patient, mix in patients.items() if drawn[patient] == part), Counter())
            for cell, count in total.items():
                assert abs(own[cell] - share * count) <= max(5, 0.1 * share * count), (seed, part, cell)


def test_the_mix_is_nearer_to_the_whole_than_by_lot_alone():
    patients = mixed_patients(60, 4)
    total = sum(patients.values(), Counter())

    def apart(assignment: dict[str, int]) -> float:
        own = sum((mix for patient, mix in patients.items() if assignment[patient] == 2), Counter())
        return sum(abs(own[cell] - DEFAULT[2] * count) for cell, count in total.items())

    stratified = [apart(draw_parts(patients, DEFAULT, seed=seed)) for seed in range(20)]
    by_lot = []
    for seed in range(20):
        names = sorted(patients)
        random.Random(seed).shuffle(names)
        control = set(names[: rounded(60, DEFAULT)[2]])
        by_lot.append(apart({patient: 2 if patient in control else 0 for patient in patients}))
    assert sum(stratified) < 0.6 * sum(by_lot)


def test_everybody_is_in_turn_a_control_patient():
    """The lots are lots: over many seeds no patient is always, and none never, in the control set."""
    patients = mixed_patients(30, 5)
    times = Counter(patient for seed in range(200) for patient, part in
                    draw_parts(patients, DEFAULT, seed=seed).items() if part == 2)
    assert set(times) == set(patients) and max(times.values()) < 150


def test_patients_whose_part_is_fixed_keep_it_and_the_others_make_up_for_it():
    patients = mixed_patients(40, 6)
    taken = dict.fromkeys(sorted(patients)[:6], 2)
    drawn = draw_parts(patients, DEFAULT, seed=1, taken=taken)
    assert {patient: drawn[patient] for patient in taken} == taken
    assert Counter(drawn.values())[2] == 6


@pytest.mark.parametrize("ratios", [(0.5, 0.5), (0.7, 0.2, 0.2), (1.2, -0.1, -0.1)])
def test_ratios_that_cannot_be_are_refused(ratios):
    with pytest.raises(Refusal, match="three are needed"):
        SplitPlan(ratios=ratios)


# The lock


def test_a_patient_is_in_one_part_with_all_scans(tmp_path):
    made = curated(f"sqlite:///{tmp_path / 'studies.sqlite'}", tmp_path / "images", patients=0)
    for number in range(1, 13):
        scan_id = add_scan(made, number, patient=f"P-{number % 6}")
        levels.set_level(*here(made), scan_id, "L4/5", 4)
        levels.confirm_levels(*here(made), scan_id)
    locked = locked_split(made)
    parts = {}
    for case in made.cases():
        parts.setdefault(case.patient, set()).add(case.part)
    assert len(parts) == 6 and all(len(each) == 1 for each in parts.values())
    assert {part: (count.patients, count.scans) for part, count in locked.counts.items()} == {
        Part.TRAINING: (4, 8), Part.VALIDATION: (1, 2), Part.CONTROL: (1, 2)
    }


def test_what_is_proposed_is_what_is_locked(referenced):
    draft = split.propose_split(*here(referenced), SplitPlan(seed=7))
    assert split.split_of(*here(referenced)) is None
    locked = lock(referenced, SplitPlan(seed=7))
    assert locked.assignment == draft.assignment and locked.counts == draft.counts
    assert split.split_of(*here(referenced, referenced.coordinator)) == locked


def test_nothing_is_split_before_the_reference_is_locked(labelled):
    for act in (lambda: split.propose_split(*here(labelled), SplitPlan()), lambda: lock(labelled)):
        with pytest.raises(Refusal, match="The reference is not locked yet"):
            act()


@pytest.mark.parametrize(("who", "what", "told"), [
    ("coordinator", {}, "permits you to split"), ("first", {}, "permits you to split"),
    ("pi", {"typed_name": "x"}, "type your name"),
])
def test_only_the_investigator_locks_the_split_and_signs(referenced, who, what, told):
    with pytest.raises(Refusal, match=told):
        lock(referenced, who=getattr(referenced, who), **what)
    assert split.split_of(*here(referenced)) is None


def test_a_part_that_would_be_empty_is_refused(tmp_path):
    made = curated(f"sqlite:///{tmp_path / 'studies.sqlite'}", tmp_path / "images", patients=2)
    locked_reference(made)
    with pytest.raises(Refusal, match="the control set would be empty"):
        lock(made)


def test_patients_of_an_external_site_are_a_set_of_their_own(tmp_path):
    made = curated(f"sqlite:///{tmp_path / 'studies.sqlite'}", tmp_path / "images", patients=8,
                   site_of=lambda number: "far" if number in (2, 5) else "here")
    locked = locked_split(made, external_sites=("far",))
    assert {case.patient[-2:] for case in made.cases() if case.part is Part.EXTERNAL} == {"02", "05"}
    assert locked.counts[Part.EXTERNAL].patients == 2 and sum(count.patients for count in locked.counts.values()) == 8
    assert locked.plan.external_sites == ("far",)


def test_patients_keep_their_part_in_later_versions_and_new_ones_are_added(split_made):
    made = split_made
    before = split.split_of(*here(made))
    assert before is not None
    with pytest.raises(Refusal, match="no patient or reference has been added"):
        lock(made, SplitPlan(seed=99), reason="another draw")
    for number in (21, 22, 23):
        scan_id = add_scan(made, number)
        levels.set_level(*here(made), scan_id, "L4/5", 4)
        levels.confirm_levels(*here(made), scan_id)
    assert {case.part for case in made.cases() if case.patient not in before.assignment} == {None}
    relabel(made)
    with pytest.raises(Refusal, match="needs a reason"):
        lock(made, SplitPlan(seed=99))
    after = lock(made, SplitPlan(seed=99), reason="three more patients")
    assert after.number == 2 and len(after.assignment) == len(before.assignment) + 3
    assert {patient: after.assignment[patient] for patient in before.assignment} == before.assignment


def relabel(made: Curated) -> None:
    """Both label what has come, and the reference is locked again."""
    label(made, made.first)
    label(made, made.second)
    reference.lock_reference(*here(made), typed_name=PI_NAME, reason="more patients")


def test_patients_of_different_parts_are_not_joined(split_made):
    (control, *_), (training, *_) = (sorted(patients_of(split_made, part)) for part in (Part.CONTROL, Part.TRAINING))
    for keep, other in ((control, training), (training, control)):
        with pytest.raises(Refusal, match="patients of different parts cannot be joined"):
            scans.join_patients(*here(split_made), keep=keep, other=other, reason="same person")


# Isolation


def test_each_purpose_gets_its_own_part_and_the_control_set_only_the_final_evaluation(split_made):
    def parts(purpose: Purpose, who=None) -> set:
        return {case.part for case in split.cases_for(*here(split_made, who), purpose)}

    assert parts(Purpose.TRAIN) == {Part.TRAINING}
    assert parts(Purpose.CALIBRATE) == {Part.VALIDATION}
    assert parts(Purpose.EVALUATE) == {Part.TRAINING, Part.VALIDATION, Part.CONTROL}
    assert parts(Purpose.EVALUATE, split_made.coordinator) == {Part.TRAINING, Part.VALIDATION}
    assert parts(Purpose.ANNOTATE_WITH_MODEL) == {Part.TRAINING, Part.VALIDATION}
    for purpose in Purpose:
        rows = split.reference_for(*here(split_made, split_made.coordinator), purpose)
        assert not {row.patient for row in rows} & patients_of(split_made, Part.CONTROL)
        with pytest.raises(Refusal, match="no role in this collection"):
            split.cases_for(*here(split_made, split_made.first), purpose)


@pytest.mark.parametrize("purpose", [Purpose.TRAIN, Purpose.CALIBRATE, Purpose.EVALUATE])
def test_nothing_is_used_before_the_split_is_locked(referenced, purpose):
    with pytest.raises(Refusal, match="The split is not locked yet"):
        split.cases_for(*here(referenced), purpose)


def test_no_path_to_a_model_reads_the_locked_control_set(split_made, tmp_path):
    """Every path is tried that trains, calibrates or annotates with a model, by the person who may do most."""
    made = split_made
    case = next(case for case in made.cases() if case.part is Part.CONTROL)
    control = tmp_path / "control"
    export_set(made.engine, made.store, made.pi, made.collection_id, (Part.CONTROL,), control)
    copied = tmp_path / "innocent"
    control.rename(copied)
    settings = replace(Settings(), data=tmp_path / "data", runs=tmp_path / "runs", models=tmp_path / "models")
    refused = {
        "levels": lambda: levels.propose_levels(*here(made), case.scan_id, [levels.ProposedLevel(case.level, 3)]),
        "regions": lambda: propose_boxes(*here(made), case.case_id, 3, BOXES, version="x"),
        "written with others": lambda: export_set(
            made.engine, made.store, made.pi, made.collection_id, (Part.TRAINING, Part.CONTROL), tmp_path / "mixed"),
        "written by a coordinator": lambda: export_set(
            made.engine, made.store, made.coordinator, made.collection_id, (Part.CONTROL,), tmp_path / "theirs"),
        "trained on": lambda: check_trainable(copied),
        "cut into samples": lambda: ReferenceSource(copied),
        "a run of training": lambda: start(*here(made), settings, NewRun("own", copied, None)),
    }
    for path, act in refused.items():
        with pytest.raises(Refusal, match=r"control|permits you to split|another part of the locked split"):
            act()
        assert not (tmp_path / "mixed").exists() and not (tmp_path / "theirs").exists(), path
    unseen = {scan.scan_id for scan in scans_to_propose(*here(made))}
    assert case.scan_id not in unseen
    for purpose in (Purpose.TRAIN, Purpose.CALIBRATE, Purpose.ANNOTATE_WITH_MODEL):
        assert case.case_id not in {each.case_id for each in split.cases_for(*here(made), purpose)}
        assert case.case_id not in {row.case_id for row in split.reference_for(*here(made), purpose)}
    with pytest.raises(Refusal, match="locked control set"):
        scans.remove_scan(*here(made), case.scan_id, reason="too hard for the model")


def test_proposals_made_before_the_lock_are_hidden_on_the_control_set(split_made):
    for case in split_made.cases():
        proposed = regions.boxes_of(*here(split_made, split_made.first), case.case_id).proposed
        assert bool(proposed) is (case.part is not Part.CONTROL)
    case = next(case for case in split_made.cases() if case.part is Part.CONTROL)
    origins = regions.save_boxes(*here(split_made, split_made.first), case.case_id, case.slice_index, BOXES)
    assert set(origins.values()) == {regions.BoxOrigin.DRAWN}


def test_a_later_scan_of_a_control_patient_is_of_the_control_set_too(split_made):
    patient = sorted(patients_of(split_made, Part.CONTROL))[0]
    scan_id = add_scan(split_made, 77, patient=patient)
    assert scan_id not in {scan.scan_id for scan in scans_to_propose(*here(split_made))}
    with pytest.raises(Refusal, match="of the locked control set"):
        levels.propose_levels(*here(split_made), scan_id, [])


# Table 1 and the flow


def test_table_one_adds_up(split_made):
    made = table_one.table_one(*here(split_made))
    assert made.head == ("", "All", "Training", "Validation", "Control")
    rows = {row[0]: row[1:] for row in made.rows}
    for name in ("Patients", "Scans", "Cases (levels)"):
        whole, *parts = map(int, rows[name])
        assert whole == sum(parts)
    assert rows["Patients"][0] == "8" and rows["Sex: female"][0] == "4 (50%)"
    assert rows["Age, years: median (quartiles)"][0] == "44.5 (42.8–46.2)"
    assert "Central canal: 3 severe" in rows and "PLANTEDPATIENT" not in made.as_csv()


def test_the_flow_tells_what_came_in_and_what_was_left_out(labelled):
    scans.note_refused(*here(labelled), name="S-1", reason="a scout, no axial series", source_digest="d" * 64)
    scans.remove_scan(*here(labelled), 1, reason="metal")
    add_scan(labelled, 50)
    steps = {step.label: step for step in table_one.flow(*here(labelled)).steps}
    assert steps["Series found"].what == "10 series"
    assert steps["Imported"].left_out == "Refused: 1 series"
    assert steps["Imported"].reasons == ("1 × a scout, no axial series",)
    assert (steps["Kept"].what, steps["Kept"].left_out) == ("8 scans of 8 patients", "Removed: 1 scan")
    assert steps["Levels confirmed"].left_out == "Waiting: 1 scan"
    assert steps["Labelled by two"].what == "14 cases of 7 patients"


# Handing over


def test_the_control_set_becomes_a_reader_study_whose_readers_had_no_part_in_it(split_made):
    made, study = split_made, handover.open_reader_study(*here(split_made), title="Three readers", now=NOON)
    assert study.id is not None and study.collection_id == made.collection_id
    found = cases.cases_of(made.engine, made.pi, study.id)
    control = [case for case in made.cases() if case.part is Part.CONTROL]
    assert [(each.scan_key, each.level, each.slice_index) for each in found] == [
        (case.scan_key, case.level, case.slice_index) for case in control
    ]
    locked = reference.reference_versions(*here(made))[0]
    grades = {(row.scan_key, row.level, row.region): row.grade for row in reference.reference_rows(*here(made))}
    for each in found:
        assert each.reference is not None
        assert {row.source for row in each.reference.values()} == {
            f"two annotators, adjudicated; reference version 1, sha256 {locked.sha256}"
        }
        assert all(row.grade == grades[each.scan_key, each.level, region] for region, row in each.reference.items())
    assert handover.opened_studies(*here(made))[0].id == study.id


@pytest.mark.parametrize("who", ["first", "second", "third", "coordinator"])
def test_who_has_or_had_a_role_in_the_collection_cannot_read_in_the_study(split_made, who):
    made, study = split_made, handover.open_reader_study(*here(split_made), title="Readers")
    assert study.id is not None
    actor = getattr(made, who)
    role = Role.COORDINATOR if who == "coordinator" else Role.ANNOTATOR
    for _ in ("now", "before"):
        with pytest.raises(Refusal, match=r"has or had the role \w+ in the collection"):
            people.invite(made.engine, made.pi, study.id, email=actor.email, role=Role.READER)
        if role in {each.role for each in people.members(made.engine, made.pi, made.collection_id)
                    if each.email == actor.email}:
            people.remove_member(made.engine, made.pi, made.collection_id, account_id=actor.account_id, role=role,
                                 reason="left")


def test_a_reader_of_the_study_is_not_let_into_the_collection_and_who_slipped_in_cannot_begin(split_made):
    made, study = split_made, handover.open_reader_study(*here(split_made), title="Readers")
    assert study.id is not None
    people.invite(made.engine, made.pi, study.id, email="reader@example.org", role=Role.READER)
    with pytest.raises(Refusal, match="reads in a study of this collection's cases"):
        people.invite(made.engine, made.pi, made.collection_id, email="reader@example.org", role=Role.ANNOTATOR)
    slip_in(made, study.id)
    with pytest.raises(Refusal, match="Who is or was annotator of the collection of this study's cases"):
        begin_session(made.engine, person(made.engine, made.first.email), study.id)


def slip_in(made: Curated, study_id: int) -> None:
    """Past the services: an annotator as a reader of a study that is open."""
    with transaction(made.engine) as session:
        session.add(Membership(study_id=study_id, account_id=made.first.account_id, role=Role.READER, invited_at=NOON))
        session.get_one(Study, study_id).state = StudyState.OPEN


def test_handing_over_is_whole_or_not_at_all(split_made):
    training = next(case for case in split_made.cases() if case.part is Part.TRAINING)
    output = cases.NewOutput("v1", "a" * 64, Region.CENTRAL_CANAL, grade=1)
    for who, what, told in (
        (split_made.pi, {"title": " "}, "needs a title"),
        (split_made.pi, {"title": "x", "outputs": {training.case_id: [output]}}, "not in the locked control set"),
        (split_made.coordinator, {"title": "x"}, "permits you to split"),
    ):
        with pytest.raises(Refusal, match=told):
            handover.open_reader_study(*here(split_made, who), **what)
    assert handover.opened_studies(*here(split_made)) == ()


def test_without_a_locked_split_there_is_nothing_to_hand_over(referenced):
    with pytest.raises(Refusal, match="The split is not locked yet"):
        handover.open_reader_study(*here(referenced), title="Readers")
