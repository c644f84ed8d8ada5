"""Convolutions with fewer multiplications against torch's own, in float64, where rounding is no excuse."""

import pytest
import torch
from diffusers.models.upsampling import Upsample2D
from torch import nn

from engines.embedded import fast_convolution
from engines.embedded.fast_convolution import UpsamplingConvolution, WinogradConvolution

pytestmark = pytest.mark.numeric


def _last(x: torch.Tensor) -> torch.Tensor:
    return x.to(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "batch, channels, out, height, width",
    [
        (1, 3, 5, 8, 8),
        (2, 4, 4, 5, 9),  # odd sides
        (3, 2, 7, 1, 1),
        (1, 6, 2, 2, 60),
        (5, 3, 3, 16, 16),  # several pictures at once, and a rest
        (1, 2, 2, 70, 64),  # several strips of rows, and a rest
        (2, 2, 3, 3, 400),  # a single row of tiles is more than goes at once
    ],
)
@pytest.mark.parametrize("bias", [True, False])
def test_winograd_is_the_convolution(batch: int, channels: int, out: int, height: int, width: int, bias: bool):
    plain = nn.Conv2d(channels, out, 3, padding=1, bias=bias, dtype=torch.float64)
    x = _last(torch.randn(batch, channels, height, width, dtype=torch.float64))
    with torch.inference_mode():
        torch.testing.assert_close(WinogradConvolution(plain)(x), plain(x), rtol=1e-10, atol=1e-12)


def test_winograd_by_hand():
    plain = nn.Conv2d(1, 1, 3, padding=1, bias=False, dtype=torch.float64)
    plain.weight.data = torch.arange(9, dtype=torch.float64).view(1, 1, 3, 3)
    x = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    x[0, 0, 1, 2] = 1  # one bright pixel shows the kernel turned round
    with torch.inference_mode():
        found = WinogradConvolution(plain)(x)[0, 0]
    torch.testing.assert_close(found[:3, 1:4], torch.tensor([[8, 7, 6], [5, 4, 3], [2, 1, 0]], dtype=torch.float64))
    assert not found[3].any() and not found[:, 0].any()


def test_results_do_not_change_when_memory_is_used_again():
    plain = WinogradConvolution(nn.Conv2d(4, 4, 3, padding=1))
    with torch.inference_mode():
        x = _last(torch.randn(1, 4, 8, 8))
        first = plain(x)
        kept = first.clone()
        plain(torch.randn(2, 4, 32, 32))
        assert torch.equal(first, kept)
        assert torch.equal(plain(x), kept)


@pytest.mark.parametrize("height, width", [(1, 1), (4, 4), (5, 3)])
def test_upsampling_is_repetition_and_convolution(height: int, width: int):
    plain = Upsample2D(3, use_conv=True, out_channels=4).double()
    x = _last(torch.randn(2, 3, height, width, dtype=torch.float64))
    fast = UpsamplingConvolution(plain)
    with torch.inference_mode():
        torch.testing.assert_close(fast(x), plain(x), rtol=1e-10, atol=1e-12)
        odd = (2 * height - 1, 2 * width + 1)
        torch.testing.assert_close(fast(x, odd), plain(x, odd), rtol=1e-10, atol=1e-12)


def test_only_convolutions_that_gain_are_replaced():
    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide = nn.Conv2d(256, 256, 3, padding=1)
            self.narrow = nn.Conv2d(4, 256, 3, padding=1)
            self.strided = nn.Conv2d(256, 256, 3, padding=1, stride=2)
            self.pointwise = nn.Conv2d(256, 256, 1)
            self.inner = nn.Sequential(Upsample2D(256, use_conv=True))

    small = Small()
    fast_convolution.install(small)
    kinds = [type(child).__name__ for child in [*small.children()][:4]] + [type(small.inner[0]).__name__]
    assert kinds == ["WinogradConvolution", "Conv2d", "Conv2d", "Conv2d", "UpsamplingConvolution"]
