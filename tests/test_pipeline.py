import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lss_core.grading.classifier import GRADABLE
from lss_core.grading.explain import METHODS
from lss_core.grading.pipeline import Grader, lung_share, refused_as_json, result_as_json
from lss_core.imaging.volume import StoredPlane
from lss_core.vocabulary import Box, DiscLevel, Grade, Refusal, Region, measures_of
from tests.phantoms import DISC_HU, LUMBOSACRAL_HU, THORACIC_HU, marked_volume, marker_grader

FIVE = {12: LUMBOSACRAL_HU, 29: DISC_HU, 47: DISC_HU, 65: DISC_HU, 83: DISC_HU}
REAL = Path(__file__).resolve().parents[2] / "shared" / "real_ct"
needs_real_ct = pytest.mark.skipif(not REAL.is_dir(), reason="the real CT series (../shared/real_ct) are not here")


def test_five_levels_come_named_from_the_head_down():
    result = marker_grader().grade(marked_volume(discs=FIVE))
    assert [r.level for r in result.levels] == list(DiscLevel)
    assert [r.slice_index for r in result.levels] == sorted(FIVE, reverse=True)
    assert result.notes == () and "simulated CT" in result.provenance
    for report in result.levels:
        assert report.sop_instance_uid == f"1.2.{report.slice_index}"
        for region, graded in report.regions.items():
            assert graded is not None and sum(graded.probabilities) == pytest.approx(1.0)
            assert set(graded.measures) == set(measures_of(region))


@pytest.mark.parametrize(("training", "sentence"), [
    ({}, "simulated CT alone"), ({"data": None, "scans": "real_ct"}, "narrowing imposed by software on real scans"),
    ({"data": "ours"}, "scans of the group that made it"),
])
def test_a_result_says_what_its_model_was_trained_on(training, sentence):
    grader = marker_grader()
    grader.card = replace(grader.card, training=training)
    assert sentence in grader.grade(marked_volume(discs=FIVE)).provenance


def test_progress_rises_to_one():
    seen: list[float] = []
    marker_grader().grade(marked_volume(discs=FIVE), progress=lambda what, share: seen.append(share))
    assert seen == sorted(seen) and seen[-1] == 1.0 and len(seen) > 5


def test_levels_are_unknown_without_the_sacrum_and_the_result_says_so():
    result = marker_grader().grade(marked_volume(discs={20: DISC_HU, 40: DISC_HU, 60: THORACIC_HU}))
    assert [(r.level, r.slice_index) for r in result.levels] == [(None, 40), (None, 20)]
    assert "unknown" in result.notes[0]


def test_a_numbering_that_thoracic_discs_contradict_is_said_to_be_in_doubt():
    result = marker_grader().grade(marked_volume(discs={**FIVE, 83: THORACIC_HU}))
    assert result.levels[0].level is DiscLevel.L1_2
    assert "numbering" in result.notes[0] and all(report.level_doubted for report in result.levels)
    above = marker_grader().grade(marked_volume(discs={**FIVE, 97: THORACIC_HU}))
    assert above.notes == ()


def test_one_slice_is_graded_without_a_level():
    result = marker_grader().grade(marked_volume(slices=1))
    assert [r.level for r in result.levels] == [None]
    assert all(graded is not None for graded in result.levels[0].regions.values())


def test_thin_slices_are_searched_at_intervals_and_graded_at_the_disc():
    thin = marked_volume(slices=200, discs={k * 2 + 1: v for k, v in FIVE.items()})
    thin = replace(thin, positions_mm=np.arange(200) * 1.0)
    hu = thin.hu.copy()
    for index in [k * 2 + 1 for k in FIVE]:
        hu[index - 1] = hu[index + 1] = hu[index]
    result = marker_grader().grade(replace(thin, hu=hu))
    assert [r.level for r in result.levels] == list(DiscLevel)
    assert all(abs(r.slice_index - (k * 2 + 1)) <= 1
               for r, k in zip(result.levels, sorted(FIVE, reverse=True), strict=True))


def test_a_region_that_is_not_there_is_reported_as_not_found():
    volume = marked_volume(discs=FIVE)
    hu = volume.hu.copy()
    hu[47, 69:72, 55:58] = 40                                       # the right recess of the middle disc
    result = marker_grader().grade(replace(volume, hu=hu))
    assert result.levels[2].regions[Region.RIGHT_LATERAL_RECESS] is None
    assert "not found" in result.levels[2].not_gradable[Region.RIGHT_LATERAL_RECESS]
    assert any("L3/4: right lateral recess" in note for note in result.notes)
    assert result_as_json(result, volume)["levels"][2]["regions"]["right_lateral_recess"] is None


def test_a_region_that_the_network_does_not_recognise_is_not_graded():
    volume, grader = marked_volume(discs=FIVE), marker_grader()
    classifier = grader.networks[2]
    for head in (classifier.canal_head, classifier.recess_head):
        head[-1].bias[GRADABLE] = -5.0
    report = grader.grade(volume).levels[0]
    assert report.regions == dict.fromkeys(Region)
    assert all("does not look like" in reason for reason in report.not_gradable.values())
    values = result_as_json(grader.grade(volume), volume)["levels"][0]
    assert values["regions"]["central_canal"] is None and "lumbar disc" in values["not_gradable"]["central_canal"]


def test_metal_beside_a_region_is_a_reason_not_a_grade():
    volume = marked_volume(discs=FIVE)
    hu = volume.hu.copy()
    hu[29, 60:66, 50:58] = 3000                                     # a screw on the slice of one disc
    levels = marker_grader().grade(replace(volume, hu=hu)).levels
    assert all("etal" in reason for reason in levels[3].not_gradable.values()) and len(levels[3].not_gradable) == 3
    assert not levels[0].not_gradable


def test_located_discs_can_be_graded_by_another_version():
    volume, grader = marked_volume(discs=FIVE), marker_grader()
    assert grader.grade(volume, located=grader.locate(volume)).levels == grader.grade(volume).levels


def test_any_slice_can_be_measured_without_a_grade():
    measured = marker_grader().measure(marked_volume(), 3, {Region.CENTRAL_CANAL: Box(60, 54, 80, 74)})
    assert set(measured[Region.CENTRAL_CANAL]) == set(measures_of(Region.CENTRAL_CANAL))


@pytest.mark.parametrize(("change", "sentence"), [
    (lambda hu: np.full_like(hu, 40), "no bone"),
    (lambda hu: np.where(hu == 1200, 300, hu), "no lumbar spinal canal"),
])
def test_scans_without_a_lumbar_canal_are_refused(change, sentence):
    volume = marked_volume(discs=FIVE)
    with pytest.raises(Refusal, match=sentence):
        marker_grader().grade(replace(volume, hu=change(volume.hu)))


def test_a_chest_is_refused_even_where_a_canal_is_seen():
    volume = marked_volume(slices=1)
    hu = volume.hu.copy()
    hu[0, 20:60, 5:50] = hu[0, 20:60, 78:123] = -850
    chest = replace(volume, hu=hu)
    assert lung_share(chest.hu[0], chest.pixel_spacing_mm) > 0.15
    with pytest.raises(Refusal, match="lungs"):
        marker_grader().grade(chest)


def test_noise_and_gas_are_no_lungs():
    rng = np.random.default_rng(0)
    plane = rng.normal(-100, 120, (256, 256))                       # fat in a very noisy scan
    plane[100:110, 100:140] = -1000
    assert lung_share(plane.astype(np.int16), (0.5, 0.5)) < 0.03


def test_canal_without_discs_is_refused():
    with pytest.raises(Refusal, match="no disc"):
        marker_grader().grade(marked_volume())


def test_a_picture_is_graded_with_a_warning():
    result = marker_grader().grade(replace(marked_volume(slices=1), has_hounsfield=False))
    assert any("Hounsfield" in note for note in result.notes)


def test_regrading_the_same_boxes_gives_the_same_grades():
    volume, grader = marked_volume(discs=FIVE), marker_grader()
    report = grader.grade(volume).levels[1]
    boxes = {region: graded.box for region, graded in report.regions.items() if graded is not None}
    again = grader.regrade(volume, report.slice_index, boxes, level=report.level)
    assert again.level == report.level and again.sop_instance_uid == report.sop_instance_uid
    for region, graded in report.regions.items():
        np.testing.assert_allclose(again.regions[region].probabilities, graded.probabilities, atol=1e-5)


def test_a_recess_that_lies_oddly_is_graded_with_a_doubt():
    volume, grader = marked_volume(discs=FIVE), marker_grader()
    report = grader.grade(volume).levels[1]
    boxes = {region: graded.box for region, graded in report.regions.items() if graded is not None}
    row, col = boxes[Region.LEFT_LATERAL_RECESS].centre
    lower = row + 7 / volume.pixel_spacing_mm[0]
    boxes[Region.LEFT_LATERAL_RECESS] = Box.around((lower, col), boxes[Region.LEFT_LATERAL_RECESS].size)
    again = grader.regrade(volume, report.slice_index, boxes, level=report.level)
    for region in (Region.LEFT_LATERAL_RECESS, Region.RIGHT_LATERAL_RECESS):
        assert any("7 mm behind the other" in doubt for doubt in again.regions[region].doubts)
        assert not any("behind" in doubt for doubt in report.regions[region].doubts)


def test_regrading_part_of_the_regions_leaves_the_others_out():
    boxes = {Region.CENTRAL_CANAL: Box(60, 54, 80, 74)}
    report = marker_grader().regrade(marked_volume(slices=2), 1, boxes, level=None)
    assert report.regions[Region.CENTRAL_CANAL] is not None
    assert report.regions[Region.LEFT_LATERAL_RECESS] is None


@pytest.mark.parametrize(("index", "box"), [(5, Box(60, 54, 80, 74)), (-1, Box(60, 54, 80, 74)),
                                            (0, Box(-60, 54, -40, 74))])
def test_regrading_outside_the_scan_is_refused(index, box):
    with pytest.raises(Refusal):
        marker_grader().regrade(marked_volume(slices=2), index, {Region.CENTRAL_CANAL: box}, level=None)


@pytest.mark.parametrize("method", METHODS)
def test_heat_maps_cover_the_crop_around_the_box(method):
    volume = marked_volume(slices=3)
    box = Box(60, 54, 80, 74)
    heat = marker_grader().heat_map(volume, 1, Region.CENTRAL_CANAL, box, target=Grade.MODERATE, method=method)
    assert heat.values.shape == (96, 96) and heat.box.centre == box.centre
    assert heat.box.size == pytest.approx((32, 32))                 # 48 mm in pixels of 1.5 mm


def test_threads_sharing_a_grader_get_the_same_answers():
    volume, grader = marked_volume(discs=FIVE), marker_grader()
    expected = grader.grade(volume).levels
    box = Box(60, 54, 80, 74)
    heat = grader.heat_map(volume, 12, Region.CENTRAL_CANAL, box, target=Grade.MILD).values
    problems: list[str] = []

    def work():
        for _ in range(3):
            for a, b in zip(grader.grade(volume).levels, expected, strict=True):
                for region in Region:
                    if not np.allclose(a.regions[region].probabilities, b.regions[region].probabilities, atol=1e-4):
                        problems.append(f"{a.level} {region}")
            again = grader.heat_map(volume, 12, Region.CENTRAL_CANAL, box, target=Grade.MILD).values
            if np.abs(again - heat).max() > 1e-3:
                problems.append("heat map")

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not problems and not any(thread.is_alive() for thread in threads)


def test_the_report_is_json_of_the_agreed_shape_with_boxes_in_stored_pixels():
    volume = marked_volume(discs=FIVE)
    volume = replace(volume, stored=StoredPlane((128, 128), flipped_rows=True))
    result = marker_grader().grade(volume)
    report = json.loads(json.dumps(result_as_json(result, volume), allow_nan=False))
    assert list(report) == ["status", "reason", "series_uid", "levels", "model", "timings_s"]
    assert report["status"] == "graded" and report["reason"] is None and report["series_uid"] == "1.2"
    assert set(report["timings_s"]) == {"read", "locate", "grade", "explain"}
    level = report["levels"][0]
    assert list(level) == ["level", "sop_instance_uid", "slice_index", "regions", "not_gradable"]
    assert level["level"] == "L1/2" and level["not_gradable"] == {}
    region = level["regions"]["central_canal"]
    assert list(region) == ["box", "grade", "probabilities", "expected_grade", "measures", "grade_set", "doubts"]
    assert set(region["measures"]) == {"dural_sac_area_mm2", "canal_ap_mm"}
    assert region["box"][0] > 127 - 70 - 10 and region["box"][2] < 127 - 70 + 10


def test_a_refusal_is_json_of_the_same_shape():
    refused = refused_as_json("Not a CT.", model={"version": "v1", "weights_sha256": "0"})
    assert refused["status"] == "refused" and refused["reason"] == "Not a CT." and refused["levels"] == []
    assert list(refused) == ["status", "reason", "series_uid", "levels", "model", "timings_s"]


@pytest.fixture(scope="module")
def grader():
    return Grader.load()


def distances_mm(volume, result, marked):
    """Distance of each reported region from its annotation on the nearest slice that is annotated with its level."""
    names = {Region.CENTRAL_CANAL: "canal", Region.LEFT_LATERAL_RECESS: "left_recess",
             Region.RIGHT_LATERAL_RECESS: "right_recess"}
    positions = dict(zip(volume.sop_instance_uids, volume.positions_mm, strict=True))
    out = {}
    for report in result.levels:
        here = positions[report.sop_instance_uid]
        at = min((s for s in marked.values() if s["level"] == report.level),
                 key=lambda s: abs(positions[s["sop_instance_uid"]] - here))
        if abs(positions[at["sop_instance_uid"]] - here) > volume.spacing_mm:
            continue
        for region, name in names.items():
            found = report.regions[region]
            centre = (np.inf, np.inf) if found is None else volume.stored.box_to_stored(found.box).centre
            out[report.level, region] = float(np.hypot(
                *((a - b) * mm for a, b, mm in zip(centre, at[name]["centre"], volume.pixel_spacing_mm, strict=True))
            ))
    return out


@needs_real_ct
@pytest.mark.parametrize("folder", ["philips_full_lumbar_3mm", "siemens_full_lumbar_5mm"])
def test_real_full_lumbar_series_are_located(grader, folder):
    from lss_core.imaging.dicom import read_scan

    volume = read_scan(REAL / folder)
    result = grader.grade(volume)
    marked = {s["sop_instance_uid"]: s for s in
              json.loads((REAL / "annotations" / f"{folder}.json").read_text())["slices"]}
    assert [r.level for r in result.levels] == list(DiscLevel)
    distances = distances_mm(volume, result, marked)
    assert len(distances) == 15
    for (level, region), distance in distances.items():
        assert distance <= (5.0 if region is Region.CENTRAL_CANAL else 6.0), (level, region)


@needs_real_ct
@pytest.mark.parametrize("folder", ["ge_upper_lumbar_5mm", "siemens_upper_lumbar_3mm"])
def test_real_upper_lumbar_series_are_not_misnamed(grader, folder):
    from lss_core.imaging.dicom import read_scan

    volume = read_scan(REAL / folder)
    result = grader.grade(volume)
    slices = json.loads((REAL / "annotations" / f"{folder}.json").read_text())["slices"]
    discs = {s["presumed_level"]: s for s in slices if s["position"] == "disc" and s["presumed_level"].startswith("L")}
    by_uid = {uid: i for i, uid in enumerate(volume.sop_instance_uids)}
    for name, marked in discs.items():
        position = volume.positions_mm[by_uid[marked["sop_instance_uid"]]]
        near = [r for r in result.levels if abs(volume.positions_mm[r.slice_index] - position) <= 6.0]
        assert near and near[0].level in (None, name)


@needs_real_ct
def test_five_levels_of_a_labelled_volume_with_a_steep_sacrum_are_named(grader):
    from lss_core.imaging.dicom import read_scan

    # Slices of the discs between the vertebra labels of the same volume, and of L5/S1 at its canal, seen from the side;
    # below them the canal is traced into a hip.
    discs = {DiscLevel.L5_S1: 48, DiscLevel.L4_5: 57, DiscLevel.L3_4: 67, DiscLevel.L2_3: 78, DiscLevel.L1_2: 90}
    levels = grader.grade(read_scan(REAL / "labelled" / "totalseg_example_ct" / "ct.nii.gz")).levels
    assert [report.level for report in levels] == list(DiscLevel)
    for report in levels:
        assert report.level is not None and abs(discs[report.level] - report.slice_index) <= 2


@needs_real_ct
@pytest.mark.parametrize("name", ["chest_axial_5mm", "chest_axial_5x5", "chest_sagittal", "abdomen_coronal",
                                  "abdomen_sagittal"])
def test_real_scans_of_other_places_are_refused(grader, name):
    from lss_core.imaging.dicom import read_scan

    with pytest.raises(Refusal):
        grader.grade(read_scan(REAL / "refuse" / f"{name}.dcm"))
