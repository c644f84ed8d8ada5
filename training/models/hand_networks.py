"""Networks for acupoints of the hand, by name: the four that Xu et al. 2025 compare."""

from acusim.errors import ConfigError, shown
from training.models.hand_base import HandModel
from training.models.hand_regression import CoordinateRegression
from training.models.hrnet import HRNet
from training.models.names import HAND_MODELS, ComparedHandModel
from training.models.simple_baseline import SimpleBaseline


def create(
    name: ComparedHandModel | str, points: int, *, bottleneck_dropout: float = 0.2, branch_dropout: float = 0.1
) -> HandModel:
    """A network with freshly drawn weights.

    Args:
        name: one of HAND_MODELS.
        points: N, how many acupoints it predicts.
        bottleneck_dropout: HRNet only: within each bottleneck, after the second convolution.
        branch_dropout: HRNet only: after the first basic block of each branch of each stage module.

    Raises:
        ConfigError: no such network, no point, or a dropout outside 0..1 (1 excluded).
    """
    if points < 1:
        raise ConfigError(f"a hand model needs at least 1 point; {points} were requested")
    for what, share in (("bottleneck_dropout", bottleneck_dropout), ("branch_dropout", branch_dropout)):
        if not 0 <= share < 1:
            raise ConfigError(f"{what} is {share}; allowed are 0 to 1, 1 excluded")
    if name == "hrnet_w32":
        return HRNet(points, bottleneck_dropout, branch_dropout)
    if name == "simple_baseline":
        return SimpleBaseline(points)
    if name in ("resnet50", "vgg16"):
        return CoordinateRegression(name, points)
    raise ConfigError(f"no hand model is called {shown(name)}; there are {', '.join(HAND_MODELS)}")
