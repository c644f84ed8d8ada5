"""Which argument of predict is the model."""

from pathlib import Path

import pytest

from acusim.errors import ConfigError
from training.cli.predict import DEFAULT, model_and_images


@pytest.mark.parametrize(
    ("words", "model", "images"),
    [
        (["photo.jpg"], DEFAULT, ["photo.jpg"]),
        (["missing.PNG", "b.jpg"], DEFAULT, ["missing.PNG", "b.jpg"]),
        (["photos"], DEFAULT, ["photos"]),
        (["photos", "photo.jpg"], DEFAULT, ["photos", "photo.jpg"]),
        (["notes.txt"], DEFAULT, ["notes.txt"]),  # a file, which is then skipped with its reason
        (["run", "photo.jpg"], "run", ["photo.jpg"]),
        (["run_with_pictures", "photo.jpg"], "run_with_pictures", ["photo.jpg"]),
        (["misspelt", "photo.jpg"], "misspelt", ["photo.jpg"]),
        (["empty", "photo.jpg"], DEFAULT, ["empty", "photo.jpg"]),
        (["nested", "photo.jpg"], DEFAULT, ["nested", "photo.jpg"]),
        (["model.onnx", "photo.jpg"], "model.onnx", ["photo.jpg"]),
        (["hand", "photo.jpg", "photos"], "hand", ["photo.jpg", "photos"]),
        (["head", "photo.jpg"], "head", ["photo.jpg"]),
        (["run/checkpoints", "photo.jpg"], "run/checkpoints", ["photo.jpg"]),  # no run, which is then said
        (["run/checkpoints/epoch_0001", "photo.jpg"], "run/checkpoints/epoch_0001", ["photo.jpg"]),
    ],
)
def test_the_first_argument_is_a_model_unless_it_looks_like_an_image(
    words: list[str], model: str, images: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in (
        "photos/a.png",
        "nested/deep/a.png",
        "run/config.toml",
        "run/checkpoints/epoch_0001/model.safetensors",
        "run_with_pictures/config.toml",
        "run_with_pictures/curves.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in ("photo.jpg", "notes.txt", "model.onnx"):
        (tmp_path / name).touch()
    for name in ("empty", "head"):
        (tmp_path / name).mkdir()
    (tmp_path / "head" / "a.png").touch()
    monkeypatch.chdir(tmp_path)
    assert model_and_images(words) == (model, tuple(map(Path, images)))


@pytest.mark.parametrize("model", ["head", "runs/a"])
def test_a_model_without_images(model: str):
    with pytest.raises(ConfigError, match=f"no pictures to predict after the model '{model}'"):
        model_and_images([model])
    with pytest.raises(ConfigError, match="no pictures to predict; name files or folders"):
        model_and_images([])
