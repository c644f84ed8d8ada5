"""Image backbones by name: ResNet, DenseNet, ConvNeXt and VGG.

Written for this project in plain PyTorch; parameters and buffers have the names and shapes of torchvision's models, so
that its published ImageNet weights load (``training.models.pretrained``). This module itself imports no torch.
"""

from typing import TYPE_CHECKING, Literal, get_args

from acusim.errors import ConfigError, shown

if TYPE_CHECKING:
    from training.models.backbone_base import Backbone

BackboneName = Literal[
    "resnet18",
    "resnet50",
    "resnet101",
    "resnet152",
    "densenet169",
    "densenet201",
    "convnext_base",
    "convnext_large",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
]
BACKBONES: tuple[BackboneName, ...] = get_args(BackboneName)
"""All names, as torchvision spells them."""


def create(name: BackboneName | str, *, final_relu: bool = True) -> "Backbone":
    """A backbone with freshly drawn weights, distributed as torchvision draws them.

    Args:
        name: one of BACKBONES.
        final_relu: DenseNet only: whether a ReLU follows the last normalisation, as in the published network; False is
            how the public code of acuSimNet uses it.

    Raises:
        ConfigError: no such backbone, or ``final_relu=False`` for one that is no DenseNet.
    """
    if name not in BACKBONES:
        raise ConfigError(f"no backbone is called {shown(name)}; there are {', '.join(BACKBONES)}")
    if name.startswith("densenet"):
        from training.models.densenet import DenseNet

        return DenseNet(name, final_relu=final_relu)
    if not final_relu:
        raise ConfigError(f"final_relu=False is for densenet169 and densenet201; {name} keeps its last layers")
    if name.startswith("resnet"):
        from training.models.resnet import ResNet

        return ResNet(name)
    if name.startswith("convnext"):
        from training.models.convnext import ConvNeXt

        return ConvNeXt(name)
    from training.models.vgg import VGG

    return VGG(name)
