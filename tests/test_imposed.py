"""Outlined scans as samples, and the locked sets made of them, on a drawn scan and on real ones."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lss_core.grading.pipeline import Grader
from lss_core.simulation.narrowing import Family, trace_levels
from lss_core.simulation.series import write_simulated
from lss_core.training.imposed import (
    DOSES,
    SHAM_HU,
    ImposedCase,
    _never_saw,
    evaluate_outlined,
    imposed_cases,
    imposed_figures,
    patch_volume,
    sham_patch,
    untouched_patch,
)
from lss_core.training.outlined import NarrowedSource, OutlinedScan, narrowed_patch, read_outlined_scans
from lss_core.vocabulary import SAC_AREA, LevelReport, Refusal, RegionGrade, grade_of_measure
from tests.phantoms import marker_grader
from tests.test_narrowing import CANAL, CENTRE, LEFT, PIXEL, RADIUS, REAL, drawn_scan, needs_real_ct


@pytest.fixture(scope="module")
def scan():
    volume, outlined = drawn_scan(noise_hu=8.0)
    return OutlinedScan("drawn", volume, tuple(outlined), tuple(trace_levels(volume, outlined)), ())


def test_a_narrowed_patch_carries_its_measures_and_grades(scan):
    patch = narrowed_patch(scan.volume, scan.levels[0], 4, Family.BULGE, 5.0, shift_px=0.3)
    assert patch.planes.shape[0] == 3 and patch.pixel_spacing_mm == (PIXEL, PIXEL)
    canal = patch.regions[CANAL]
    assert canal.measures[SAC_AREA] < np.pi * RADIUS**2
    assert canal.grade == grade_of_measure(SAC_AREA, canal.measures[SAC_AREA])
    assert canal.centre[0] == pytest.approx(CENTRE[0] + 0.3, abs=1e-9) and LEFT in patch.regions


def test_recesses_above_the_disc_are_not_graded(scan):
    above = narrowed_patch(scan.volume, scan.levels[0], 5, Family.BULGE, 0.0, shift_px=0.5)
    assert above.regions[LEFT].grade is None and above.regions[CANAL].grade is not None


def test_the_untouched_patch_is_the_scan_and_the_sham_changes_the_sac_alone(scan):
    plain = untouched_patch(scan, scan.levels[0], 4).planes
    np.testing.assert_allclose(plain[1], scan.volume.hu[4, : plain.shape[1], : plain.shape[2]], atol=0.01)
    level = scan.levels[0]
    dose0 = narrowed_patch(scan.volume, level, 4, Family.BULGE, 0.0, shift_px=0.5).planes
    difference = sham_patch(scan, level, 4).planes - dose0
    assert difference[1].max() == pytest.approx(SHAM_HU, abs=0.5)
    assert (difference[1] > SHAM_HU / 2).sum() * PIXEL**2 == pytest.approx(np.pi * RADIUS**2, rel=0.08)


class PlainGrader(Grader):
    """Grades by the sac's area counted on the picture: what an honest observer of a drawing would do."""

    def __init__(self):
        pass

    def regrade(self, volume, slice_index, boxes, *, level):
        row, col = (round(x) for x in boxes[CANAL].centre)
        reach = round(8.0 / PIXEL)
        window = volume.hu[slice_index, row - reach : row + reach, col - reach : col + reach]
        area = float(((window > -20) & (window < 70)).sum()) * PIXEL**2
        grade = int(grade_of_measure(SAC_AREA, area))
        p = tuple(1.0 if g == grade else 0.0 for g in range(4))
        graded = RegionGrade(boxes[CANAL], 1.0, p, {SAC_AREA: area})  # type: ignore[arg-type]
        return LevelReport(level, slice_index, "1", {**dict.fromkeys(boxes), CANAL: graded})


def test_an_honest_observer_passes_and_recesses_without_a_grade_are_counted(scan):
    cases = list(imposed_cases([scan], {"drawn": PlainGrader()}))
    families = {case.family for case in cases}
    assert {Family.BULGE, Family.CONCENTRIC, Family.FACET_LEFT, Family.FACET_RIGHT} <= families
    bulge = next(case for case in cases if case.family is Family.BULGE)
    assert bulge.imposed == pytest.approx(np.linspace(bulge.imposed[0], 60.0, len(DOSES)), rel=0.02)
    figures = imposed_figures([case for case in cases if case.region is CANAL])
    found = figures["families"][Family.BULGE.value]
    assert found["rise"] >= 1.0 and found["spearman_pooled"] >= 0.9 and abs(found["sham_share_of_rise"]) < 0.2
    assert found["spearman_pooled_of_imposed_measure"] >= 0.9
    assert found["spearman_pooled_of_imposed_grade"] == pytest.approx(found["spearman_pooled"], abs=0.05)
    both = next(case for case in cases if case.family is Family.FACETS)
    assert both.beside == () and len(next(c for c in cases if c.family is Family.FACET_LEFT).beside) == len(DOSES)
    refused = next(case for case in cases if case.family is Family.FACET_LEFT)
    assert refused.refused == len(DOSES) and all(np.isnan(refused.expected))


def test_a_model_that_may_have_seen_the_scan_is_not_taken_for_one_that_did_not(scan, monkeypatch, tmp_path):
    grader = PlainGrader()
    card = marker_grader().card
    grader.card = replace(card, training={"scans": "drawn", "without": ""})     # trained without leaving anything out
    monkeypatch.setattr(Grader, "load", classmethod(lambda cls, version, **folders: grader))
    with pytest.raises(Refusal, match="v1-without-drawn does not say"):
        evaluate_outlined([scan], "v1", models=tmp_path, left_out=tmp_path)
    assert not _never_saw(replace(card, training={"scans": None, "data": "ours"}), scan)
    assert _never_saw(replace(card, training={"scans": "drawn", "without": "drawn"}), scan)
    assert _never_saw(replace(card, training={"scans": None, "data": None}), scan)              # simulated CT alone


def case(**changes):
    plain = ImposedCase("a", "L4/5", Family.FACET_LEFT, LEFT, (5.0, 4.0, 3.0, 2.5, 1.2), (5.0, 4.1, 3.1, 2.4, 1.0),
                        (0.1, 1.0, 1.9, 2.2, 2.9), (0.2, 0.2, 0.3, 0.3, 0.4), 0.15, None, 0)
    return replace(plain, **changes)


def test_figures_of_known_answers():
    figures = imposed_figures([case(), case(scan="b", untouched=0.3)])["families"]["left facet growth"]
    assert figures["cases"] == figures["scans"] == 2
    assert figures["rise"] == pytest.approx(2.8) and figures["spearman_within_case_mean"] == 1.0
    assert figures["other_side_moves"] == pytest.approx(0.2)
    assert figures["dose0_against_untouched"] == pytest.approx(0.125) and figures["sham_share_of_rise"] is None
    recess = imposed_figures([case()])["graded_as_imposed"]["lateral_recess"]
    assert recess["median_measurement_error"] == pytest.approx(0.1) and recess["rounded_grade_right"] == 1.0


def test_a_network_that_reads_grey_values_is_found_out():
    blind = case(region=CANAL, family=Family.BULGE, expected=(0.1, 0.1, 0.1, 0.2, 0.2), sham=2.0, beside=())
    found = imposed_figures([blind])["families"]["disc bulge"]
    assert found["rise"] < 1.0 and found["sham_share_of_rise"] > 0.2


def test_a_model_that_measures_nothing_has_no_measurement_error():
    recess = imposed_figures([case(measured=(float("nan"),) * 5)])["graded_as_imposed"]["lateral_recess"]
    assert recess["median_measurement_error"] is None and recess["rounded_grade_right"] == 1.0


def test_nothing_to_narrow_is_refused():
    with pytest.raises(Refusal, match="leaves room"):
        imposed_figures([])


def test_a_patch_as_a_volume_keeps_its_pixels(scan):
    patch = untouched_patch(scan, scan.levels[0], 4)
    volume = patch_volume(patch)
    assert volume.shape == patch.planes.shape and volume.pixel_spacing_mm == patch.pixel_spacing_mm


@pytest.fixture(scope="module")
def outlined(tmp_path_factory) -> Path:
    """A folder with one scan, whose outlines each test writes."""
    return write_simulated(tmp_path_factory.mktemp("outlined"), patients=1, seed=3).parent


@pytest.mark.parametrize(("change", "sentence"), [
    ({"slices": [{"sac": {"polygon": [[1, 2]]}}]}, "not usable"), ({"other": []}, "not usable"),
])
def test_bad_outlines_are_refused_by_name(outlined, change, sentence):
    name = next(path.name for path in outlined.iterdir() if path.is_dir())
    (outlined / f"{name}.json").write_text(json.dumps(change))
    with pytest.raises(Refusal, match=sentence):
        read_outlined_scans(outlined)


def test_a_folder_without_outlines_is_refused(tmp_path):
    with pytest.raises(Refusal, match="no scan with outlines"):
        read_outlined_scans(tmp_path)
    with pytest.raises(Refusal, match="to leave out"):
        read_outlined_scans(tmp_path, without="x")


@needs_real_ct
def test_real_scans_give_samples_of_every_kind_and_one_can_be_left_out():
    source = NarrowedSource(REAL)
    patches = [source.patch(np.random.default_rng(k)) for k in range(60)]
    grades = {p.regions[CANAL].grade for p in patches}
    assert len(grades - {None}) >= 3 and any(not p.gradable for p in patches)
    names = {scan.name for scan in read_outlined_scans(REAL, without="philips_full_lumbar_3mm")}
    assert names == {"siemens_full_lumbar_5mm", "ge_upper_lumbar_5mm", "siemens_upper_lumbar_3mm"}

