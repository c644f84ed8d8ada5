"""The branches: their outputs, their parameters, and those of checkpoints of earlier formats."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.training.models.seeded_weights import seeded_state, seeded_tensor, summary
from training.models.branches import Branches
from training.models.grouping import make_groups

PUBLIC = Path(__file__).parents[2] / "data/training/branches.json"
pytestmark = pytest.mark.numeric
LAYOUTS = json.loads((Path(__file__).parents[1] / "previous_version/branches.json").read_text())
"""Names and shapes of parameters in formats 1 and 2 of Branches with 8 features, by grouping; three: its trunk."""


def _padded(old: dict[str, Tensor], features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """All branches at once as the version before computed them, from format 1: [B, G, W], [B, G, 2 W], [B, G, W W]."""
    count, last = len(old["visibility.bias"]), max(int(name.split(".")[1]) for name in old if name.startswith("trunk"))
    hidden = (features @ old["trunk.0.weight"].T).unflatten(1, (count, -1)) + old["trunk.0.bias"]
    for layer in range(0, last, 4):
        if layer:
            hidden = torch.einsum("bgd,gde->bge", hidden, old[f"trunk.{layer}.weight"]) + old[f"trunk.{layer}.bias"]
        hidden = F.layer_norm(F.gelu(hidden), hidden.shape[-1:])
        hidden = hidden * old[f"trunk.{layer + 3}.weight"] + old[f"trunk.{layer + 3}.bias"]
    heads = ("visibility", "coordinate", "classifier")
    visibility, coordinate, classifier = (
        torch.einsum("bgd,gde->bge", hidden, old[f"{head}.weight"]) + old[f"{head}.bias"] for head in heads
    )
    return visibility, coordinate, classifier


def _without_padding(old: dict[str, Tensor], sizes: tuple[int, ...]) -> dict[str, Tensor]:
    """Format 1 -> format 2: heads as one row for each output that exists."""
    used = torch.arange(max(sizes)) < torch.tensor(sizes)[:, None]
    pairs = (used[:, :, None] & used[:, None, :]).flatten(1)
    rows = {"visibility": used, "coordinate": used.repeat_interleave(2, 1), "classifier": pairs}
    out = dict(old)
    for head, there in rows.items():
        out[f"{head}.weight"] = old[f"{head}.weight"].transpose(1, 2)[there]
        out[f"{head}.bias"] = old[f"{head}.bias"][there]
    return out


@pytest.mark.parametrize("stored", [1, 2])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_checkpoints_of_earlier_formats_give_the_same_outputs(layout: str, stored: int):
    groups = make_groups("meridians" if layout == "three" else layout, 1)
    generator = torch.Generator().manual_seed(1)
    old = {name: 0.1 * torch.randn(shape, generator=generator).double() for name, shape in LAYOUTS[layout]["1"].items()}
    features = torch.randn(4, 8, generator=generator).double()
    visibility, coordinate, classifier = _padded(old, features)
    if stored == 2 and layout != "unified":  # nothing is padded there, and it was stored as it was
        old = _without_padding(old, groups.sizes)
    assert {name: list(value.shape) for name, value in old.items()} == LAYOUTS[layout][str(stored)]
    branches = Branches(groups, 8, "three" if layout == "three" else "single").double().eval()
    upgraded = {new: value for name, stored in old.items() for new, value in branches.upgraded(name, stored).items()}
    branches.load_state_dict(upgraded)
    assert all(branches.upgraded(name, value) == {name: value} for name, value in upgraded.items())
    output = branches(features)
    for branch, member in enumerate(groups.members):
        size, points = len(member), torch.from_numpy(member)
        places = coordinate[:, branch, : 2 * size].unflatten(1, (size, 2))
        classes = classifier[:, branch].unflatten(1, (max(groups.sizes),) * 2)[:, :size, :size]
        assert torch.allclose(output.visibility_logits[:, points], visibility[:, branch, :size], atol=1e-9)
        assert torch.allclose(output.coordinates[:, points], places, atol=1e-9)
        assert torch.allclose(output.class_logits[branch], classes, atol=1e-9)


def test_the_step_of_an_earlier_format_is_that_of_every_branch():
    upgraded = Branches(make_groups("meridians"), 8, "single").upgraded("trunk.0.weight", torch.tensor(7.0))
    assert upgraded == {f"{branch}.trunk.0.weight": 7 for branch in range(9)}


def test_outputs_are_those_of_the_public_code_with_the_same_weights():
    """Recorded by tests.live.record_branches from the public code's own class."""
    recorded = json.loads(PUBLIC.read_text())["meridians"]
    groups = make_groups("meridians")
    assert [row["points"] for row in recorded] == list(groups.sizes)
    branches = Branches(groups, 48).eval()
    branches.load_state_dict(seeded_state(branches.state_dict()))
    with torch.no_grad():
        output = branches(seeded_tensor("features", torch.zeros(3, 48)))
    assert output.class_logits is not None
    for row, members, classes in zip(recorded, groups.members, output.class_logits, strict=True):
        ours = {
            "visibility": output.visibility_logits[:, members],
            "coordinate": output.coordinates[:, members].flatten(1),
            "classifier": classes,
        }
        for name, values in ours.items():
            got = summary(values)
            assert got["shape"] == row[name]["shape"]
            for key in ("values", "mean", "std"):
                assert got[key] == pytest.approx(row[name][key], abs=1e-5, rel=0)


def test_a_scale_of_zero_starts_heads_at_zero():
    branches = Branches(make_groups("meridians"), 8, "single", head_scale=0.0).eval()
    output = branches(torch.randn(2, 8))
    assert not output.visibility_logits.any() and not output.coordinates.any() and output.class_logits[0].any()


@pytest.mark.parametrize("features", [512, 1024, 1920, 4096])
def test_the_parameters_are_those_of_the_specified_formula(features):
    # 9,216 d + 13,239,963 with the 27 uncertainty weights, which belong to the loss.
    branches = Branches(make_groups("meridians"), features)
    assert sum(value.numel() for value in branches.parameters()) == 9216 * features + 13_239_963 - 27


def test_dropout_works_in_training_only():
    torch.manual_seed(0)
    branches = Branches(make_groups("meridians"), 16)
    features = torch.randn(2, 16)
    assert not torch.equal(branches(features).coordinates, branches(features).coordinates)
    branches.eval()
    assert torch.equal(branches(features).coordinates, branches(features).coordinates)


def test_nobody_asked_for_classes():
    branches = Branches(make_groups("unified"), 8, "single").eval()
    output = branches(torch.zeros(1, 8), for_loss=False)
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
