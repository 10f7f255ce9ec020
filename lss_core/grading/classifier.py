"""From a crop around a region to the probabilities of its four ordered grades.

The network predicts a distribution over the *measure* that the grade is defined by (dural sac area, recess height): a
logistic with a location and a scale. The grade's probabilities are the masses between the published thresholds, so
they are ordered by construction, and wide where the measure is uncertain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import logsigmoid, softplus

from lss_core.grading.backbone import create_backbone
from lss_core.grading.checkpoint import configuration_from
from lss_core.imaging.volume import Volume, crop, window
from lss_core.vocabulary import GRADE_BOUNDS, RECESS_HEIGHT, SAC_AREA, Box, Region

CROP_CHANNELS = 5
AREA_UNIT_MM2 = 25.0                                        # so that areas and heights are numbers of one size
CANAL_CUTS = tuple(bound / AREA_UNIT_MM2 for bound in reversed(GRADE_BOUNDS[SAC_AREA]))     # rising: severe first
RECESS_CUTS = tuple(reversed(GRADE_BOUNDS[RECESS_HEIGHT]))
LOG_SCALE_RANGE = (-3.5, 2.0)


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


@dataclass(frozen=True)
class MeasureDistribution:
    """Logistic distributions over measures: 25 mm2 of sac area for canals, mm of height for recesses. Shapes (B,)."""

    location: torch.Tensor
    log_scale: torch.Tensor
    is_recess: torch.Tensor

    def grade_log_probabilities(self) -> torch.Tensor:
        """(B, 4) log-probabilities of normal, mild, moderate, severe."""
        cuts = self.location.new_tensor([CANAL_CUTS, RECESS_CUTS])[self.is_recess.long()]
        z = (cuts - self.location[:, None]) / self.log_scale.exp()[:, None]
        between = logsigmoid(z[:, 1:]) + logsigmoid(-z[:, :-1]) + torch.log(-torch.expm1(z[:, :-1] - z[:, 1:]))
        severe, normal = logsigmoid(z[:, :1]), logsigmoid(-z[:, -1:])
        return torch.cat([severe, between, normal], dim=1).flip(1)

    def negative_log_density(self, measure: torch.Tensor) -> torch.Tensor:
        """(B,) of a known measure, in the head's units."""
        z = (measure - self.location) / self.log_scale.exp()
        return z + self.log_scale + 2 * softplus(-z)

    def measures(self) -> torch.Tensor:
        """(B,) medians in mm2 or mm."""
        return torch.where(self.is_recess, self.location, self.location * AREA_UNIT_MM2)


class Classifier(nn.Module):
    """A timm backbone over five-channel crops, pooled, with one head for canals and one for recesses."""

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = create_backbone(
            config.backbone, in_channels=CROP_CHANNELS, levels=(config.feature_level - 1, config.feature_level)
        )
        channels = self.backbone.feature_info.channels()[-1]  # type: ignore[union-attr, operator]
        self.canal_head = _head(channels, config, start=float(np.mean(CANAL_CUTS)))
        self.recess_head = _head(channels, config, start=float(np.mean(RECESS_CUTS)))

    def forward(self, crops: torch.Tensor, is_recess: torch.Tensor) -> MeasureDistribution:
        """Crops (B, 5, H, W) and bool (B,)."""
        features = self.backbone(crops)[-1]
        pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3))], dim=1).float()
        chosen = torch.where(is_recess[:, None], self.recess_head(pooled), self.canal_head(pooled)).float()
        return MeasureDistribution(chosen[:, 0], chosen[:, 1].clamp(*LOG_SCALE_RANGE), is_recess)


    def explained_layers(self) -> list[nn.Module]:
        """The layers whose feature maps heat maps are made from: the last two scales."""
        names: list[str] = self.backbone.feature_info.module_name()  # type: ignore[union-attr, operator, assignment]
        return [self.backbone.get_submodule(name.replace(".", "_")) for name in names]


def _head(channels: int, config: ClassifierConfig, *, start: float) -> nn.Sequential:
    """Pooled features to location and log-scale, beginning at the middle of the cuts."""
    last = nn.Linear(config.hidden, 2)
    nn.init.normal_(last.weight, std=0.01)
    with torch.no_grad():
        last.bias.copy_(torch.tensor([start, 0.0]))
    return nn.Sequential(
        nn.Linear(2 * channels, config.hidden), nn.GELU(), nn.Dropout(config.dropout), last
    )


def build_classifier(configuration: Mapping[str, Any]) -> Classifier:
    """From the fields of a card."""
    return Classifier(configuration_from(ClassifierConfig, configuration))


def in_head_units(region: Region, measure: float) -> float:
    """A measure in mm2 or mm as the region's head counts it."""
    return measure / AREA_UNIT_MM2 if region is Region.CENTRAL_CANAL else measure


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


def region_crop(volume: Volume, slice_index: int, region: Region, box: Box, config: ClassifierConfig) -> np.ndarray:
    """`crop_stack` of a region of a volume; the slices beside it are repeated where the volume ends."""
    indices = [volume.neighbour(slice_index, offset) for offset in (-config.neighbour_mm, 0.0, config.neighbour_mm)]
    return crop_stack(
        volume.hu[indices], pixel_spacing_mm=volume.pixel_spacing_mm, region=region, centre=box.centre, config=config
    )


@dataclass(frozen=True)
class CropGrade:
    """Probabilities of grades 0-3 and the median measure in mm2 or mm."""

    probabilities: tuple[float, float, float, float]
    measure_value: float


def grade_crops(classifier: Classifier, crops: np.ndarray, regions: list[Region]) -> list[CropGrade]:
    """Grade crops [n, 5, px, px] of these regions in one forward pass."""
    if not regions:
        return []
    recess = torch.tensor([is_recess(region) for region in regions])
    batch = torch.from_numpy(crops).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        distribution = classifier(batch, recess)
        probabilities = distribution.grade_log_probabilities().double().softmax(dim=1)
    return [
        CropGrade((p[0], p[1], p[2], p[3]), measure)
        for p, measure in zip(probabilities.tolist(), distribution.measures().tolist(), strict=True)
    ]
