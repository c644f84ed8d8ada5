"""The options of engine embedded: what reaches the engine, what OUT remembers, what is told."""

import argparse
import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from acusim.errors import AcuSimError, EngineError
from acusim.layout import scan
from acusim.pictures import read_rgb
from controller.cli import main
from controller.options import build_parser, flags, unused
from controller.workers import WorkerSettings
from engines.base import Check, Engine, Request, Result, Setup
from engines.factory import make_engine
from engines.options import EmbeddedOptions
from engines.recipe import ENGINES, Recipe


class StandIn(Engine):
    """Negatives, by model files that are one text file."""

    name = "embedded"
    processes = False
    setups: list[Setup] = []
    computes = "fp32"
    """What auto means here."""
    blind = False
    """Whether the preflight overlooks a missing file."""

    def __init__(self, recipe: Recipe, setup: Setup):
        super().__init__(recipe, setup)
        self.setups.append(setup)
        options = setup.of(EmbeddedOptions)
        assert options.models is not None
        self.file = options.models / "model.txt"
        self.precision = self.computes if options.precision == "auto" else options.precision

    def identity(self) -> dict[str, str]:
        if not self.file.is_file():
            raise EngineError("model.txt is missing; get it from https://example.org")
        return {"weights model": hashlib.sha256(self.file.read_bytes()).hexdigest(), "precision": self.precision}

    def check(self) -> list[Check]:
        there = self.file.is_file() or self.blind
        return [Check("model.txt", there, str(self.file), "" if there else "get it"), Check("GPU", True, "one")]

    def open(self) -> None:
        self.identity()

    def augment(self, batch: Sequence[Request]) -> list[Result | AcuSimError]:
        facts = {"weights": self.identity()["weights model"][:12], "precision": self.precision}
        return [Result(255 - request.pixels, facts) for request in batch]


@pytest.fixture
def setups(monkeypatch: pytest.MonkeyPatch) -> list[Setup]:
    """Puts the stand-in in the engine's place; gives the setups it was asked for."""

    def make(recipe: Recipe, setup: Setup) -> Engine:
        return StandIn(recipe, setup) if recipe.engine == "embedded" else make_engine(recipe, setup)

    for module in ("batch", "reproduce"):
        monkeypatch.setattr(f"controller.{module}.make_engine", make)
    monkeypatch.setattr("controller.hosts.WorkerSettings", partial(WorkerSettings, factory=StandIn))
    monkeypatch.setattr(StandIn, "setups", [])
    return StandIn.setups


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "model.txt").write_text("weights")
    return folder


@pytest.fixture
def line(make_dataset: Callable[..., Path], tmp_path: Path, models: Path, setups: list[Setup]) -> list[str]:
    root, out = make_dataset(frames=(1,)), tmp_path / "out"
    return ["--dataset", str(root), "--output", str(out), "--engine", "embedded", "--models", str(models)]


def _picture(out: Path) -> Path:
    return out / scan(out).samples[0].image


def test_what_is_said_reaches_the_engine(
    line: list[str], tmp_path: Path, setups: list[Setup], models: Path, capsys: Any
):
    more = "--device cuda --precision fp16 --gpus 3 --compile --low-memory --batch-size 7"
    assert main(["--batch", *line, *more.split()]) == 0
    [setup] = setups
    options = setup.of(EmbeddedOptions)
    assert (options.models, options.device, options.precision, options.gpus) == (models, "cuda", "fp16", 3)
    assert (options.compile, options.low_memory, options.batch_size) == (True, True, 7)
    printed = capsys.readouterr()
    digest = hashlib.sha256(b"weights").hexdigest()[:12]
    assert f"  weights {digest}: 4\n" in printed.out and "  precision fp16: 4\n" in printed.out
    assert "does not use" not in printed.err


def test_defaults(line: list[str], setups: list[Setup], models: Path):
    assert main(["--batch", *line]) == 0
    [setup] = setups
    plain = Setup(setup.dataset, setup.output, EmbeddedOptions(models=models))
    assert {name: getattr(setup, name) for name in Setup.__slots__} == {
        name: getattr(plain, name) for name in Setup.__slots__
    }


def test_repair_takes_what_out_was_made_with_and_what_is_said(
    line: list[str], tmp_path: Path, setups: list[Setup], models: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out"
    line[line.index("--models") + 1] = "models"
    assert main(["--batch", *line, "--device", "cpu", "--gpus", "2", "--low-memory", "--batch-size", "2"]) == 0
    _picture(out).unlink()
    monkeypatch.chdir("/")
    assert main(["--repair", "--output", str(out)]) == 0
    assert _picture(out).is_file()
    again = setups[-1].of(EmbeddedOptions)
    assert (again.models, again.device, again.gpus, again.low_memory, again.batch_size) == (models, "cpu", 2, True, 2)
    moved = models.rename(tmp_path / "moved")
    assert main(["--repair", "--output", str(out)]) == 3
    assert main(["--repair", "--output", str(out), "--models", str(moved), "--gpus", "1", "--compile"]) == 0
    again = setups[-1].of(EmbeddedOptions)
    assert (again.models, again.device, again.gpus, again.compile) == (moved, "cpu", 1, True)


def test_another_precision_or_another_file_is_another_out(line: list[str], tmp_path: Path, models: Path, capsys: Any):
    assert main(["--batch", *line]) == 0
    assert main(["--batch", *line, "--precision", "fp16"]) == 1
    assert "precision: fp32 -> fp16" in capsys.readouterr().err
    (models / "model.txt").write_text("others")
    assert main(["--batch", *line]) == 1
    assert "weights model: " in capsys.readouterr().err


def test_reproduce_makes_it_as_it_was_made(
    line: list[str], tmp_path: Path, setups: list[Setup], models: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    assert main(["--batch", *line, "--device", "cuda", "--gpus", "4", "--compile", "--low-memory"]) == 0
    image = _picture(tmp_path / "out")
    monkeypatch.setattr(StandIn, "computes", "bf16")  # auto would mean something else here
    assert main(["--reproduce", str(image)]) == 0
    setup = setups[-1]
    options = setup.of(EmbeddedOptions)
    assert (setup.output, options.batch_size, options.gpus, options.compile) == (None, 1, 1, False)
    assert (options.models, options.device, options.precision, options.low_memory) == (models, "cuda", "fp32", True)
    away = tmp_path / "away.png"
    shutil.copy(image, away)
    more = ["--dataset", line[1], "--models", str(models), "--device", "cpu"]
    assert main(["--reproduce", str(away), *more]) == 0
    options = setups[-1].of(EmbeddedOptions)
    assert (options.device, options.precision) == ("cpu", "fp32")
    capsys.readouterr()

    (models / "model.txt").write_text("others")
    old, new = (hashlib.sha256(text).hexdigest()[:12] for text in (b"weights", b"others"))
    assert main(["--reproduce", str(image)]) == 1
    assert (
        f"created with model files of hash '{old}', these have '{new}'; name their folder by --models"
        in capsys.readouterr().err
    )


def test_reproduce_tells_another_precision(
    line: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    monkeypatch.setattr(StandIn, "computes", "fp8")  # none that can be asked for
    assert main(["--batch", *line]) == 0
    monkeypatch.setattr(StandIn, "computes", "fp32")
    assert main(["--reproduce", str(_picture(tmp_path / "out"))]) == 1
    assert "in precision 'fp8', this machine computes in 'fp32'; set --device" in capsys.readouterr().err


@pytest.mark.parametrize("blind", [False, True])
def test_check_shows_the_whole_table_where_files_are_missing(
    line: list[str], models: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, blind: bool
):
    monkeypatch.setattr(StandIn, "blind", blind)
    assert main(["--check", *line, "--json"]) == 0
    (models / "model.txt").unlink()
    capsys.readouterr()
    assert main(["--check", *line, "--json"]) == 3
    checks = {check["name"]: check["ok"] for check in json.loads(capsys.readouterr().out)["checks"]}
    expected = {"plan": True, "model.txt": blind, "GPU": True}
    assert checks == (expected | {"engine embedded": False} if blind else expected)
    assert main(["--batch", *line]) == 3
    assert "model.txt is missing; get it from" in capsys.readouterr().err


@pytest.mark.parametrize(("option", "value"), [("--gpus", 0), ("--gpus", 65), ("--batch-size", 65)])
def test_numbers_out_of_range(line: list[str], option: str, value: int, capsys: Any):
    assert main(["--batch", *line, option, str(value)]) == 1
    assert f"{option} {value} is outside 1..64" in capsys.readouterr().err


ALL = (
    "--workers 2 --server u --workflow w --transport remote --batch-size 2 "
    "--models m --device cpu --precision fp32 --gpus 2 --compile --low-memory"
)


def test_each_engine_says_which_options_it_does_not_read():
    options = build_parser().parse_args(ALL.split())
    found = {engine: flags(unused(options, engine)) for engine in ENGINES}
    own = "--models, --device, --precision, --gpus, --compile, --low-memory"
    assert found == {
        "relight": f"--batch-size, --server, --workflow, --transport, {own}",
        "comfyui": f"--workers, {own}",
        "embedded": "--workers, --server, --workflow, --transport",
    }
    assert not any(unused(build_parser().parse_args([]), engine) for engine in ENGINES)
    assert isinstance(options, argparse.Namespace)


def test_pictures_are_the_engines(line: list[str], tmp_path: Path):
    assert main(["--batch", *line, "--quiet"]) == 0
    for sample in scan(Path(line[1])).samples:
        one, other = (read_rgb(root / sample.image).pixels for root in (Path(line[1]), tmp_path / "out"))
        assert (one == 255 - other).all()
