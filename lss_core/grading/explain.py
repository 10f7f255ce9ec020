"""Heat maps of what moved a grade: the grad-cam package's methods, safe when threads share one classifier."""

from __future__ import annotations

import copy
import importlib
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import torch
from torch import nn

from lss_core.grading.classifier import Classifier, is_recess
from lss_core.grading.torchvision_shim import make_torchvision_importable
from lss_core.vocabulary import Box, Grade, Refusal, Region

METHODS = {                     # our names to classes of pytorch_grad_cam; any of its BaseCAM classes may be added
    "layercam": "LayerCAM",     # first, because it was the most faithful one (docs/evaluation.md)
    "gradcam": "GradCAM",
    "gradcam++": "GradCAMPlusPlus",
    "eigencam": "EigenCAM",
}
DEFAULT_METHOD = next(iter(METHODS))
AT_ONCE = 3                     # crops in one pass: what is kept for the gradients weighs more than the scan


@dataclass(frozen=True)
class HeatMap:
    """Importance 0..1, float32 [rows, columns], over a box in volume pixels."""

    values: np.ndarray
    box: Box


class _GradeModel(nn.Module):
    """A classifier whose output is (B, 4) log-probabilities, as the grad-cam package expects."""

    def __init__(self, classifier: Classifier, recess: torch.Tensor) -> None:
        super().__init__()
        self.classifier, self.recess = classifier, recess

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        return self.classifier(crops, self.recess).grade_log_probabilities()


@dataclass(frozen=True)
class _GradeTarget:
    """The quantity that is explained: the log-probability of one grade."""

    grade: Grade

    def __call__(self, log_probabilities: torch.Tensor) -> torch.Tensor:
        return log_probabilities[self.grade]


def heat_maps(
    classifier: Classifier, crops: np.ndarray, regions: list[Region], targets: list[Grade], *,
    method: str = DEFAULT_METHOD
) -> np.ndarray:
    """Explain crops [n, 5, px, px], each for its own target grade: float32 [n, px, px] in 0..1, as the patient lies.

    The grad-cam package keeps hooks and gradients on the module, which crashes when two threads explain one module at
    once; every call therefore explains a copy of its own.

    Raises:
        Refusal: the method is unknown.
    """
    if method not in METHODS:
        raise Refusal(f"There is no heat map method {method!r}; choose one of {', '.join(METHODS)}.")
    if not regions:
        return np.zeros((0, *crops.shape[-2:]), np.float32)
    own = copy.deepcopy(classifier).requires_grad_(True)        # hooks see gradients only where weights have them
    maps = np.concatenate([
        _explained(own, crops[k : k + AT_ONCE], regions[k : k + AT_ONCE], targets[k : k + AT_ONCE], method)
        for k in range(0, len(regions), AT_ONCE)
    ])
    return np.stack([
        values[:, ::-1] if region is Region.RIGHT_LATERAL_RECESS else values
        for values, region in zip(maps, regions, strict=True)
    ])


def _explained(
    classifier: Classifier, crops: np.ndarray, regions: list[Region], targets: list[Grade], method: str
) -> np.ndarray:
    """Maps [n, px, px] in 0..1 of a few crops, as the network sees them."""
    model = _GradeModel(classifier, torch.tensor([is_recess(region) for region in regions])).eval()
    with torch.enable_grad(), _cam_class(method)(model=model, target_layers=classifier.explained_layers()) as cam:
        maps = cam(input_tensor=torch.from_numpy(crops), targets=[_GradeTarget(target) for target in targets])
    return np.nan_to_num(np.asarray(maps, np.float32)).clip(0.0, 1.0)


def _cam_class(method: str) -> type:
    return getattr(load_methods(), METHODS[method])


def load_methods() -> ModuleType:
    """Import the grad-cam package; not at the top, because it costs seconds and much memory."""
    make_torchvision_importable()
    return importlib.import_module("pytorch_grad_cam")
