"""Folders of runs with tiny networks and random weights, as train writes them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.training.spots import SETTINGS, tiny_networks
from training import checkpoint
from training.config import load_config
from training.models.backbone_base import Backbone
from training.models.hand import HandNet
from training.models.head import Trainee
from training.runs import CONFIG, DATA
from training.settings import BaseConfig
from training.tasks.hand_config import HandConfig
from training.tasks.hand_points import read_points
from training.tasks.head_config import HeadConfig

PERSONS = {"ann": "train", "bob": "val", "cleo": "test"}


def write_run(folder: Path, config: BaseConfig, network: torch.nn.Module, **document: object) -> Path:
    """The files of a run after one epoch."""
    folder.mkdir(parents=True)
    (folder / CONFIG).write_text(config.to_toml())
    (folder / DATA).write_text(json.dumps({"persons": PERSONS, "digest": "d1", **document}))
    state = {"epoch": 1, "step": 0, "best_epoch": 1, "history": [], "identity": {}}
    links = [checkpoint.BEST, checkpoint.LAST]
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    checkpoint.save(folder, "epoch_0001", links, tensors, {}, state)
    return folder


class TinyBackbone(Backbone):
    """One convolution with a normalisation, whose running numbers are those that fp16 would harm."""

    def __init__(self) -> None:
        super().__init__("resnet18", 8)
        self.features = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, 2, 1), torch.nn.BatchNorm2d(8), torch.nn.ReLU())

    def forward(self, images: Tensor) -> Tensor:
        return self.features(images).mean((2, 3))


@contextmanager
def tiny_head() -> Iterator[None]:
    """A tiny backbone in the place of every one of the head's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.models.acusimnet.create", lambda *_, **__: TinyBackbone())
        yield


def head_run(folder: Path, seed: int = 0) -> Path:
    """A run of the head; call it, and open it, within tiny_head."""
    config = load_config().with_settings(["model.backbone=resnet18", "model.trunk=single", "data.size=32"])
    assert isinstance(config, HeadConfig)
    torch.manual_seed(seed)
    network = Trainee(config).network
    network.backbone.features[1].running_var.fill_(1e-9)  # type: ignore[index,union-attr]
    return write_run(folder, config, network)


def hand_run(folder: Path, name: str = "hand_simplebaseline") -> Path:
    """A run of the hand; call it, and open it, within tiny_networks."""
    config, points = load_config(name).with_settings(list(SETTINGS)), read_points()
    assert isinstance(config, HandConfig)
    torch.manual_seed(0)
    return write_run(folder, config, HandNet(config.model, len(points)), points=points.as_json())


__all__ = ["PERSONS", "hand_run", "head_run", "tiny_head", "tiny_networks", "write_run"]
