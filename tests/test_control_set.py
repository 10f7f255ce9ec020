"""A folder of scans with a reference becomes the cases of a study, once, without identity, with the model's grades."""

import csv
from dataclasses import replace

import pytest

from lss_core.control_set import case_name, import_control_set, outputs_of_levels
from lss_core.grading.pipeline import MODELS, Grader
from lss_core.imaging.store import ScanStore
from lss_core.simulation.series import write_simulated
from lss_core.study import people, studies
from lss_core.study.cases import cases_of, remove_case
from lss_core.study.connection import open_database
from lss_core.training.scan_sets import ReferenceSet
from lss_core.vocabulary import DiscLevel, Refusal, Region

SEED = 1_700_793                        # a patient of 35 slices


@pytest.fixture(scope="module")
def grader():
    if not (MODELS / "v2.json").is_file():
        pytest.skip("the model v2 is not in models/: train it with `python -m lss_core train`")
    return Grader.load("v2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_simulated(tmp_path_factory.mktemp("set"), patients=1, seed=SEED).parent


@pytest.fixture(scope="module")
def imported(tmp_path_factory, folder, grader):
    root = tmp_path_factory.mktemp("study")
    engine, store = open_database(f"sqlite:///{root / 'studies.sqlite'}"), ScanStore(root / "images")
    pi = people.local_account(engine)
    study_id = studies.create(engine, pi, title="A control set").id
    told = []
    report = import_control_set(engine, store, pi, study_id, folder, graders=[grader],
                                progress=lambda what, share: told.append(share))
    return engine, store, pi, study_id, report, told


def test_every_level_of_the_reference_becomes_a_case(imported, folder):
    engine, _, pi, study_id, report, told = imported
    rows = cases_of(engine, pi, study_id)
    assert (report.added, report.known, report.refused) == (5, 0, ())
    assert {row.level for row in rows} == set(DiscLevel) and told[-1] == 1.0
    with (folder / "reference.csv").open(newline="") as handle:
        wanted = {(row["level"], row["region"]): int(row["grade"]) for row in csv.DictReader(handle)}
    assert {(row.level, region): each.grade for row in rows for region, each in row.reference.items()} == wanted


def test_each_region_has_what_the_model_found_or_why_not(imported, grader):
    engine, store, pi, study_id, *_ = imported
    for row in cases_of(engine, pi, study_id):
        assert {Region(each.region) for each in row.outputs} == set(Region)
        for each in row.outputs:
            assert (each.version, each.weights_sha256) == (grader.version, grader.weights_sha256)
            assert (each.grade is None) == bool(each.not_gradable)
            if each.grade is not None:
                assert each.p0 + each.p1 + each.p2 + each.p3 == pytest.approx(1.0)
                assert store.heat_map(each.heat_map_key).max() > 0 and each.heat_map_box and each.measure > 0


def test_the_stored_scan_shows_the_slice_of_the_reference(imported):
    engine, store, pi, study_id, *_ = imported
    keys = {row.scan_key for row in cases_of(engine, pi, study_id)}
    assert len(keys) == 1, "the levels of a patient share one stored scan"
    geometry = store.geometry(keys.pop())
    assert all(0 <= row.slice_index < geometry.shape[0] for row in cases_of(engine, pi, study_id))


def test_importing_again_adds_nothing_and_fills_what_was_removed(imported, folder, grader):
    engine, store, pi, study_id, *_ = imported
    again = import_control_set(engine, store, pi, study_id, folder, graders=[grader])
    assert (again.added, again.known) == (0, 5)
    lost = cases_of(engine, pi, study_id)[0]
    remove_case(engine, pi, study_id, lost.case_id, reason="test")
    filled = import_control_set(engine, store, pi, study_id, folder, graders=[grader])
    assert (filled.added, filled.known) == (1, 4)
    assert lost.name == case_name(lost.patient, lost.level)


def test_a_wrong_reference_is_refused_before_anything_is_added(imported, tmp_path):
    engine, store, pi, study_id, *_ = imported
    (tmp_path / "reference.csv").write_text("patient,level\n")
    with pytest.raises(Refusal, match=r"reference\.csv lacks the column"):
        import_control_set(engine, store, pi, study_id, tmp_path, graders=[])


def test_an_unreadable_scan_is_named_and_the_others_are_added(imported, folder, tmp_path):
    engine, store, pi, _, *_ = imported
    study_id = studies.create(engine, pi, title="A damaged set").id
    (tmp_path / "reference.csv").write_bytes((folder / "reference.csv").read_bytes())
    patient = next(path.name for path in folder.iterdir() if path.is_dir())
    (tmp_path / patient).mkdir()
    (tmp_path / patient / "0000.dcm").write_bytes(b"no DICOM")
    report = import_control_set(engine, store, pi, study_id, tmp_path, graders=[])
    assert report.added == 0 and len(report.refused) == 1 and report.refused[0].startswith(patient)


def test_a_report_counts_by_name_or_unnamed_by_place_and_never_from_elsewhere(grader, folder, tmp_path):
    store, scan = ScanStore(str(tmp_path / "images")), ReferenceSet.open(folder)
    known = scan.read(scan.patients()[0])
    slices = {row.level: row.slice_index for row in known.known}
    volume = known.volume

    def outputs(volume, slices):
        return outputs_of_levels(store, volume, slices, graders=[grader])

    def grades(volume, slices):
        return {level: [row.grade for row in rows] for level, rows in outputs(volume, slices).items()}

    named = grades(volume, slices)
    assert all(grade is not None for rows in named.values() for grade in rows)
    above = slices[DiscLevel.L4_5] - 2                              # from here on nothing tells which disc is which
    upper = replace(
        volume, hu=volume.hu[above:], positions_mm=volume.positions_mm[above:],
        sop_instance_uids=volume.sop_instance_uids[above:],
    )
    assert {report.level for report in grader.grade(upper).levels} == {None}
    wanted = {level: slices[level] - above for level in (DiscLevel.L2_3, DiscLevel.L3_4)}
    assert grades(upper, wanted) == {level: named[level] for level in wanted}
    elsewhere = outputs(volume, {DiscLevel.L4_5: slices[DiscLevel.L3_4]})[DiscLevel.L4_5]
    assert [(row.grade, row.not_gradable) for row in elsewhere] == [(None, "The disc was reported as L3/4.")] * 3
