"""A volume with markers in place of a spine, and networks that read the markers instead of having learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from lss_core.grading.checkpoint import Card
from lss_core.grading.classifier import GRADABLE, Classifier, ClassifierConfig
from lss_core.grading.detector import Detector, DetectorConfig, SliceMaps
from lss_core.grading.levels import LevelNetwork, LevelsConfig
from lss_core.grading.pipeline import Grader
from lss_core.imaging.volume import StoredPlane, Volume
from lss_core.vocabulary import Region

PIXEL_MM, SPACING_MM = 1.5, 2.0
MARKER_HU = {Region.CENTRAL_CANAL: 1200, Region.LEFT_LATERAL_RECESS: 900, Region.RIGHT_LATERAL_RECESS: 700}
DISC_HU, LUMBOSACRAL_HU, THORACIC_HU = 250, 400, -100
WING_HU = 500
TINY_CLASSIFIER = ClassifierConfig(backbone="test_resnet", hidden=16, dropout=0.0)


def marked_volume(
    *, slices: int = 100, discs: dict[int, int] | None = None, offset: tuple[int, int] = (0, 0), size: int = 128
) -> Volume:
    """Soft tissue with a canal at row 70 + offset, column 64 + offset, recesses 12 mm beside it, and disc markers.

    Args:
        discs: slice index to marker HU, in front of the canal; sacral wings lie below a lumbosacral one.
    """
    hu = np.full((slices, size, size), 40, np.int16)
    row, col = 70 + offset[0], 64 + offset[1]
    for region, side in zip(Region, (0, 1, -1), strict=True):
        middle = col + 8 * side
        hu[:, row - 1 : row + 2, middle - 1 : middle + 2] = MARKER_HU[region]
    for index, value in (discs or {}).items():
        hu[index, row - 7 : row - 4, col - 10 : col + 11] = value
        if value == LUMBOSACRAL_HU:
            for side in (-1, 1):                                    # wings of the sacrum below, 35 mm beside the canal
                middle = col + 24 * side
                hu[: index - 1, row - 20 : row - 7, middle - 4 : middle + 5] = WING_HU
    return Volume(
        hu=hu, positions_mm=np.arange(slices) * SPACING_MM, pixel_spacing_mm=(PIXEL_MM, PIXEL_MM),
        slice_thickness_mm=SPACING_MM, sop_instance_uids=tuple(f"1.2.{i}" for i in range(slices)), series_uid="1.2",
        stored=StoredPlane((size, size)),
    )


class MarkerDetector(nn.Module):
    """Finds markers by their density."""

    def __init__(self) -> None:
        super().__init__()
        self.config = replace(DetectorConfig(), max_field_mm=192.0)

    def forward(self, images: torch.Tensor) -> SliceMaps:
        heats = []
        for value in MARKER_HU.values():
            like = ((images[:, 1] - (value + 450) / 1800).abs() < 0.02).float()
            heats.append(nn.functional.avg_pool2d(like, 5, stride=2, padding=2))
        heat = torch.stack(heats, 1) * 2.0
        shape = (*heat.shape[:2], 2, *heat.shape[2:])
        offset, size = torch.zeros(shape), torch.full(shape, 1.2)
        gradable = torch.where(heat[:, 0].amax((1, 2)) > 0.2, 4.0, -4.0)
        return SliceMaps(torch.logit(heat.clamp(0.001, 0.999)), offset, size, gradable)


class MarkerLevels(nn.Module):
    """Finds disc markers by their density."""

    def __init__(self) -> None:
        super().__init__()
        self.config = LevelsConfig()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        middle = images[:, 2]

        def like(hu: int) -> torch.Tensor:
            return ((middle - (hu + 200) / 700).abs() < 0.03).float() * 0.9

        lumbosacral, thoracic = like(LUMBOSACRAL_HU), like(THORACIC_HU)
        heat = torch.stack([like(DISC_HU) + lumbosacral + thoracic, lumbosacral, thoracic], 1)
        return torch.cat([torch.logit(heat.clamp(0.001, 0.999)), torch.zeros_like(heat[:, :1])], 1)


def tiny_classifier(seed: int = 0) -> Classifier:
    """A small network with random weights that finds every crop gradable."""
    torch.manual_seed(seed)
    network = Classifier(TINY_CLASSIFIER).eval().requires_grad_(False)
    for head in (network.canal_head, network.recess_head):
        head[-1].bias[GRADABLE] = 5.0
    return network


def marker_grader() -> Grader:
    """A whole grader over marked volumes; its grades are those of an untrained network."""
    card = Card(
        name="tiny", network="classifier", configuration={}, training={}, data="none", metrics={},
        weights_sha256="0" * 64, created="2026-01-01",
    )
    detector: Detector = MarkerDetector()  # type: ignore[assignment]
    levels: LevelNetwork = MarkerLevels()  # type: ignore[assignment]
    return Grader(detector, levels, tiny_classifier(), card)
