"""All branches at once against plain nn.Linear branches, one after the other."""

import numpy as np
import pytest
import torch
from torch import nn

from training.models.branches import TRUNKS, Branches
from training.models.grouping import make_groups

pytestmark = pytest.mark.numeric


def _plain_branch(branches: Branches, branch: int, size: int, trunk: str, features: int) -> nn.ModuleDict:
    """A branch of ordinary modules that holds one branch's weights."""

    def linear(grouped, outputs=None):
        weight = grouped.matrices()[branch].detach().T
        outputs = weight.shape[0] if outputs is None else outputs
        layer = nn.Linear(weight.shape[1], outputs, dtype=weight.dtype)
        layer.weight.data, layer.bias.data = weight[:outputs].clone(), grouped.bias[branch, :outputs].detach().clone()
        return layer

    layers: list[nn.Module] = []
    for index in range(len(TRUNKS[trunk][0])):
        norm = branches.trunk[4 * index + 3]
        plain = nn.LayerNorm(norm.weight.shape[1], dtype=norm.weight.dtype)
        plain.weight.data, plain.bias.data = norm.weight[branch].detach().clone(), norm.bias[branch].detach().clone()
        layers += [linear(branches.trunk[4 * index]), nn.GELU(), plain]
    classifier = linear(branches.classifier)
    square = classifier.weight.data.view(branches.width, branches.width, -1)[:size, :size]
    classifier.weight.data = square.reshape(size * size, -1)
    classifier.bias.data = classifier.bias.data.view(branches.width, branches.width)[:size, :size].reshape(-1)
    return nn.ModuleDict(
        {
            "trunk": nn.Sequential(*layers),
            "visibility": linear(branches.visibility, size),
            "coordinate": linear(branches.coordinate, 2 * size),
            "classifier": classifier,
        }
    )


@pytest.mark.parametrize(("grouping", "trunk"), [("meridians", "three"), ("random", "single"), ("balanced", "single")])
def test_branches_together_equal_branches_alone(grouping, trunk):
    torch.manual_seed(5)
    groups = make_groups(grouping, 1)
    branches = Branches(groups, 24, trunk).double().eval()
    for module in branches.trunk[3::4]:
        nn.init.normal_(module.weight)
        nn.init.normal_(module.bias)
    features = torch.randn(4, 24, dtype=torch.float64)
    together = branches(features)
    for branch, member in enumerate(groups.members):
        size = len(member)
        plain = _plain_branch(branches, branch, size, trunk, 24)
        hidden = plain["trunk"](features)
        points = torch.from_numpy(member)
        classes = plain["classifier"](hidden).view(4, size, size)
        assert torch.allclose(together.visibility_logits[:, points], plain["visibility"](hidden), atol=1e-6)
        assert torch.allclose(together.coordinates[:, points], plain["coordinate"](hidden).view(4, size, 2), atol=1e-6)
        assert torch.allclose(together.class_logits[:, branch, :size, :size], classes, atol=1e-6)
        assert branches.parameter_count() > 0


def test_the_padding_learns_nothing_and_stays_zero():
    torch.manual_seed(0)
    branches = Branches(make_groups("meridians"), 16, "single")
    optimiser = torch.optim.AdamW(branches.parameters(), lr=0.1, weight_decay=0.1)
    output = branches(torch.randn(3, 16))
    used = torch.from_numpy(make_groups("meridians").used)
    pairs = used[:, :, None] & used[:, None, :]
    (
        output.visibility_logits.sum() + output.coordinates.square().sum() + output.class_logits[:, pairs].sum()
    ).backward()
    before = branches.classifier.weight.detach().clone()
    optimiser.step()
    classifier = branches.classifier.weight.detach()
    assert (classifier[:, :, :].transpose(1, 2)[~pairs.flatten(1)] == 0).all()
    assert not torch.equal(before, classifier)
    assert (branches.visibility.bias[~used] == 0).all() and (branches.visibility.bias[used] != 0).all()


@pytest.mark.parametrize("features", [512, 1024, 1920, 4096])
def test_the_parameters_are_those_of_the_specified_formula(features):
    # 9,216 d + 13,239,963 with the 27 uncertainty weights, which belong to the loss.
    branches = Branches(make_groups("meridians"), features)
    assert branches.parameter_count() == 9216 * features + 13_239_963 - 27


def test_dropout_works_in_training_only():
    torch.manual_seed(0)
    branches = Branches(make_groups("meridians"), 16)
    features = torch.randn(2, 16)
    assert not torch.equal(branches(features).coordinates, branches(features).coordinates)
    branches.eval()
    assert torch.equal(branches(features).coordinates, branches(features).coordinates)


def test_nobody_asked_for_classes():
    branches = Branches(make_groups("unified"), 8, "single").eval()
    output = branches(torch.zeros(1, 8), classify=False)
    assert output.class_logits is None and output.visibility_logits.shape == (1, 174)
    assert np.isfinite(output.coordinates.detach().numpy()).all()


def test_coordinates_are_finer_than_bf16():
    torch.manual_seed(0)
    branches, features = Branches(make_groups("meridians"), 16).eval(), torch.randn(4, 16)
    with torch.autocast("cpu", torch.bfloat16):
        output = branches(features)
    assert output.visibility_logits.dtype == torch.bfloat16 and output.coordinates.dtype == torch.float32
    coarse = output.coordinates.bfloat16().float()
    assert (output.coordinates != coarse).float().mean() > 0.9  # a value of bf16 is one by chance only
