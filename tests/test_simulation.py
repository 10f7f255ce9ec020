"""The simulated CT: same seed same scan, truth measured on labels, grades that follow from measures."""

import csv
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from lss_core.imaging.dicom import read_scan
from lss_core.simulation import tissue
from lss_core.simulation.anatomy import DISC_INDEX, LABELS, STEP_MM, Patient, sample_patient
from lss_core.simulation.render import Acquisition, detect, expose, sample_acquisition, trace
from lss_core.simulation.samples import render_level, sample_axial, sample_coarse_volume
from lss_core.simulation.series import (
    CANAL_AP_COLUMN,
    REFERENCE_COLUMNS,
    patient_seed,
    simulate_series,
    write_dicom,
    write_simulated,
)
from lss_core.simulation.truth import SIDES, SpinePlane, _recess_height, measure_slice
from lss_core.vocabulary import (
    GRADE_BOUNDS,
    RECESS_HEIGHT,
    SAC_AREA,
    DiscLevel,
    Grade,
    Region,
    grade_of_measure,
    measure_of,
)

QUICK = Acquisition(
    pixel_mm=1.6, slice_spacing_mm=5.0, slice_thickness_mm=5.0, blur_mm=0.6, sharpen=0.1, noise_hu=10.0,
    noise_blur_mm=0.6, streaks_hu=2.0, hu_offset=0.0, kernel_name="SIM-SOFT",
)  # fmt: skip
RECESSES = (Region.LEFT_LATERAL_RECESS, Region.RIGHT_LATERAL_RECESS)


@pytest.fixture(scope="module")
def measured() -> dict[Region, np.ndarray]:
    """Measures of every region of 60 patients."""
    values: dict[Region, list[float]] = {region: [] for region in Region}
    for seed in range(60):
        patient = sample_patient(np.random.default_rng(seed))
        for level in DiscLevel:
            for region, truth in measure_slice(patient, patient.disc_position(level)[2], 3.0).items():
                values[region].append(truth.measures[measure_of(region)])
    return {region: np.array(v) for region, v in values.items()}


def test_every_level_of_every_patient_has_all_three_regions(measured):
    assert [len(measured[region]) for region in Region] == [300, 300, 300]


def test_about_half_of_the_regions_are_normal(measured):
    grades = [
        grade_of_measure(SAC_AREA if region is Region.CENTRAL_CANAL else RECESS_HEIGHT, v)
        for region in Region
        for v in measured[region]
    ]
    share = np.mean([g is Grade.NORMAL for g in grades])
    assert 0.40 < share < 0.60
    assert set(grades) == set(Grade)


@pytest.mark.parametrize(("regions", "name"), [((Region.CENTRAL_CANAL,), SAC_AREA), (RECESSES, RECESS_HEIGHT)])
def test_measures_spread_over_every_grade_bound(measured, regions, name):
    values = np.concatenate([measured[r] for r in regions])
    for bound in GRADE_BOUNDS[name]:
        just_below = np.mean((values > 0.88 * bound) & (values < bound))
        just_above = np.mean((values >= bound) & (values < 1.12 * bound))
        assert just_below > 0.01 and just_above > 0.01, f"no borderline cases at {bound}"


def test_grade_bounds_follow_the_published_thresholds():
    # Sac area: > 130 / 100-130 / 75-100 / < 75 mm2. Recess: >= 5 / 3.6-5 / 2-3.6 / <= 2 mm.
    assert [int(grade_of_measure(SAC_AREA, v)) for v in (131, 129, 101, 99, 76, 74)] == [0, 1, 1, 2, 2, 3]
    assert [int(grade_of_measure(RECESS_HEIGHT, v)) for v in (5.0, 4.9, 3.6, 3.5, 2.1, 2.0)] == [0, 1, 1, 2, 2, 3]


def test_sac_area_is_what_the_labels_hold():
    patient = sample_patient(np.random.default_rng(4))
    x, y, z = patient.disc_position(DiscLevel.L3_4)
    steps = np.arange(-25, 25, 0.2)
    labels, _ = trace(patient, z, y + 6 + steps, x + steps)
    area = (labels == tissue.SAC).sum() * 0.2**2
    assert measure_slice(patient, z, 0.0)[Region.CENTRAL_CANAL].measures[SAC_AREA] == pytest.approx(area, rel=0.02)


def test_narrowing_one_recess_changes_its_own_side_only():
    patient = sample_patient(np.random.default_rng(4))
    z = patient.disc_position(DiscLevel.L4_5)[2]
    before = measure_slice(patient, z, 1.0)
    section = patient.section.copy()
    section[:, 4] -= 2.0  # the left facet's tip comes 2 mm forward
    joints = patient.joints.copy()
    joints[:, 0, 1] -= 2.0
    after = measure_slice(replace(patient, section=section, joints=joints), z, 1.0)
    left, right = RECESSES
    assert before[left].measures[RECESS_HEIGHT] - after[left].measures[RECESS_HEIGHT] > 1.0
    assert after[right].measures == before[right].measures


def walls_apart(patient: Patient, z_mm: float, sign: float) -> float:
    """Distance in mm, front to back, of the drawn walls of one recess where a plane meets them at the facet's tip."""
    plane = SpinePlane(patient, z_mm)
    tip, front, back = plane.recess(sign)
    return plane.xy(sign * tip, back)[1] - plane.xy(sign * tip, front)[1]


@pytest.mark.parametrize("below_mm", [0.0, 2.0, 6.0])
def test_an_open_recess_is_not_called_closed_where_the_slice_cuts_the_spine_obliquely(below_mm):
    wide, closed = 0, 0
    for seed in range(100):
        patient = sample_patient(np.random.default_rng([7, seed]))
        z = patient.disc_position(DiscLevel.L5_S1)[2] - below_mm
        measured = measure_slice(patient, z, 3.0)
        for region, sign in SIDES.items():
            if walls_apart(patient, z, sign) > 5.0:
                wide += 1
                closed += measured[region].measures[RECESS_HEIGHT] <= 2.0
    assert wide > 100
    assert closed <= 0.01 * wide    # the facet is no flat wall: a few are narrow beside its tip


@pytest.mark.parametrize("level", [DiscLevel.L3_4, DiscLevel.L5_S1])
def test_a_recess_narrows_as_its_facet_grows_and_stays_closed_once_it_is(level):
    for seed in range(5):
        patient = sample_patient(np.random.default_rng(seed))
        z, heights = patient.disc_position(level)[2], []
        for growth in np.arange(0.0, 13.0, 1.0):
            section, joints = patient.section.copy(), patient.joints.copy()
            section[:, 4] -= growth     # the left facet's tip
            joints[:, 0, 1] -= growth
            grown = replace(patient, section=section, joints=joints)
            heights.append(measure_slice(grown, z, 1.0)[RECESSES[0]].measures[RECESS_HEIGHT])
        assert np.diff(heights).max() < 0.3 and heights[-1] == 0.0


def test_a_recess_is_as_high_as_disc_and_facet_are_apart_beside_its_tip():
    labels = np.full((60, 40), tissue.DISC, np.int8)
    labels[12:40] = tissue.EPIDURAL_FAT
    labels[28:40, 10:] = tissue.FLAVUM              # the ligament before the facet belongs to the recess
    labels[40:] = tissue.CORTEX
    labels[46:52] = tissue.JOINT                    # and the facet's own joint does not
    labels[12:16, 20:] = tissue.EPIDURAL_FAT
    labels[16:, 24:] = tissue.CORTEX                # beside the tip a wall, and a film of fat in front of its bone
    xs = 0.3 * np.arange(40)
    for seen, tip_x in ((labels, xs[20]), (labels[:, ::-1], xs[19])):
        assert _recess_height(seen, xs, tip_x=tip_x, apart=8.0) == pytest.approx(28 * 0.3)
    labels[36:40, 18:20] = tissue.CALCIFIED         # two of the five narrowest columns
    assert _recess_height(labels, xs, tip_x=xs[20], apart=8.0) == pytest.approx((2 * 24 + 3 * 28) * 0.3 / 5)
    assert _recess_height(labels, xs, tip_x=xs[20], apart=-0.5) == 0.0      # the facet meets the disc
    labels[:, 6:] = tissue.CORTEX                   # oblique through bone: only where it was drawn is known
    assert _recess_height(labels, xs, tip_x=xs[20], apart=3.0) == 3.0


@pytest.mark.parametrize("level", [DiscLevel.L3_4, DiscLevel.L4_5])
def test_a_recess_is_as_high_as_its_walls_are_drawn_apart(level):
    differences = []
    for seed in range(30):
        patient = sample_patient(np.random.default_rng([9, seed]))
        discs = patient.discs.copy()
        discs[:, 10] = 0.0      # a calcified ligament is bone that is drawn before the facet
        patient = replace(patient, discs=discs)
        z = patient.disc_position(level)[2]
        measured = measure_slice(patient, z, 0.0)
        differences += [
            measured[region].measures[RECESS_HEIGHT] - max(0.0, walls_apart(patient, z, sign))
            for region, sign in SIDES.items()
        ]
    assert abs(np.median(differences)) < 0.4 and np.mean(np.abs(differences) > 1.0) < 0.05


def test_nothing_of_the_trunk_lies_between_a_disc_and_its_canal():
    """Large bulges and herniations reach past the disc's outline."""
    strange = []
    for seed in range(60):
        patient = sample_patient(np.random.default_rng([10, seed]))
        for level in DiscLevel:
            plane = SpinePlane(patient, patient.disc_position(level)[2])
            x, y = plane.xy(0.0, 0.0)
            labels, _ = trace(patient, plane.z_mm, y + np.arange(-6.0, 8.0, 0.3), x + np.arange(-9.0, 9.0, 0.3))
            strange.append(np.isin(labels, [tissue.FAT, tissue.MUSCLE]).sum() * 0.3**2)
    assert np.mean(np.array(strange) > 10.0) < 0.01     # mm2


def test_a_herniation_is_disc_to_its_sides_and_stops_at_the_facet():
    """Beyond the facet's tip as well; a bone behind is not replaced."""
    beyond, bones = [], []
    for seed in range(60):
        patient = sample_patient(np.random.default_rng([12, seed]))
        k = DISC_INDEX[DiscLevel.L3_4]
        discs = patient.discs.copy()
        discs[k, 6:10] = 7.0, 11.0, 5.0, 0.0                    # mm out, to the left, half width, above the disc
        patient = replace(patient, discs=discs)
        plane = SpinePlane(patient, patient.point(float(discs[k, 0]), 11.0, 3.0)[2])
        section = patient.section[round((plane.depth(11.0, 4.0) - patient.curve[0, 0]) / STEP_MM)]
        for q in np.arange(section[3] + 2.0, section[3] + 5.0, 0.5):
            s = plane.depth(q, 3.0)
            front = tissue._front_wall(s, q, q, section, 1, discs[k])
            back = tissue._back_wall(q, section, 1)
            if tissue._herniation(s, q, discs[k]) > 1.0:
                beyond.append(label_at(patient, plane, q, min(front, back) - 0.5))
                if front > back + 2.0:
                    bones.append(label_at(patient, plane, q, back + 1.5))
    assert len(beyond) > 200 and np.mean(np.array(beyond) == tissue.DISC) > 0.97
    assert len(bones) > 50 and np.mean(np.array(bones) == tissue.DISC) < 0.05


def label_at(patient, plane, u, v):
    x, y = plane.xy(u, v)
    return int(trace(patient, plane.z_mm, np.array([y]), np.array([x]))[0][0, 0])


def test_left_is_the_patients_left():
    patient = sample_patient(np.random.default_rng(8))
    sample = render_level(patient, DiscLevel.L4_5, QUICK, np.random.default_rng(0))
    assert sample is not None
    left, right = (sample.regions[r].box.centre[1] for r in RECESSES)
    assert left > sample.regions[Region.CENTRAL_CANAL].box.centre[1] > right


def test_level_patch_is_64_mm_and_holds_its_boxes():
    rng = np.random.default_rng(3)
    patient = sample_patient(rng)
    acquisition = sample_acquisition(rng, patient)
    sample = render_level(patient, DiscLevel.L2_3, acquisition, rng)
    assert sample is not None
    assert sample.hu.shape[0] == 3 and sample.hu.shape[1] * sample.pixel_mm == pytest.approx(64, abs=1.2)
    for truth in sample.regions.values():
        assert 0 < truth.box.row0 < truth.box.row1 < sample.hu.shape[1]


@pytest.mark.parametrize("seed", [3, 4, 5, 6])
def test_the_mask_of_the_sac_adds_up_to_its_area(seed):
    rng = np.random.default_rng(seed)
    patient = sample_patient(rng)
    sample = render_level(patient, DiscLevel.L3_4, sample_acquisition(rng, patient), rng)
    assert sample is not None and sample.masks.shape == (2, *sample.hu.shape[1:]) and sample.masks.dtype == np.uint8
    sac, free = sample.masks / 255
    area = sample.regions[Region.CENTRAL_CANAL].measures[SAC_AREA]
    assert sac.sum() * sample.pixel_mm**2 == pytest.approx(area, rel=0.03)
    assert (free >= sac).all() and free.sum() > sac.sum()
    rows, cols = (float((sac.sum(1 - axis) * np.arange(sac.shape[axis])).sum() / sac.sum()) for axis in (0, 1))
    box = sample.regions[Region.CENTRAL_CANAL].box
    assert box.row0 < rows < box.row1 and box.col0 < cols < box.col1


def test_tissue_attenuation_lies_in_published_ranges():
    patient = sample_patient(np.random.default_rng(2))
    x, y, z = patient.disc_position(DiscLevel.L3_4)
    steps = np.arange(-60, 60, 0.5)
    labels, hu = trace(patient, z, y + steps, x + steps)
    mean = {name: hu[labels == code].mean() for code, name in enumerate(LABELS) if (labels == code).any()}
    assert 0 < mean["sac"] < 45 and 45 < mean["disc"] < 110 and 40 < mean["flavum"] < 100
    assert -130 < mean["epidural_fat"] < -40 and 400 < mean["cortex"] < 1500


def test_noise_has_the_requested_standard_deviation():
    noisy = detect(np.full((4, 160, 160), 50.0, np.float32), replace(QUICK, pixel_mm=0.7, streaks_hu=0.0), 0.7,
                   np.random.default_rng(0))  # fmt: skip
    assert noisy.std() == pytest.approx(QUICK.noise_hu, rel=0.1)
    assert noisy.mean() == pytest.approx(50, abs=1.0)


def test_partial_volume_blurs_a_tilted_endplate_more_in_thick_slices():
    patient = sample_patient(np.random.default_rng(5))
    x, y, z = patient.disc_position(DiscLevel.L5_S1)
    steps = np.arange(-20, 20, 0.6)
    thin, thick = (
        expose(patient, replace(QUICK, slice_thickness_mm=t), z, y - 12 + steps, x + steps) for t in (0.6, 5.0)
    )
    assert np.abs(np.diff(thick, axis=0)).mean() < np.abs(np.diff(thin, axis=0)).mean()


def test_axial_samples_hold_lumbar_and_other_slices():
    rng = np.random.default_rng(0)
    samples = []
    for _ in range(24):
        patient = sample_patient(rng)
        samples.append(sample_axial(rng, patient, sample_acquisition(rng, patient)))
    with_boxes = sum(bool(s.boxes) for s in samples)
    assert 8 < with_boxes < 24
    assert all(set(s.boxes) in (set(), set(Region)) for s in samples)


def test_coarse_volume_names_discs_inside_itself():
    sample = sample_coarse_volume(np.random.default_rng(11))
    positions = sample.volume.positions_mm
    assert len(sample.canal) == len(positions)
    assert all(positions[0] <= z <= positions[-1] for z, _, _ in sample.discs.values())
    heights = [z for z, _, _ in sample.discs.values()]
    assert heights == sorted(heights, reverse=True)


def test_same_seed_gives_the_same_series_and_another_seed_another():
    one, again, other = (simulate_series(seed, acquisition=QUICK, matrix=96) for seed in (5, 5, 6))
    assert np.array_equal(one.volume.hu, again.volume.hu)
    assert one.truth == again.truth
    assert one.volume.series_uid != other.volume.series_uid


def test_written_series_is_marked_simulated_and_reads_back_as_rendered(tmp_path: Path):
    reference = write_simulated(tmp_path, patients=1, seed=77)
    rows = list(csv.DictReader(reference.read_text().splitlines()))
    assert tuple(rows[0]) == (*REFERENCE_COLUMNS, CANAL_AP_COLUMN) and len(rows) == 15
    assert all((float(row[CANAL_AP_COLUMN] or 0) > 5) == (row["region"] == "central_canal") for row in rows)
    files = sorted((tmp_path / rows[0]["patient"]).glob("*.dcm"))
    header = pydicom.dcmread(files[0])
    assert header.Manufacturer == "SIMULATED" and str(header.PatientName).startswith("SIMULATED")
    volume = read_scan(tmp_path / rows[0]["patient"])
    rendered = simulate_series(patient_seed(77, 0)).volume
    assert np.array_equal(volume.hu, rendered.hu)
    assert volume.sop_instance_uids == rendered.sop_instance_uids
    assert np.allclose(volume.positions_mm - volume.positions_mm[0], rendered.positions_mm - rendered.positions_mm[0],
                       atol=1e-3)  # fmt: skip
    assert {row["sop_instance_uid"] for row in rows} <= set(volume.sop_instance_uids)
    for row in rows:
        assert int(row["grade"]) == grade_of_measure(row["measure_name"], float(row["measure_value"]))


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian's dicom3tools) is not installed")
def test_written_objects_conform_to_the_ct_image_definition(tmp_path: Path):
    series = simulate_series(5, acquisition=QUICK, matrix=64)
    write_dicom(series, tmp_path, "SIM-1-0000")
    checked = subprocess.run(["dciodvfy", "-new", tmp_path / "0000.dcm"], capture_output=True, text=True, timeout=60)
    assert "Error" not in checked.stderr + checked.stdout
