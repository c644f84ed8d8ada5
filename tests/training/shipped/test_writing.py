"""Runs with tiny networks written as shipped models and opened again, and files that are refused."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import training
from acusim.errors import ConfigError
from acusim.files import sha256
from tests.training.tiny_runs import PERSONS, hand_run, head_run, tiny_head, tiny_networks
from training.cli import main as cli
from training.inference.loading import load_kind
from training.runs import open_run, read_persons
from training.shipped import files
from training.shipped.writing import ship

CARD = "## Data\n\nNone: random weights."


@pytest.fixture(autouse=True)
def tiny() -> Iterator[None]:
    with tiny_head(), tiny_networks():
        yield


@pytest.fixture
def head(tmp_path: Path) -> Path:
    """A shipped head."""
    return ship(open_run(head_run(tmp_path / "run")), CARD, tmp_path / "head").folder


def _noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (40, 40, 3), np.uint8)


def test_the_same_run_gives_the_same_bytes_and_another_one_others(tmp_path: Path):
    run = open_run(head_run(tmp_path / "run"))
    one, again = ship(run, CARD, tmp_path / "a"), ship(run, CARD, tmp_path / "b")
    names = sorted(path.name for path in one.folder.iterdir())
    assert names == ["card.md", "config.toml", "model.safetensors"]
    assert all((one.folder / name).read_bytes() == (again.folder / name).read_bytes() for name in names)
    other = ship(open_run(head_run(tmp_path / "other", seed=1)), CARD, tmp_path / "c")
    assert one.sha256 == again.sha256 != other.sha256
    assert one.sha256 == sha256((one.folder / "model.safetensors").read_bytes())


def test_weights_come_back_as_fp32_and_small_numbers_exactly(tmp_path: Path, head: Path):
    run, shipped = open_run(tmp_path / "run"), open_run(head)
    stored = load_file(head / "model.safetensors")
    assert {value.dtype for value in stored.values() if value.ndim > 1} == {torch.float16}
    assert stored["backbone.features.1.running_var"].eq(1e-9).all(), "fp16 would make it 0"
    before, after = run.network.state_dict(), shipped.network.state_dict()
    for name, value in after.items():
        assert value.dtype == before[name].dtype
        wanted = before[name].half().float() if value.ndim > 1 else before[name]
        assert torch.equal(value, wanted), name
    assert not shipped.network.training


def test_a_shipped_head_finds_the_points_of_its_run(tmp_path: Path, head: Path):
    wanted, found = (
        training.load_model(folder, device="cpu", crop="none").predict(_noise()) for folder in (tmp_path / "run", head)
    )
    assert found.coords_px == pytest.approx(wanted.coords_px, abs=0.05)
    assert found.visibility == pytest.approx(wanted.visibility, abs=2e-3)


def test_a_shipped_hand_has_its_points(tmp_path: Path):
    run = hand_run(tmp_path / "run")
    folder = ship(open_run(run), CARD, tmp_path / "hand").folder
    assert (folder / "points.toml").is_file()
    one, model = training.load_model(run, device="cpu"), training.load_model(folder, device="cpu")
    assert model.kind == "hand" and model.points == one.points and model.evidence == "peak"
    assert model.predict(_noise()).visibility == pytest.approx(one.predict(_noise()).visibility, abs=2e-3)
    (folder / "points.toml").unlink()
    with pytest.raises(ConfigError, match="points.toml' cannot be read"):
        open_run(folder)


def test_it_says_what_made_it(tmp_path: Path, head: Path):
    digest = sha256((head / "model.safetensors").read_bytes())
    made_by = training.load_model(head, device="cpu").made_by
    assert made_by["run"] == "head" and made_by["checkpoint"] == "shipped" and made_by["sha256"] == digest
    assert made_by["epoch"] == 1 and read_persons(head) == PERSONS == open_run(head).persons
    card = (head / "card.md").read_text()
    run = open_run(tmp_path / "run")
    assert CARD in card and digest in card and run.sha256 in card and "not a medical device" in card
    assert "1 for training, 1 for validation, 1 for tests" in card


def test_a_card_and_the_kind_are_checked(tmp_path: Path):
    run = open_run(head_run(tmp_path / "run"))
    with pytest.raises(ConfigError, match="is of the head; it cannot be shipped as 'hand'"):
        ship(run, CARD, tmp_path / "x", "hand")
    with pytest.raises(ConfigError, match="card is empty"):
        ship(run, " \n", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_numbers_that_do_not_fit_and_large_networks_are_refused():
    facts = {"epoch": 1, "digest": "", "source_sha256": "", "persons": {}}
    with pytest.raises(ConfigError, match="'a.weight' hold a number that is not finite as fp16"):
        files.packed({"a.weight": torch.full((2, 2), 1e5)}, facts)
    with pytest.raises(ConfigError, match="take 8.2 MB as fp16; .* at most 8 MB: train a smaller network"):
        files.packed({"a.weight": torch.zeros(4100, 1000)}, facts)


def _with(folder: Path, **changes: object) -> None:
    """Writes the weights' file again with other metadata."""
    facts = {"format": 1, "epoch": 1, "digest": "", "source_sha256": "", "persons": {}, **changes}
    save_file(
        load_file(folder / "model.safetensors"), folder / "model.safetensors", {files.METADATA: json.dumps(facts)}
    )


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: _with(folder, format=2), "is of format 2; this version reads 1"),
        (lambda folder: _with(folder, epoch="one"), "is damaged: its metadata"),
        (lambda folder: _with(folder, persons={"ann": "tested"}), "'ann' -> 'tested'"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\x80\x02}q"), "model.safetensors"),
        (lambda folder: (folder / "model.safetensors").write_bytes(_head_of(folder)), "is damaged"),
        (lambda folder: save_file({"a": torch.zeros(2)}, folder / "model.safetensors"), "lacks the metadata"),
        (lambda folder: (folder / "config.toml").unlink(), "it has no config.toml"),
        (lambda folder: _swap(folder, {"a.b": torch.zeros(2)}), "belongs to another configuration: it has no backbone"),
        (lambda folder: _swap(folder, {"a.b": torch.zeros(2).double()}), "it holds F64"),
    ],
)
def test_damaged_models_are_refused(head: Path, damage, message: str):
    damage(head)
    with pytest.raises(ConfigError, match=message):
        open_run(head)


def _head_of(folder: Path) -> bytes:
    data = (folder / "model.safetensors").read_bytes()
    return data[: len(data) // 2]


def _swap(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    facts = {"format": 1, "epoch": 1, "digest": "", "source_sha256": "", "persons": {}}
    save_file(tensors, folder / "model.safetensors", {files.METADATA: json.dumps(facts)})


def test_a_shipped_model_has_one_checkpoint(head: Path):
    with pytest.raises(ConfigError, match="is a shipped model, which has no checkpoint 'last'; omit it"):
        open_run(head, "last")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package's folder with a shipped head, written by the command; the working directory is tmp_path."""
    folder = tmp_path / "package"
    for module in ("training.shipped", "training.shipped.files"):
        monkeypatch.setattr(f"{module}.FOLDER", folder)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "card.md").write_text(CARD)
    run = str(head_run(tmp_path / "run"))
    assert cli.main(["ship", run, "--name", "head", "--card", "card.md"]) == cli.OK
    return folder


def test_predict_takes_the_name_and_needs_none(package: Path, tmp_path: Path):
    Image.fromarray(_noise()).save(tmp_path / "photo.png")
    where = ["--device", "cpu", "--crop", "none", "--no-pictures"]
    for words, out, run in (
        (["photo.png"], "predicted", "head"),
        (["head", "photo.png", "--out", "x"], "x", "head"),
        (["run", "--out", "y", "photo.png"], "y", "run"),
        (["package/head", "photo.png", "--out", "z"], "z", "head"),
    ):
        assert cli.main(["predict", *words, *where]) == cli.OK
        document = json.loads((tmp_path / out / "photo.points.json").read_text())
        assert document["made_by"]["run"] == run and document["crop"]["reason"] == "off"
    assert not (tmp_path / "predicted" / "photo.points.jpg").exists()


@pytest.mark.filterwarnings("ignore")
def test_every_other_command_takes_the_name(package: Path, tmp_path: Path, make_dataset: Callable[..., Path], capsys):
    assert cli.main(["describe", "head", "--json"]) == cli.OK
    assert json.loads(capsys.readouterr().out)["config"]["data"]["size"] == 32
    assert cli.main(["describe", "head", "--config", "A1"]) == cli.ERROR
    assert "has its own settings; omit --config and --set" in capsys.readouterr().err
    assert cli.main(["export", "head", "--onnx", "head.onnx"]) == cli.OK
    assert (tmp_path / "head.onnx").is_file()
    root = str(make_dataset(frames=(1, 4), size=32))
    where = ["--cache", "cache", "--workers", "1", "--device", "cpu", "--quiet", "--json"]
    capsys.readouterr()
    assert cli.main(["evaluate", "head", "--data", root, "--out", "report", "--part", "new", *where]) == cli.OK
    assert json.loads(capsys.readouterr().out)["model"]["pictures"] >= 2
    found = training.load_model("head", device="cpu", crop="none").predict(_noise())
    assert found.framing and found.framing.reason == "off"


def test_the_page_serves_what_is_installed(package: Path, capsys: pytest.CaptureFixture[str]):
    from training.cli.serve import ServeOptions, served_paths

    assert served_paths(ServeOptions()) == {"head": package / "head"}
    assert "the shipped model 'hand' is not installed; serving head alone" in capsys.readouterr().err
    assert served_paths(ServeOptions(hand="hands")) == {"hand": Path("hands")}
    assert served_paths(ServeOptions(head="head")) == {"head": package / "head"}
    assert load_kind("head", package / "head").made_by["run"] == "head"


def test_a_card_that_cannot_be_read(package: Path, capsys: pytest.CaptureFixture[str]):
    (package / "text.md").write_bytes(b"\xff\xfe")
    for card, message in (("none.md", "none.md' cannot be read"), (str(package / "text.md"), "is not UTF-8 text")):
        assert cli.main(["ship", "run", "--name", "head", "--card", card]) == cli.ERROR
        assert message in capsys.readouterr().err
