"""What the three networks learn from: samples rendered afresh from simulated patients, or a group's own scans.

Sample `i` of a stream depends on (stream, seed, i) alone, so training is reproducible whatever the number of workers,
and a resumed run sees exactly the samples that an uninterrupted one would have seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, shift
from torch.utils.data import Dataset

from lss_core.grading.classifier import MASKS, ClassifierConfig, crop_masks, crop_stack, in_head_units, is_recess
from lss_core.grading.detector import (
    OFFSET_UNIT_MM,
    REGIONS,
    SIZE_UNIT_MM,
    DetectorConfig,
    SliceFrame,
    body_centre,
    slice_image,
)
from lss_core.grading.levels import ANY_DISC, LUMBOSACRAL, THORACIC, level_image
from lss_core.imaging.straighten import (
    DEPTHS_MM,
    PITCH_MM,
    SLAB_OFFSETS_MM,
    CanalLine,
    Straightened,
    extend_line,
    straighten,
)
from lss_core.simulation.anatomy import sample_patient
from lss_core.simulation.render import sample_acquisition
from lss_core.simulation.samples import (
    CoarseVolume,
    sample_axial,
    sample_coarse_volume,
    sample_elsewhere,
    sample_level,
)
from lss_core.training.known import KnownPatch, KnownRegion, KnownSlice
from lss_core.vocabulary import SAC_AREA, Box, DiscLevel, Grade, Refusal, Region, grade_of_measure, measure_of

TRAINING_SEEDS = range(0, 1_000_000)
EVALUATION_SEEDS = range(1_000_000, 2_000_000)      # never trained on
TRAIN_STREAM, VALIDATION_STREAM = 1, 2
BESIDE_SHARE, ELSEWHERE_SHARE = 0.15, 0.11         # of simulated patches: beside a disc, and where there is none
BESIDE_MM = 10.0
MISPLACED_SHARE = 0.06                              # of crops: moved off their region, to be recognised as not gradable
LOOSENED_SHARE, LOOSENED_MM = 0.7, 9.0              # of level images: what lies beside the middle slides by as much
BEHIND_MM = 4.0                                     # of the canal's centre: its back wall and the laminae begin
UNKNOWN_GRADE = -1
Sample = dict[str, torch.Tensor]


def check_training_seed(seed: int) -> int:
    """Refuse a seed that is kept for evaluation."""
    if seed not in TRAINING_SEEDS:
        raise Refusal(f"Seed {seed} is not for training: use 0 to {TRAINING_SEEDS[-1]}; higher ones are to evaluate.")
    return seed


def check_evaluation_seed(seed: int) -> int:
    """Refuse a seed that training may have used."""
    if seed not in EVALUATION_SEEDS:
        raise Refusal(
            f"Seed {seed} is not for evaluation: use {EVALUATION_SEEDS[0]} to {EVALUATION_SEEDS[-1]}; "
            "lower ones may have been trained on."
        )
    return seed


class PatchSource(Protocol):
    """Where classifier samples come from."""

    def patch(self, rng: np.random.Generator) -> KnownPatch: ...


class SliceSource(Protocol):
    """Where detector samples come from."""

    def axial(self, rng: np.random.Generator) -> KnownSlice: ...


class SimulatedSource:
    """A new simulated patient for every sample."""

    def patch(self, rng: np.random.Generator) -> KnownPatch:
        patient = sample_patient(rng)
        acquisition = sample_acquisition(rng, patient)
        place = rng.random()
        if place < ELSEWHERE_SHARE:
            other = sample_elsewhere(rng, patient, acquisition)
            nowhere = {region: KnownRegion(centre, None) for region, centre in other.centres.items()}
            return KnownPatch(other.hu, (other.pixel_mm, other.pixel_mm), nowhere, gradable=False)
        reach = BESIDE_MM if place < ELSEWHERE_SHARE + BESIDE_SHARE else 0.0
        sample = sample_level(rng, patient, acquisition, reach_mm=reach)
        regions = {
            region: KnownRegion(truth.box.centre, truth.grade, truth.measures)
            for region, truth in sample.regions.items()
        }
        return KnownPatch(sample.hu, (sample.pixel_mm, sample.pixel_mm), regions, masks=sample.masks)

    def axial(self, rng: np.random.Generator) -> KnownSlice:
        patient = sample_patient(rng)
        sample = sample_axial(rng, patient, sample_acquisition(rng, patient))
        return KnownSlice(sample.hu, (sample.pixel_mm, sample.pixel_mm), sample.boxes)


class MixedSource:
    """Patches or slices from several sources, each drawn with its weight."""

    def __init__(self, *sources: tuple[float, Any]) -> None:
        self._sources = [source for _, source in sources]
        self._limits = np.cumsum([weight for weight, _ in sources])

    def patch(self, rng: np.random.Generator) -> KnownPatch:
        return self._drawn(rng).patch(rng)

    def axial(self, rng: np.random.Generator) -> KnownSlice:
        return self._drawn(rng).axial(rng)

    def _drawn(self, rng: np.random.Generator) -> Any:
        which = int(np.searchsorted(self._limits, rng.random() * self._limits[-1], side="right"))
        return self._sources[min(which, len(self._sources) - 1)]


class _Stream(Dataset[Sample]):
    """`count` samples, each drawn with a generator of its own."""

    def __init__(self, seed: int, stream: int, count: int) -> None:
        self._key, self._count = (stream, check_training_seed(seed)), count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Sample:
        return self.sample(np.random.default_rng([*self._key, index]))

    def sample(self, rng: np.random.Generator) -> Sample:
        raise NotImplementedError


class CropStream(_Stream):
    """Classifier samples: all regions of a level, in `views` variations of place, size, contrast and noise.

    Args:
        label_noise: Share of grades that are moved to a neighbouring grade, their measures then unknown: what labelling
            by people adds. 0 trains on the reference as it is.
    """

    def __init__(
        self, source: PatchSource, config: ClassifierConfig, *, views: int, seed: int, stream: int, count: int,
        label_noise: float = 0.0,
    ) -> None:
        super().__init__(seed, stream, count)
        self._source, self._config, self._views, self._label_noise = source, config, views, label_noise

    def sample(self, rng: np.random.Generator) -> Sample:
        patch = self._source.patch(rng)
        return joined([self._view(patch, rng) for _ in range(self._views)])

    def _view(self, patch: KnownPatch, rng: np.random.Generator) -> Sample:
        planes = vary_hu(patch.planes, rng)
        crops, masks, measures, grades, recess, gradable = [], [], [], [], [], []
        for region, known in patch.regions.items():
            misplaced = rng.random() < MISPLACED_SHARE
            centre = _moved(known.centre, patch.pixel_spacing_mm, rng, off_by=_off_by(region) if misplaced else None)
            zoom = float(rng.uniform(0.95, 1.05)) if known.measures else 1.0
            place = _Place(patch.pixel_spacing_mm, region, centre, self._config, zoom)
            crop = crop_stack(planes, **vars(place))
            mask = self._mask(patch, place)
            if region is Region.CENTRAL_CANAL and rng.random() < 0.5:
                crop, mask = crop[:, :, ::-1], mask[:, :, ::-1]
            there = patch.gradable and not misplaced
            seen = _zoomed(region, known, zoom) if there else KnownRegion(centre, None)
            seen = _as_labelled(seen, rng) if rng.random() < self._label_noise else seen
            crops.append(crop)
            masks.append(mask)
            measures.append(in_head_units(region, seen.measures))
            grades.append(UNKNOWN_GRADE if seen.grade is None else int(seen.grade))
            recess.append(is_recess(region))
            gradable.append(float(there))
        return {
            "crops": torch.from_numpy(np.stack(crops)), "masks": torch.from_numpy(np.stack(masks)),
            "measures": torch.tensor(measures, dtype=torch.float32), "grades": torch.tensor(grades),
            "recess": torch.tensor(recess), "gradable": torch.tensor(gradable),
        }

    def _mask(self, patch: KnownPatch, place: _Place) -> np.ndarray:
        """Of the crop at this place; NaN where it is not known."""
        if patch.masks is None:
            return np.full((MASKS, *[self._config.crop_px // 2] * 2), np.nan, np.float32)
        return crop_masks(patch.masks, **vars(place))


@dataclass(frozen=True)
class _Place:
    """Where a crop is taken, as `crop_stack` and `crop_masks` are told."""

    pixel_spacing_mm: tuple[float, float]
    region: Region
    centre: tuple[float, float]
    config: ClassifierConfig
    zoom: float


def _off_by(region: Region) -> tuple[float, float]:
    """Least and greatest distance in mm at which a box is no longer on its region."""
    return (9.0, 15.0) if is_recess(region) else (13.0, 18.0)


def _moved(
    centre: tuple[float, float], spacing: tuple[float, float], rng: np.random.Generator, *,
    off_by: tuple[float, float] | None,
) -> tuple[float, float]:
    """A detector's error of up to 2 mm each way, or a misplacement by a distance within `off_by`."""
    down, right = rng.uniform(-2.0, 2.0, 2)
    if off_by is not None:
        distance, angle = rng.uniform(*off_by), rng.uniform(0, 2 * np.pi)
        down, right = distance * np.sin(angle), distance * np.cos(angle)
    return centre[0] + float(down) / spacing[0], centre[1] + float(right) / spacing[1]


def _zoomed(region: Region, known: KnownRegion, zoom: float) -> KnownRegion:
    """What a crop shows that was taken `zoom` times as large: lengths divided by it, areas by its square."""
    apparent = {name: value / (zoom**2 if name == SAC_AREA else zoom) for name, value in known.measures.items()}
    name = measure_of(region)
    grade = grade_of_measure(name, apparent[name]) if name in apparent else known.grade
    return KnownRegion(known.centre, grade, apparent)


def _as_labelled(known: KnownRegion, rng: np.random.Generator) -> KnownRegion:
    """The neighbouring grade that another surgeon might give; nothing is measured."""
    if known.grade is None:
        return known
    near = [g for g in Grade if abs(g - known.grade) == 1]
    return KnownRegion(known.centre, near[int(rng.integers(len(near)))])


def vary_hu(planes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Calibration, contrast, sharpness and shading as other scanners have them, now and then more noise; float32."""
    varied = planes.astype(np.float32) * np.float32(rng.normal(1.0, 0.04)) + np.float32(rng.normal(0.0, 6.0))
    if rng.random() < 0.4:                                          # beam hardening and scatter: a slow gradient
        rows, cols = (np.linspace(-1, 1, n, dtype=np.float32) for n in planes.shape[-2:])
        down, right, bowl = rng.normal(0, 8, 3).astype(np.float32)
        varied += down * rows[:, None] + right * cols + bowl * (rows[:, None] ** 2 + cols**2 - 0.67)
    if rng.random() < 0.25:
        sigma = (0.0,) * (varied.ndim - 2) + (float(rng.uniform(0.3, 0.8)),) * 2
        smooth = gaussian_filter(varied, sigma)
        varied = smooth if rng.random() < 0.6 else varied + np.float32(rng.uniform(0.3, 1.0)) * (varied - smooth)
    if rng.random() < 0.3:
        varied += rng.standard_normal(planes.shape, dtype=np.float32) * np.float32(rng.uniform(2, 15))
    return varied


class SliceStream(_Stream):
    """Detector samples: a square of an axial slice and the maps that the network should give."""

    def __init__(
        self, source: SliceSource, config: DetectorConfig, *, field_mm: float, seed: int, stream: int, count: int
    ) -> None:
        super().__init__(seed, stream, count)
        self._source, self._config, self._field_mm = source, config, field_mm

    def sample(self, rng: np.random.Generator) -> Sample:
        known = self._source.axial(rng)
        if rng.random() < 0.5:
            known = mirrored(known)
        scale = float(rng.uniform(0.88, 1.12))
        spacing = (known.pixel_spacing_mm[0] * scale, known.pixel_spacing_mm[1] * scale)
        frame = SliceFrame(self._centre(known, spacing, rng), spacing, self._field_mm)
        image = slice_image(vary_hu(known.hu, rng), frame, self._config)
        targets = slice_targets(known.boxes, frame, cell_mm=2 * self._config.pixel_mm)
        return {"image": torch.from_numpy(image)[None], **targets}

    def _centre(
        self, known: KnownSlice, spacing: tuple[float, float], rng: np.random.Generator
    ) -> tuple[float, float]:
        """Of the whole slice where it fits; otherwise around the canal or the body, anywhere that keeps them in."""
        rows, cols = known.hu.shape
        if max(rows * spacing[0], cols * spacing[1]) <= self._field_mm:
            return (rows - 1) / 2, (cols - 1) / 2
        canal = known.boxes.get(Region.CENTRAL_CANAL)
        row, col = body_centre(known.hu) if canal is None else canal.centre
        reach = 0.35 * self._field_mm
        return row - rng.uniform(-0.4, 1.0) * reach / spacing[0], col + rng.uniform(-1.0, 1.0) * reach / spacing[1]


def mirrored(known: KnownSlice) -> KnownSlice:
    """Left and right exchanged, in pixels and names."""
    left, right = Region.LEFT_LATERAL_RECESS, Region.RIGHT_LATERAL_RECESS
    swap = {left: right, right: left}
    last = known.hu.shape[1] - 1
    boxes = {
        swap.get(region, region): Box(box.row0, last - box.col1, box.row1, last - box.col0)
        for region, box in known.boxes.items()
    }
    return KnownSlice(known.hu[:, ::-1], known.pixel_spacing_mm, boxes)


def slice_targets(boxes: dict[Region, Box], frame: SliceFrame, *, cell_mm: float, sigma_mm: float = 4.0) -> Sample:
    """Heat [3, H, W] and geometry [3, 4, H, W] (offset rows, columns, height, width) with the cells that learn it.

    Geometry is learned where the heat is above a half. A region outside the frame is not there.
    """
    cells = round(frame.field_mm / cell_mm)
    heat = np.zeros((len(REGIONS), cells, cells), np.float32)
    geometry = np.zeros((len(REGIONS), 4, cells, cells), np.float32)
    grid = (np.arange(cells, dtype=np.float32) + 0.5) * cell_mm
    for channel, region in enumerate(REGIONS):
        if region not in boxes:
            continue
        row, col = frame.from_volume(*boxes[region].centre)
        if not (0 <= row < frame.field_mm and 0 <= col < frame.field_mm):
            continue
        down, right = row - grid[:, None], col - grid[None, :]
        heat[channel] = np.exp(-0.5 * (down**2 + right**2) / sigma_mm**2)
        heat[channel, int(row / cell_mm), int(col / cell_mm)] = 1.0
        height, width = (size * mm for size, mm in zip(boxes[region].size, frame.pixel_spacing_mm, strict=True))
        geometry[channel, 0], geometry[channel, 1] = down / OFFSET_UNIT_MM, right / OFFSET_UNIT_MM
        geometry[channel, 2], geometry[channel, 3] = height / SIZE_UNIT_MM, width / SIZE_UNIT_MM
    gradable = np.float32(heat[0].max() == 1.0)
    return {
        "heat": torch.from_numpy(heat)[None], "geometry": torch.from_numpy(geometry)[None],
        "learned": torch.from_numpy(heat > 0.5)[None], "gradable": torch.tensor([gradable]),
    }


class SagittalStream(_Stream):
    """Level network samples: straightened slabs of a coarse volume in `views` variations, of a fixed length."""

    def __init__(self, *, rows: int, views: int, seed: int, stream: int, count: int) -> None:
        super().__init__(seed, stream, count)
        self._rows, self._views = rows, views

    def sample(self, rng: np.random.Generator) -> Sample:
        coarse = sample_coarse_volume(rng)
        return joined([self._view(coarse, rng) for _ in range(self._views)])

    def _view(self, coarse: CoarseVolume, rng: np.random.Generator) -> Sample:
        straightened = straighten(coarse.volume, jittered_line(coarse, rng))
        image = level_image(Straightened(vary_hu(straightened.hu, rng), straightened.positions_mm))
        if rng.random() < LOOSENED_SHARE:
            image = loosened(image, rng)
        heat, toward = disc_heat(coarse, straightened), toward_disc(coarse, straightened)
        image = np.clip(image * rng.normal(1.0, 0.18) + rng.normal(0.0, 0.06), 0, 1).astype(np.float32)
        if rng.random() < 0.5:
            image = image[::-1]                                     # left and right slabs exchanged
        return _fixed_rows(np.ascontiguousarray(image), heat, toward, self._rows, rng)


def loosened(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A level image whose lateral slabs, and what lies behind the canal, have slid along the spine against its middle.

    How pedicles, foramina and laminae lie against the disc differs more between people than between simulated ones; the
    vertebral bodies and discs of the middle slab are to decide where a disc is.
    """
    behind = DEPTHS_MM > BEHIND_MM
    near, far, back = rng.uniform(-LOOSENED_MM, LOOSENED_MM, 3) / PITCH_MM
    out = image.copy()
    for slab, offset_mm in enumerate(SLAB_OFFSETS_MM):
        if offset_mm:
            out[slab] = shift(image[slab], (near if abs(offset_mm) < 18 else far, 0), order=1, mode="nearest")
        else:
            out[slab][:, behind] = shift(image[slab][:, behind], (back, 0), order=1, mode="nearest")
    return out


def jittered_line(coarse: CoarseVolume, rng: np.random.Generator) -> CanalLine:
    """The true canal line with the errors that a traced one has, and traced no farther than the detector sees it."""
    volume = coarse.volume
    positions = volume.positions_mm
    knots = np.linspace(positions[0], positions[-1], 5)
    rows, cols = (
        coarse.canal[:, k] * volume.pixel_spacing_mm[k]
        + np.interp(positions, knots, rng.normal(0, 2.0, len(knots))) + rng.normal(0, 1.5)
        for k in (0, 1)
    )
    low = coarse.discs["L5/S1"][0] - rng.uniform(0, 30) if "L5/S1" in coarse.discs else -np.inf
    high = coarse.discs["T12/L1"][0] + rng.uniform(0, 60) if "T12/L1" in coarse.discs else np.inf
    seen = (positions >= low) & (positions <= high)
    if not seen.any():
        return CanalLine(positions, rows, cols)
    return extend_line(positions, CanalLine(positions[seen], rows[seen], cols[seen]))


def _marked(coarse: CoarseVolume) -> dict[str, float]:
    """Names and places in mm of the discs that count as such: all but those of the sacrum."""
    return {name: place for name, (place, _, _) in coarse.discs.items() if not name.startswith("S")}


def toward_disc(coarse: CoarseVolume, straightened: Straightened) -> np.ndarray:
    """Mm headward from each row to the nearest disc that `disc_heat` marks, float32 [z]; NaN without a disc."""
    places = np.array(list(_marked(coarse).values()))
    if not len(places):
        return np.full(len(straightened.positions_mm), np.nan, np.float32)
    away = places[None, :] - straightened.positions_mm[:, None]
    return away[np.arange(len(away)), np.abs(away).argmin(axis=1)].astype(np.float32)


def disc_heat(coarse: CoarseVolume, straightened: Straightened, *, sigma_mm: float = 4.0) -> np.ndarray:
    """Target heat float32 [3, z, depth]: any disc from T10/11 to L5/S1, the L5/S1 disc, thoracic discs.

    The heat lies at the canal's front wall, on the columns where peaks are read; L5/S1 counts only where the first
    sacral vertebra is in view below it.
    """
    heat = np.zeros((3, len(straightened.positions_mm), len(DEPTHS_MM)), np.float32)
    names = {level.value for level in DiscLevel}
    front = np.exp(-0.5 * ((DEPTHS_MM + 8.0) / 5.0) ** 2)
    front = front / front.max()
    for name, position_mm in _marked(coarse).items():
        along = np.exp(-0.5 * ((straightened.positions_mm - position_mm) / sigma_mm) ** 2)
        along[int(np.argmin(np.abs(straightened.positions_mm - position_mm)))] = 1.0
        blob = (along[:, None] * front[None, :]).astype(np.float32)
        channels = [ANY_DISC]
        if name == DiscLevel.L5_S1 and coarse.sacrum_in_view:
            channels.append(LUMBOSACRAL)
        if name not in names:
            channels.append(THORACIC)
        for channel in channels:
            heat[channel] = np.maximum(heat[channel], blob)
    return heat


def _fixed_rows(
    image: np.ndarray, heat: np.ndarray, toward: np.ndarray, rows: int, rng: np.random.Generator
) -> Sample:
    """Cut (at random) or pad along z to `rows`; padded rows do not count."""
    length = image.shape[1]
    if length >= rows:
        first = int(rng.integers(0, length - rows + 1))
        cut = slice(first, first + rows)
        image, heat, toward, counted = image[:, cut], heat[:, cut], toward[cut], np.ones(rows, bool)
    else:
        missing = ((0, 0), (0, rows - length), (0, 0))
        image, heat = np.pad(image, missing, mode="edge"), np.pad(heat, missing)
        toward = np.pad(toward, missing[1], constant_values=np.nan)
        counted = np.arange(rows) < length
    return {
        "image": torch.from_numpy(np.ascontiguousarray(image))[None],
        "heat": torch.from_numpy(np.ascontiguousarray(heat))[None],
        "toward": torch.from_numpy(np.ascontiguousarray(toward))[None], "counted": torch.from_numpy(counted)[None],
    }


def joined(samples: Sequence[Sample]) -> Sample:
    """Concatenate samples along their first axis; one sample may hold several crops or views."""
    return {key: torch.cat([sample[key] for sample in samples]) for key in samples[0]}
