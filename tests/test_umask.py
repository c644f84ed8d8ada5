"""Everything that the commands write may be read by whom the user's umask lets, not by its owner alone."""

from collections.abc import Callable
from pathlib import Path

import pytest

from controller import cli as controller
from evaluation.store import Store
from tests.support import add_sample
from training.cli import main as training
from training.data.cache import open_cache
from training.data.memory import Memory
from training.data.shards import Source


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o002])
def test_files_are_as_the_umask_says(tmp_path: Path, umask: Callable[[int], int], mask: int):
    umask(mask)
    root, out = tmp_path / "data", tmp_path / "out"
    picture = add_sample(root, "F_Ann_N_HA_O_0001", size=32)
    line = ["--engine", "relight", "--workers", "1", "--dataset", str(root), "--output", str(out), "--quiet"]
    assert controller.main(["--batch", *line]) == 0
    (root / "train/label/label/F_Ann_N_HA_O_0001.json").rename(tmp_path / "away.json")
    export = ["coco", "export", "--data", str(root), "--out", str(tmp_path / "coco/labels.json"), "--quiet"]
    assert training.main(export) == training.PROBLEMS
    Memory(tmp_path / "cache", print).close()
    open_cache(tmp_path / "cache", [Source(picture, "a", "0" * 64, 32)], 32, 1, lambda *_: None, print)
    with Store(tmp_path / "measured"):
        pass
    folders = ("out", "coco", "cache", "measured")
    found = {path: path.stat().st_mode & 0o777 for name in folders for path in (tmp_path / name).rglob("*")}
    assert {"ledger.sqlite", "lock", "labels.skipped.csv", "known.sqlite", "measured.sqlite"} <= {p.name for p in found}
    wrong = {
        path.name: oct(mode) for path, mode in found.items() if mode != (0o777 if path.is_dir() else 0o666) & ~mask
    }
    assert not wrong
