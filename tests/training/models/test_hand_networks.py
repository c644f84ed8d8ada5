"""The hand models against the published pose networks (recorded by tests/live/record_hand_models.py)."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from acusim.errors import ConfigError
from tests.support import ROOT, rounding
from tests.training.models.seeded_weights import HAND_PICTURES, keys_sha256, seeded_pictures, seeded_state
from tests.training.models.test_backbones import assert_recorded
from training.models.hand_base import HandModel
from training.models.hand_networks import HAND_MODELS, create
from training.models.hand_pretrained import load_pretrained
from training.models.hrnet import FirstBlock, HRNet
from training.models.simple_baseline import SimpleBaseline

pytestmark = pytest.mark.numeric

RECORDED = json.loads((ROOT / "tests/data/training/hand_models.json").read_text())
PUBLISHED = {"hrnet_w32": "pose_hrnet", "simple_baseline": "pose_resnet"}
POINTS = 17
"""Of the published networks."""


def published_state(model: nn.Module) -> dict[str, Tensor]:
    """A model's state dict under the published names."""
    return {name.removeprefix("backbone."): value for name, value in model.state_dict().items()}


def seeded(name: str) -> HandModel:
    """A model with the weights of the formula and without dropout."""
    with torch.device("meta"):
        model = create(name, POINTS, bottleneck_dropout=0, branch_dropout=0)
    state = seeded_state(published_state(model))
    model.load_state_dict({key: state[key.removeprefix("backbone.")] for key in model.state_dict()}, assign=True)
    return model


def maps_of(model: HandModel) -> Tensor:
    """The maps of the formula's pictures, before they are enlarged."""
    assert isinstance(model, HRNet | SimpleBaseline)
    maps: list[Tensor] = []
    hook = model.final_layer.register_forward_hook(lambda *of_call: maps.append(of_call[-1]))
    model(seeded_pictures(HAND_PICTURES))
    hook.remove()
    return maps[0]


@torch.no_grad()
@pytest.mark.parametrize("name", PUBLISHED)
def test_names_and_numbers_are_those_of_the_published_network(name: str):
    recorded = RECORDED[PUBLISHED[name]]
    model = seeded(name)
    assert keys_sha256(published_state(model)) == recorded["keys"]
    assert sum(value.numel() for value in model.parameters()) == recorded["parameters"]
    assert_recorded(model.eval(), maps_of, recorded["heatmaps"])
    out, maps = model(seeded_pictures(HAND_PICTURES)), maps_of(model)
    assert out.shape == (2, POINTS, 64, 96) and model.OUTPUT == "heatmaps"
    # bilinear by hand: the centre of pixel 9 lies seven eighths of the way from that of cell 1 to that of cell 2
    cells = maps[:, :, 1:3, 1:3]
    by_hand = (cells * torch.tensor([[1.0, 7], [7, 49]]) / 64).sum((2, 3))
    torch.testing.assert_close(out[:, :, 9, 9], by_hand, rtol=0, atol=rounding([4, 4]) * float(cells.abs().max()))
    assert_recorded(model.train(), maps_of, recorded["training_heatmaps"])


def test_hrnet_w32_has_the_published_size():
    assert round(RECORDED["pose_hrnet"]["parameters"] / 1e6, 1) == 28.5


def test_dropout_stands_where_the_paper_has_it():
    with torch.device("meta"):
        model = create("hrnet_w32", 7)
    shares = {name: part.p for name, part in model.named_modules() if isinstance(part, nn.Dropout) and part.p}
    bottlenecks = {f"layer1.{i}.dropout": 0.2 for i in range(4)}
    branches = {
        f"stage{branches}.{module}.branches.{branch}.0.dropout": 0.1
        for branches, modules in ((2, 1), (3, 4), (4, 3))
        for module in range(modules)
        for branch in range(branches)
    }
    assert shares == bottlenecks | branches and len(branches) == 26


def test_dropout_acts_while_training_only():
    torch.manual_seed(0)
    block, x = FirstBlock(8, 0.5).train(), torch.rand(4, 8, 6, 6)
    out = block(x)
    block.dropout.p = 0
    whole = block(x)
    kept, there = out != 0, whole != 0
    assert (kept & there).sum() / there.sum() == pytest.approx(0.5, abs=0.05)
    torch.testing.assert_close(out[kept], 2 * whole[kept])
    block.dropout.p = 0.5
    assert torch.equal(block.eval()(x), block(x))


def test_regression_begins_at_the_centre_and_learns_it_all():
    torch.manual_seed(0)
    model = create("resnet50", 7)
    assert model.OUTPUT == "coordinates"
    model.get_parameter("head.weight").data.zero_()
    out = model(torch.rand(2, 3, 64, 64))
    assert out.shape == (2, 7, 2) and out.unique().tolist() == [0.5]
    # the layer's rows are x and y of the first point, then of the second, and so on
    model.get_parameter("head.bias").data.copy_(torch.arange(14.0))
    assert model(torch.rand(2, 3, 64, 64))[0].tolist() == [[2.0 * i, 2.0 * i + 1] for i in range(7)]


@torch.no_grad()
@pytest.mark.parametrize("name", HAND_MODELS)
def test_what_mixed_precision_says_is_finer_than_bf16(name: str):
    torch.manual_seed(0)
    model, pictures = create(name, 7).eval(), torch.rand(2, 3, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        out = model(pictures)
    assert out.dtype == torch.float32
    assert (out != out.bfloat16().float()).float().mean() > 0.9  # a value of bf16 is one by chance only


def test_an_hrnet_takes_all_but_its_last_layer_from_a_file(tmp_path: Path):
    with torch.device("meta"):
        model = create("hrnet_w32", 3).to_empty(device="cpu")
    last = model.get_parameter("final_layer.weight").detach().clone()
    state = seeded_state(model.state_dict())
    names = (
        "final_layer.0.weight",
        "classifier.bias",
        "incre_modules.0.0.conv1.weight",
        "stage4.2.fuse_layers.3.0.0.0.weight",
    )
    save_file(
        {name: value for name, value in state.items() if "final_layer" not in name}
        | {name: torch.ones(2) for name in names},
        tmp_path / "hrnet.safetensors",
    )
    load_pretrained(model, tmp_path / "hrnet.safetensors")
    for name, value in model.state_dict().items():
        if not name.startswith("final_layer."):
            assert torch.equal(value, state[name]), name
    assert model.get_parameter("final_layer.weight").detach().numpy().tobytes() == last.numpy().tobytes()


def test_the_other_models_take_weights_of_their_backbone(tmp_path: Path):
    save_file({"conv1.weight": torch.zeros(64, 3, 7, 7), "fc.bias": torch.zeros(1000)}, tmp_path / "part.safetensors")
    for name, backbone, what in (("simple_baseline", "resnet50", "missing 264"), ("vgg16", "vgg16", "unexpected 2")):
        with torch.device("meta"):
            model = create(name, 3)
        with pytest.raises(ConfigError, match=f"does not fit {backbone}: .*{what}"):
            load_pretrained(model, tmp_path / "part.safetensors")


@pytest.mark.parametrize(("name", "features"), list(zip(HAND_MODELS, (480, 2048, 2048, 4096), strict=True)))
def test_shapes_without_numbers(name: str, features: int):
    with torch.device("meta"):
        model = create(name, 7).eval()
    output, of_picture = model.points_and_features(torch.empty(2, 3, 64, 96, device="meta"))
    assert output.shape == ((2, 7, 64, 96) if model.OUTPUT == "heatmaps" else (2, 7, 2))
    assert of_picture.shape == (2, features) and model.feature_dim == features


def test_every_model_is_there_and_others_are_refused():
    for name in HAND_MODELS:
        with torch.device("meta"):
            assert isinstance(create(name, 7), HandModel)
    for how, message in (
        ({"name": "hrnet", "points": 7}, "there are hrnet_w32, simple_baseline, resnet50, vgg16"),
        ({"name": "vgg16", "points": 0}, "at least 1 point; 0"),
        ({"name": "hrnet_w32", "points": 7, "branch_dropout": 1.0}, "branch_dropout is 1.0"),
        ({"name": "hrnet_w32", "points": 7, "bottleneck_dropout": -0.1}, "bottleneck_dropout is -0.1"),
    ):
        with pytest.raises(ConfigError, match=message):
            create(**how)
