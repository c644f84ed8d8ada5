"""The losses, by hand: numbers here were worked out from the paper's equations, not by the code."""

import math

import pytest
import torch
from torch.nn import functional as F

from training.models.branches import Output
from training.models.grouping import make_groups
from training.models.losses import Criterion, binary_focal_loss, decay_weight, soft_mask, soft_wing_loss
from training.tasks.head_config import LossConfig

pytestmark = pytest.mark.numeric


def test_one_alpha_for_both_is_the_equation_as_printed():
    """-0.25 (1 - p)^2 log p of a visible point, and the same of an occluded one with 1 - p."""
    logits, visible = torch.tensor([2.0, -2.0]), torch.tensor([True, False])
    p = 1 / (1 + math.exp(-2.0))
    wanted = -0.25 * (1 - p) ** 2 * math.log(p)
    assert binary_focal_loss(logits, visible, occluded=0.25).tolist() == pytest.approx([wanted, wanted], rel=1e-5)
    assert binary_focal_loss(logits, visible).tolist() == pytest.approx([wanted, 3 * wanted], rel=1e-5)


def test_focal_loss_by_hand():
    # p = 0.5: alpha_t * 0.25 * ln 2; p = 0.9: alpha_t * 0.01 * -ln 0.9 where visible, * 0.81 * -ln 0.1 where not.
    logits = torch.tensor([0.0, 0.0, math.log(9), math.log(9)], dtype=torch.float64)
    visible = torch.tensor([True, False, True, False])
    expected = torch.tensor([0.0433217, 0.1299651, 0.000263401, 1.3988206], dtype=torch.float64)
    assert torch.allclose(binary_focal_loss(logits, visible), expected, rtol=1e-5)


def test_focal_loss_without_focus_is_cross_entropy():
    logits, visible = torch.linspace(-30, 30, 61, dtype=torch.float64), torch.arange(61) % 2 == 0
    ours = binary_focal_loss(logits, visible, alpha=0.5, gamma=0.0)
    assert torch.allclose(ours, 0.5 * F.binary_cross_entropy_with_logits(logits, visible.double(), reduction="none"))


def test_focal_loss_stays_finite_with_its_gradient():
    logits = torch.tensor([-200.0, 200.0, -200.0, 200.0], requires_grad=True)
    loss = binary_focal_loss(logits, torch.tensor([True, True, False, False]))
    loss.sum().backward()
    assert torch.allclose(loss, torch.tensor([50.0, 0.0, 0.0, 150.0])) and logits.grad.isfinite().all()


@pytest.mark.parametrize(
    ("error", "expected"),
    [(0.0, 0.0), (0.1, 1.6218604), (-0.1, 1.6218604), (0.5, 5.0110519), (1.0, 15.0110519), (-2.0, 35.0110519)],
)
def test_soft_wing_loss_by_hand(error, expected):
    assert soft_wing_loss(torch.tensor(error)).item() == pytest.approx(expected, abs=1e-5)


def test_soft_wing_loss_is_continuous_at_theta():
    below, above = soft_wing_loss(torch.tensor([0.5 - 1e-6, 0.5 + 1e-6]))
    assert abs(above - below) < 1e-4


def test_soft_mask_by_hand():
    probability = torch.tensor([0.0, 0.0749, 0.075, 0.1, 0.16, 0.5, 0.9, 0.924, 0.925, 1.0])
    expected = torch.tensor([0.0, 0.0, 0.075, 0.075, 0.1, 0.5, 0.9705882, 0.9988235, 1.0, 1.0])
    assert torch.allclose(soft_mask(probability), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [(0, 1.0), (1, 1.0), (2, 0.997187), (25, 0.982554), (75, 0.515), (125, 0.047446), (500, 0.03)],
)
def test_decay_by_hand(epoch, expected):
    assert decay_weight(epoch) == pytest.approx(expected, abs=2e-6)


def _case(seed=0, batch=3, config=None, grouping="meridians"):
    """A criterion and something for it to judge, in float64."""
    generator = torch.Generator().manual_seed(seed)
    groups = make_groups(grouping, 1)
    visible = torch.rand(batch, 174, generator=generator) < 0.3
    xy = torch.rand(batch, 174, 2, generator=generator) * visible[..., None]
    trusted = torch.rand(batch, 174, generator=generator) < 0.9
    output = Output(
        4 * torch.randn(batch, 174, generator=generator),
        torch.rand(batch, 174, 2, generator=generator),
        tuple(torch.randn(batch, size, size, generator=generator) for size in groups.sizes),
    )
    return Criterion(config or LossConfig(), groups), groups, output, xy, visible, trusted


def _plain(config, groups, output, xy, visible, trusted, occluded_weight):
    """Equation 1 as the paper writes it: one branch, one picture, one point after the other."""
    sigmas = {"paper": (0.0, 1.0, -5.0), "zeros": (0.0, 0.0, 0.0), "none": None}[config.uncertainty]
    total = 0.0
    for branch, member in enumerate(groups.members):
        sums = [0.0, 0.0, 0.0]
        for picture in range(len(xy)):
            for slot, point in enumerate(member):
                p = 1 / (1 + math.exp(-output.visibility_logits[picture, point].item()))
                seen = bool(visible[picture, point])
                p_t, alpha_t = (p, 0.25) if seen else (1 - p, 0.75)
                sums[0] += -alpha_t * (1 - p_t) ** 2 * math.log(p_t)
                weight = min(max((p - 0.075) / 0.85, 0.0), 1.0)
                weight = max(weight, 0.075) if 0.075 <= p < 0.925 else weight
                weight = {"soft": weight, "hard": float(p >= 0.5), "none": 1.0}[config.mask] if config.guided else 1.0
                wing = 0.0
                for axis in range(2):
                    error = abs(output.coordinates[picture, point, axis].item() - xy[picture, point, axis].item())
                    wing += 4 * math.log(1 + error / 0.2) if error < 0.5 else 20 * error - 4.9889481
                fade = 1.0 if seen else occluded_weight
                sums[1] += fade * weight * wing * float(trusted[picture, point])
                logits = [value.item() for value in output.class_logits[branch][picture, slot]]
                sums[2] += weight * (math.log(sum(map(math.exp, logits))) - logits[slot])
        for task, loss in enumerate(sums):
            total += loss if sigmas is None else loss / (2 * math.exp(sigmas[task]) ** 2) + sigmas[task]
    return total


@pytest.mark.parametrize("settings", [
    {}, {"guided": False}, {"mask": "hard"}, {"mask": "none", "uncertainty": "none"},
    {"uncertainty": "zeros", "decay": False},
])  # fmt: skip
@pytest.mark.parametrize("grouping", ["meridians", "unified"])
def test_all_branches_at_once_equal_the_paper_point_by_point(settings, grouping):
    config = LossConfig(**settings)
    criterion, groups, *case = _case(batch=2, config=config, grouping=grouping)
    ours = criterion(*case, occluded_weight=torch.tensor(0.4)).total.item()
    assert ours == pytest.approx(_plain(config, groups, *case, 0.4), rel=1e-5)


def test_the_gradient_of_log_sigma_is_equation_11():
    criterion, _, *case = _case()
    losses = criterion(*case, occluded_weight=torch.tensor(1.0))
    losses.total.backward()
    sigma = torch.tensor([0.0, 1.0, -5.0]).exp()
    assert torch.allclose(criterion.log_sigma.grad, 1 - losses.parts / sigma**2, rtol=1e-4)


def test_no_gradient_passes_from_coordinates_and_classes_to_visibility():
    criterion, _, output, *case = _case()
    logits = output.visibility_logits.requires_grad_()
    losses = criterion(output, *case, occluded_weight=torch.tensor(1.0))
    losses.total.backward()
    alone = logits.detach().clone().requires_grad_()
    (binary_focal_loss(alone, case[1]).sum() / 2).backward()
    assert torch.allclose(logits.grad, alone.grad, atol=1e-6)


def test_points_that_are_not_trusted_teach_no_coordinates():
    criterion, _, output, xy, visible, _ = _case()
    coordinates = output.coordinates.requires_grad_()
    trusted = torch.ones_like(visible)
    trusted[:, 7] = False
    criterion(output, xy, visible, trusted, torch.tensor(1.0)).total.backward()
    weight = soft_mask(torch.sigmoid(output.visibility_logits))
    assert (coordinates.grad[:, 7] == 0).all()
    assert ((coordinates.grad[:, 8] != 0).all(-1) == (weight[:, 8] > 0)).all()


def test_the_mean_divides_by_the_pictures_and_nothing_else():
    summed, _, *case = _case(batch=4)
    mean = Criterion(LossConfig(reduction="mean"), make_groups("meridians"))
    constant = 9 * (0.0 + 1.0 - 5.0)
    a, b = (c(*case, occluded_weight=torch.tensor(1.0)).total.item() for c in (summed, mean))
    assert a - constant == pytest.approx(4 * (b - constant), rel=1e-5)


def test_the_baseline_takes_the_root_mean_square_error_of_each_picture():
    config = LossConfig(visibility="rmse", mask="none", decay=False, uncertainty="none")
    criterion, _, output, xy, visible, trusted = _case(config=config, grouping="unified")
    # p = 0.5 everywhere is 0.5 off at every point of each of the three pictures.
    parts = criterion(
        output._replace(visibility_logits=torch.zeros(3, 174)), xy, visible, trusted, torch.tensor(1.0)
    ).parts
    assert parts[0, 0].item() == pytest.approx(1.5, rel=1e-5)
