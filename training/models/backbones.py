"""Image backbones by name: ResNet, DenseNet, ConvNeXt, VGG, and light residual networks of the project's own.

They are written here in plain PyTorch rather than taken from torchvision because torchvision's compiled operators work
only with the one torch build that they were compiled for: a torch that a cluster or ComfyUI brings along (CUDA, ROCm,
nightly) then fails at import, and no torchvision is pinned by this project. Parameters and buffers have the names and
shapes of torchvision's models, so its published ImageNet weights load by name (``training.models.pretrained``).
"""

from acusim.errors import ConfigError, shown
from training.models.backbone_base import Backbone
from training.models.convnext import ConvNeXt
from training.models.densenet import DenseNet
from training.models.light import Light
from training.models.names import ENCODERS, EncoderName
from training.models.resnet import ResNet
from training.models.vgg import VGG


def create(name: EncoderName | str, *, final_relu: bool = True) -> Backbone:
    """A backbone with freshly drawn weights, distributed as torchvision draws them.

    Args:
        name: one of ENCODERS.
        final_relu: DenseNet only: whether a ReLU follows the last normalisation, as in the published network; False is
            how the public code of acuSimNet uses it.

    Raises:
        ConfigError: no such backbone, or ``final_relu=False`` for one that is not a DenseNet.
    """
    if name not in ENCODERS:
        raise ConfigError(f"no backbone is called {shown(name)}; there are {', '.join(ENCODERS)}")
    if not final_relu and not name.startswith("densenet"):
        raise ConfigError(f"final_relu=False is for densenet169 and densenet201; {name} keeps its last layers")
    if name == "light" or name == "tiny":
        return Light(name)
    if name.startswith("densenet"):
        return DenseNet(name, final_relu=final_relu)
    if name.startswith("resnet"):
        return ResNet(name)
    return ConvNeXt(name) if name.startswith("convnext") else VGG(name)
