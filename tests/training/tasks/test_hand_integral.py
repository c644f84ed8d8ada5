"""Hands by integral heatmaps: mirrored pictures are other hands, and the commands, from training to an ONNX file."""

import csv
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from tests.training.labelme_files import PLACES
from tests.training.spots import SIZE, add_hand
from training.cli import main as cli
from training.config import load_config
from training.data.hand_loader import load_hands
from training.history import History
from training.inference.loading import load_kind
from training.loop import Batch
from training.models.hand import HandOutput
from training.runs import open_run
from training.tasks.hand import HandTask
from training.tasks.hand_config import HandConfig
from training.tasks.hand_type import UNKNOWN, mirrored_types

KINDS = {"L_back": (0, 0, 0), "R_back": (100, 0, 0), "L_palm": (0, 100, 0), "R_palm": (100, 100, 0)}
"""Right hands are redder, palms greener; a palm has no point."""
SETTINGS = (
    f"data.size={SIZE}", "train.batch_size=4", "train.epochs=12", "train.lr=0.004", "train.clip_norm=0",
    "model.decoder=16",
)  # fmt: skip
QUIET = {name: 0.0 for name in ("brightness", "contrast", "gamma", "colour", "noise", "blur", "light")}


@pytest.fixture(autouse=True, scope="module")
def no_curves() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(History, "_curves", lambda *_: b"")
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("integral") / "data"
    for person in range(7):
        for number, (kind, tint) in enumerate(KINDS.items()):
            labels = () if "palm" in kind else tuple(PLACES)
            add_hand(folder, f"S000{person}_{kind}_000{number}", 10 * person + number, labels, tint)
    return folder


def config_of(*more: str) -> HandConfig:
    config = load_config("hand_light").with_settings([*SETTINGS, *more])
    assert isinstance(config, HandConfig)
    return config


def test_a_mirrored_hand_is_the_other_one():
    types = torch.tensor([[1, 0], [0, 1], [UNKNOWN, 1], [1, UNKNOWN]])
    assert mirrored_types(types, torch.ones(4, dtype=torch.bool)).tolist() == [[0, 0], [1, 1], [-1, 1], [0, -1]]
    assert mirrored_types(types, torch.zeros(4, dtype=torch.bool)).equal(types)


def test_flips_change_the_label_and_the_points(root: Path):
    """What the network is given, with pictures that are always mirrored and else unchanged."""
    config = config_of()
    still = {"rotation_deg": 0.0, "scale": 0.0, "translate": 0.0, **QUIET}
    flipped = replace_online(config, flip=1.0, **still)
    hands = load_hands(root, config)
    data = replace(hands.data, records=tuple(replace(one, side=None) if k == 0 else one
                                             for k, one in enumerate(hands.data.records)))  # fmt: skip
    hands = replace(hands, data=data)
    train, val = hands.squares("train"), hands.squares("val")
    numbers = torch.arange(4)
    given: dict[str, tuple[torch.Tensor, ...]] = {}
    for name, one in (("plain", replace_online(config, flip=0.0, **still)), ("flipped", flipped)):
        task = HandTask(one, hands, train, val)

        def module(*arguments: torch.Tensor, task: HandTask = task, name: str = name) -> Any:
            given[name] = arguments
            return task.trainee(*arguments)

        task.step(module, Batch(torch.from_numpy(train.pixels[:4]), numbers), 0, torch.Generator(), 1.0)  # type: ignore[arg-type]
    images, xy, visible, _, types = given["plain"]
    other_images, other_xy, other_visible, _, other_types = given["flipped"]
    torch.testing.assert_close(other_images, images.flip(3))
    assert visible.any() and not visible.all() and torch.equal(other_visible, visible)
    mirrored = torch.stack([1 - xy[..., 0], xy[..., 1]], -1)
    torch.testing.assert_close(other_xy[visible], mirrored[visible])
    known = types[:, 0] != UNKNOWN
    assert torch.equal(other_types[:, 1], types[:, 1])
    assert torch.equal(other_types[known, 0], 1 - types[known, 0]) and (other_types[~known, 0] == UNKNOWN).all()


def replace_online(config: HandConfig, **values: float) -> HandConfig:
    return config.with_sections({"online": values})


@pytest.mark.parametrize("visible", [False, True], ids=["not visible", "uncertain"])
def test_points_without_a_certain_position_teach_none(root: Path, visible: bool):
    config = replace_online(config_of(), flip=0.0, rotation_deg=0.0, scale=0.0, translate=0.0, **QUIET)
    hands = load_hands(root, config)
    train = hands.squares("train")
    picked = np.flatnonzero((train.visible == visible).all(1))[:4]
    assert len(picked)
    known = train.visible.copy()
    known[picked] = False

    def gradient(place: float) -> torch.Tensor:
        other = replace(train, xy=np.where(known[..., None], train.xy, np.float32(place)), known=known)
        task = HandTask(config, hands, other, hands.squares("val"))
        batch = Batch(torch.from_numpy(train.pixels[picked]), torch.from_numpy(picked))
        task.step(task.trainee, batch, 0, torch.Generator(), 1.0).loss.backward()
        heatmap, visibility = (getattr(task.trainee.network.model, name).weight.grad
                               for name in ("heatmap", "global_visibility"))  # fmt: skip
        assert not heatmap.any() and visibility.any()
        return torch.cat([one.grad.flatten() for one in task.trainee.parameters() if one.grad is not None])

    assert torch.equal(gradient(0.0), gradient(17.0))


def where(out: Path) -> list[str]:
    return ["--cache", str(out.parent / "cache"), "--workers", "1", "--device", "cpu", "--quiet"]


@pytest.fixture(scope="module")
def run(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    # Where the spots are is all that these pictures have: no colour may change, and sides are told by colour.
    still = [f"online.{name}=0" for name in (*QUIET, "rotation_deg", "flip")]
    sets = [word for setting in (*SETTINGS, *still) for word in ("--set", setting)]
    command = ["train", "--config", "hand_light", "--data", str(root), "--out", str(out), *where(out), *sets]
    assert cli.main(command) == cli.OK
    return out


def test_two_hands_are_learned_by_heart(tmp_path: Path):
    for number in range(5):
        add_hand(tmp_path, f"S000{number}_L_back_0000", number)
    sets = ("train.batch_size=1", "model.hand_type=false")
    still = {"rotation_deg": 0.0, "scale": 0.0, "translate": 0.0, "flip": 0.0, **QUIET}
    config = replace_online(config_of(*sets), **still)
    hands = load_hands(tmp_path, config)
    squares = hands.squares("train")
    task = HandTask(config, hands, squares, hands.squares("val"))
    optimizer = torch.optim.AdamW(task.trainee.parameters(), 0.01)
    batch = Batch(torch.from_numpy(squares.pixels[:2]), torch.arange(2))
    errors = []
    for _ in range(30):
        step = task.step(task.trainee, batch, 0, torch.Generator(), 1.0)
        optimizer.zero_grad()
        step.loss.backward()
        optimizer.step()
        errors.append(task.read_logs(step.logs)["error_px"])
    assert errors[-1] < 1.5 < errors[0] / 4


def test_it_learns_what_is_visible_and_which_face(run: Path):
    with (run / "metrics.csv").open() as file:
        *_, last = csv.DictReader(file)
    figures = {name: float(value) for name, value in last.items() if value}
    assert figures["visibility"] > 0.9 > figures["floor_visibility"]
    assert figures["train_face"] > 0.8 > figures["floor_face"] == 0.5


def test_evaluate_reports_visibility(run: Path, root: Path, tmp_path: Path, capsys: Any):
    command = ["evaluate", str(run), "--data", str(root), "--out", str(tmp_path / "r"), *where(tmp_path), "--json"]
    assert cli.main(command) == cli.OK
    found = json.loads(capsys.readouterr().out)
    visibility = found["visibility"]
    assert visibility["points"] == 7 * found["pictures"]
    # backs show all points and palms none, and there are as many of both
    parts = [visibility[name]["value"] for name in ("visible", "not visible")]
    assert visibility["accuracy"]["value"] == pytest.approx(np.mean(parts), abs=1e-5)
    assert visibility["baselines"]["majority of each point"]["value"] == 0.5
    assert "Visibility" in (tmp_path / "r/report.html").read_text()
    rows = list(csv.DictReader((tmp_path / "r/by_point.csv").open()))
    right = [(float(row["confidence"]) >= 0.5) == (row["visible"] == "1") for row in rows]
    assert np.mean(right) == pytest.approx(visibility["accuracy"]["value"], abs=1e-5)


def test_evaluate_measures_what_predict_gives(run: Path, root: Path, tmp_path: Path, capsys: Any):
    """With the passes of a network that knows mirrored pictures."""
    mirrored = tmp_path / "run"
    shutil.copytree(run, mirrored, symlinks=True)
    text = (mirrored / "config.toml").read_text()
    assert text.count("\nflip = 0.0\n") == 1
    (mirrored / "config.toml").write_text(text.replace("\nflip = 0.0\n", "\nflip = 0.5\n"))
    found: dict[str, np.ndarray] = {}
    for name, more in (("passes", []), ("network", ["--no-fit"])):
        saved = tmp_path / f"{name}.safetensors"
        command = ["evaluate", str(mirrored), "--data", str(root), "--out", str(tmp_path / name), *where(tmp_path)]
        assert cli.main([*command, *more, "--json", "--predictions", str(saved)]) == cli.OK
        assert json.loads(capsys.readouterr().out)["metadata"]["passes"] == str(name == "passes")
        found[name] = load_file(saved)["xy"]
    hands = load_hands(root, config_of(), persons=open_run(mirrored).persons, points=open_run(mirrored).points)
    squares = hands.squares("test")
    model = load_kind("hand", mirrored)
    for number, row in enumerate(squares.row):
        points = model.predict(root / hands.data.records[row].image).coords_px
        square = squares.transforms[number].from_unit(found["passes"][number])
        np.testing.assert_allclose(points, square, atol=0.05)
    assert np.abs(found["passes"] - found["network"]).max() > 1e-3


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_predict_and_the_exported_file_agree(run: Path, root: Path, tmp_path: Path):
    assert cli.main(["export", str(run), "--onnx", str(tmp_path / "hand.onnx")]) == cli.OK
    one, other = load_kind("hand", run), load_kind("hand", tmp_path / "hand.onnx")
    assert one.evidence == other.evidence == "visibility" and other.threshold == 0.5
    for kind, number in (("R_back", 1), ("L_palm", 2)):
        picture = root / f"S0002_{kind}_000{number}.png"
        assert cli.main(["predict", str(run), str(picture), "--out", str(tmp_path), "--device", "cpu"]) == cli.OK
        document = json.loads((tmp_path / f"{picture.stem}.points.json").read_text())
        assert document["made_by"]["confidence"] == "probability that the point is visible"
        pixels = np.array(Image.open(picture))
        for found in (one.recognise(pixels), other.recognise(pixels)):
            points = document["points"]
            assert np.allclose([(point["x"], point["y"]) for point in points], found.xy_px, atol=2e-3)
            assert np.allclose([point["probability"] for point in points], found.confidence, atol=1e-4)
            assert [point["visible"] for point in points] == (found.confidence >= 0.5).tolist()


def test_the_output_of_a_batch_has_no_gradient(root: Path):
    hands = load_hands(root, config_of())
    task = HandTask(config_of(), hands, hands.squares("train"), hands.squares("val"))
    train = task.train
    images = torch.from_numpy(train.pixels[:2]).permute(0, 3, 1, 2).float() / 255
    xy, visible = torch.from_numpy(train.xy[:2] / SIZE), torch.from_numpy(train.visible[:2])
    *_, output = task.trainee(images, xy, visible, visible, torch.zeros(2, 2, dtype=torch.int64))
    assert isinstance(output, HandOutput) and output.marginals is None
    assert not any(one.requires_grad for one in output if one is not None)
