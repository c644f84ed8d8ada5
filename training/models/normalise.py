"""Normalisation of pictures, as the first layer of a network."""

import torch
from torch import Tensor, nn

from training.settings import Normalisation

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Of the pictures that the published backbones were trained on, in 0..1."""


class Normalise(nn.Module):
    """[B, 3, H, W] in 0..1 -> the same, unchanged or with ImageNet's mean and deviation removed."""

    mean: Tensor
    std: Tensor

    def __init__(self, kind: Normalisation):
        super().__init__()
        self.active = kind == "imagenet"
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> the same."""
        return (images - self.mean) / self.std if self.active else images
