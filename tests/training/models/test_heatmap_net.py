"""A network with heatmaps: mean places, pyramids of all backbones, and that it can learn."""

import pytest
import torch
from torch import nn

from acusim.errors import ConfigError
from training.models.backbones import create
from training.models.heatmap_net import HeatmapNet, integrate

pytestmark = pytest.mark.numeric


def test_the_mean_place_of_a_peak_is_its_pixels_centre():
    heatmaps = torch.full((1, 2, 4, 8), -50.0)
    heatmaps[0, 0, 1, 6] = 50
    heatmaps[0, 1, 3, 0] = heatmaps[0, 1, 3, 1] = 50  # two pixels: in the middle between them
    xy, (across, down) = integrate(heatmaps)
    assert xy[0].tolist() == [pytest.approx([6.5 / 8, 1.5 / 4]), pytest.approx([1 / 8, 3.5 / 4])]
    assert across[0, 0].argmax() == 6 and down[0, 0].argmax() == 1
    torch.testing.assert_close(across.sum(-1), torch.ones(1, 2))


def test_a_flat_heatmap_is_at_the_centre():
    xy, _ = integrate(torch.zeros(1, 1, 6, 4))
    torch.testing.assert_close(xy, torch.full((1, 1, 2), 0.5))


@pytest.mark.parametrize("name", ["light", "resnet18", "densenet169", "convnext_base", "vgg16_bn"])
def test_every_backbone_is_an_encoder(name: str):
    with torch.device("meta"):
        network = HeatmapNet(name, 5, 16)
        output = network(torch.zeros(2, 3, 96, 96), for_loss=True)
    assert output.coordinates.shape == (2, 5, 2) and output.visibility_logits.shape == (2, 5)
    assert output.marginals is not None and output.marginals[0].shape == (2, 5, 24)


def test_a_pyramid_ends_with_the_features():
    backbone = create("resnet18").eval()
    picture = torch.rand(1, 3, 64, 64)
    maps = backbone.pyramid(picture, [number for number, _ in backbone.levels()])
    assert [one.shape[-1] for one in maps] == [16, 8, 4, 2]
    torch.testing.assert_close(maps[-1], backbone.features(picture))


def test_parts_without_influence_are_not_trained():
    with torch.device("meta"):
        network = HeatmapNet("convnext_base", 1, 8)
    assert not any(one.requires_grad for one in network.backbone.classifier.parameters())
    assert all(one.requires_grad for one in network.backbone.features.parameters())


def test_every_trained_parameter_has_a_gradient():
    network = HeatmapNet("light", 3, 16, traits=2)
    output = network(torch.rand(2, 3, 64, 64), for_loss=True)
    assert output.trait_logits is not None
    (output.coordinates.sum() + output.visibility_logits.sum() + output.trait_logits.sum()).backward()
    missing = [name for name, one in network.named_parameters() if one.requires_grad and one.grad is None]
    assert not missing


def test_sizes_that_do_not_halve_are_refused():
    with pytest.raises(ConfigError, match="100 x 100.*multiple of 32"):
        HeatmapNet("light", 3, 16)(torch.rand(1, 3, 100, 100))


def test_it_finds_a_dot():
    """A white dot on black, anywhere: after a minute's worth of nothing but 60 steps it is found within a pixel."""
    torch.manual_seed(0)
    network = HeatmapNet("light", 1, 16)
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    generator = torch.Generator().manual_seed(1)
    ways = torch.stack(torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij"))  # y, x

    def batch(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        xy = 4 + 24 * torch.rand(count, 2, generator=generator)
        squared = (ways[1] + 0.5 - xy[:, 0, None, None]) ** 2 + (ways[0] + 0.5 - xy[:, 1, None, None]) ** 2
        return torch.exp(-squared / 8)[:, None].expand(-1, 3, -1, -1), xy / 32

    for _ in range(60):
        images, xy = batch(16)
        loss = nn.functional.l1_loss(network(images).coordinates[:, 0], xy)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    images, xy = batch(32)
    with torch.no_grad():
        error = (network.eval()(images).coordinates[:, 0] - xy).norm(dim=-1)
    centre = (xy - 0.5).norm(dim=-1).mean()
    assert error.mean() < 1 / 32 < centre, "not better than a pixel"


def test_heatmaps_to_look_at_are_those_that_are_integrated():
    torch.manual_seed(0)
    network = HeatmapNet("tiny", 5, 16).eval()
    images = torch.rand(2, 3, 64, 64)
    shares, output = network.heatmaps(images), network(images, for_loss=True)
    assert shares.shape == (2, 5, 16, 16)
    assert torch.allclose(shares.sum(2), output.marginals[0], atol=1e-6)
    assert torch.allclose(shares.sum(3), output.marginals[1], atol=1e-6)
