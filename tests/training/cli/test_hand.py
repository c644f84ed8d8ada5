"""The commands on hands, as a user types them."""

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from acusim.errors import ConfigError
from tests.training.labelme_files import PLACES
from tests.training.point_masks import write_mask
from tests.training.spots import PEOPLE, SETTINGS, SIZE, add_hand, tiny_networks
from training.cli import main as cli
from training.cli.hand import _heatmaps
from training.config import load_config, read_config
from training.data.hand_loader import load_hands
from training.history import History
from training.inference.export import export_run
from training.inference.loading import load_kind
from training.io.hand_coco import items_of_folder
from training.models import backbones, simple_baseline
from training.models.hand import HandNet
from training.models.hand_base import HandModel
from training.models.hand_regression import CoordinateRegression
from training.runs import HandRun, open_run
from training.tasks.hand_config import HandConfig
from training.tasks.hand_points import read_points

HEATMAPS, COORDINATES = "hand_simplebaseline", "hand_resnet50"


def _sets(*more: str) -> list[str]:
    return [word for setting in (*SETTINGS, *more) for word in ("--set", setting)]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hands") / "data"
    for number, stem in enumerate(PEOPLE):
        add_hand(folder, stem, number)
    return folder


@pytest.fixture(autouse=True, scope="module")
def tiny() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch, tiny_networks():
        patch.setattr(History, "_curves", lambda *_: b"")
        yield


@pytest.fixture(scope="module")
def runs(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of each kind of network."""
    out: dict[str, Path] = {}
    for name in (HEATMAPS, COORDINATES):
        out[name] = tmp_path_factory.mktemp("runs") / name
        assert cli.main([*_train(root, out[name], name), *_sets()]) == cli.OK
    return out


def _train(root: Path, out: Path, name: str = HEATMAPS) -> list[str]:
    return ["train", "--config", name, "--data", str(root), "--out", str(out), *_where(out)]


def _where(out: Path) -> list[str]:
    return ["--cache", str(out.parent / "cache"), "--workers", "1", "--device", "cpu", "--quiet"]


def _evaluate(run: Path, root: Path, out: Path, *more: str) -> list[str]:
    return ["evaluate", str(run), "--data", str(root), "--out", str(out), *_where(out), *more]


def test_a_run_says_what_made_it(runs: dict[str, Path]) -> None:
    document = json.loads((runs[HEATMAPS] / "data.json").read_text())
    assert sorted(document["persons"].values()) == ["test", "train", "train", "train", "val"]
    assert [point["id"] for point in document["points"]] == list(read_points().ids)
    run = open_run(runs[HEATMAPS])
    assert run.kind == "hand" and run.points == read_points() and run.config.model.name == "simple_baseline"
    assert read_config(runs[HEATMAPS] / "config.toml") == run.config
    header = (runs[HEATMAPS] / "metrics.csv").read_text().splitlines()[0].split(",")
    figures = {"loss", "mse", "pck", "precision", "oks", "iou", "error_px"}
    assert figures | {"train_loss", "train_pck", "train_oks", "train_iou"} <= set(header)
    assert {"baseline_pck", "floor_pck"} & set(header)


def test_the_same_command_again_has_nothing_to_do(runs: dict[str, Path], root: Path, capsys: Any) -> None:
    run = runs[HEATMAPS]
    assert cli.main([*_train(root, run), *_sets()]) == cli.OK
    assert "continuing after epoch 2" in capsys.readouterr().err
    assert cli.main([*_train(root, run), *_sets("train.lr=0.1")]) == cli.ERROR
    assert "config.train.lr was 0.01, is 0.1" in capsys.readouterr().err
    assert cli.main([*_train(root, run, COORDINATES), *_sets()]) == cli.ERROR


def test_points_that_masks_do_not_trust_are_not_measured(
    runs: dict[str, Path], root: Path, tmp_path: Path, capsys: Any
) -> None:
    data = tmp_path / "data"
    shutil.copytree(root, data)
    for picture in data.glob("*.png"):
        write_mask(data, picture.name, {label: label != "3" for label in PLACES})
    capsys.readouterr()
    assert cli.main(_evaluate(runs[HEATMAPS], data, tmp_path / "r")) == cli.OK
    printed = capsys.readouterr().err
    assert "there is no mean pose to compare with: no training picture has LI4 at a position" in printed
    results = json.loads((tmp_path / "r/results.json").read_text())
    assert results["visible_points"] == 6 * results["pictures"] > 0 and results["baselines"] == {}
    li4 = next(entry for entry in results["by_acupoint"] if entry["value"] == "LI4")
    assert li4["visible_points"] == 0 and li4["figures"]["error_px"]["value"] is None
    run = open_run(runs[HEATMAPS])
    assert isinstance(run, HandRun)
    squares = load_hands(data, run.config, points=run.points, persons=run.persons).squares("test")
    true, _ = _heatmaps(run, squares, torch.device("cpu"))(0)
    index = read_points().index_of("3")
    assert not true[index].any() and all(true[other].max() > 0.5 for other in range(7) if other != index)


def test_points_that_masks_do_not_trust_are_not_exported(root: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(root, data)
    write_mask(data, f"{PEOPLE[0]}.png", {label: label != "3" for label in PLACES})
    items = {item.file_name: item for item in items_of_folder(data)[0]}
    index = read_points().index_of("3")
    assert items[f"{PEOPLE[0]}.png"].v.tolist() == [0 if number == index else 2 for number in range(7)]
    assert items[f"{PEOPLE[1]}.png"].v.tolist() == [2] * 7


def test_evaluate_reports_beside_the_mean_pose(runs: dict[str, Path], root: Path, tmp_path: Path, capsys: Any) -> None:
    command = _evaluate(runs[HEATMAPS], root, tmp_path / "r", "--json", "--predictions", str(tmp_path / "p"))
    assert cli.main(command) == cli.OK
    results = json.loads(capsys.readouterr().out)
    assert results == json.loads((tmp_path / "r/results.json").read_text())
    assert (results["pictures"], results["subjects"], results["visible_points"]) == (2, 1, 14)
    assert [row["value"] for row in results["by_acupoint"]] == list(read_points().ids)
    # The baseline by hand: the mean of the training subjects' points, in pixels of the square.
    parts = json.loads((runs[HEATMAPS] / "data.json").read_text())["persons"]
    true = {stem: _true(root, stem) for stem in PEOPLE}
    mean = np.mean([true[stem] for stem in PEOPLE if parts[stem[:5].lower()] == "train"], 0)
    tested = np.array([true[stem] for stem in PEOPLE if parts[stem[:5].lower()] == "test"])
    # 40 x 50 pixels become 26 x 32.
    error = np.linalg.norm((tested - mean) * [26 / 40, 32 / 50], axis=-1).mean()
    assert results["baselines"]["mean pose"]["error_px"]["value"] == pytest.approx(error, abs=1e-4)
    assert (tmp_path / "r/report.html").stat().st_size > 10_000 and (tmp_path / "p").is_file()
    for name in ("overall", "by_acupoint", "by_group", "by_point"):
        assert (tmp_path / f"r/{name}.csv").is_file()


def _true(root: Path, stem: str) -> np.ndarray:
    return np.array([shape["points"][0] for shape in json.loads((root / f"{stem}.json").read_text())["shapes"]])


@pytest.mark.parametrize("name", [HEATMAPS, COORDINATES])
def test_predict_equals_evaluate_equals_recognise(runs: dict[str, Path], root: Path, tmp_path: Path, name: str) -> None:
    assert cli.main(_evaluate(runs[name], root, tmp_path / "r", "--part", "val")) == cli.OK
    with (tmp_path / "r/by_point.csv").open() as file:
        rows = list(csv.DictReader(file))
    recogniser = load_kind("hand", runs[name])
    for image in dict.fromkeys(row["image"] for row in rows):
        picture = root / image
        assert cli.main(["predict", str(runs[name]), str(picture), "--out", str(tmp_path), "--device", "cpu"]) == 0
        document = json.loads((tmp_path / f"{picture.stem}.points.json").read_text())
        wanted = [row for row in rows if row["image"] == image]
        assert [point["code"] for point in document["points"]] == [row["point"] for row in wanted]
        places = [(point["x"], point["y"]) for point in document["points"]]
        assert np.allclose(places, [(float(row["x"]), float(row["y"])) for row in wanted], atol=2e-3)
        found = recogniser.recognise(np.array(Image.open(picture)))
        assert np.allclose(places, found.xy_px, atol=2e-3)
        confidence = [point["confidence"] for point in document["points"]]
        if name == HEATMAPS:
            assert "peak" in document["made_by"]["confidence"] and recogniser.evidence == "peak"
            assert np.allclose(confidence, [float(row["confidence"]) for row in wanted], atol=1e-5)
            assert np.allclose(confidence, found.confidence, atol=1e-5)
        else:
            assert document["made_by"]["confidence"].startswith("none") and recogniser.evidence == "none"
            assert confidence == [None] * 7 and all(point["visible"] for point in document["points"])
            assert all(row["confidence"] == "" for row in wanted)


def test_new_subjects_are_measured_without_a_baseline(runs: dict[str, Path], tmp_path: Path, capsys: Any) -> None:
    add_hand(tmp_path / "other", "S0042_L_back_0000", 42)
    command = _evaluate(runs[COORDINATES], tmp_path / "other", tmp_path / "r")
    assert cli.main([*command, "--part", "train"]) == cli.ERROR
    assert "pictures by part: new 1" in capsys.readouterr().err
    assert cli.main([*command, "--part", "new"]) == cli.OK
    assert "no baseline is known" in capsys.readouterr().err
    assert json.loads((tmp_path / "r/results.json").read_text())["baselines"] == {}


def _slim(name: str, points: int, **_: float) -> HandModel:
    """The published networks' layers around a smaller backbone: files of 45 MB instead of 140."""
    if name != "simple_baseline":
        return CoordinateRegression("resnet18", points)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simple_baseline.backbones, "create", lambda _, create=backbones.create: create("resnet18"))
        patch.setattr(simple_baseline, "FILTERS", (8, 8, 8))
        model = simple_baseline.SimpleBaseline(points)
    for part in (*model.deconv_layers, model.final_layer):
        if isinstance(part, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            torch.nn.init.normal_(part.weight, std=0.2)  # as it begins, its heatmaps are 0 but for 1e-9
    return model


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize(("name", "output"), [(HEATMAPS, "heatmaps"), (COORDINATES, "coordinates")])
def test_export_gives_what_the_network_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, output: str
) -> None:
    config = load_config(name).with_settings(["data.size=32"])
    assert isinstance(config, HandConfig)
    monkeypatch.setattr("training.models.hand.create", _slim)
    network = HandNet(config.model, 7).eval()
    run = HandRun(tmp_path, {}, "", "best", 1, "ab" * 32, config, network, read_points())
    differences = export_run(run, tmp_path / "hand.onnx")
    assert list(differences) == [output] and differences[output] < 1e-5
    session = onnxruntime.InferenceSession(str(tmp_path / "hand.onnx"), providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).random((2, 3, 32, 32), np.float32)
    with torch.inference_mode():
        wanted = network(torch.from_numpy(images)).points.numpy()
    assert wanted.std() > 0.1
    np.testing.assert_allclose(session.run([output], {"images": images})[0], wanted, atol=1e-5)
    reported = session.get_modelmeta().custom_metadata_map
    assert json.loads(reported["acupoints"]) == list(read_points().ids)
    assert json.loads(reported["config"])["loss"]["decoding"] == "gaussian"


def test_describe_counts_parameters(capsys: Any) -> None:
    assert cli.main(["describe", "--config", COORDINATES, "--set", f"data.size={SIZE}", "--json"]) == cli.OK
    found = json.loads(capsys.readouterr().out)
    assert found["config"]["task"] == "hand" and found["parameters"]["total"] == (3 * SIZE**2 + 1) * 14


def test_coco_and_back(root: Path, tmp_path: Path, capsys: Any) -> None:
    document, back = tmp_path / "hands.json", tmp_path / "back"
    assert cli.main(["coco", "export", "--kind", "hand", "--data", str(root), "--out", str(document)]) == cli.OK
    reported = json.loads(document.read_text())
    assert reported["categories"][0]["keypoints"] == list(read_points().ids)
    assert reported["categories"][0]["skeleton"] == [[3, 7]]  # Shangyang and Hegu, both on LI
    assert reported["annotations"][0]["num_keypoints"] == 7
    command = ["coco", "import", str(document), "--kind", "hand", "--out"]
    assert cli.main([*command, str(back)]) == cli.OK
    for stem in PEOPLE:
        assert np.array_equal(_true(back, stem), _true(root, stem))
    assert cli.main([*command, str(back)]) == cli.OK  # nothing to do
    label = json.loads((back / f"{PEOPLE[0]}.json").read_text())
    label["shapes"][0]["points"][0][0] += 1
    (back / f"{PEOPLE[0]}.json").write_text(json.dumps(label))
    assert cli.main([*command, str(back)]) == cli.PROBLEMS
    assert "exists already with other content" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "message"), [
    (["--set", r"data.subject=^(?P<subject>person\d+)"], "is found in none of 10 file names, such as 'S000"),
    (["--set", "data.subject=("], "is not a regular expression"),
    (["--set", "data.size=100"], "size = 100 is not a multiple of 32"),
    (["--set", "model.name=hrnet"], "name = 'hrnet' is not one of hrnet_w32"),
    (["--set", "train.best_by=micro"], "best_by = 'micro' is not one of loss"),
    (["--set", "model.backbone=resnet18"], "backbone = 'resnet18' is for name = \"integral\"; simple_baseline has"),
    (["--set", "data.points=nowhere.toml"], "nowhere.toml' cannot be read"),
    (["--data", "elsewhere"], "--data is given 2 times"),
    (["--config", "acusimnet+hand_hrnet"], "mixes the tasks hand and head"),
])  # fmt: skip
def test_wrong_settings_are_reported(
    root: Path, tmp_path: Path, capsys: Any, arguments: list[str], message: str
) -> None:
    assert cli.main([*_train(root, tmp_path / "run"), *_sets(), *arguments]) == cli.ERROR
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_folders_without_usable_pictures_are_reported(root: Path, tmp_path: Path, capsys: Any) -> None:
    def train(folder: str) -> str:
        (tmp_path / folder).mkdir(exist_ok=True)
        assert cli.main([*_train(tmp_path / folder, tmp_path / "run"), *_sets()]) == cli.ERROR
        return capsys.readouterr().err

    assert "neither a picture nor a labelme file" in train("empty")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "a.png").write_bytes((root / f"{PEOPLE[0]}.png").read_bytes())
    assert "a.png: no label file names this picture" in train("pictures")
    add_hand(tmp_path / "unknown", "a", 0)
    label = (tmp_path / "unknown/a.json").read_text()
    (tmp_path / "unknown/a.json").write_text(label.replace('"label": "', '"label": "point '))
    reported = train("unknown")
    assert "pictures without one of SI1" in reported and "label 'point 2': 1 shapes, not in the mapping" in reported
    add_hand(tmp_path / "one", PEOPLE[0], 0)
    assert "1 persons cannot be divided into 3 parts" in train("one")


def test_names_that_tell_no_subject_are_noted(tmp_path: Path, capsys: Any) -> None:
    for number in range(5):
        add_hand(tmp_path / "hands", f"hand {number}", number)
    command = [*_train(tmp_path / "hands", tmp_path / "run", COORDINATES), *_sets("train.epochs=1")]
    assert cli.main(command) == cli.OK
    assert "the names of 5 of 5 pictures do not contain the subject" in capsys.readouterr().err


def test_a_run_with_other_points_in_its_folder_is_reported(runs: dict[str, Path], tmp_path: Path) -> None:
    broken = tmp_path / "run"
    broken.symlink_to(runs[HEATMAPS])
    assert open_run(broken).kind == "hand"
    broken.unlink()
    broken.mkdir()
    for name in ("config.toml", "checkpoints"):
        (broken / name).symlink_to(runs[HEATMAPS] / name)
    document = json.loads((runs[HEATMAPS] / "data.json").read_text())
    for points, message in ((None, "expected nothing but a list"), (document["points"][:3], "instead of")):
        (broken / "data.json").write_text(json.dumps({**document, "points": points}))
        with pytest.raises(ConfigError, match=message):
            open_run(broken)
