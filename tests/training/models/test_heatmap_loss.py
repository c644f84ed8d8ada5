"""The loss of a network with heatmaps: by hand, in parts, and what it leaves out."""

import math

import pytest
import torch

from training.models.heatmap_loss import HeatmapCriterion
from training.models.heatmap_net import HeatmapOutput, integrate
from training.tasks.head_config import HeatmapConfig

pytestmark = pytest.mark.numeric
WEIGHT = torch.tensor(0.25)


def output_of(heatmaps: torch.Tensor, logits: torch.Tensor) -> HeatmapOutput:
    xy, marginals = integrate(heatmaps)
    return HeatmapOutput(logits, xy, marginals, None)


def test_by_hand():
    """Flat heatmaps of 4 pixels: the mean is (.5, .5), a marginal 1/4 everywhere, a logit of 0 costs ln 2."""
    output = output_of(torch.zeros(1, 2, 4, 4), torch.zeros(1, 2))
    xy = torch.tensor([[[0.75, 0.5], [0.0, 0.5]]])
    visible = torch.tensor([[True, False]])
    losses = HeatmapCriterion(HeatmapConfig(coordinate=2, visibility=3, heatmap=5))(
        output, xy, visible, torch.ones_like(visible), WEIGHT
    )
    seen, error, spread = math.log(2), (0.25 + 0.25 * 0.5) / 2, (1 + 0.25) / 2 * 2 * math.log(4)
    assert losses.parts[0].tolist() == pytest.approx([seen, error, spread], rel=1e-6)
    assert losses.total.item() == pytest.approx(3 * seen + 2 * error + 5 * spread, rel=1e-6)


def test_a_sharp_heatmap_at_the_place_costs_the_least():
    criterion = HeatmapCriterion(HeatmapConfig(coordinate=0, visibility=0, heatmap=1, sigma_px=0.5))
    visible = torch.ones(1, 1, dtype=torch.bool)
    xy = torch.tensor([[[2.5 / 8, 5.5 / 8]]])

    def cost(row: int, column: int) -> float:
        heatmaps = torch.zeros(1, 1, 8, 8)
        heatmaps[0, 0, row, column] = 10
        return criterion(output_of(heatmaps, torch.zeros(1, 1)), xy, visible, visible, WEIGHT).total.item()

    costs = {(row, column): cost(row, column) for row in range(8) for column in range(8)}
    assert min(costs, key=lambda place: costs[place]) == (5, 2)


@pytest.mark.parametrize("reason", ["not trusted", "outside"])
def test_points_without_a_place_have_no_coordinate_loss(reason: str):
    heatmaps = torch.randn(1, 1, 8, 8, requires_grad=True)
    visible = torch.zeros(1, 1, dtype=torch.bool)
    trusted = torch.full((1, 1), reason == "outside")
    xy = torch.tensor([[[1.2 if reason == "outside" else 0.5, 0.5]]])
    losses = HeatmapCriterion(HeatmapConfig())(output_of(heatmaps, torch.zeros(1, 1)), xy, visible, trusted, WEIGHT)
    assert losses.parts[0, 1:].tolist() == [0, 0] and losses.parts[0, 0] > 0


def test_parts_of_a_batch_add_up():
    torch.manual_seed(0)
    heatmaps, logits, xy = torch.randn(4, 3, 8, 8), torch.randn(4, 3), torch.rand(4, 3, 2)
    visible, trusted = torch.rand(4, 3) > 0.5, torch.rand(4, 3) > 0.2
    criterion = HeatmapCriterion(HeatmapConfig())
    whole = criterion(output_of(heatmaps, logits), xy, visible, trusted, WEIGHT).total
    parts = [
        criterion(output_of(heatmaps[k : k + 2], logits[k : k + 2]), xy[k : k + 2], visible[k : k + 2],
                  trusted[k : k + 2], WEIGHT, 0.5).total
        for k in (0, 2)
    ]  # fmt: skip
    torch.testing.assert_close(sum(parts), whole)
