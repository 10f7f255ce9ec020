from dataclasses import replace

import numpy as np
import pytest
import torch

from lss_core.grading.detector import (
    Detector,
    DetectorConfig,
    SliceFrame,
    body_centre,
    build_detector,
    find_regions,
    slice_frame,
    slice_image,
)
from lss_core.vocabulary import Box, Refusal, Region
from tests.phantoms import PIXEL_MM, MarkerDetector, marked_volume

CONFIG = DetectorConfig()


def test_frame_carries_points_there_and_back():
    frame = SliceFrame((250.3, 240.0), (0.7, 0.8), 192.0)
    for point in ((0.0, 0.0), (255.5, 17.25)):
        np.testing.assert_allclose(frame.to_volume(*frame.from_volume(*point)), point, atol=1e-9)
    assert frame.to_volume(96.0, 96.0) == pytest.approx((250.3, 240.0))


@pytest.mark.parametrize(("size", "pixel_mm", "field_mm"), [(512, 0.25, 144.0), (512, 0.98, 384.0), (256, 1.5, 384.0)])
def test_network_images_are_whole_multiples_of_its_stride(size, pixel_mm, field_mm):
    plane = np.full((size, size), 40, np.int16)
    frame = slice_frame(plane, (pixel_mm, pixel_mm), CONFIG)
    assert frame.field_mm == field_mm
    image = slice_image(plane, frame, CONFIG)
    assert image.shape == (2, field_mm / 1.5, field_mm / 1.5) and image.shape[1] % 32 == 0


def test_a_wide_field_is_cut_around_the_body():
    plane = np.full((512, 512), -1024, np.int16)
    plane[300:420, 100:300] = 40
    assert body_centre(plane) == pytest.approx((360, 200), abs=4)
    assert body_centre(np.full((64, 64), -1024, np.int16)) == (31.5, 31.5)


def test_a_networks_maps_are_at_half_resolution():
    with torch.inference_mode():
        maps = Detector(CONFIG).eval()(torch.rand(2, 2, 96, 128))
    assert maps.heat.shape == (2, 3, 48, 64) and maps.gradable.shape == (2,)
    assert maps.offset.shape == maps.size.shape == (2, 3, 2, 48, 64)


def test_regions_are_found_where_they_lie_wherever_the_field_ends():
    for offset in ((0, 0), (-9, 13)):
        volume = marked_volume(slices=3, offset=offset)
        for finding in find_regions(MarkerDetector(), volume, [0, 1, 2]):
            for region, side in zip(Region, (0, 1, -1), strict=True):
                found = finding.regions[region]
                assert found is not None, region
                row, col = found.box.centre
                assert abs(row - 70 - offset[0]) <= 1.5 and abs(col - 64 - offset[1] - 8 * side) <= 1.5
                assert found.box.size == pytest.approx((12 / PIXEL_MM, 12 / PIXEL_MM))


def test_left_is_on_greater_columns_than_the_canal():
    regions = find_regions(MarkerDetector(), marked_volume(slices=1), [0])[0].regions
    columns = [regions[r].box.centre[1] for r in
               (Region.RIGHT_LATERAL_RECESS, Region.CENTRAL_CANAL, Region.LEFT_LATERAL_RECESS)]
    assert columns == sorted(columns)


def test_a_slice_without_a_canal_has_no_regions():
    volume = marked_volume(slices=1)
    empty = replace(volume, hu=np.full_like(volume.hu, 40))
    finding = find_regions(MarkerDetector(), empty, [0])[0]
    assert finding.gradable < 0.5 and set(finding.regions.values()) == {None}


def test_a_missing_recess_is_not_found_rather_than_invented():
    volume = marked_volume(slices=1)
    hu = volume.hu.copy()
    hu[:, :, :60] = 40
    regions = find_regions(MarkerDetector(), replace(volume, hu=hu), [0])[0].regions
    assert regions[Region.RIGHT_LATERAL_RECESS] is None
    assert regions[Region.CENTRAL_CANAL] is not None and regions[Region.LEFT_LATERAL_RECESS] is not None


def test_a_recess_far_from_the_canal_is_another_thing():
    volume = marked_volume(slices=1)
    hu = volume.hu.copy()
    hu[0, 69:72, 71:74] = 40                                        # the left recess moves 45 mm away
    hu[0, 69:72, 101:104] = 900
    assert find_regions(MarkerDetector(), replace(volume, hu=hu), [0])[0].regions[Region.LEFT_LATERAL_RECESS] is None


def test_near_holds_the_search_to_the_known_canal():
    volume = marked_volume(slices=1)
    hu = volume.hu.copy()
    hu[0, 19:24, 20:25] = 1200                                      # a larger canal marker elsewhere
    two = replace(volume, hu=hu)
    found = find_regions(MarkerDetector(), two, [0], near={0: (70.0, 64.0)})[0].regions[Region.CENTRAL_CANAL]
    assert found is not None and found.box.centre == pytest.approx((70, 64), abs=1.5)


def test_slices_give_the_same_findings_alone_and_in_a_stack():
    volume = marked_volume(slices=11)
    together = find_regions(MarkerDetector(), volume, range(11))
    assert [f.slice_index for f in together] == list(range(11))
    alone = find_regions(MarkerDetector(), volume, [7])[0]
    assert alone.regions == together[7].regions


def test_a_card_rebuilds_the_detector():
    built = build_detector({**vars(CONFIG), "width": 16})
    assert built.config == replace(CONFIG, width=16)
    with pytest.raises(Refusal, match="does not fit"):
        build_detector({"width": 16})


def test_boxes_of_detections_are_valid_for_any_network_output():
    detector = Detector(CONFIG).eval()
    with torch.no_grad():
        detector.geometry.bias.fill_(-100.0)                        # absurd sizes
        detector.heat.bias.fill_(4.0)
        detector.slice_head.bias.fill_(4.0)
    for found in find_regions(detector, marked_volume(slices=1), [0])[0].regions.values():
        assert found is None or isinstance(found.box, Box)
