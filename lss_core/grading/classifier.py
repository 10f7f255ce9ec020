"""From a crop around a region to the probabilities of its four ordered grades, its measures, and whether to grade it.

Two heads answer the same question in two ways. The ordinal head gives cumulative log-odds (grade at least 1, 2, 3). The
measurement head predicts a logistic distribution over each measure of the region (dural sac area and canal AP diameter,
or recess height); the grading measure's masses between the published thresholds are grade probabilities too. The
grade is read from the geometric mean of both, which is ordered by construction and wide where the heads are unsure or
differ; a canal's counts the measurement three times as much (docs/evaluation.md). A third output says whether the crop
shows this region of a lumbar disc level at all.

Before the heads a coarse mask of the dural sac and of the free canal is drawn, learned from simulated patches, where it
is known. Both heads see its shape beside the backbone's features: an area is easier to read from an outline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import adaptive_avg_pool1d, interpolate, logsigmoid, pad, softplus

from lss_core.grading.backbone import create_backbone
from lss_core.grading.checkpoint import configuration_from
from lss_core.imaging.volume import Volume, crop, window
from lss_core.vocabulary import CANAL_AP, GRADE_BOUNDS, RECESS_HEIGHT, SAC_AREA, Box, Refusal, Region, measures_of

CROP_CHANNELS = 5
# So that areas and lengths are numbers of one size in the network.
MEASURE_UNITS = {SAC_AREA: 25.0, CANAL_AP: 3.0, RECESS_HEIGHT: 1.0}
CANAL_CUTS = tuple(b / MEASURE_UNITS[SAC_AREA] for b in reversed(GRADE_BOUNDS[SAC_AREA]))     # rising: severe first
RECESS_CUTS = tuple(b / MEASURE_UNITS[RECESS_HEIGHT] for b in reversed(GRADE_BOUNDS[RECESS_HEIGHT]))
TYPICAL_AP = 16.0 / MEASURE_UNITS[CANAL_AP]
CANAL_MEASURED_WEIGHT, RECESS_MEASURED_WEIGHT = 0.75, 0.5      # of the measurement head in a grade
LOG_SCALE_RANGE = (-3.5, 2.0)
MASKS, SAC_MASK, FREE_MASK = 2, 0, 1        # dural sac; free of bone and disc
MASK_WIDTHS, SHAPE_WIDTHS = (48, 32, 16, 16), (16, 32, 64)
GAPS, GAP_UNITS = 48, 5.0           # columns along which the free height is summed; a fifth of the crop counts 1
MASK_FEATURES = 2 * SHAPE_WIDTHS[-1] + GAPS
RECESS_COLUMN, RECESS_REACH = 0.56, 0.12   # where the narrowest place is looked for at first, as shares of the crop
GAP_SHARPNESS = 50.0
MASK_START = -3.0                   # log-odds before anything is learned: a twentieth of a crop is sac
MEASURES = 2                        # outputs of the measurement head; recesses use the first alone
ORDINAL = slice(0, 3)
LOCATION, LOG_SCALE = slice(3, 3 + MEASURES), slice(3 + MEASURES, 3 + 2 * MEASURES)
GRADABLE = 3 + 2 * MEASURES
OUTPUTS = GRADABLE + 1
AT_ONCE = 16                        # crops in one pass


@dataclass(frozen=True)
class ClassifierConfig:
    """Fields of a classifier's card; crops are squares of fixed physical size."""

    backbone: str = "resnet18"
    feature_level: int = 3              # timm feature map that is pooled; 3 is stride 16
    hidden: int = 128
    dropout: float = 0.1
    canal_mm: float = 48.0
    recess_mm: float = 32.0
    crop_px: int = 96
    neighbour_mm: float = 3.0           # distance of the slices below and above
    measurement_head: bool = True       # without it the ordinal head grades alone and nothing is measured
    canal_measured_weight: float = CANAL_MEASURED_WEIGHT    # of that head in a canal's grade
    mask_head: bool = True              # without it both heads see the backbone's features alone

    def __post_init__(self) -> None:
        if not 0 <= self.canal_measured_weight <= 1:
            raise Refusal(f"canal_measured_weight is a share from 0 to 1, not {self.canal_measured_weight:g}.")


@dataclass(frozen=True)
class CropOutput:
    """What the network says of crops: its raw numbers (B, OUTPUTS), and which crops are recesses (B,)."""

    raw: torch.Tensor
    is_recess: torch.Tensor
    measures_count: bool = True         # whether the measurement head takes part in the grade
    canal_measured_weight: float = CANAL_MEASURED_WEIGHT    # and how much in a canal's
    mask_logits: torch.Tensor | None = None     # (B, MASKS, h, w) log-odds of sac and free canal, over the crop

    @property
    def gradable_logit(self) -> torch.Tensor:
        """(B,) log-odds that the crop shows this region of a lumbar disc level."""
        return self.raw[:, GRADABLE]

    @property
    def location(self) -> torch.Tensor:
        """(B, MEASURES) medians in units of MEASURE_UNITS."""
        return self.raw[:, LOCATION]

    @property
    def log_scale(self) -> torch.Tensor:
        """(B, MEASURES)."""
        return self.raw[:, LOG_SCALE].clamp(*LOG_SCALE_RANGE)

    def grade_log_probabilities(self) -> torch.Tensor:
        """(B, 4) log-probabilities of normal, mild, moderate, severe: both heads' weighted geometric mean."""
        ordinal = self.ordinal_log_probabilities()
        if not self.measures_count:
            return ordinal
        weights = self.raw.new_tensor([self.canal_measured_weight, RECESS_MEASURED_WEIGHT])
        weight = weights[self.is_recess.long()][:, None]
        return ((1 - weight) * ordinal + weight * self.measured_log_probabilities()).log_softmax(1)

    def ordinal_log_probabilities(self) -> torch.Tensor:
        """(B, 4) by the ordinal head: the first number is the log-odds of grade >= 1, the others its falls."""
        first, second, third = self.raw[:, ORDINAL].unbind(1)
        above = torch.stack([first, first - softplus(second), first - softplus(second) - softplus(third)], 1)
        return _interval_masses(above.flip(1)).flip(1)

    def measured_log_probabilities(self) -> torch.Tensor:
        """(B, 4) by the measurement head: masses of the grading measure between the published thresholds."""
        cuts = self.raw.new_tensor([CANAL_CUTS, RECESS_CUTS])[self.is_recess.long()]
        z = (cuts - self.location[:, :1]) / self.log_scale[:, :1].exp()
        return _interval_masses(-z.flip(1))

    def negative_log_density(self, measures: torch.Tensor) -> torch.Tensor:
        """(B, MEASURES) of known measures in the head's units."""
        z = (measures - self.location) / self.log_scale.exp()
        return z + self.log_scale + 2 * softplus(-z)

    def measures(self) -> list[dict[str, float]]:
        """Medians in mm2 or mm by name, for each crop; empty without a measurement head."""
        if not self.measures_count:
            return [{} for _ in range(len(self.raw))]
        return [
            {name: float(value) * MEASURE_UNITS[name] for name, value in zip(names, values, strict=False)}
            for recess, values in zip(self.is_recess.tolist(), self.location.tolist(), strict=True)
            for names in [measures_of(Region.LEFT_LATERAL_RECESS if recess else Region.CENTRAL_CANAL)]
        ]


def _interval_masses(rising: torch.Tensor) -> torch.Tensor:
    """Log-masses (B, n + 1) of a logistic between n cuts, whose log-odds of lying above the cut rise along axis 1.

    The first mass lies above every cut; with `rising` the log-odds of grade >= 3, 2, 1 the masses are grades 3 to 0.
    """
    inner = logsigmoid(rising[:, 1:]) + logsigmoid(-rising[:, :-1])
    inner = inner + torch.log(-torch.expm1((rising[:, :-1] - rising[:, 1:]).clamp_max(-1e-6)))
    return torch.cat([logsigmoid(rising[:, :1]), inner, logsigmoid(-rising[:, -1:])], dim=1)


class Classifier(nn.Module):
    """A timm backbone over five-channel crops, pooled, with one head for canals and one for recesses."""

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = create_backbone(
            config.backbone, in_channels=CROP_CHANNELS,
            levels=tuple(range(0 if config.mask_head else config.feature_level - 1, config.feature_level + 1)),
        )
        channels: list[int] = self.backbone.feature_info.channels()  # type: ignore[union-attr, operator, assignment]
        self.masks = MaskHead(channels) if config.mask_head else None
        drawn = 0.0 if config.mask_head else 1.0
        self.canal_head = _head(channels[-1], config, start=(drawn * float(np.mean(CANAL_CUTS)), TYPICAL_AP))
        self.recess_head = _head(channels[-1], config, start=(drawn * float(np.mean(RECESS_CUTS)), 0.0))

    def forward(self, crops: torch.Tensor, is_recess: torch.Tensor) -> CropOutput:
        """Crops (B, 5, H, W) and bool (B,)."""
        raw, mask_logits = self._read(crops, is_recess)
        return CropOutput(
            raw, is_recess, self.config.measurement_head, self.config.canal_measured_weight, mask_logits
        )

    def outputs(self, crops: torch.Tensor, is_recess: torch.Tensor) -> torch.Tensor:
        """(B, OUTPUTS) float32: what `CropOutput` reads."""
        return self._read(crops, is_recess)[0]

    def _read(self, crops: torch.Tensor, is_recess: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        features = self.backbone(crops)
        pooled = _pooled(features[-1])
        if self.masks is None:
            return self._heads(pooled, is_recess).float(), None
        mask_logits = self.masks(features)
        drawn = mask_logits.sigmoid()
        gaps = _gaps(drawn)
        pooled = torch.cat([pooled, _pooled(self.masks.shape(drawn)), gaps * GAP_UNITS], dim=1)
        area = drawn[:, SAC_MASK].mean((1, 2)) * (self.config.canal_mm**2 / MEASURE_UNITS[SAC_AREA])
        height = self.masks.narrowest(gaps, pooled) * (self.config.recess_mm / MEASURE_UNITS[RECESS_HEIGHT])
        first = LOCATION.start                  # the grading measure
        measured = pad(torch.where(is_recess, height, area)[:, None], (first, OUTPUTS - first - 1))
        return (self._heads(pooled, is_recess) + measured).float(), mask_logits

    def _heads(self, pooled: torch.Tensor, is_recess: torch.Tensor) -> torch.Tensor:
        return torch.where(is_recess[:, None], self.recess_head(pooled), self.canal_head(pooled))

    def explained_layers(self) -> list[nn.Module]:
        """The layers whose feature maps heat maps are made from: the last two scales of the backbone and, where masks
        are drawn, the mask head's second, which lies on the picture more finely (docs/evaluation.md, section 5)."""
        names: list[str] = self.backbone.feature_info.module_name()[-2:]  # type: ignore[union-attr, operator, index]
        modules = dict(self.backbone.named_modules())       # timm flattens the names of some networks and not of others
        layers = [modules.get(name) or modules[name.replace(".", "_")] for name in names]
        return layers if self.masks is None else [*layers, *self.masks.up[1:2]]


class MaskHead(nn.Module):
    """Feature maps of all scales to mask log-odds at the finest, and the masks to features of their shape."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        deepest, *finer = reversed(channels)
        inputs = [deepest, *MASK_WIDTHS]
        self.up = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a + skip, b, 1), nn.GELU(), nn.Conv2d(b, b, 3, padding=1), nn.GELU())
            for a, b, skip in zip(inputs, MASK_WIDTHS, finer, strict=False)
        )
        self.draw = nn.Conv2d(inputs[len(finer)], MASKS, 3, padding=1)
        nn.init.constant_(self.draw.bias, MASK_START)  # type: ignore[arg-type]
        layers = []
        for before, after in pairwise((MASKS, *SHAPE_WIDTHS)):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GELU()]
        self.shape = nn.Sequential(*layers)
        self.where = nn.Linear(2 * channels[-1] + MASK_FEATURES, GAPS)
        nn.init.zeros_(self.where.weight)
        with torch.no_grad():
            self.where.bias.copy_(-(((torch.arange(GAPS) / GAPS - RECESS_COLUMN) / RECESS_REACH) ** 2))

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """(B, MASKS, h, w) of the size of the first, finest map."""
        x, *finer = reversed(features)
        for block, skip in zip(self.up, finer, strict=True):
            x = block(torch.cat([interpolate(x, size=skip.shape[-2:], mode="nearest"), skip], dim=1))
        return self.draw(x)

    def narrowest(self, gaps: torch.Tensor, pooled: torch.Tensor) -> torch.Tensor:
        """(B,) free height, as a share of the crop, in the columns where a recess is narrowest."""
        looked_at = (self.where(pooled) - GAP_SHARPNESS * gaps).softmax(1)
        return (looked_at * gaps).sum(1)


def _gaps(drawn: torch.Tensor) -> torch.Tensor:
    """(B, GAPS) free height in each column of masks, as a share of the crop."""
    return adaptive_avg_pool1d(drawn[:, FREE_MASK].mean(1), GAPS)


def _pooled(features: torch.Tensor) -> torch.Tensor:
    """Mean and maximum over the map: (B, 2 * channels)."""
    return torch.cat([features.mean((2, 3)), features.amax((2, 3))], dim=1)


def _head(channels: int, config: ClassifierConfig, *, start: tuple[float, float]) -> nn.Sequential:
    """Pooled features to OUTPUTS numbers, the measures beginning at `start`."""
    last = nn.Linear(config.hidden, OUTPUTS)
    nn.init.normal_(last.weight, std=0.01)
    bias = torch.zeros(OUTPUTS)
    bias[LOCATION] = torch.tensor(start)
    with torch.no_grad():
        last.bias.copy_(bias)
    read = 2 * channels + (MASK_FEATURES if config.mask_head else 0)
    return nn.Sequential(nn.Linear(read, config.hidden), nn.GELU(), nn.Dropout(config.dropout), last)


def build_classifier(configuration: Mapping[str, Any]) -> Classifier:
    """From the fields of a card; cards from before there was a mask head, or a weight of the heads, do not name it."""
    before = {"mask_head": False, "canal_measured_weight": 0.5}
    return Classifier(configuration_from(ClassifierConfig, {**before, **configuration}))


def in_head_units(region: Region, measures: Mapping[str, float]) -> list[float]:
    """Measures in mm2 or mm as the network counts them, MEASURES numbers; NaN where not known."""
    known = [measures.get(name, np.nan) / MEASURE_UNITS[name] for name in measures_of(region)]
    return [*known, *[float("nan")] * (MEASURES - len(known))]


def is_recess(region: Region) -> bool:
    return region is not Region.CENTRAL_CANAL


def field_mm(region: Region, config: ClassifierConfig) -> float:
    """Physical size of a region's crop."""
    return config.recess_mm if is_recess(region) else config.canal_mm


def crop_stack(
    planes: np.ndarray, *, pixel_spacing_mm: tuple[float, float], region: Region, centre: tuple[float, float],
    config: ClassifierConfig, zoom: float = 1.0,
) -> np.ndarray:
    """The network's input for one region: float32 [5, px, px] in 0..1.

    Args:
        planes: HU [3, row, column]: the slice below, this one, the slice above.
        centre: (row, column) pixels of the region.
        zoom: Factor on the crop's physical size, for training.
    """
    size_mm = zoom * field_mm(region, config)
    below, this, above = (
        crop(plane, pixel_spacing_mm=pixel_spacing_mm, centre=centre, size_mm=size_mm, size_px=config.crop_px)
        for plane in planes
    )
    channels = np.stack([
        window(this, width=350, level=45), window(this, width=1800, level=450), window(this, width=150, level=40),
        window(below, width=350, level=45), window(above, width=350, level=45),
    ])
    return np.ascontiguousarray(channels[:, :, ::-1]) if region is Region.RIGHT_LATERAL_RECESS else channels


def crop_masks(
    masks: np.ndarray, *, pixel_spacing_mm: tuple[float, float], region: Region, centre: tuple[float, float],
    config: ClassifierConfig, zoom: float = 1.0,
) -> np.ndarray:
    """What `crop_stack` shows of a slice's masks (0..255, [MASKS, row, column]): float32 [MASKS, px / 2, px / 2]."""
    cut = np.stack([
        crop(mask, pixel_spacing_mm=pixel_spacing_mm, centre=centre, size_mm=zoom * field_mm(region, config),
             size_px=config.crop_px // 2, outside=0.0)
        for mask in masks
    ]) / np.float32(255)
    return cut[:, :, ::-1] if region is Region.RIGHT_LATERAL_RECESS else cut


def region_crop(volume: Volume, slice_index: int, region: Region, box: Box, config: ClassifierConfig) -> np.ndarray:
    """`crop_stack` of a region of a volume."""
    planes = neighbours(volume, slice_index, config)
    return crop_stack(
        planes, pixel_spacing_mm=volume.pixel_spacing_mm, region=region, centre=box.centre, config=config
    )


def neighbours(volume: Volume, slice_index: int, config: ClassifierConfig) -> np.ndarray:
    """HU [3, row, column] of the slices below, at and above; repeated where the volume ends."""
    offsets = (-config.neighbour_mm, 0.0, config.neighbour_mm)
    return volume.hu[[volume.neighbour(slice_index, offset) for offset in offsets]]


@dataclass(frozen=True)
class CropGrade:
    """What one view of a region gives, not yet calibrated."""

    log_probabilities: np.ndarray           # float64 [4]
    ordinal_expected: float                 # grade by the ordinal head alone, 0..3
    measured_expected: float                # grade by the measurement head alone, 0..3
    measures: Mapping[str, float]           # mm2 or mm by name
    gradable_logit: float


def grade_crops(classifier: Classifier, crops: np.ndarray, regions: Sequence[Region]) -> list[CropGrade]:
    """Grade crops [n, 5, px, px] of these regions, some at a time, which keeps memory low."""
    return [
        grade
        for first in range(0, len(regions), AT_ONCE)
        for grade in _graded(classifier, crops[first : first + AT_ONCE], regions[first : first + AT_ONCE])
    ]


def _graded(classifier: Classifier, crops: np.ndarray, regions: Sequence[Region]) -> list[CropGrade]:
    recess = torch.tensor([is_recess(region) for region in regions])
    batch = torch.from_numpy(crops).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        output = classifier(batch, recess)
        logs = output.grade_log_probabilities().double().log_softmax(1).numpy()
        ordinal, measured = (_expected(p) for p in (output.ordinal_log_probabilities(),
                                                    output.measured_log_probabilities()))
    return [
        CropGrade(*values)
        for values in zip(logs, ordinal, measured, output.measures(), output.gradable_logit.tolist(), strict=True)
    ]


def _expected(log_probabilities: torch.Tensor) -> list[float]:
    """Expected grade of each row."""
    return (log_probabilities.exp() @ torch.arange(4.0)).tolist()
