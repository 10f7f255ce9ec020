"""Fresh training samples: a crop around a level, an axial slice, a coarse volume. Each from a new random patient."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lss_core.imaging.volume import StoredPlane, Volume
from lss_core.simulation.anatomy import DISC_INDEX, DISCS, Patient, sample_patient, worn
from lss_core.simulation.render import Acquisition, detect, expose, sample_acquisition
from lss_core.simulation.truth import RegionTruth, SpinePlane, mask_slice, measure_slice
from lss_core.vocabulary import Box, DiscLevel, Region

LEVEL_FIELD_MM = 64.0
NEIGHBOUR_MM = 3.0
FINEST_PIXEL_MM = 0.45  # rendering a crop finer than this buys nothing after the kernel's blur
AXIAL_PIXEL_MM = 1.5
COARSE_PIXEL_MM = 2.0
WORN_SHARE = 0.45  # of coarse volumes: discs that are hardly there are the hard ones to find


@dataclass(frozen=True)
class LevelSample:
    """A square patch of `LEVEL_FIELD_MM` around one level."""

    hu: np.ndarray  # float32 [3, row, column]: footward, disc and headward slice
    pixel_mm: float
    level: DiscLevel
    regions: dict[Region, RegionTruth]
    masks: np.ndarray  # uint8 [2, row, column] of the middle slice, see `mask_slice`


@dataclass(frozen=True)
class AxialSample:
    """One whole axial slice at `AXIAL_PIXEL_MM`; `boxes` is empty where nothing lumbar is to be graded."""

    hu: np.ndarray  # float32 [row, column]
    pixel_mm: float
    boxes: dict[Region, Box]


@dataclass(frozen=True)
class CoarseVolume:
    """A coarse volume of the spine with the truth that level finding learns from; points are volume indices."""

    volume: Volume
    canal: np.ndarray  # float64 [slice, 2]: (row, column) of the canal centre
    discs: dict[str, tuple[float, float, float]]  # name -> (position_mm, row, column) of the posterior margin
    sacrum_in_view: bool


def render_level(
    patient: Patient, level: DiscLevel, acquisition: Acquisition, rng: np.random.Generator, *, offset_mm: float = 0.0
) -> LevelSample | None:
    """Render the three slices around a disc and measure the middle one; None where a region does not exist on it.

    The slice grid falls anywhere against the disc, as on a scanner.

    Args:
        offset_mm: How far headward of the disc the middle slice lies.
    """
    x, y, z = patient.disc_position(level)
    z += offset_mm + rng.uniform(-0.5, 0.5) * min(acquisition.slice_spacing_mm, 4.0)
    if offset_mm:
        x, y = SpinePlane(patient, z).xy(0.0, 2.0)
    return render_slices(patient, level, acquisition, rng, point=(x, y, z))


def render_slices(
    patient: Patient, level: DiscLevel, acquisition: Acquisition, rng: np.random.Generator, *,
    point: tuple[float, float, float],
) -> LevelSample | None:
    """Render the slice through a point (x, y, z) mm at the canal's front and its neighbours, and measure it; None where
    a region does not exist on it."""
    z = point[2]
    measured = measure_slice(patient, z, acquisition.slice_thickness_mm)
    if len(measured) < len(Region):
        return None
    hu, pixel, corner = _render_patch(patient, acquisition, point, rng)
    ys, xs = (corner[k] + pixel * np.arange(hu.shape[k + 1]) for k in (0, 1))
    masks = mask_slice(patient, z, acquisition.slice_thickness_mm, ys, xs)
    regions = {r: m.in_pixels(r, y0_mm=corner[0], x0_mm=corner[1], pixel_mm=pixel) for r, m in measured.items()}
    return LevelSample(hu, pixel, level, regions, masks)


def _render_patch(
    patient: Patient, acquisition: Acquisition, point: tuple[float, float, float], rng: np.random.Generator
) -> tuple[np.ndarray, float, tuple[float, float]]:
    """HU [3, row, column] around a point at the canal's front, the pixel in mm, and (y, x) mm of pixel (0, 0)."""
    x, y, z = point
    pixel = max(acquisition.pixel_mm, FINEST_PIXEL_MM)
    count = int(LEVEL_FIELD_MM / pixel)
    steps = (np.arange(count) - (count - 1) / 2) * pixel
    ys, xs = y + 6.0 + steps, x + steps
    step = acquisition.slice_spacing_mm * max(1, round(NEIGHBOUR_MM / acquisition.slice_spacing_mm))
    clean = np.stack(
        [expose(patient, acquisition, z + k * step, ys, xs, most_planes=4 - 2 * abs(k)) for k in (-1, 0, 1)]
    )
    return detect(clean, acquisition, pixel, rng), pixel, (ys[0], xs[0])


def sample_level(
    rng: np.random.Generator, patient: Patient, acquisition: Acquisition, *, reach_mm: float = 0.0
) -> LevelSample:
    """One random level of a patient, up to `reach_mm` beside its disc."""
    while True:
        offset = float(rng.uniform(-reach_mm, reach_mm)) if reach_mm else 0.0
        sample = render_level(patient, rng.choice(list(DiscLevel)), acquisition, rng, offset_mm=offset)
        if sample is not None:
            return sample


@dataclass(frozen=True)
class ElsewhereSample:
    """A patch like a level's, where there is no lumbar disc; `centres` are pixels where regions would be looked for."""

    hu: np.ndarray  # float32 [3, row, column]
    pixel_mm: float
    centres: dict[Region, tuple[float, float]]


def sample_elsewhere(rng: np.random.Generator, patient: Patient, acquisition: Acquisition) -> ElsewhereSample:
    """A slice through the pedicles of a lumbar vertebra, the thoracic spine or the sacrum, far from lumbar discs."""
    discs, vertebrae = patient.discs[:, 0], patient.vertebrae[:, 0]
    place = rng.random()
    if place < 0.6:  # between two lumbar discs, at least 12 mm from both
        k = int(rng.integers(DISC_INDEX[DiscLevel.L1_2], DISC_INDEX[DiscLevel.L5_S1]))
        slack = max((discs[k] - discs[k + 1]) / 2 - 12.0, 0.0)
        s = (discs[k] + discs[k + 1]) / 2 + rng.uniform(-slack, slack)
    elif place < 0.8:
        s = rng.uniform(discs[DISCS.index("T11/12")] - 6.0, vertebrae[0])
    else:
        s = rng.uniform(vertebrae[9] - 12.0, discs[DISCS.index("S1/2")] + 3.0)
    z = float(patient.point(float(s), 0.0, 6.0)[2])
    plane = SpinePlane(patient, z)
    x, y = plane.xy(0.0, 2.0)
    hu, pixel, (y0, x0) = _render_patch(patient, acquisition, (x, y, z), rng)

    def pixels(u: float, v: float) -> tuple[float, float]:
        at_x, at_y = plane.xy(u, v)
        return (at_y - y0) / pixel, (at_x - x0) / pixel

    return ElsewhereSample(hu, pixel, {
        Region.CENTRAL_CANAL: pixels(0.0, 8.0), Region.LEFT_LATERAL_RECESS: pixels(9.0, 4.0),
        Region.RIGHT_LATERAL_RECESS: pixels(-9.0, 4.0),
    })


def is_lumbar(patient: Patient, z_mm: float) -> bool:
    """Whether an axial plane meets the canal between mid T12 and mid S1: where something may be graded."""
    s = SpinePlane(patient, z_mm).depth(0.0, 8.0)
    return bool(patient.vertebrae[8, 0] < s < patient.vertebrae[2, 0])


def render_axial(
    patient: Patient, z_mm: float, acquisition: Acquisition, rng: np.random.Generator, *, field_mm: float
) -> AxialSample:
    """Render one axial slice of a square field centred near the trunk (wide fields) or the spine (narrow ones)."""
    plane = SpinePlane(patient, z_mm)
    x, y = plane.xy(0.0, 8.0)
    wide = np.clip((field_mm - 200) / 200, 0, 1)
    x += rng.normal(0, 8 + 12 * wide)
    y += rng.normal(0, 8) - wide * (patient.body[1] - patient.body[2] + 20) * rng.uniform(0.6, 1.1)
    count = int(field_mm / AXIAL_PIXEL_MM)
    steps = (np.arange(count) - (count - 1) / 2) * AXIAL_PIXEL_MM
    ys, xs = y + steps, x + steps
    coarse = replace(acquisition, blur_mm=float(np.hypot(acquisition.blur_mm, 0.45)), sharpen=0.0)
    hu = detect(expose(patient, acquisition, z_mm, ys, xs, most_planes=2), coarse, AXIAL_PIXEL_MM, rng)
    boxes: dict[Region, Box] = {}
    if is_lumbar(patient, z_mm):
        measured = measure_slice(patient, z_mm, acquisition.slice_thickness_mm)
        boxes = {r: m.in_pixels(r, y0_mm=ys[0], x0_mm=xs[0], pixel_mm=AXIAL_PIXEL_MM).box for r, m in measured.items()}
    return AxialSample(hu, AXIAL_PIXEL_MM, boxes)


def sample_axial(rng: np.random.Generator, patient: Patient, acquisition: Acquisition) -> AxialSample:
    """One random slice: mostly lumbar, some thoracic and sacral, and some that hold no spine centre at all."""
    discs = patient.discs[:, 0]
    s = (
        rng.uniform(discs[8], patient.vertebrae[2, 0])
        if rng.random() < 0.75
        else rng.uniform(discs[9] - 15, discs[0] + 15)
    )
    z = float(patient.point(s, 0.0, 8.0)[2])
    field = float(rng.uniform(130, 240) if rng.random() < 0.35 else rng.uniform(260, 400))
    return render_axial(patient, z, acquisition, rng, field_mm=field)


def sample_coarse_volume(rng: np.random.Generator) -> CoarseVolume:
    """A coarse volume of a new patient over a random stretch of the spine, with or without the sacrum."""
    patient = sample_patient(rng)
    if rng.random() < WORN_SHARE:
        patient = worn(patient, rng)
    acquisition = sample_acquisition(rng, patient)
    spacing = max(acquisition.slice_spacing_mm, 2.0)
    z_low, z_high = _stretch(patient, rng)
    positions = np.arange(z_low, z_high, spacing)
    xs = np.arange(-60.0, 60.0, COARSE_PIXEL_MM) + rng.uniform(-1, 1)
    ys = np.arange(-140.0, 75.0, COARSE_PIXEL_MM) + rng.uniform(-1, 1)
    coarse = replace(acquisition, blur_mm=float(np.hypot(acquisition.blur_mm, 0.6)), sharpen=0.0)
    canal = np.array([SpinePlane(patient, z).xy(0.0, 7.5) for z in positions])
    clean = _expose_along(patient, acquisition, positions, canal, ys, xs)
    hu = detect(clean, coarse, COARSE_PIXEL_MM, rng)

    def to_index(x: float, y: float) -> tuple[float, float]:
        return (y - ys[0]) / COARSE_PIXEL_MM, (x - xs[0]) / COARSE_PIXEL_MM

    discs = {}
    for k, name in enumerate(DISCS):
        x, y, z = patient.point(patient.discs[k, 0], 0.0, 2.0)
        if positions[0] <= z <= positions[-1]:
            discs[name] = (float(z), *to_index(x, y))
    first_sacral = patient.point(patient.vertebrae[8, 0], 0.0, 2.0)[2]
    volume = volume_of(as_hu(hu), positions, COARSE_PIXEL_MM, acquisition.slice_thickness_mm, series_uid="2.25.0")
    return CoarseVolume(volume, np.array([to_index(x, y) for x, y in canal]), discs, bool(positions[0] <= first_sacral))


def _expose_along(
    patient: Patient, acquisition: Acquisition, positions: np.ndarray, canal: np.ndarray, ys: np.ndarray, xs: np.ndarray
) -> np.ndarray:
    """Render only what lies beside the canal, which is all that level finding looks at; the rest is fat."""
    clean = np.full((len(positions), len(ys), len(xs)), -100.0, np.float32)
    for index, (x, y) in enumerate(canal):
        rows = slice(*np.searchsorted(ys, [y - 90.0, y + 42.0]))
        cols = slice(*np.searchsorted(xs, [x - 34.0, x + 34.0]))
        clean[index, rows, cols] = expose(patient, acquisition, positions[index], ys[rows], xs[cols], most_planes=2)
    return clean


def _stretch(patient: Patient, rng: np.random.Generator) -> tuple[float, float]:
    """Lowest and highest z of a scan: usually S2 to T12, sometimes cut short at either end."""

    def z_of(s: float) -> float:
        return float(patient.point(s, 0.0, 2.0)[2])

    discs, vertebrae = patient.discs[:, 0], patient.vertebrae[:, 0]
    low = (
        z_of(rng.uniform(vertebrae[10] - 15, vertebrae[8]))
        if rng.random() < 0.7
        else z_of(rng.uniform(vertebrae[8], discs[3]))
    )
    high = z_of(rng.uniform(discs[2], vertebrae[0])) if rng.random() < 0.75 else z_of(rng.uniform(discs[5], discs[1]))
    return low, max(high, low + 45.0)


def as_hu(values: np.ndarray) -> np.ndarray:
    """Round to the int16 HU that a 12-bit scanner stores."""
    return np.clip(np.rint(values), -1024, 3071).astype(np.int16)


def volume_of(
    hu: np.ndarray,
    positions_mm: np.ndarray,
    pixel_mm: float,
    thickness_mm: float,
    *,
    series_uid: str,
    sop_instance_uids: tuple[str, ...] | None = None,
) -> Volume:
    """Wrap int16 HU slices as a Volume."""
    uids = sop_instance_uids or tuple(f"{series_uid}.{i + 1}" for i in range(len(positions_mm)))
    return Volume(
        hu=hu,
        positions_mm=np.asarray(positions_mm, np.float64),
        pixel_spacing_mm=(pixel_mm, pixel_mm),
        slice_thickness_mm=thickness_mm,
        sop_instance_uids=uids,
        series_uid=series_uid,
        stored=StoredPlane(shape=(hu.shape[1], hu.shape[2])),
    )
