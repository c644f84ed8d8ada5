"""Runs that start from another run's weights: heads and hands."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from acusim.errors import ConfigError
from tests.training.resuming import assert_going_on_ends_with_the_same_bytes
from tests.training.spots import PEOPLE, SETTINGS, add_hand, tiny_networks
from training import checkpoint
from training.config import load_config
from training.data.hand_loader import load_hands
from training.data.split import split
from training.hardware import Hardware
from training.history import History
from training.loop import Loop
from training.models.hand import HandTrainee
from training.models.heatmap_net import HeatmapNet
from training.shipped import model_path
from training.shipped.files import read_weights
from training.tasks.hand import HandTask
from training.tasks.hand_config import HandConfig
from training.tasks.head import HeadTask, predict
from training.warm_start import prepare, start_from

HARDWARE = Hardware("cpu")


@pytest.fixture(autouse=True)
def no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(History, "write", lambda *_, **__: None)


@pytest.fixture
def head_task(head_data: Callable, small_config: Callable) -> Callable[..., HeadTask]:
    data = head_data()

    def make(*assignments: str) -> HeadTask:
        config = small_config("train.epochs=1", *assignments)
        return HeadTask(config, data, split(data.records, config.data.split()))

    return make


@pytest.fixture
def hand_task(tmp_path: Path) -> Iterator[Callable[..., HandTask]]:
    """Hands and a network that is quick to run."""
    for number, stem in enumerate(PEOPLE):
        add_hand(tmp_path / "hands", stem, number)

    def make(*assignments: str) -> HandTask:
        config = load_config("hand_simplebaseline").with_settings([*SETTINGS, "train.epochs=1", *assignments])
        assert isinstance(config, HandConfig)
        hands = load_hands(tmp_path / "hands", config)
        return HandTask(config, hands, hands.squares("train", config.augment), hands.squares("val"))

    with tiny_networks():
        yield make


def _loop(task: HeadTask | HandTask, run: Path, init: Path | None = None) -> Loop:
    """A loop as the command train makes it."""
    loop = Loop(task.config, task, run, HARDWARE)
    prepare(task, init, run)
    loop.resume()
    return loop


def _trained(task: HeadTask | HandTask, run: Path, init: Path | None = None) -> Path:
    _loop(task, run, init).train()
    return run


def _weights(run: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(checkpoint.find(run, "last")).model


def test_before_its_first_step_it_answers_as_its_parent(head_task: Callable, tmp_path: Path) -> None:
    parent = head_task()
    _trained(parent, tmp_path / "parent")
    child = head_task("train.seed=7", "train.lr=0.01")
    found = start_from(child.trainee, tmp_path / "parent/checkpoints/last")
    assert not found.fresh and not found.unused
    config, index, device = child.config, np.arange(3), torch.device("cpu")
    answers = []
    for task in (parent, child):
        task.trainee.eval()
        answers.append(predict(task.trainee.network, task.data, index, config, device))
    theirs, own = (task.trainee.state_dict() for task in (parent, child))
    assert all(torch.equal(own[name], theirs[name]) for name in found.taken)
    # Equal weights that lie differently in memory are summed in another order.
    np.testing.assert_allclose(answers[0].xy, answers[1].xy, rtol=0, atol=1e-5)
    np.testing.assert_allclose(answers[0].probability, answers[1].probability, rtol=0, atol=1e-5)


def test_other_heads_stay_fresh_and_that_is_reported(head_task: Callable, tmp_path: Path) -> None:
    _trained(head_task(), tmp_path / "parent")
    child = head_task("model.grouping=unified")
    before = {name: value.clone() for name, value in child.trainee.state_dict().items()}
    found = start_from(child.trainee, tmp_path / "parent")
    parent, after = _weights(tmp_path / "parent"), child.trainee.state_dict()
    assert found.fresh and all("branches" in text or "log_sigma" in text for text in found.fresh)
    assert all(torch.equal(after[name], parent[name]) for name in found.taken)
    kept = set(after) - set(found.taken)
    assert kept and all(torch.equal(after[name], before[name]) for name in kept)
    assert f"{len(found.taken)} tensors taken; new: network.branches.0." in str(found) and "there)" in str(found)
    assert found.as_json()["taken"] == len(found.taken)


def test_what_is_frozen_stays_bit_for_bit(head_task: Callable, tmp_path: Path) -> None:
    _trained(head_task(), tmp_path / "parent")
    parent = _weights(tmp_path / "parent")
    _trained(head_task("train.freeze=backbone"), tmp_path / "child", tmp_path / "parent/checkpoints/last")
    child = _weights(tmp_path / "child")
    frozen = [name for name in parent if name.startswith("network.backbone.")]
    assert any("running_mean" in name for name in frozen)
    assert all(torch.equal(parent[name], child[name]) for name in frozen)
    assert not torch.equal(
        parent["network.branches.0.coordinate.weight"], child["network.branches.0.coordinate.weight"]
    )
    moments = checkpoint.load(checkpoint.find(tmp_path / "child", "last"), with_optimizer=True).optimizer
    assert moments and not any("network.backbone" in name for name in moments)


def test_going_on_needs_the_parent_no_more_and_ends_with_the_same_bytes(hand_task: Callable, tmp_path: Path) -> None:
    parent = _trained(hand_task(), tmp_path / "parent")
    began: set[str] = set()

    def loop(folder: str) -> Loop:
        if folder in began:
            shutil.rmtree(parent)
        began.add(folder)
        return _loop(hand_task("train.freeze=model.layers.0", "train.epochs=2"), tmp_path / folder, parent)

    whole = assert_going_on_ends_with_the_same_bytes(loop, tmp_path, 1)
    assert checkpoint.load_state(whole)["identity"]["init"]


def test_a_run_has_one_parent(hand_task: Callable, tmp_path: Path) -> None:
    first = _trained(hand_task(), tmp_path / "first")
    second = _trained(hand_task("train.seed=5"), tmp_path / "second")
    child = _trained(hand_task(), tmp_path / "child", first)
    assert _loop(hand_task(), child).done  # without --init, it is what it was
    assert _loop(hand_task(), child, first).done
    with pytest.raises(ConfigError, match="init was '"):
        _loop(hand_task(), child, second)
    with pytest.raises(ConfigError, match="init was None"):
        _loop(hand_task(), first, second)
    with pytest.raises(ConfigError, match="holds no checkpoint"):
        _loop(hand_task(), first, tmp_path / "nowhere")


def test_a_parent_of_which_nothing_fits_is_refused(head_task: Callable, tmp_path: Path) -> None:
    other = tmp_path / "other/checkpoints/epoch_0001"
    state = {"epoch": 1, "step": 0, "best_epoch": 1, "history": [], "identity": {}}
    checkpoint.save(tmp_path / "other", other.name, ["last"], {"something.else": torch.zeros(2)}, {}, state)
    with pytest.raises(ConfigError, match=r"none of its 1 tensors fits .* it has something.else"):
        start_from(head_task().trainee, tmp_path / "other")
    with pytest.raises(ConfigError, match="holds no checkpoint"):
        start_from(head_task().trainee, tmp_path / "nowhere")


def test_hands_start_from_hands(hand_task: Callable, tmp_path: Path) -> None:
    parent = _trained(hand_task(), tmp_path / "parent")
    first = _weights(parent)
    child = hand_task("train.seed=3", "train.freeze=model.layers.0")
    loop = _loop(child, tmp_path / "child", parent)
    assert all(torch.equal(value, first[name]) for name, value in child.trainee.state_dict().items())
    loop.train()
    moved = {name for name, value in _weights(tmp_path / "child").items() if not torch.equal(value, first[name])}
    assert moved == {"network.model.layers.2.weight", "network.model.layers.2.bias"}


def test_of_a_network_with_fewer_points_all_but_its_head_is_taken(hand_task: Callable, tmp_path: Path) -> None:
    parent = _trained(hand_task(), tmp_path / "parent")
    child = HandTrainee(hand_task().config, 3)
    found = start_from(child, parent)
    assert found.taken == ("network.model.layers.0.weight", "network.model.layers.0.bias")
    assert [text.split()[0] for text in found.fresh] == ["network.model.layers.2.weight", "network.model.layers.2.bias"]


def test_a_network_of_hands_takes_what_it_shares_with_one_of_heads(tmp_path: Path) -> None:
    """From a checkpoint whose tensors are those of a network of heads with heatmaps, and from the shipped one."""
    torch.manual_seed(0)
    stored = {f"network.{name}": value for name, value in HeatmapNet("light", 20, 16).state_dict().items()}
    state = {"epoch": 1, "step": 0, "best_epoch": 1, "history": [], "identity": {}}
    checkpoint.save(tmp_path, "epoch_0001", ["last"], stored, {}, state)
    config = load_config("hand_light").with_settings(["model.decoder=16"])
    assert isinstance(config, HandConfig)
    hand = HandTrainee(config, 7)
    before = {name: value.clone() for name, value in hand.network.model.state_dict().items()}
    found = start_from(hand, tmp_path)
    assert all("global_visibility" in name or "20" in name or "traits" in name for name in found.fresh)
    for name, value in hand.network.model.state_dict().items():
        own = name.startswith(("heatmap.", "sharpness", "global_visibility.", "local_visibility", "traits."))
        assert torch.equal(value, before[name] if own else stored[f"network.{name}"]), name
    assert not found.unused


def test_the_shipped_model_is_a_start() -> None:
    config = load_config("hand_light")
    assert isinstance(config, HandConfig)
    hand = HandTrainee(config, 7)
    path = model_path("head")
    found = start_from(hand, path)
    shipped = read_weights(path)
    assert found.sha256 == shipped.sha256 and found.checkpoint == path
    weight = "backbone.features.stage1_1.conv1.weight"
    assert torch.equal(hand.network.model.state_dict()[weight], shipped.weights[weight])
