"""timm backbones as feature extractors, initialised at random."""

from __future__ import annotations

import re

from torch import nn

from lss_core.grading.torchvision_shim import make_torchvision_importable
from lss_core.vocabulary import Refusal


def create_backbone(name: str, *, in_channels: int, levels: tuple[int, ...]) -> nn.Module:
    """A timm network that returns its feature maps at `levels`; level k usually has stride 2 ** (k + 1).

    Blocks behind the last feature map are left out: they would cost time and weights, and nothing reads them. The
    result's `feature_info` tells channels and strides. Raises Refusal for a name that timm does not know.
    """
    make_torchvision_importable()
    import timm  # here, because it imports torchvision and takes a second

    if not timm.is_model(name):
        raise Refusal(f"The backbone {name!r} is not known to timm {timm.__version__}; name one of timm.list_models().")
    network = timm.create_model(name, features_only=True, in_chans=in_channels, out_indices=levels, pretrained=False)
    last = re.match(r"blocks\.(\d+)", network.feature_info.module_name()[-1])  # type: ignore[union-attr, operator]
    if last:
        network.blocks = network.blocks[: int(last[1]) + 1]  # type: ignore[index]
    return network
