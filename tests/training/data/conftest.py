"""Small data sets of heads that differ, and loading them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.training.data.heads import SIZE, add
from training.data.records import HeadData, load


@pytest.fixture
def heads(tmp_path: Path) -> Callable[..., Path]:
    """Makes a data set of some persons in some frames, each person with a shape and a picture of its own."""

    def make(name: str = "data", persons: int = 4, frames: tuple[int, ...] = (1, 5), **how: Any) -> Path:
        for number in range(persons):
            for frame in frames:
                stem = f"{'FM'[number % 2]}_Person{chr(65 + number)}_N_HA_O_{frame:04d}"
                add(tmp_path / name, stem, number, shift=0.01 * number, **how)
        return tmp_path / name

    return make


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., HeadData]:
    """Loads roots with a cache of the test's own."""

    def run(*roots: Path, **how: Any) -> HeadData:
        settings: dict[str, Any] = {"size": SIZE, "cache_dir": tmp_path / "cache"}
        return load(roots, **{**settings, **how})

    return run
