"""Small data sets and settings for training tests."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.training.labelme_files import document, pixels
from training.config import load_config
from training.data.records import HeadData, load
from training.tasks.head_config import HeadConfig

SMALL = (
    "model.backbone=resnet18",
    "model.trunk=single",
    "data.size=32",
    "train.batch_size=4",
    "train.lr=0.001",
    "train.epochs=2",
)
"""Settings with which a step takes a twentieth of a second."""


@pytest.fixture(autouse=True)
def few_threads():
    """Small products are slower on several threads, and other tests run beside."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def small_config() -> Callable[..., HeadConfig]:
    """A configuration that trains quickly."""

    def make(*assignments: str, name: str = "acusimnet") -> HeadConfig:
        return load_config(name).with_settings([*SMALL, *assignments])

    return make


@pytest.fixture
def head_data(make_dataset: Callable[..., Path], tmp_path: Path) -> Callable[..., HeadData]:
    """Pictures of some models as the trainer sees them, 32 pixels wide."""

    def make(**how: Any) -> HeadData:
        root = make_dataset(**{"frames": (1, 4, 8), "size": 32, **how})
        return load([root], size=32, cache_dir=tmp_path / "cache", bald_codes="HB")

    return make


def without(data: HeadData, **changes: Any) -> HeadData:
    """A copy of the data with other targets."""
    return dataclasses.replace(data, targets=dataclasses.replace(data.targets, **changes))


@pytest.fixture
def make_hand(tmp_path: Path) -> Callable[..., Path]:
    """Writes picture and label into tmp_path; returns that folder. The picture is unlike those before."""
    count = 0

    def make(
        name: str = "S0001_L_back_0001", label: Any = None, picture: np.ndarray | None = None, **save: Any
    ) -> Path:
        nonlocal count
        count += 1
        image = tmp_path / (name if Path(name).suffix else f"{name}.png")
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(count) if picture is None else picture).save(image, **save)
        content = document(image.name) if label is None else label
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        image.with_suffix(".json").write_text(text, encoding="utf-8")
        return tmp_path

    return make
