"""What a batch is asked for: which engine's options it holds, and what the ledger keeps, also of earlier versions."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from acusim.errors import ConfigError
from controller.cli import main
from controller.gate_settings import GateSettings
from controller.ledger import LEDGER_FILE, STATE_FOLDER
from controller.settings import BatchSettings
from engines.options import ComfyUIOptions, EmbeddedOptions, EngineOptions, RelightOptions
from engines.recipe import EngineName, Recipe
from evaluation.thresholds import Thresholds

NAMED: dict[EngineName, EngineOptions] = {
    "relight": RelightOptions(),
    "comfyui": ComfyUIOptions(server=("http://a:1", "http://b:2"), workflow=Path("/w.json"), transport="remote"),
    "embedded": EmbeddedOptions(
        models=Path("/models"), device="cpu", precision="bf16", gpus=4, compile=True, low_memory=True, batch_size=2
    ),
}
"""Engine -> options that differ from their defaults, as far as OUT keeps any."""


def _flat(settings: BatchSettings) -> dict[str, Any]:
    """The settings as version 0.2.0 stored them: the options of every engine beside the others."""
    stored, options = settings.stored(), settings.engine_options.as_dict()
    path = {name: str(options[name]) if options.get(name) else None for name in ("workflow", "models")}
    stored.pop("engine_options")
    defaults = {"batch_size": None, "transport": "auto", "device": "auto", "precision": "auto", "gpus": 1}
    defaults |= {"compile": False, "low_memory": False}
    given = {name: options.get(name, value) for name, value in defaults.items()}
    return {**stored, "servers": list(options.get("server", ())), **path, **given}


def _settings(engine: EngineName, out: Path, **more: Any) -> BatchSettings:
    return BatchSettings(
        dataset=out.with_name("data"), output=out, recipe=Recipe(engine=engine), engine_options=NAMED[engine], **more
    )


@pytest.mark.parametrize("engine", NAMED)
@pytest.mark.parametrize("form", [BatchSettings.stored, _flat], ids=["now", "0.2.0"])
def test_the_ledger_gives_the_settings_back(
    engine: EngineName, form: Callable[[BatchSettings], dict[str, Any]], tmp_path: Path, monkeypatch: Any
):
    monkeypatch.setattr(Path, "is_file", lambda self: True)
    gate = GateSettings(rerolls=3, thresholds=Thresholds(tolerance_mm=2.0))
    settings = _settings(engine, tmp_path / "out", gate=gate, scenes=tmp_path, seed=7, variants=2, select="gender=F")
    stored = json.loads(json.dumps(form(settings)))
    assert BatchSettings.from_stored(stored, tmp_path / "out") == settings


def test_settings_of_still_earlier_versions_have_the_defaults(tmp_path: Path):
    stored = _flat(_settings("relight", tmp_path / "out"))
    for name in ("gate", "servers", "workflow", "models", "device", "precision", "gpus", "compile", "low_memory"):
        del stored[name]
    assert BatchSettings.from_stored(stored, tmp_path / "out") == _settings("relight", tmp_path / "out")


def test_what_is_of_this_run_alone_is_not_kept(tmp_path: Path):
    options = ComfyUIOptions(server_header_file=tmp_path / "secret")
    stored = BatchSettings(dataset=tmp_path, output=tmp_path, recipe=Recipe(), repair=True, engine_options=options)
    assert not {"output", "repair"} & stored.stored().keys() and "secret" not in json.dumps(stored.stored())
    assert "workers" not in _settings("relight", tmp_path).stored()["engine_options"]


@pytest.mark.parametrize("stored", [{}, {"recipe": {"engine": "relight"}}, {"recipe": {"engine": "warp"}}])
def test_stored_settings_that_cannot_be_read_are_an_error(stored: dict[str, Any], tmp_path: Path):
    with pytest.raises(ConfigError, match=f"in the ledger of '{tmp_path}' cannot be read"):
        BatchSettings.from_stored(stored, tmp_path)


def test_options_belong_to_the_recipes_engine(tmp_path: Path):
    with pytest.raises(ConfigError, match="options of engine embedded for engine relight"):
        BatchSettings(dataset=tmp_path, recipe=Recipe(engine="relight"), engine_options=EmbeddedOptions())
    assert isinstance(BatchSettings(dataset=tmp_path, recipe=Recipe()).engine_options, ComfyUIOptions)


@pytest.fixture
def earlier(make_dataset: Callable[..., Path], tmp_path: Path) -> tuple[list[str], Path]:
    """A command line, and an OUT with its settings in the form of version 0.2.0, in the ledger and beside it."""
    root, out = make_dataset(frames=(1,)), tmp_path / "out"
    line = ["--engine", "relight", "--workers", "1", "--dataset", str(root), "--quiet"]
    assert main(["--batch", *line, "--output", str(out)]) == 0
    settings = BatchSettings(dataset=root, output=out, recipe=Recipe(engine="relight"))
    beside = out / STATE_FOLDER / "settings.json"
    beside.write_text(json.dumps(json.loads(beside.read_text()) | {"settings": _flat(settings)}))
    with sqlite3.connect(out / STATE_FOLDER / LEDGER_FILE) as database:
        database.execute("UPDATE meta SET value = ? WHERE name = 'settings'", (json.dumps(_flat(settings)),))
    database.close()
    return line, out


@pytest.mark.parametrize("ledger", ["intact", "lost"])
def test_an_out_of_version_0_2_0_is_read_by_every_command(
    earlier: tuple[list[str], Path], tree: Callable[[Path], dict[str, str]], capsys: Any, ledger: str
):
    line, out = earlier
    before = tree(out)
    image = next(out.glob("train/image/*/*.png"))
    if ledger == "intact":
        for action in (["--status"], ["--verify"], ["--reproduce", str(image)]):
            assert main([*action, "--output", str(out)]) == 0
        assert main(["--batch", *line, "--output", str(Path(shutil.copytree(out, out.with_name("copy"))))]) == 0
    else:
        (out / STATE_FOLDER / LEDGER_FILE).unlink()
    image.unlink()
    capsys.readouterr()
    assert main(["--repair", "--output", str(out), "--json", "--quiet"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["created"], report["already"]) == (1, 3) and tree(out) == before
