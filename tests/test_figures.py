"""The picture of a region shows what lies where it says; a figure says what it shows and on what it was measured."""

import html
import io

import numpy as np
import pytest
from PIL import Image

from lss_core.figures import (
    PICTURE_MM,
    PICTURE_PX,
    ForestRow,
    bland_altman_figure,
    confusion_figure,
    curve_figure,
    dose_figure,
    forest_figure,
    region_picture,
    reliability_figure,
)
from lss_core.statistics.calibration import reliability
from lss_core.statistics.estimate import Estimate, wilson_interval, without_figure, without_interval
from lss_core.vocabulary import Box

SPACING_MM = (0.8, 0.5)
BOX = Box(60, 80, 80, 120)


def drawn(grey=None, **heat) -> np.ndarray:
    grey = np.zeros((160, 200), np.float32) if grey is None else grey
    png = region_picture(grey, pixel_spacing_mm=SPACING_MM, box=BOX, caption=["L4/5", "grade 2"], **heat)
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=int)


def on_picture(row: float, column: float) -> tuple[int, int]:
    """Where a pixel's centre should lie, from the picture's scale and the box's centre."""
    scale = PICTURE_PX / PICTURE_MM
    y = PICTURE_PX / 2 + (row - BOX.centre[0]) * SPACING_MM[0] * scale
    x = PICTURE_PX / 2 + (column - BOX.centre[1]) * SPACING_MM[1] * scale
    return round(y), round(x)


@pytest.mark.parametrize(("row", "column"), [(70, 100), (50, 70), (95, 140)])
def test_a_bright_pixel_lies_where_its_millimetres_say(row, column):
    grey = np.zeros((160, 200), np.float32)
    grey[row, column] = 1.0
    picture = drawn(grey)[:PICTURE_PX].min(axis=2)     # the box is coloured, the letters lie at the sides
    picture[:, :40] = picture[:, -40:] = 0
    y, x = np.argwhere(picture == picture.max()).mean(axis=0)
    assert (y, x) == pytest.approx(on_picture(row, column), abs=1.5)


def test_the_box_frames_its_region():
    picture = drawn()
    y, x = on_picture(BOX.row0, BOX.col0)
    assert tuple(picture[y, x + 30]) == (255, 209, 102)


def test_a_hot_spot_is_warm_and_a_cold_one_is_clear():
    heat = np.zeros((10, 10), np.float32)
    heat[:5, :5] = 1.0
    picture = drawn(heat=heat, heat_box=BOX)
    hot = picture[on_picture(BOX.row0 + 5, BOX.col0 + 10)]
    cold = picture[on_picture(BOX.row1 - 3, BOX.col1 - 5)]
    assert hot[0] > 100 and cold.max() < 30


def test_a_region_at_the_edge_is_drawn():
    png = region_picture(
        np.ones((40, 40), np.float32), pixel_spacing_mm=SPACING_MM, box=Box(0, 0, 6, 6), caption=["edge"]
    )
    assert Image.open(io.BytesIO(png)).size[0] == PICTURE_PX


MEASURED_ON = "These figures are on SIMULATED CT <b>of a test</b>; they say nothing about patients. 40 of seed 1000001."
OKABE_ITO = {"#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"}
CONFUSION = ((85, 3, 0, 0), (7, 45, 5, 0), (0, 3, 16, 2), (0, 0, 4, 29))


def estimate(value, low=None, high=None):
    if low is None or high is None:
        return without_interval(value, "a single cluster", n=1, method="bootstrap")
    return Estimate(value, low, high, 40, "bootstrap")


def all_figures():
    undefined = without_figure("no case", n=0, method="bootstrap")
    probabilities = np.array([[0.7, 0.1, 0.1, 0.1], [0.1, 0.8, 0.05, 0.05], [0.7, 0.2, 0.05, 0.05]])
    rows = [
        ForestRow("level", "L4/5 & <up>", estimate(0.9, 0.8, 0.95), 40), ForestRow("level", "L5/S1", estimate(0.5), 5),
        ForestRow("kernel", "soft", undefined, 0),
    ]
    errors = {"bias": estimate(0.5, 0.1, 0.9), "lower": estimate(-3.0, -3.5, -2.5), "upper": estimate(4.0, 3.5, 4.5)}
    curve = [{"step": 10, "loss": 1.0, "training_loss": 0.9}, {"step": 20, "loss": 0.5, "accuracy": 0.8}]
    shared = {"title": "Canal <v1>", "measured_on": MEASURED_ON}
    return {
        "confusion": confusion_figure(CONFUSION, (0, 0, 1, 0), **shared),
        "reliability": reliability_figure(
            reliability(probabilities, np.array([0, 1, 2])), expected_error=estimate(0.1, 0.0, 0.2), **shared),
        "forest": forest_figure(rows, overall=estimate(0.85, 0.8, 0.9), regions=45, **shared),
        "agreement": bland_altman_figure([(100.0, 101.0), (50.0, 49.5)], regions=7, unit="mm²", **errors, **shared),
        "curve": curve_figure(curve, **shared),
    }


@pytest.mark.parametrize("name", ["confusion", "reliability", "forest", "agreement", "curve"])
def test_a_figure_says_what_it_shows_and_on_what_it_was_measured(name):
    figure = all_figures()[name]
    title = figure.layout.title
    said = title.subtitle.text.replace("<br>", " ")
    assert html.unescape(said) == MEASURED_ON and "<b>" not in said        # a folder's name is text, never markup
    assert title.text.startswith("Canal &lt;v1&gt;") and any(sign.isdigit() for sign in title.text[14:])
    assert figure.to_json()                                                # all of it is plain values


@pytest.mark.parametrize("name", ["reliability", "forest", "agreement", "curve"])
def test_lines_and_marks_are_told_apart_with_every_colour_vision(name):
    traces = [trace for trace in all_figures()[name].data if trace.name != "as it should be"]
    used = {part.color for trace in traces for part in (trace.marker, trace.line) if part.color is not None}
    assert used and used <= OKABE_ITO


def test_the_confusion_figure_counts_every_region_once():
    figure = all_figures()["confusion"]
    assert "200 regions" in figure.layout.title.text
    heat = figure.data[0]
    assert np.asarray(heat.z).sum(axis=1) == pytest.approx([1, 1, 1, 1])
    assert heat.text[2][4] == "1<br>5%" and heat.x[4] == "missed" and heat.y[2] == "2 moderate (n = 22)"


def test_a_grade_that_never_occurs_has_an_empty_row():
    figure = confusion_figure(((3, 0, 0, 0), *((0, 0, 0, 0),) * 3), (0,) * 4, title="t", measured_on="m")
    assert np.asarray(figure.data[0].z)[1:].tolist() == [[0.0] * 5] * 3


def test_the_reliability_figure_shows_bins_with_their_number():
    figure = all_figures()["reliability"]
    measured = figure.data[1]
    assert list(measured.text) == ["n = 2", "n = 1"] and list(measured.y) == [0.5, 1.0]
    assert "3 regions: expected calibration error 0.100 (0.000-0.200)" in figure.layout.title.text
    low = measured.y[0] - measured.error_y.arrayminus[0]
    assert low == pytest.approx(wilson_interval(1, 2).low)


def test_the_forest_figure_prints_each_interval_with_its_number():
    figure = all_figures()["forest"]
    printed = [note.text for note in figure.layout.annotations]
    assert printed == ["0.900 (0.800-0.950), n = 40", "0.500 (no interval: a single cluster), n = 5",
                       "undefined: no case, n = 0"]
    bars = figure.data[0].error_x
    assert bars.arrayminus[0] == pytest.approx(0.1) and bars.array[1] == 0
    assert list(figure.layout.yaxis.ticktext) == ["level: L4/5 &amp; &lt;up&gt;", "level: L5/S1", "kernel: soft"]
    assert len(set(figure.layout.yaxis.tickvals)) == 3


def test_the_agreement_figure_draws_errors_and_limits():
    figure = all_figures()["agreement"]
    assert list(figure.data[0].y) == [1.0, -0.5] and list(figure.data[0].x) == [100.0, 50.0]
    assert [line.y0 for line in figure.layout.shapes] == [0.5, -3.0, 4.0]
    assert "7 regions, 2 shown" in figure.layout.title.text
    low, high = figure.layout.yaxis.range
    assert low < -3 and high > 4


def test_the_training_curve_has_a_panel_for_each_figure():
    figure = all_figures()["curve"]
    drawn = {(trace.name, tuple(trace.x), tuple(trace.y)) for trace in figure.data}
    assert drawn == {("validation", (10, 20), (1.0, 0.5)), ("training", (10,), (0.9,)), ("validation", (20,), (0.8,))}
    assert [note.text for note in figure.layout.annotations] == ["loss", "accuracy"]
    assert sum(bool(trace.showlegend) for trace in figure.data) == 2


def test_doses_are_drawn_family_by_family_with_what_was_not_graded_left_out():
    families = {"disc bulge (n = 3)": [0.1, 1.0, None, 2.5, 2.9], "ligament growth (n = 2)": [0.0, 0.5, 1.0, 1.5, 2.0]}
    figure = dose_figure(families, [0, 0.25, 0.5, 0.75, 1], title="v1", measured_on="two scans")
    assert [trace.name for trace in figure.data] == list(families)
    assert list(figure.data[0].y) == [0.1, 1.0, None, 2.5, 2.9]
    assert len({trace.line.color for trace in figure.data}) == 2 and "two scans" in figure.layout.title.subtitle.text
