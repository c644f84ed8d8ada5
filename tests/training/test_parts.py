"""Parts of a network that are not trained."""

import pytest
import torch
from torch import nn

from acusim.errors import ConfigError
from tests.training.tiny_model import Tiny
from training.parts import freeze


class Trainee(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = Tiny(points=3)
        self.criterion = nn.Linear(1, 1)


@pytest.mark.parametrize("names", ["network.backbone,criterion", "backbone, criterion"])
def test_parts_are_frozen_by_name(names: str) -> None:
    trainee = Trainee()
    frozen = freeze(trainee, names)
    assert frozen == [trainee.network.backbone, trainee.criterion]
    free = {name.split(".")[1] for name, parameter in trainee.named_parameters() if parameter.requires_grad}
    assert free == {"trunk", "heads"}


def test_nothing_is_frozen_by_default() -> None:
    trainee = Trainee()
    assert freeze(trainee, "") == [] and all(parameter.requires_grad for parameter in trainee.parameters())


def test_an_unknown_part_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'backbon' is not a part of this network; parts: network, network.backbone"):
        freeze(Trainee(), "backbon")


def test_something_must_be_left_to_train() -> None:
    with pytest.raises(ConfigError, match="leaves nothing to train"):
        freeze(Trainee(), "network,criterion")


def test_a_frozen_part_needs_no_gradient() -> None:
    trainee = Trainee()
    freeze(trainee, "backbone")
    trainee.network(torch.rand(2, 3, 8, 8)).coordinates.sum().backward()
    assert all(parameter.grad is None for parameter in trainee.network.backbone.parameters())
    assert trainee.network.trunk.weight.grad is not None
