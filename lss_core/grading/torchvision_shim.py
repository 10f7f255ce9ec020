"""Make `import torchvision` work beside a CPU-only torch, whose build lacks torchvision's compiled operators."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import torch

MISSING_OPERATOR = "torchvision::nms does not exist"
SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[Any] = []           # a torch Library's operators vanish with it


def make_torchvision_importable() -> None:
    """Import torchvision; where its compiled operators do not fit this torch, declare their schemas and import again.

    timm and grad-cam import torchvision but never call these operators. A matching installation needs nothing.
    """
    if "torchvision" in sys.modules:
        return
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if MISSING_OPERATOR not in str(error):
            raise
        _forget_half_imported()
        library = torch.library.Library("torchvision", "DEF")
        for schema in SCHEMAS:
            library.define(schema)
        _declared.append(library)
        importlib.import_module("torchvision")


def _forget_half_imported() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
