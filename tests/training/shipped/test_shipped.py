"""Names of shipped models, and their files in a package."""

import fnmatch
import logging
import tomllib
from pathlib import Path

import pytest

import training
from acusim.errors import ConfigError
from tests.support import ROOT
from training import shipped
from training.runs import open_run
from training.shipped import files


def test_a_name_is_a_folder_of_the_package_and_all_else_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    package = Path(training.__file__).parent / "shipped"
    assert shipped.model_path("head") == package / "head" and shipped.model_path(Path("hand")) == package / "hand"
    for path in ("./head", "runs/head", "Head", "model.onnx", str(tmp_path)):
        assert shipped.model_path(path) == Path(path)


def test_a_folder_of_that_name_loses_and_a_note_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging.getLogger("training"), "propagate", True)
    monkeypatch.setattr(logging.getLogger("training"), "level", logging.INFO)
    caplog.set_level(logging.INFO)
    shipped.model_path("head")
    assert not caplog.records
    (tmp_path / "head").mkdir()
    assert shipped.model_path("head") == shipped.FOLDER / "head"
    assert "head is the shipped model; ./head would be the folder" in caplog.text


def test_an_installation_without_the_files_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    monkeypatch.setattr(files, "FOLDER", tmp_path)
    assert shipped.available() == ()
    with pytest.raises(ConfigError, match="shipped model 'head' is not installed: .* lacks config.toml and model.saf"):
        training.load_model("head", device="cpu")
    (tmp_path / "hand").mkdir()
    (tmp_path / "hand" / "config.toml").touch()
    with pytest.raises(ConfigError, match="lacks model.safetensors; reinstall the package, or name a folder"):
        open_run(shipped.model_path("hand"))


def test_a_wheel_contains_every_file_of_a_shipped_model():
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["training"]
    for name in ("config.toml", "model.safetensors", "points.toml", "card.md"):
        assert any(fnmatch.fnmatch(f"shipped/hand/{name}", pattern) for pattern in patterns), name


def test_what_is_in_the_package_is_complete_and_small():
    for name in shipped.available():
        folder = shipped.shipped_folder(name)
        assert (folder / "model.safetensors").stat().st_size <= files.MAX_BYTES
        assert "not a medical device" in (folder / "card.md").read_text()
        assert open_run(folder).kind == name
