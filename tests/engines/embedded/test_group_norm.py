"""Group normalisation against float64, where torch's own loses digits."""

import pytest
import torch
from torch import nn

from engines.embedded.group_norm import TwoPassGroupNorm, install


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
        torch.testing.assert_close(TwoPassGroupNorm(norm)(x), norm(x), rtol=1e-10, atol=1e-12)


def test_a_mean_far_from_zero_costs_no_digits():
    x = torch.randn(1, 128, 64, 64, generator=torch.Generator().manual_seed(0)) + 5
    x = x.to(memory_format=torch.channels_last)
    norm = nn.GroupNorm(32, 128)
    with torch.inference_mode():
        exact = norm.double()(x.double())
        ours = TwoPassGroupNorm(norm.float())(x)
    error = float((ours - exact).norm() / exact.norm())
    assert error < 1e-6
    assert ours.is_contiguous(memory_format=torch.channels_last)


def test_all_of_a_module_are_replaced():
    module = nn.Sequential(nn.GroupNorm(2, 4), nn.Sequential(nn.GroupNorm(2, 4), nn.ReLU()))
    install(module)
    assert [type(child).__name__ for child in module.modules()].count("TwoPassGroupNorm") == 2
