"""Hands in the loop: they can be learned, absent points teach nothing, and a run goes on as if it had not stopped."""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from acusim.errors import ConfigError
from tests.training.labelme_files import PLACES
from tests.training.point_masks import write_mask
from tests.training.resuming import assert_going_on_ends_with_the_same_bytes
from tests.training.spots import PEOPLE, SETTINGS, SIZE, add_hand, tiny_networks
from training import checkpoint
from training.config import load_config
from training.data.hand_loader import HandSet, load_hands
from training.data.hand_squares import ARRAYS, squares_of
from training.data.split import Part
from training.eval.hand_metrics import MetricSettings, picture_oks, point_terms, report
from training.hardware import Hardware
from training.history import History
from training.loop import Batch, Loop
from training.models.hand import HandLoss, HandOutput, locate
from training.tasks.hand import HandTask, overlaps, predict
from training.tasks.hand_config import HandConfig


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(History, "write", lambda *_, **__: None)
    with tiny_networks():
        yield


def config_of(*more: str, name: str = "hand_hrnet") -> HandConfig:
    config = load_config(name).with_settings([*SETTINGS, *more])
    assert isinstance(config, HandConfig)
    return config


@pytest.fixture
def hands(tmp_path: Path) -> HandSet:
    for number, stem in enumerate(PEOPLE):
        add_hand(tmp_path / "hands", stem, number)
    return load_hands(tmp_path / "hands", config_of())


def task_of(config: HandConfig, hands: HandSet) -> HandTask:
    return HandTask(config, hands, hands.squares("train", config.augment), hands.squares("val"))


@pytest.mark.parametrize(("name", "lr", "epochs"), [("hand_hrnet", 0.01, 15), ("hand_resnet50", 0.001, 12)])
def test_two_hands_are_learned_by_heart(hands: HandSet, tmp_path: Path, name: str, lr: float, epochs: int) -> None:
    config = config_of(f"train.epochs={epochs}", f"train.lr={lr}", "train.schedule=cosine", name=name)
    assert list(hands.rows["val"]) and len(hands.rows["val"]) == 2
    val = hands.squares("val")
    # Each ten times an epoch, since epochs end with a look at them.
    often = {name: np.concatenate([getattr(val, name)] * 10) for name in ARRAYS}
    task = HandTask(config, hands, dataclasses.replace(val, **often), val)
    loop = Loop(config, task, tmp_path / "run", Hardware("cpu"))
    loop._save = lambda links: None  # what is saved is another test's affair
    loop.train()
    first, last = loop.history.rows[0], loop.history.rows[-1]
    assert last["error_px"] < 0.5 < last["floor_error_px"] / 4, last
    assert last["precision"] == last["train_precision"] == 1 > last["floor_precision"]
    assert last["loss"] < first["loss"] / 5 and loop.best_epoch > 1


@pytest.mark.parametrize("stop_after", [1, 3, 4])
def test_going_on_ends_with_the_same_bytes(hands: HandSet, tmp_path: Path, stop_after: int) -> None:
    config = config_of("augment.siblings=true", "train.batch_size=8", "train.accumulate=2")

    def loop(folder: str) -> Loop:
        return Loop(config, task_of(config, hands), tmp_path / folder, Hardware("cpu"))

    whole = assert_going_on_ends_with_the_same_bytes(loop, tmp_path, stop_after)
    assert all(key.startswith("network.model.") for key in checkpoint.load(whole).model)


def test_the_loss_by_hand() -> None:
    xy = torch.tensor([[[0.5, 0.5], [0.25, 0.75]]])
    visible, known = torch.tensor([[True, False]]), torch.tensor([[True, True]])
    # An empty heatmap misses the whole Gaussian, whose square has the sum pi sigma^2.
    empty = HandLoss(2.0)(HandOutput(torch.zeros(1, 2, 64, 64), None), xy, visible, known)
    assert empty[0].tolist() == [pytest.approx(math.pi * 4 / 64**2, rel=1e-5), 0]
    coordinates = HandLoss(2.0)(HandOutput(torch.tensor([[[0.5, 0.7], [9.0, 9.0]]]), None), xy, visible, known)
    assert coordinates[0].tolist() == [pytest.approx(0.2**2 / 2), 0]
    assert not HandLoss(2.0)(HandOutput(torch.zeros(1, 2, 64, 64), None), xy, visible, ~known).any()


@pytest.mark.parametrize(
    ("name", "what"), [("hand_hrnet", "visible"), ("hand_hrnet", "known"), ("hand_resnet50", "visible")]
)
def test_absent_and_uncertain_points_teach_nothing(hands: HandSet, name: str, what: str) -> None:
    train = hands.squares("train")
    changed = getattr(train, what).copy()
    changed[:2, 3] = False

    def gradient(place: float) -> torch.Tensor:
        xy = np.where(changed[..., None], train.xy, np.float32(place))
        other = dataclasses.replace(train, xy=xy, **{what: changed})
        task = HandTask(config_of(name=name), hands, other, hands.squares("val"))
        batch = Batch(torch.from_numpy(train.pixels[:2]), torch.arange(2))
        done = task.step(task.trainee, batch, 0, torch.Generator(), 1.0)
        done.loss.backward()
        assert done.logs.tolist()[0] == 14 and done.logs.tolist()[2] == 12
        return torch.cat([parameter.grad.flatten() for parameter in task.trainee.parameters()])

    assert gradient(0.0).abs().sum() > 0
    assert torch.equal(gradient(0.0), gradient(17.0))


def test_validation_is_the_report(hands: HandSet) -> None:
    task = task_of(config_of(), hands)
    task.trainee.eval()
    figures = task.validate(0, Hardware("cpu"))
    val = task.val
    found = predict(task.trainee.network, val, np.arange(len(val)), task.config, torch.device("cpu"))
    wanted = report(found.xy * SIZE, val.xy, val.visible, ["a"] * len(val), hands.data.points.ids,
                    task.config.metric_settings()).overall  # fmt: skip
    assert {name: figures[name] for name in wanted} == pytest.approx({k: v.value for k, v in wanted.items()})
    assert figures["score"] == -figures["loss"]
    alone = predict(task.trainee.network, val, np.array([1]), task.config, torch.device("cpu"))
    assert np.allclose(alone.xy[0], found.xy[1], atol=1e-5)
    assert found.confidence is not None and ((found.confidence >= 0) & (found.confidence <= 1)).all()


def test_coordinates_come_without_confidence() -> None:
    xy, confidence = locate(torch.full((1, 7, 2), 0.25), "gaussian")
    assert confidence is None and (xy == 0.25).all()


def test_a_point_that_nobody_has_cannot_be_learned(tmp_path: Path) -> None:
    for number, stem in enumerate(PEOPLE):
        add_hand(tmp_path, stem, number, ("2", "5", "8", "4", "6", "7"))
    config = config_of("data.missing=keep")
    hands = load_hands(tmp_path, config)
    with pytest.raises(ConfigError, match="no training picture has LI4"):
        task_of(config, hands)


@pytest.mark.parametrize(
    ("doubted", "parts", "message"),
    [
        (("3",), ("train", "val"), "no training picture has LI4 at a position that its point mask trusts"),
        (tuple(PLACES), ("val",), "no point of the 2 pictures to validate with is visible at a position that is cert"),
    ],
)
def test_points_that_no_mask_trusts_are_no_fault_of_the_training(
    hands: HandSet, doubted: tuple[str, ...], parts: tuple[Part, ...], message: str
) -> None:
    root = hands.data.root
    for row in (row for part in parts for row in hands.rows[part]):
        write_mask(root, hands.data.records[row].image, {label: label not in doubted for label in PLACES})
    with pytest.raises(ConfigError, match=message):
        task_of(config_of(), load_hands(root, config_of()))


def test_some_of_the_training_subjects(hands: HandSet) -> None:
    before = {part: rows.tolist() for part, rows in hands.rows.items()}
    subjects = [hands.data.records[row].subject for row in before["train"]]
    assert len(set(subjects)) == 3, "six pictures of three subjects"
    hands.limit(0.34, 0)
    chosen = {hands.data.records[row].subject for row in hands.rows["train"]}
    assert len(chosen) == 1 and len(hands.rows["train"]) == subjects.count(*chosen)
    assert all(hands.rows[part].tolist() == before[part] for part in ("val", "test"))
    dropped = [row for row in before["train"] if row not in hands.rows["train"]]
    assert hands.rows["new"].tolist() == dropped
    assert {name for name, part in hands.persons.items() if part == "train"} == chosen
    with pytest.raises(ConfigError, match="data.persons = 4 is neither"):
        hands.limit(4, 0)


def test_more_pictures_in_a_batch_than_there_are(hands: HandSet) -> None:
    with pytest.raises(ConfigError, match=r"train.batch_size = 8 is more than the 6 training pictures"):
        task_of(config_of("train.batch_size=8"), hands)


def test_squares_are_kept_and_made_again_when_damaged(hands: HandSet, tmp_path: Path) -> None:
    message: list[str] = []
    config = config_of("augment.siblings=true")

    def make_hand() -> np.ndarray:
        how = {"cache": tmp_path / "cache", "say": message.append}
        made = squares_of(hands.data, hands.digest, hands.rows["train"], config.augment, SIZE, **how)
        plain = hands.squares("train", config.augment)
        assert made.transforms == plain.transforms and np.array_equal(made.variant, plain.variant)
        assert np.array_equal(made.xy, plain.xy) and np.array_equal(made.pixels, plain.pixels)
        return made.pixels

    make_hand()
    (kept,) = (tmp_path / "cache").rglob("*.safetensors")
    before = kept.stat().st_mtime_ns
    make_hand()
    assert kept.stat().st_mtime_ns == before and not message
    kept.write_bytes(kept.read_bytes()[:999])
    make_hand()
    assert "damaged" in message[0] and kept.stat().st_size > 999


def test_copies_in_two_parts_are_refused(hands: HandSet, tmp_path: Path) -> None:
    root = tmp_path / "hands"
    (one,) = (name for name in hands.persons if hands.persons[name] == "val")
    source = next(root.glob(f"{one.upper()}_*.png"))

    def copy(stem: str) -> None:
        for suffix in (".png", ".json"):
            text = source.with_suffix(suffix).read_bytes().replace(source.stem.encode(), stem.encode())
            (root / f"{stem}{suffix}").write_bytes(text)

    # A stranger's name does not make a picture new.
    copy("S0000000_L_back_0001")
    again = load_hands(root, config_of(), persons=hands.persons)
    assert len(again.rows["val"]) == 3 and not len(again.rows["new"])
    other = next(name for name, part in hands.persons.items() if part == "train")
    copy(f"{other.upper()}_L_back_0009")
    with pytest.raises(ConfigError, match="are copies: one hand cannot be in two parts"):
        load_hands(root, config_of(), persons=hands.persons)


@pytest.mark.parametrize("scale", ["points", "square"])
def test_overlaps_are_those_of_the_report(scale: str):
    """The second picture shows two points in one line, the third none."""
    random = np.random.default_rng(0)
    true = random.uniform(20, 200, (3, 5, 2))
    true[1, :, 1] = 50
    predicted = true + random.normal(0, 6, true.shape)
    visible = np.array([[True, True, False, True, True], [True, True, False, False, False], [False] * 5])
    settings = MetricSettings(oks_scale=scale)
    terms = point_terms(predicted, true, visible, settings)
    found = overlaps(*(torch.from_numpy(array) for array in (predicted - true, true, visible)), settings)
    wanted = np.nansum(terms["iou"]), np.nansum(picture_oks(terms)), 2
    assert [value.item() for value in found] == pytest.approx(wanted)
