"""Weights learnt on ImageNet, or from a file, into a hand model, except its last layer."""

from pathlib import Path

from acusim.errors import ConfigError
from training.models.hand_base import HandModel
from training.models.hand_regression import CoordinateRegression
from training.models.heatmap_net import HeatmapNet
from training.models.hrnet import HRNet
from training.models.pretrained import Loaded, load_into, load_weights
from training.models.simple_baseline import SimpleBaseline

LAST = "final_layer."
BEYOND = (
    LAST,
    "classifier.",
    "incre_modules.",
    "downsamp_modules.",
    *(f"stage4.2.fuse_layers.{i}." for i in (1, 2, 3)),
)
"""Further tensors in files of HRNet: the head of the pose network, or the layers before the classes."""


def load_pretrained(model: HandModel | HeatmapNet, source: str | Path) -> Loaded:
    """Replaces the weights of the layers before a hand model's own.

    Args:
        model: on any device but "meta".
        source: "imagenet", or a safetensors file: for HRNet one with the names of the published classification or pose
            network, for the others one of their backbone.

    Raises:
        ConfigError: as ``training.models.pretrained.load_into`` does; the model is unchanged then.
    """
    if isinstance(model, HRNet):
        return load_into(model, source, "hrnet_w32", ignored=BEYOND, kept=(LAST,))
    if isinstance(model, SimpleBaseline | CoordinateRegression | HeatmapNet):
        return load_weights(model.backbone, source)
    raise ConfigError(f"{type(model).__name__} has no layers that published weights are for")
