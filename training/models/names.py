"""Names of networks and methods that settings choose from; imports no torch, so that settings load quickly."""

from typing import Literal, get_args

BackboneName = Literal[
    "resnet18", "resnet50", "resnet101", "resnet152", "densenet169", "densenet201",
    "convnext_base", "convnext_large", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn",
]  # fmt: skip
"""Backbones, as torchvision spells them."""
BACKBONES: tuple[BackboneName, ...] = get_args(BackboneName)
LightName = Literal["light", "tiny"]
"""The project's own."""
EncoderName = Literal[LightName, BackboneName]
ENCODERS: tuple[EncoderName, ...] = (*BACKBONES, *get_args(LightName))
NetworkName = Literal["branches", "heatmaps"]
"""How points are found: acuSimNet's branches on a feature vector, or integral heatmaps."""
ComparedHandModel = Literal["hrnet_w32", "simple_baseline", "resnet50", "vgg16"]
"""Networks for acupoints of the hand that Xu et al. 2025 compare; the first two predict heatmaps, the others
coordinates."""
HAND_MODELS: tuple[ComparedHandModel, ...] = get_args(ComparedHandModel)
HandModelName = Literal[ComparedHandModel, "integral"]
"""These, and the project's own: integral heatmaps, with the visibility of each point."""
Decoding = Literal["argmax", "quarter", "gaussian"]
"""How a heatmap's peak is found, see training.models.heatmaps.decode."""
DECODINGS: tuple[Decoding, ...] = get_args(Decoding)
Grouping = Literal["meridians", "random", "balanced", "unified"]
"""Which acupoints share a branch, see training.models.grouping."""
Trunk = Literal["three", "single"]
"""Layers of a branch before its heads, see training.models.branches.TRUNKS."""
