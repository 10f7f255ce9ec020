"""A curated set as a folder: the same voxels, grades and boxes; nothing overwritten, no training on the control set."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pydicom
import pytest

from lss_core.__main__ import DONE, REFUSED, main
from lss_core.curated_folder import export_set, series_uid_of, set_digest
from lss_core.curation import levels
from lss_core.curation.parts import Part
from lss_core.curation.reference import reference_rows
from lss_core.curation.scans import remove_scan, scans_of
from lss_core.curation.split import split_of
from lss_core.imaging import dicom_out
from lss_core.imaging.dicom import read_scan
from lss_core.imaging.dicom_out import CtHeader, is_marked_control, write_series
from lss_core.imaging.volume import Volume
from lss_core.study.audit_log import lines_of
from lss_core.training.reference import ReferenceSource, check_trainable, read_cases, read_rows
from lss_core.training.scan_sets import ReferenceSet
from lss_core.training.set_mark import read_mark
from lss_core.vocabulary import Refusal
from tests.curated import (
    BOXES,
    PLANTED_NAME,
    PLANTED_PATIENT,
    PLANTED_SITE,
    Curated,
    add_scan,
    curated,
    draw_boxes,
    locked_split,
    place_levels,
)
from tests.studies import volume

HEADER = CtHeader(patient="P-1", patient_name="P-1^", description="De-identified", comment="", deidentified_by="table",
                  manufacturer="", model_name="", kernel="B30f", sex="F", age_years=71.0)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Curated:
    """A locked split of eight patients, and a ninth of another site."""
    folder = tmp_path_factory.mktemp("collection")
    made = curated(f"sqlite:///{folder / 'c.sqlite'}", folder / "images", patients=9,
                   site_of=lambda number: "elsewhere" if number == 9 else PLANTED_SITE)
    draw_boxes(made)
    locked_split(made, ratios=(0.5, 0.25, 0.25), external_sites=("elsewhere",))
    return made


def written(made: Curated, out: Path, part: Part = Part.TRAINING) -> Path:
    export_set(made.engine, made.store, made.pi, made.collection_id, (part,), out)
    return out


def refusal(call: Callable, *arguments: object, **more: object) -> str:
    with pytest.raises(Refusal) as refused:
        call(*arguments, **more)
    return str(refused.value)


@pytest.fixture(scope="module")
def sets(made, tmp_path_factory) -> dict[Part, Path]:
    """Each part, written; never to be changed."""
    folder = tmp_path_factory.mktemp("sets")
    return {part: written(made, folder / part, part) for part in Part}


def patients_of(made: Curated, part: Part) -> set[str]:
    split = split_of(made.engine, made.pi, made.collection_id)
    assert split is not None
    return {patient for patient, where in split.assignment.items() if where is part}


@pytest.mark.parametrize("part", Part)
def test_a_written_part_gives_back_voxels_grades_and_boxes(made, sets, part):
    known = {(row.patient, row.level, row.region): row
             for row in reference_rows(made.engine, made.pi, made.collection_id)}
    cases = list(read_cases(sets[part]))
    assert {case.patient for case in cases} == patients_of(made, part) and cases
    for case in cases:
        keys = {known[case.patient, row.level, row.region].scan_key for row in case.rows}
        stored = made.store.open(keys.pop())
        np.testing.assert_array_equal(case.volume.hu, stored.hu)
        np.testing.assert_allclose(case.volume.positions_mm, stored.positions_mm)
        assert case.volume.pixel_spacing_mm == stored.pixel_spacing_mm
        for index, rows in case.by_slice().items():
            for row in rows:
                reference = known[case.patient, row.level, row.region]
                assert (index, int(row.grade), row.box) == (reference.slice_index, reference.grade, reference.box)
                assert row.box is not None and row.box.row0 == BOXES[row.region].row0 + 0.65
    assert sum(len(case.rows) for case in cases) == sum(row.patient in patients_of(made, part)
                                                        for row in known.values())


def test_a_written_set_says_what_it_is(made, sets):
    split = split_of(made.engine, made.pi, made.collection_id)
    mark = read_mark(sets[Part.TRAINING])
    assert split is not None and mark is not None and mark.complete and mark.simulated
    assert mark.parts == ("training",) and mark.collection == made.token
    assert (mark.split_number, mark.split_sha256) == (1, split.sha256)
    assert (mark.reference_number, mark.reference_sha256) == (1, split.reference_sha256)
    assert set(mark.control_patients) == patients_of(made, Part.CONTROL)


def test_nothing_of_site_and_name_leaves_with_a_set(sets):
    for path in sets[Part.TRAINING].rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert PLANTED_SITE.encode() not in content and PLANTED_NAME.encode() not in content
            assert b"PLANTEDMAKER" not in content


def test_simulated_scans_stay_marked_and_others_are_marked_de_identified(sets, tmp_path):
    header = pydicom.dcmread(next(sets[Part.TRAINING].glob("*/0000.dcm")))
    assert header.Manufacturer == "SIMULATED" and "SIMULATED" in header.ImageComments
    real = curated(f"sqlite:///{tmp_path / 'c.sqlite'}", tmp_path / "images", patients=3, simulated=False)
    locked_split(real, ratios=(0.34, 0.33, 0.33))
    header = pydicom.dcmread(next(written(real, tmp_path / "set").glob("*/0000.dcm")))
    assert header.PatientIdentityRemoved == "YES" and "SIMULATED" not in str(header)
    mark = read_mark(tmp_path / "set")
    assert mark is not None and not mark.simulated


def test_the_evaluation_reads_the_control_set(made, sets):
    scans = ReferenceSet.open(sets[Part.CONTROL])
    assert set(scans.patients()) == patients_of(made, Part.CONTROL)
    assert scans.read(scans.patients()[0]).known


@pytest.mark.parametrize("part", [Part.TRAINING, Part.VALIDATION])
def test_training_reads_what_it_may(sets, part):
    assert ReferenceSource(sets[part]).patch(np.random.default_rng(0)).regions


@pytest.mark.parametrize("part", [Part.CONTROL, Part.EXTERNAL])
def test_training_refuses_what_is_for_evaluation(sets, part):
    assert f"is the {part} part" in refusal(ReferenceSource, sets[part])


def test_the_train_command_refuses_the_control_set(sets, tmp_path, capsys):
    arguments = ["train", "classifier", "--data", str(sets[Part.CONTROL]), "--out", str(tmp_path), "--steps", "1"]
    assert main(arguments) == REFUSED
    assert "is the control part" in capsys.readouterr().err and not list(tmp_path.iterdir())


@pytest.mark.parametrize("network", ["classifier", "detector"])
def test_the_train_command_keeps_the_patients_of_a_named_control_set_out(sets, tmp_path, capsys, network):
    folder = unmarked(mixed(sets, tmp_path / "mixed"))
    arguments = ["train", network, "--data", str(folder), "--control", str(sets[Part.CONTROL]), "--out",
                 str(tmp_path / "out"), "--steps", "1"]
    assert main(arguments) == REFUSED
    assert "belongs to the control set" in capsys.readouterr().err


def test_a_renamed_copy_of_the_control_set_is_refused(sets, tmp_path):
    shutil.copytree(sets[Part.CONTROL], tmp_path / "fresh scans")
    assert "is the control part" in refusal(check_trainable, tmp_path / "fresh scans")
    (tmp_path / "fresh scans" / "set.json").unlink()
    assert "marked as of a control set" in refusal(check_trainable, tmp_path / "fresh scans")


def mixed(sets: dict[Part, Path], out: Path) -> Path:
    """The training part with one control patient's folder and rows added."""
    shutil.copytree(sets[Part.TRAINING], out)
    first, *others = (sets[Part.CONTROL] / "reference.csv").read_text().splitlines()
    patient = others[0].split(",")[0]
    assert first.startswith("patient,")
    shutil.copytree(sets[Part.CONTROL] / patient, out / patient)
    with (out / "reference.csv").open("a") as file:
        file.writelines(f"{line}\n" for line in others if line.startswith(patient))
    return out


def unmarked(folder: Path) -> Path:
    """As if the scans had come another way: without set.json and without the mark in the images."""
    (folder / "set.json").unlink()
    for path in folder.glob("*/*.dcm"):
        image = pydicom.dcmread(path)
        image.ImageComments = ""
        image.save_as(path)
    return folder


def test_control_patients_among_training_scans_are_refused(sets, tmp_path):
    assert "belongs to the control set" in refusal(check_trainable, mixed(sets, tmp_path / "mixed"))


def test_control_patients_under_another_name_are_refused(sets, tmp_path):
    folder = mixed(sets, tmp_path / "mixed")
    patient = read_rows(sets[Part.CONTROL])[0].patient
    (folder / patient).rename(folder / "P-NEW")
    table = folder / "reference.csv"
    table.write_text(table.read_text().replace(f"{patient},", "P-NEW,"))
    assert "names series" in refusal(check_trainable, folder)


def test_a_given_control_set_keeps_its_patients_out_of_any_folder(sets, tmp_path):
    folder = unmarked(mixed(sets, tmp_path / "mixed"))
    check_trainable(folder)
    for given in (sets[Part.CONTROL], sets[Part.CONTROL] / "set.json"):
        assert "belongs to the control set" in refusal(check_trainable, folder, apart_from=given)
    assert "holds no set.json" in refusal(check_trainable, folder, apart_from=tmp_path)
    check_trainable(sets[Part.TRAINING], apart_from=sets[Part.CONTROL])


@pytest.mark.parametrize("content", ["{", "[]", '{"what": "a shopping list"}'])
def test_a_damaged_mark_allows_nothing(sets, tmp_path, content):
    shutil.copytree(sets[Part.TRAINING], tmp_path / "set")
    (tmp_path / "set" / "set.json").write_text(content)
    assert "cannot be read" in refusal(check_trainable, tmp_path / "set")


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _write_and_die(made: Curated, out: Path, slices: int) -> None:
    """Write, and be killed while the n-th slice is written."""
    made_so_far, really = [0], dicom_out._dataset

    def counted(*arguments):
        made_so_far[0] += 1
        if made_so_far[0] > slices:
            os.kill(os.getpid(), signal.SIGKILL)
        return really(*arguments)

    dicom_out._dataset = counted
    made.engine.dispose(close=False)
    written(made, out)


@pytest.mark.parametrize("slices", [0, 4, 9, 14])
def test_a_killed_writing_goes_on_to_the_same_set(made, sets, tmp_path, slices):
    out = tmp_path / "set"
    process = get_context("fork").Process(target=_write_and_die, args=(made, out, slices))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert not (out / "reference.csv").exists(), "an unfinished set is not read as a whole one"
    assert "no reference.csv" in refusal(check_trainable, out)
    assert content_of(written(made, out)) == content_of(sets[Part.TRAINING])


def test_writing_again_changes_nothing(made, tmp_path):
    out = written(made, tmp_path / "set", Part.VALIDATION)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.dcm")}
    written(made, out, Part.VALIDATION)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.dcm")} == before


def test_a_newer_software_goes_on_with_a_set(made, tmp_path, monkeypatch):
    out = written(made, tmp_path / "set")
    monkeypatch.setattr("lss_core.curated_folder.SOFTWARE_VERSION", "99.0")
    assert written(made, out) == out


def test_another_choice_of_scans_is_another_set(tmp_path):
    made = curated(f"sqlite:///{tmp_path / 'c.sqlite'}", tmp_path / "images", patients=6)
    locked_split(made, ratios=(0.5, 0.25, 0.25))
    ask = (made.engine, made.pi, made.collection_id, (Part.TRAINING,))
    before, out = set_digest(*ask), written(made, tmp_path / "set")
    assert set_digest(*ask) == before
    scan_id = next(each.scan_id for each in scans_of(*ask[:3]) if each.part is Part.TRAINING)
    remove_scan(*ask[:3], scan_id, reason="moved during the scan")
    assert set_digest(*ask) != before
    assert "another part or version" in refusal(written, made, out)


def test_foreign_folders_are_left_alone(made, sets, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    assert "holds other files" in refusal(written, made, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    assert "another part or version" in refusal(written, made, sets[Part.CONTROL])
    assert "is a file" in refusal(written, made, tmp_path / "notes.txt")


def test_only_who_may_gets_a_part(made, tmp_path):
    def ask(actor, part):
        export_set(made.engine, made.store, actor, made.collection_id, (part,), tmp_path / "set")

    for actor in (made.first, made.third, made.outsider):
        for part in Part:
            assert "no role" in refusal(ask, actor, part)
    assert "no role" in refusal(ask, made.coordinator, Part.CONTROL)
    assert not (tmp_path / "set").exists()
    ask(made.coordinator, Part.TRAINING)
    assert (tmp_path / "set" / "reference.csv").exists()


def test_the_control_set_is_written_alone(made, tmp_path):
    for parts, why in (((Part.TRAINING, Part.CONTROL), "written alone"), ((), "at least one part")):
        assert why in refusal(export_set, made.engine, made.store, made.pi, made.collection_id, parts, tmp_path)


def test_nothing_is_written_before_the_split_is_locked(tmp_path):
    early = curated(f"sqlite:///{tmp_path / 'c.sqlite'}", tmp_path / "images", patients=1)
    assert "not locked yet" in refusal(written, early, tmp_path / "set")


def test_each_writing_is_in_the_audit_log(made, tmp_path):
    written(made, tmp_path / "set")
    line = lines_of(made.engine, made.pi, made.collection_id, action="write set", limit=1)[0]
    assert (line.actor, line.subject) == (made.pi.email, "training")


def test_a_second_scan_of_a_patient_has_a_folder_of_its_own(tmp_path):
    made = curated(f"sqlite:///{tmp_path / 'c.sqlite'}", tmp_path / "images", patients=3)
    patient = f"{PLANTED_PATIENT}-01"
    scan_id = add_scan(made, 4, patient=patient)
    place_levels(made, scan_id)
    levels.confirm_levels(made.engine, made.pi, made.collection_id, scan_id)
    locked_split(made, ratios=(0.34, 0.33, 0.33))
    for part in (Part.TRAINING, Part.VALIDATION, Part.CONTROL):
        mark = read_mark(written(made, tmp_path / part, part))
        assert mark is not None
        if patient in mark.patients.values():
            assert mark.patients == {patient: patient, f"{patient}-2": patient}
            assert len(list(read_cases(tmp_path / part))) == 2


def test_the_command_writes_a_part(made, tmp_path, monkeypatch, capsys):
    database = made.engine.url.render_as_string(hide_password=False)
    monkeypatch.setenv("DATABASE_URL", database)
    monkeypatch.setenv("LSS_IMAGES", str(Path(str(made.engine.url.database)).parent / "images"))
    assert main(["export-set", made.token, str(tmp_path / "set"), "--part", "validation"]) == DONE
    assert "Wrote the validation part" in capsys.readouterr().out
    assert {row.patient for row in read_rows(tmp_path / "set")} == patients_of(made, Part.VALIDATION)
    assert main(["export-set", "nothing", str(tmp_path / "other"), "--part", "validation"]) == REFUSED


def dicom_volume(**changes: object) -> Volume:
    """A volume with UIDs that DICOM takes."""
    made = replace(volume(seed=3), series_uid=series_uid_of("k"), pixel_spacing_mm=(0.3515625, 0.48828125),
                   positions_mm=-412.5 + np.arange(9) * 1.25)
    return replace(made, **changes)


@pytest.mark.parametrize("changes", [
    {}, {"offsets_mm": np.linspace([0, 0], [7.5, 1.25], 9)}, {"positions_mm": np.cumsum([0, 3, 3, 3, 6, 3, 3, 3, 3.0])},
    {"hu": np.full((9, 20, 30), 31_000, np.int16)}, {"hu": np.full((9, 20, 30), -1024, np.int16)},
])
def test_a_written_volume_is_read_back_exactly(tmp_path, changes):
    one = dicom_volume(**changes)
    write_series(one, tmp_path, HEADER)
    back = read_scan(tmp_path)
    np.testing.assert_array_equal(back.hu, one.hu)
    np.testing.assert_allclose(back.positions_mm, one.positions_mm, atol=1e-9)
    assert back.pixel_spacing_mm == one.pixel_spacing_mm and back.slice_thickness_mm == one.slice_thickness_mm
    assert back.sop_instance_uids == one.sop_instance_uids and back.series_uid == one.series_uid
    if one.offsets_mm is not None:
        assert back.offsets_mm is not None
        np.testing.assert_allclose(back.offsets_mm, one.offsets_mm, atol=1e-9)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian's dicom3tools) is not installed")
@pytest.mark.parametrize("top", [300, 31_000])
def test_written_images_conform_to_the_ct_image_definition(tmp_path, top):
    write_series(dicom_volume(hu=np.full((9, 20, 30), top, np.int16)), tmp_path, HEADER)
    checked = subprocess.run(["dciodvfy", "-new", tmp_path / "0004.dcm"], capture_output=True, text=True, timeout=60)
    assert "Error" not in checked.stderr + checked.stdout, checked.stderr


def test_a_picture_is_not_written_as_a_ct_image(tmp_path):
    assert "no Hounsfield units" in refusal(write_series, dicom_volume(has_hounsfield=False), tmp_path, HEADER)


def test_only_images_of_control_sets_are_marked(sets, tmp_path):
    assert is_marked_control(next(sets[Part.CONTROL].glob("*/0000.dcm")))
    assert not is_marked_control(next(sets[Part.EXTERNAL].glob("*/0000.dcm")))
    (tmp_path / "notes.txt").write_text(json.dumps({"not": "DICOM"}))
    assert not is_marked_control(tmp_path / "notes.txt")
