"""From axial slices to three region boxes each: a fully convolutional network over single slices.

Slices are resampled to a coarse pixel; the network gives a heat map of each region's centre, from whose peak the
centre and the box's size are read, and one number per slice: is there a lumbar canal to grade at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import interpolate

from lss_core.grading.backbone import create_backbone
from lss_core.grading.checkpoint import configuration_from
from lss_core.imaging.volume import Volume, crop, window
from lss_core.vocabulary import Box, Region

REGIONS = tuple(Region)                 # channel order
SLICE_CHANNELS = 2
FIELD_STEP_PX = 32                      # the backbone's deepest stride
BODY_HU = -300.0
SIZE_UNIT_MM = 10.0                     # box sizes as the network counts them
OFFSET_UNIT_MM = 3.0


@dataclass(frozen=True)
class DetectorConfig:
    """Fields of a detector's card."""

    backbone: str = "mobilenetv3_small_100"
    width: int = 40                     # channels of the decoder
    pixel_mm: float = 1.5
    max_field_mm: float = 384.0
    threshold: float = 0.25             # least heat of a reported region
    near_threshold: float = 0.08        # the same beside a disc that is known to be there
    gradable_threshold: float = 0.5
    recess_reach_mm: float = 25.0       # farthest a recess may lie from its canal
    candidates: int = 3                 # canal peaks kept per slice
    stack: int = 8                      # slices per forward pass


@dataclass(frozen=True)
class SliceFrame:
    """Where a network image lies on its slice, in pixels of the volume."""

    centre: tuple[float, float]
    pixel_spacing_mm: tuple[float, float]
    field_mm: float

    def to_volume(self, row_mm: float, col_mm: float) -> tuple[float, float]:
        """(row, column) volume pixels of a point in mm from the image's upper left corner."""
        return tuple(  # type: ignore[return-value]
            centre + (mm - self.field_mm / 2) / pitch
            for centre, mm, pitch in zip(self.centre, (row_mm, col_mm), self.pixel_spacing_mm, strict=True)
        )

    def from_volume(self, row: float, col: float) -> tuple[float, float]:
        """The inverse of `to_volume`."""
        return tuple(  # type: ignore[return-value]
            (pixel - centre) * pitch + self.field_mm / 2
            for pixel, centre, pitch in zip((row, col), self.centre, self.pixel_spacing_mm, strict=True)
        )


@dataclass(frozen=True)
class Detection:
    """A region found on a slice; the box is in volume pixels, confidence 0..1."""

    box: Box
    confidence: float


@dataclass(frozen=True)
class SliceFinding:
    """What the detector sees on one slice."""

    slice_index: int
    gradable: float                                     # 0..1: the lumbar canal is here to be graded
    regions: dict[Region, Detection | None]
    canal_candidates: tuple[Detection, ...] = field(default=())     # best first


@dataclass(frozen=True)
class SliceMaps:
    """The network's output. Maps are at half the input's resolution."""

    heat: torch.Tensor          # (B, 3, H, W) logits of region centres
    offset: torch.Tensor        # (B, 3, 2, H, W) from the cell's centre, in OFFSET_UNIT_MM
    size: torch.Tensor          # (B, 3, 2, H, W) height, width in SIZE_UNIT_MM
    gradable: torch.Tensor      # (B,) logits


class Detector(nn.Module):
    """A light timm backbone with a feature-pyramid decoder back to half resolution."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = create_backbone(config.backbone, in_channels=SLICE_CHANNELS, levels=(0, 1, 2, 3, 4))
        channels: list[int] = self.backbone.feature_info.channels()  # type: ignore[union-attr, operator, assignment]
        self.lateral = nn.ModuleList(nn.Conv2d(c, config.width, 1) for c in channels)
        self.merge = nn.ModuleList(_convolution(config.width, config.width) for _ in channels[1:])
        self.trunk = _convolution(config.width, config.width)
        self.heat = nn.Conv2d(config.width, 3, 1)
        self.geometry = nn.Conv2d(config.width, 12, 1)
        self.slice_head = nn.Linear(2 * channels[-1], 1)
        nn.init.constant_(self.heat.bias, -4.0)  # type: ignore[arg-type]   # centres are rare: begin with few of them

    def forward(self, images: torch.Tensor) -> SliceMaps:
        """Images (B, 2, H, W) with H and W multiples of 32."""
        features = self.backbone(images)
        deepest = features[-1].float()
        gradable = self.slice_head(torch.cat([deepest.mean((2, 3)), deepest.amax((2, 3))], dim=1))[:, 0]
        x = self.lateral[-1](features[-1])
        for level in range(len(features) - 2, -1, -1):
            x = interpolate(x, scale_factor=2.0, mode="nearest") + self.lateral[level](features[level])
            x = self.merge[level](x)
        x = self.trunk(x)
        geometry = self.geometry(x).float().unflatten(1, (3, 4))
        return SliceMaps(self.heat(x).float(), geometry[:, :, :2], geometry[:, :, 2:], gradable.float())


def _convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


def build_detector(configuration: Mapping[str, Any]) -> Detector:
    """From the fields of a card."""
    return Detector(configuration_from(DetectorConfig, configuration))


def body_centre(plane: np.ndarray) -> tuple[float, float]:
    """(row, column) of the middle of what is denser than fat's lower bound, or of the slice where nothing is."""
    rows, cols = np.nonzero(plane[::4, ::4] > BODY_HU)
    if rows.size < 16:
        return (plane.shape[0] - 1) / 2, (plane.shape[1] - 1) / 2
    return float(np.median(rows)) * 4 + 1.5, float(np.median(cols)) * 4 + 1.5


def slice_frame(plane: np.ndarray, pixel_spacing_mm: tuple[float, float], config: DetectorConfig) -> SliceFrame:
    """Choose the square that the network looks at: the whole slice, or the middle of the body where it is larger."""
    extent = max(plane.shape[0] * pixel_spacing_mm[0], plane.shape[1] * pixel_spacing_mm[1])
    step = FIELD_STEP_PX * config.pixel_mm
    field_mm = min(float(np.ceil(extent / step) * step), config.max_field_mm)
    whole = (plane.shape[0] - 1) / 2, (plane.shape[1] - 1) / 2
    return SliceFrame(body_centre(plane) if extent > field_mm else whole, pixel_spacing_mm, field_mm)


def slice_image(plane: np.ndarray, frame: SliceFrame, config: DetectorConfig) -> np.ndarray:
    """The network's input: float32 [2, px, px], a soft-tissue and a bone window."""
    hu = crop(
        plane, pixel_spacing_mm=frame.pixel_spacing_mm, centre=frame.centre, size_mm=frame.field_mm,
        size_px=round(frame.field_mm / config.pixel_mm),
    )
    return np.stack([window(hu, width=400, level=40), window(hu, width=1800, level=450)])


def find_regions(
    detector: Detector, volume: Volume, indices: Sequence[int], *, near: Mapping[int, tuple[float, float]] | None = None
) -> list[SliceFinding]:
    """Look for the three regions on these slices of a volume.

    Args:
        near: (row, column) pixels where the canal of a disc is known to run, by slice; the search then stays beside
            it, fainter heat is enough, and whether the slice is lumbar is not asked again.
    """
    config, findings = detector.config, []
    for start in range(0, len(indices), config.stack):
        chosen = indices[start : start + config.stack]
        frames = [slice_frame(volume.hu[i], volume.pixel_spacing_mm, config) for i in chosen]
        images = np.stack([slice_image(volume.hu[i], frame, config) for i, frame in zip(chosen, frames, strict=True)])
        with torch.inference_mode():
            maps = detector(torch.from_numpy(images).contiguous(memory_format=torch.channels_last))
        for k, (index, frame) in enumerate(zip(chosen, frames, strict=True)):
            findings.append(_read_maps(maps, k, index, frame, config, near.get(index) if near else None))
    return findings


def _read_maps(
    maps: SliceMaps, k: int, slice_index: int, frame: SliceFrame, config: DetectorConfig,
    near: tuple[float, float] | None,
) -> SliceFinding:
    reader = _MapReader(
        maps.heat[k].sigmoid().numpy(), maps.offset[k].numpy(), maps.size[k].numpy(), frame, 2 * config.pixel_mm
    )
    gradable = float(maps.gradable[k].sigmoid())
    everywhere = np.ones(reader.heat.shape[1:], bool)
    allowed = everywhere if near is None else reader.disc(frame.from_volume(*near), config.recess_reach_mm)
    candidates = reader.peaks(0, allowed, config.candidates)
    threshold = config.threshold if near is None else config.near_threshold
    canal = candidates[0] if candidates and candidates[0].confidence >= threshold else None
    regions: dict[Region, Detection | None] = dict.fromkeys(REGIONS)
    if canal is not None and (near is not None or gradable >= config.gradable_threshold):
        regions[Region.CENTRAL_CANAL] = canal
        for channel, side in ((1, 1.0), (2, -1.0)):
            beside = reader.beside(frame.from_volume(*canal.box.centre), side, config.recess_reach_mm)
            found = reader.peaks(channel, beside, 1)
            regions[REGIONS[channel]] = found[0] if found and found[0].confidence >= threshold else None
    return SliceFinding(slice_index, gradable, regions, tuple(candidates))


@dataclass(frozen=True)
class _MapReader:
    """One slice's maps, read in mm from the image's upper left corner."""

    heat: np.ndarray            # [3, H, W] 0..1
    offset: np.ndarray          # [3, 2, H, W]
    size: np.ndarray            # [3, 2, H, W]
    frame: SliceFrame
    cell_mm: float

    def _grid(self) -> tuple[np.ndarray, np.ndarray]:
        rows, cols = self.heat.shape[1:]
        return (np.arange(rows)[:, None] + 0.5) * self.cell_mm, (np.arange(cols)[None, :] + 0.5) * self.cell_mm

    def disc(self, centre_mm: tuple[float, float], radius_mm: float) -> np.ndarray:
        """Cells within `radius_mm` of a point."""
        rows, cols = self._grid()
        return np.hypot(rows - centre_mm[0], cols - centre_mm[1]) <= radius_mm

    def beside(self, centre_mm: tuple[float, float], side: float, radius_mm: float) -> np.ndarray:
        """Cells on one side of the canal, near it: `side` is +1 for greater columns, the patient's left."""
        _, cols = self._grid()
        return self.disc(centre_mm, radius_mm) & (side * (cols - centre_mm[1]) > 2.0)

    def peaks(self, channel: int, allowed: np.ndarray, count: int) -> list[Detection]:
        """The highest separate peaks among allowed cells, best first."""
        heat = np.where(allowed, self.heat[channel], 0.0)
        found = []
        for _ in range(count):
            row, col = np.unravel_index(int(heat.argmax()), heat.shape)
            if heat[row, col] <= 0:
                break
            found.append(self._detection(channel, int(row), int(col)))
            heat = np.where(self.disc(((row + 0.5) * self.cell_mm, (col + 0.5) * self.cell_mm), 15.0), 0.0, heat)
        return found

    def _detection(self, channel: int, row: int, col: int) -> Detection:
        down, right = self.offset[channel, :, row, col] * OFFSET_UNIT_MM
        height, width = np.clip(self.size[channel, :, row, col] * SIZE_UNIT_MM, 4.0, 60.0)
        row_mm, col_mm = (row + 0.5) * self.cell_mm + float(down), (col + 0.5) * self.cell_mm + float(right)
        size = float(height) / self.frame.pixel_spacing_mm[0], float(width) / self.frame.pixel_spacing_mm[1]
        return Detection(Box.around(self.frame.to_volume(row_mm, col_mm), size), float(self.heat[channel, row, col]))
