"""Group normalisation against float64, where torch's own loses digits."""

import pytest
import torch
from torch import nn

from engines.embedded.group_norm import ChannelsLastGroupNorm, install

pytestmark = pytest.mark.numeric


def _norm(channels: int) -> nn.GroupNorm:
    norm = nn.GroupNorm(4, channels)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm


@pytest.mark.parametrize("shape", [(1, 8, 5, 7), (3, 12, 16, 16), (2, 8, 9), (1, 4, 1, 2)])
def test_it_is_group_normalisation(shape: tuple[int, ...]):
    x, norm = torch.randn(shape, dtype=torch.float64), _norm(shape[1]).double()
    if len(shape) == 4:
        x = x.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        torch.testing.assert_close(ChannelsLastGroupNorm(norm)(x), norm(x), rtol=1e-10, atol=1e-12)


def _errors(x: torch.Tensor) -> tuple[float, float, float]:
    """Of ours, of torch's in this layout, and of torch's where pixels lie last; relative L2 to float64."""
    norm = nn.GroupNorm(32, x.shape[1])
    with torch.inference_mode():
        exact = norm.double()(x.double())
        norm.float()
        last = x.to(memory_format=torch.channels_last)
        ours = ChannelsLastGroupNorm(norm)(last)
        assert ours.is_contiguous(memory_format=torch.channels_last)
        found = [float((each - exact).norm() / exact.norm()) for each in (ours, norm(last), norm(x))]
    return found[0], found[1], found[2]


def test_a_mean_far_from_zero_costs_no_digits():
    ours, torchs, other_layout = _errors(torch.randn(1, 128, 64, 64, generator=torch.Generator().manual_seed(0)) + 5)
    assert ours < 3 * other_layout < torchs


def test_a_studio_background_costs_no_digits():
    """A long sum of equal numbers is where a plain one drifts."""
    x = torch.full((1, 128, 128, 128), 1.7) + torch.arange(128).view(1, -1, 1, 1) / 7
    x[..., 32:96, 32:96] += torch.randn(1, 128, 64, 64, generator=torch.Generator().manual_seed(0))
    ours, torchs, other_layout = _errors(x)
    assert ours < 3 * other_layout < torchs


def test_all_of_a_module_are_replaced():
    module = nn.Sequential(nn.GroupNorm(2, 4), nn.Sequential(nn.GroupNorm(2, 4), nn.ReLU()))
    install(module)
    assert [type(child).__name__ for child in module.modules()].count("ChannelsLastGroupNorm") == 2
