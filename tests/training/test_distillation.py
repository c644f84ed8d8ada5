"""A student learns what its teacher says, and a teacher that cannot be one is refused."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.support import add_own_sample
from tests.training.conftest import without
from training.cli import main as cli
from training.data.split import Split
from training.distillation import Teacher
from training.hardware import Hardware
from training.history import History
from training.loop import Loop
from training.models.distillation import Taught, resampled
from training.models.head import Trainee
from training.tasks.head import HeadTask, predict

STUDENT = ("model.network=heatmaps", "model.backbone=tiny", "model.decoder=16")
STILL = tuple(
    f"augment.{name}=0"
    for name in ("rotation_deg", "scale", "translate", "flip", "light", "background", "noise", "blur")
)


@pytest.fixture(autouse=True)
def no_curves(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(History, "write", lambda *_, **__: None)


def test_shares_keep_their_place_in_another_number_of_parts():
    quarters = torch.tensor([[[0.1, 0.2, 0.3, 0.4]]])
    assert torch.equal(resampled(quarters, 4), quarters)
    assert torch.allclose(resampled(quarters, 2), torch.tensor([[[0.3, 0.7]]]))
    finer = resampled(quarters, 16)
    assert finer.sum() == pytest.approx(1) and (finer[..., 12:].sum() > finer[..., :4].sum())


def test_nothing_costs_less_than_the_teachers_own_answer(small_config: Any):
    config = small_config(*STUDENT, name="heatmaps")
    torch.manual_seed(0)
    trainee = Trainee(config).eval()
    output = trainee.network(torch.rand(2, 3, 32, 32), for_loss=True)
    logits = output.visibility_logits.detach().requires_grad_()
    shares = [marginal.detach().log().requires_grad_() for marginal in output.marginals]
    same = output._replace(visibility_logits=logits, marginals=tuple(one.softmax(-1) for one in shares))
    taught = Taught(logits.detach().sigmoid(), tuple(one.detach().softmax(-1) for one in shares))  # type: ignore[arg-type]
    trainee.criterion.from_teacher(same, taught).backward()  # type: ignore[operator]
    for one in (logits, *shares):
        assert one.grad is not None and one.grad.abs().max() < 1e-6


class Corner:
    """Says of every point that it is visible, a quarter from the left and three quarters from the top."""

    run = SimpleNamespace(sha256="ab" * 32)

    def answers(self, images: torch.Tensor) -> Taught:
        one = torch.zeros(len(images), 174, 8)
        across, down = one.clone(), one.clone()
        across[..., 1:3], down[..., 5:7] = 0.5, 0.5
        return Taught(torch.ones(len(images), 174), (across, down))


def test_a_student_learns_from_its_teacher_where_labels_are_silent(tmp_path: Path, head_data: Any, small_config: Any):
    data = head_data(frames=(1, 4, 7, 34), models=("F_Ann_N_HA_O",), size=32)
    data = without(data, trusted=np.zeros_like(data.targets.trusted))  # no place is known
    config = small_config("train.epochs=100", "train.lr=0.003", *STUDENT, *STILL, name="heatmaps")
    everything = np.arange(4)
    parts = Split({"ann": "train"}, {"train": everything, "val": everything, "test": everything[:0]})
    found = {}
    for name, teacher in (("alone", None), ("taught", Corner())):
        task = HeadTask(config, data, parts, teacher)  # type: ignore[arg-type]
        loop = Loop(config, task, tmp_path / name, Hardware("cpu"))
        loop._save = lambda links: None
        loop.train()
        found[name] = predict(task.trainee.network.eval(), data, everything, config, torch.device("cpu")).xy
        first, last = loop.history.rows[0], loop.history.rows[-1]
        assert ("train_loss_teacher" in last) == (teacher is not None)
        assert "loss_teacher" not in last  # of validation: it asks no teacher
        assert (task.identity.get("teacher") == "ab" * 32) == (teacher is not None)
    assert last["train_loss_teacher"] < first["train_loss_teacher"]
    away = {name: np.hypot(*(xy - (0.25, 0.75)).T).mean() for name, xy in found.items()}
    assert away["taught"] < 0.05 < 0.1 < away["alone"]


def test_a_teacher_sees_pictures_in_its_own_size(small_config: Any):
    config = small_config(*STUDENT, "data.size=64", name="heatmaps")
    network, seen = Trainee(config).network.eval(), []
    network.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[-1]))
    run: Any = SimpleNamespace(network=network, config=config, persons={"ann": "train", "bob": "val", "eve": "train"})
    teacher = Teacher(run)
    assert [one.shape[-1] for one in teacher.answers(torch.rand(1, 3, 32, 32)).marginals] == [16, 16] and seen == [64]
    assert teacher.knows({"ann": "val", "bob": "test", "cleo": "test", "eve": "train"}) == ["ann"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("heads") / "data"
    for number, model in enumerate(("F_Ann_N_HA_O", "M_Bob_F_HC_C", "F_Cleo_S_HB_O", "M_Dan_N_HB_C")):
        for frame in (1, 4, 34):
            add_own_sample(folder, f"{model}_{frame:04d}", number)
    return folder


def test_the_shipped_model_teaches_and_is_recorded(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "run"
    line = ["train", "--data", str(root), "--out", str(out), "--config", "heatmaps", "--quiet", "--workers", "1"]
    line += ["--cache", str(tmp_path / "cache"), "--device", "cpu"]
    for setting in (*STUDENT, "data.size=32", "train.batch_size=4", "train.epochs=1", "data.val=0.25", "data.test=0"):
        line += ["--set", setting]
    assert cli.main([*line, "--teacher", "head"]) == cli.OK
    recorded = json.loads((out / "data.json").read_text())["teacher"]
    assert recorded["run"] == "head" and len(recorded["sha256"]) == 64
    assert cli.main([*line, "--set", "train.epochs=2"]) == 1
    assert "teacher was '" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--config", "acusimnet_tuned", "--teacher", "head"), "acusimnet_tuned has no heatmaps to learn from it"),
        (
            ("--config", "heatmaps", "--teacher", "hand"),
            "is a model of the hand, hand_light; a teacher is a model of the head",
        ),
        (("--config", "hand_light", "--teacher", "head"), "only the head has teachers"),
        (("--config", "heatmaps", "--teacher", "nowhere"), "nowhere"),
    ],
)
def test_what_cannot_teach_is_refused(
    root: Path, tmp_path: Path, words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
):
    line = ["train", "--data", str(root), "--out", str(tmp_path / "run"), "--cache", str(tmp_path), "--quiet", *words]
    assert cli.main([*line, "--set", "train.batch_size=4", "--device", "cpu", "--workers", "1"]) == 1
    assert message in capsys.readouterr().err
