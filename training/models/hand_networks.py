"""Networks for acupoints of the hand, by name: two that predict heatmaps, two that predict coordinates.

Xu et al. 2025 compare these four. This module itself imports no torch.
"""

from typing import TYPE_CHECKING, Literal, get_args

from acusim.errors import ConfigError, shown

if TYPE_CHECKING:
    from training.models.hand_base import HandModel

HandModelName = Literal["hrnet_w32", "simple_baseline", "resnet50", "vgg16"]
HAND_MODELS: tuple[HandModelName, ...] = get_args(HandModelName)
"""All names. The first two predict heatmaps."""


def create(
    name: HandModelName | str, points: int, *, bottleneck_dropout: float = 0.2, branch_dropout: float = 0.1
) -> "HandModel":
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
        raise ConfigError(f"a hand model needs at least 1 point; {points} were asked for")
    for what, share in (("bottleneck_dropout", bottleneck_dropout), ("branch_dropout", branch_dropout)):
        if not 0 <= share < 1:
            raise ConfigError(f"{what} is {share}; allowed are 0 to 1, 1 excluded")
    if name == "hrnet_w32":
        from training.models.hrnet import HRNet

        return HRNet(points, bottleneck_dropout, branch_dropout)
    if name == "simple_baseline":
        from training.models.simple_baseline import SimpleBaseline

        return SimpleBaseline(points)
    if name in ("resnet50", "vgg16"):
        from training.models.hand_regression import CoordinateRegression

        return CoordinateRegression(name, points)
    raise ConfigError(f"no hand model is called {shown(name)}; there are {', '.join(HAND_MODELS)}")
