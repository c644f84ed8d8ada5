"""Heatmaps: known answers, the published decoding, round trips, and maps without a peak."""

import json
import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from acusim.errors import ConfigError
from tests.support import ROOT
from tests.training.models.seeded_weights import seeded_maps
from training.models.heatmaps import DECODINGS, decode, gaussian_heatmaps

pytestmark = pytest.mark.numeric

RECORDED = json.loads((ROOT / "tests/data/training/hand_models.json").read_text())["decoded"]


def points(count: int = 200, margin: float = 0.0) -> torch.Tensor:
    """[2, count, 2], anywhere in the picture."""
    torch.manual_seed(3)
    return torch.rand(2, count, 2) * (1 - 2 * margin) + margin


def targets(xy: torch.Tensor, size: tuple[int, int], sigma_px: float) -> torch.Tensor:
    return gaussian_heatmaps(xy, torch.ones(xy.shape[:2], dtype=torch.bool), size, sigma_px)


def error_px(heatmaps: torch.Tensor, xy: torch.Tensor, method: str, **how: int) -> torch.Tensor:
    """Distance of each decoded point from the true one."""
    height, width = heatmaps.shape[-2:]
    found, _ = decode(heatmaps, method, **how)  # type: ignore[arg-type]
    return ((found - xy) * torch.tensor([width, height])).norm(dim=-1)


def test_targets_by_hand():
    xy = torch.tensor([[[2.5 / 6, 1.5 / 4], [0.5, 0.5]]])  # the centre of column 2, row 1; between four pixels
    maps = gaussian_heatmaps(xy, torch.tensor([[True, True]]), (4, 6), 2.0)
    assert maps.shape == (1, 2, 4, 6)
    assert maps[0, 0, 1, 2] == 1
    assert maps[0, 0, 1, 4].item() == pytest.approx(math.exp(-4 / 8))
    assert maps[0, 0, 3, 5].item() == pytest.approx(math.exp(-(4 + 9) / 8))
    assert maps[0, 1, 1:3, 2:4].flatten().tolist() == pytest.approx([math.exp(-0.5 / 8)] * 4)


def test_a_point_that_is_not_there_has_no_heatmap():
    maps = gaussian_heatmaps(torch.full((1, 2, 2), 0.5), torch.tensor([[True, False]]), (8, 8), 1.0)
    assert maps[0, 0].any() and not maps[0, 1].any()


def test_quarter_is_the_published_decoding():
    maps = seeded_maps()
    found, peak = decode(maps, "quarter")
    pixels = found * torch.tensor([12, 9]) - 0.5
    np.testing.assert_allclose(pixels.numpy(), np.asarray(RECORDED), atol=1e-5)
    assert torch.equal(peak, maps.amax((2, 3)))


def test_the_highest_pixel_by_hand():
    maps = torch.zeros(1, 1, 4, 10)
    maps[0, 0, 3, 7] = 2
    xy, peak = decode(maps, "argmax")
    assert xy.flatten().tolist() == pytest.approx([0.75, 0.875]) and peak.item() == 2


@pytest.mark.parametrize(
    ("size", "sigma_px", "radius_px"), [((224, 224), 4.0, 6), ((56, 80), 2.0, 6), ((56, 48), 1.0, 3)]
)
def test_a_gaussian_is_recovered_wherever_it_lies(size: tuple[int, int], sigma_px: float, radius_px: int):
    xy = points()
    maps = targets(xy, size, sigma_px)
    assert error_px(maps, xy, "gaussian", radius_px=radius_px).max() < 1e-3
    assert error_px(maps, xy, "argmax").max() <= math.sqrt(0.5) + 1e-3


@pytest.mark.parametrize("sigma_px", [1.0, 1.5, 2.0])
def test_a_gaussian_enlarged_four_times_is_recovered(sigma_px: float):
    xy = points(margin=0.1)
    enlarged = functional.interpolate(targets(xy, (56, 56), sigma_px), size=(224, 224), mode="bilinear")
    assert error_px(enlarged, xy, "gaussian").max() < 0.05
    assert error_px(enlarged, xy, "argmax").mean() > 0.8  # the coarse grid's, which the fit undoes


def test_noise_moves_the_fit_less_than_the_highest_pixel():
    xy = points(margin=0.05)
    maps = targets(xy, (112, 112), 3.0)
    noisy = maps + 0.05 * torch.randn_like(maps)
    assert error_px(noisy, xy, "gaussian").mean() < 0.1 < error_px(noisy, xy, "argmax").mean() / 5


@pytest.mark.parametrize(
    "maps",
    [
        torch.zeros(1, 1, 6, 8),
        torch.ones(1, 1, 6, 8),
        -1 - torch.eye(6, 8)[None, None],
        torch.eye(6, 8)[None, None],
        torch.full((1, 1, 6, 8), torch.nan),
        torch.arange(48.0).view(1, 1, 6, 8).exp(),
    ],
    ids=["zero", "flat", "negative", "ridge", "nan", "slope"],
)
def test_a_map_without_a_peak_gives_its_highest_pixel(maps: torch.Tensor):
    assert torch.equal(decode(maps, "gaussian")[0], decode(maps, "argmax")[0])


def test_a_single_bright_pixel_is_its_centre_in_any_precision():
    maps = torch.zeros(1, 1, 8, 8)
    maps[0, 0, 3, 5] = 1
    for method in DECODINGS:
        for kind in (torch.float32, torch.float16, torch.bfloat16, torch.float64):
            xy, _ = decode(maps.to(kind), method)
            assert xy.dtype == torch.float32 and xy.flatten().tolist() == pytest.approx([5.5 / 8, 3.5 / 8])


def test_wrong_settings_are_refused():
    maps = torch.zeros(1, 1, 8, 8)
    with pytest.raises(ConfigError, match="there are argmax, quarter, gaussian"):
        decode(maps, "dark")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="radius_px is 0"):
        decode(maps, "gaussian", 0)
    with pytest.raises(ConfigError, match="sigma_px is 0"):
        gaussian_heatmaps(torch.zeros(1, 1, 2), torch.ones(1, 1, dtype=torch.bool), (8, 8), 0)
