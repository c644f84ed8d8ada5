"""The head that tells left from right and back from palm: what it is told, what it learns, what is said of it."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from tests.training.spots import SETTINGS, SIZE, add_hand, tiny_networks
from training.cli import main as cli
from training.config import load_config
from training.data.hand_dataset import HandRecord
from training.history import History
from training.inference.export import export_run
from training.inference.loading import load_kind
from training.models.hand import HandNet, type_losses
from training.runs import HandRun
from training.tasks.hand_config import HandConfig
from training.tasks.hand_points import read_points
from training.tasks.hand_type import known_types, majorities, report, type_json

KINDS = {"L_back": (0, 0, 0), "R_back": (100, 0, 0), "L_palm": (0, 100, 0), "R_palm": (100, 100, 0)}
"""Right hands are redder, palms greener: what the mean colour tells."""


def record(side: str | None, face: str | None) -> HandRecord:
    return HandRecord("a.png", "a.json", "a", side, face, (1, 1))


def test_what_is_known_and_what_is_said() -> None:
    records = [record("left", "palm"), record("right", "back"), record(None, "palm"), record("left", "edge")]
    known = known_types(records)
    assert known.tolist() == [[1, 1], [0, 0], [-1, 1], [1, -1]]
    assert known_types([]).shape == (0, 2)
    assert majorities(known) == [1, 1] and majorities(known[1:2]) == [0, 0]
    assert type_json([0.75, 0.125]) == {
        "side": {"value": "left", "probability": 0.75},
        "face": {"value": "back", "probability": 0.875},
    }


def test_the_report_by_hand() -> None:
    known = np.array([[1, 0], [1, 1], [0, -1], [-1, -1]])
    # sides: right, wrong, right; faces: right, right; the fourth picture counts nowhere
    found = report([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.9, 0.9]], known, ["a", "b", "b", "c"], [1, 0])
    side, face = found["side"], found["face"]
    assert (side["pictures"], side["subjects"], face["pictures"]) == (3, 2, 2)
    assert side["accuracy"]["value"] == pytest.approx(2 / 3, abs=1e-5) and face["accuracy"]["value"] == 1
    assert side["accuracy"]["low"] == pytest.approx(0, abs=1e-5)  # of two subjects, one more wrong than the other
    assert side["accuracy"]["high"] == pytest.approx(1)
    assert face["accuracy"]["low"] < 0.01 and face["accuracy"]["high"] == 1  # both right, of two subjects
    assert side["baselines"]["always left"]["value"] == pytest.approx(2 / 3, abs=1e-5)
    assert face["baselines"]["always back"]["value"] == 0.5
    assert {name: share["value"] for name, share in side["recall"].items()} == {"right": 1, "left": 0.5}
    assert side["recall"]["right"]["low"] is None  # one subject
    nothing = report([[0.9, 0.1]], np.array([[1, -1]]), ["a"], None)
    assert list(nothing) == ["side"] and nothing["side"]["baselines"] == {}


def test_a_trait_that_is_not_known_teaches_nothing() -> None:
    logits = torch.tensor([[0.0, 2.0], [0.0, -3.0]], requires_grad=True)
    losses = type_losses(logits, torch.tensor([[1, 1], [-1, 0]]))
    assert losses[0].tolist() == pytest.approx([math.log(2), math.log1p(math.exp(-2))])
    assert losses[1].tolist() == pytest.approx([0, math.log1p(math.exp(-3))])
    losses.sum().backward()
    assert logits.grad is not None and logits.grad[1, 0] == 0 and logits.grad[0, 0] == -0.5


@pytest.fixture(autouse=True, scope="module")
def tiny() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch, tiny_networks():
        patch.setattr(History, "_curves", lambda *_: b"")
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("types") / "data"
    for person in range(7):
        for number, (kind, tint) in enumerate(KINDS.items()):
            add_hand(folder, f"S000{person}_{kind}_000{number}", 10 * person + number, tint=tint)
    return folder


def command(root: Path, out: Path, *more: str) -> list[str]:
    sets = [word for setting in (*SETTINGS, *more) for word in ("--set", setting)]
    where = ["--cache", str(out.parent / "cache"), "--workers", "1", "--device", "cpu", "--quiet"]
    return ["train", "--config", "hand_simplebaseline+hand_type", "--data", str(root), "--out", str(out), *where, *sets]


@pytest.fixture(scope="module")
def run(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    assert cli.main(command(root, out, "train.epochs=12", "train.lr=0.1", "loss.hand_type=1")) == cli.OK
    return out


def test_the_type_is_learned_and_reported(run: Path, root: Path, tmp_path: Path, capsys: Any) -> None:
    last = (run / "metrics.csv").read_text().splitlines()
    row = dict(zip(last[0].split(","), last[-1].split(","), strict=True))
    assert float(row["side"]) == float(row["face"]) == 1
    assert float(row["floor_side"]) == float(row["floor_face"]) == 0.5 and float(row["train_side"]) > 0.9
    arguments = ["--cache", str(tmp_path / "c"), "--workers", "1", "--device", "cpu", "--quiet", "--json"]
    assert cli.main(["evaluate", str(run), "--data", str(root), "--out", str(tmp_path / "r"), *arguments]) == cli.OK
    found = json.loads(capsys.readouterr().out)["hand_type"]
    assert {name: entry["accuracy"]["value"] for name, entry in found.items()} == {"side": 1, "face": 1}
    assert found["side"]["baselines"] == {"always right": {"value": 0.5, "low": None, "high": None}}
    assert "Type of the hand" in (tmp_path / "r/report.html").read_text()
    lines = (tmp_path / "r/hand_type.csv").read_text().splitlines()
    assert lines[0] == "image,subject,true side,side,p side,true face,face,p face" and len(lines) == 5
    palm = next(line for line in lines if "L_palm" in line).split(",")
    assert palm[2:4] == ["left", "left"] and palm[5:7] == ["palm", "palm"] and 0.5 < float(palm[4]) <= 1


def test_predict_and_the_page_say_the_type(run: Path, root: Path, tmp_path: Path) -> None:
    recogniser = load_kind("hand", run)
    for kind, number in (("R_palm", 3), ("L_back", 0)):
        picture = root / f"S0003_{kind}_000{number}.png"
        assert cli.main(["predict", str(run), str(picture), "--out", str(tmp_path), "--device", "cpu"]) == cli.OK
        output = json.loads((tmp_path / f"{picture.stem}.points.json").read_text())["hand"]
        assert (output["side"]["value"][0].upper(), output["face"]["value"]) == tuple(kind.split("_"))
        found = recogniser.recognise(np.array(Image.open(picture)))
        assert found.hand_type is not None and type_json(found.hand_type) == output


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_the_exported_file_says_it_too(tmp_path: Path) -> None:
    config = load_config("hand_resnet50+hand_type").with_settings([f"data.size={SIZE}"])
    assert isinstance(config, HandConfig)
    network = HandNet(config.model, 7).eval()
    differences = export_run(
        HandRun(tmp_path, {}, "", "best", 1, "ab" * 32, config, network, read_points()), tmp_path / "hand.onnx"
    )
    assert list(differences) == ["coordinates", "hand_type"] and max(differences.values()) < 1e-5
    session = onnxruntime.InferenceSession(str(tmp_path / "hand.onnx"), providers=["CPUExecutionProvider"])
    picture = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    images = np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32) / 255
    [wanted] = session.run(["hand_type"], {"images": images})
    with torch.inference_mode():
        logits = network(torch.from_numpy(images)).type_logits
    assert logits is not None
    np.testing.assert_allclose(wanted, 1 / (1 + np.exp(-logits.numpy())), atol=1e-6)  # probabilities
    found = load_kind("hand", tmp_path / "hand.onnx").recognise(picture)
    np.testing.assert_allclose(found.hand_type, wanted[0], atol=1e-6)


def test_nothing_to_learn_is_reported(root: Path, tmp_path: Path, capsys: Any) -> None:
    for person in range(5):
        add_hand(tmp_path / "same", f"S000{person}_L_back_0000", person)
    assert cli.main(command(tmp_path / "same", tmp_path / "run")) == cli.ERROR
    message = capsys.readouterr().err
    assert (
        "no two training pictures differ in a trait" in message and "labelme's flags 'left hand' and 'palm'" in message
    )
    # One trait is enough: the other then has neither loss nor figure that means anything.
    for person in range(5):
        add_hand(tmp_path / "sides", f"S000{person}_L_back_0000", person)
        add_hand(tmp_path / "sides", f"S000{person}_R_back_0001", 10 + person, tint=KINDS["R_back"])
    assert cli.main(command(tmp_path / "sides", tmp_path / "run2", "train.epochs=1")) == cli.OK
