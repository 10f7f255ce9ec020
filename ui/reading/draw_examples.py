"""Draws the example pictures of the grading criteria: `python -m ui.reading.draw_examples`.

Every picture comes from the simulation and says so in itself. For each grade the patient is taken, of many, whose
measure lies nearest to the middle of the grade's range.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from lss_core.imaging.volume import crop, window
from lss_core.simulation.anatomy import Patient, sample_patient
from lss_core.simulation.render import Acquisition, sample_acquisition
from lss_core.simulation.samples import LevelSample, render_level
from lss_core.simulation.truth import measure_slice
from lss_core.vocabulary import DiscLevel, Grade, Region, measure_of
from ui.reading.criteria import EXAMPLES, example_path

SEEDS = range(240)
TYPICAL = {                                     # measures in the middle of each grade's range
    Region.CENTRAL_CANAL: {Grade.NORMAL: 165.0, Grade.MILD: 114.0, Grade.MODERATE: 87.0, Grade.SEVERE: 55.0},
    Region.LEFT_LATERAL_RECESS: {Grade.NORMAL: 6.2, Grade.MILD: 4.3, Grade.MODERATE: 2.8, Grade.SEVERE: 1.0},
}
LEVELS = (DiscLevel.L3_4, DiscLevel.L4_5)
FIELD_MM = 56.0
SIDE_PX = 300
CAPTION_PX = 22
BOX_COLOUR = 255


@dataclass(frozen=True)
class _Found:
    seed: int
    level: DiscLevel
    distance: float                             # of the measure from the typical one


def draw() -> None:
    """Write all pictures, and print what was drawn."""
    patients = {seed: sample_patient(np.random.default_rng(seed)) for seed in SEEDS}
    acquisition = _quiet(patients[0])
    measured = {
        (seed, level): measure_slice(patient, patient.disc_position(level)[2], acquisition.slice_thickness_mm)
        for seed, patient in patients.items() for level in LEVELS
    }
    for region, grade in EXAMPLES:
        found = _nearest(measured, region, grade)
        sample = render_level(
            patients[found.seed], found.level, acquisition, np.random.default_rng(found.seed)
        )
        assert sample is not None and sample.regions[region].grade is grade, (region, grade, found)
        _picture(sample, region).save(example_path(region, grade), optimize=True)
        print(f"{region.value} {int(grade)}: {sample.regions[region].measure_value:.1f}")


def _nearest(measured: dict, region: Region, grade: Grade) -> _Found:
    wanted = TYPICAL[region][grade]
    return min(
        (_Found(seed, level, abs(found[region].measures[measure_of(region)] - wanted))
         for (seed, level), found in measured.items() if len(found) == len(Region)),
        key=lambda each: each.distance,
    )


def _quiet(patient: Patient) -> Acquisition:
    """A scan with little noise: the pictures are to show anatomy."""
    rng = np.random.default_rng(0)
    drawn = [sample_acquisition(rng, patient) for _ in range(200)]
    return min(drawn, key=lambda each: each.noise_hu + 10 * each.blur_mm)


def _picture(sample: LevelSample, region: Region) -> Image.Image:
    """The middle slice in the soft tissue window, the region framed, SIMULATED written below."""
    box = sample.regions[region].box
    centre = sample.regions[Region.CENTRAL_CANAL].box.centre
    plane = crop(sample.hu[1], pixel_spacing_mm=(sample.pixel_mm, sample.pixel_mm), centre=centre, size_mm=FIELD_MM,
                 size_px=SIDE_PX)
    grey = np.round(window(plane, width=400, level=40) * 255).astype(np.uint8)
    picture = Image.new("L", (SIDE_PX, SIDE_PX + CAPTION_PX))
    picture.paste(Image.fromarray(grey))
    pen = ImageDraw.Draw(picture)
    scale = sample.pixel_mm * SIDE_PX / FIELD_MM
    corners = [(value - centre[axis]) * scale + SIDE_PX / 2
               for axis, value in ((1, box.col0), (0, box.row0), (1, box.col1), (0, box.row1))]
    pen.rectangle(corners, outline=BOX_COLOUR, width=1)
    pen.text((SIDE_PX / 2, SIDE_PX + CAPTION_PX / 2), "SIMULATED", fill=BOX_COLOUR, anchor="mm", font_size=14)
    return picture


if __name__ == "__main__":
    draw()
