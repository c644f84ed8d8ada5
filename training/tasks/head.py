"""Networks of the head as a task of the loop: acuSimNet and heatmaps, 174 acupoints."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.data.augmentation import Augmentation, augment, head_flip
from training.data.positions import positions_of
from training.data.records import HeadData
from training.data.split import Split
from training.distillation import TEACHER, Teacher
from training.eval.baselines import ALL_OCCLUDED, PER_POINT, fit_baselines
from training.eval.metrics import point_estimates
from training.eval.predictions import Predictions
from training.geometry.template import Template
from training.hardware import Hardware
from training.loop import Batch, Step
from training.models.head import TALLIES, HeadNetwork, HeadOutput, Trainee
from training.models.losses import decay_weight
from training.tasks.base import PictureTask, as_input, outputs_of
from training.tasks.head_config import HeadConfig

_SHOWN = {"micro": "micro", "macro": "macro", "fpr": "fpr", "fnr": "fnr", "ece": "ece", "mean_px": "error_px",
          "mean_mm": "error_mm", "within_5_mm": "within_5_mm", "joint": "joint",
          "official_soft_wing": "official_soft_wing"}  # fmt: skip
"""Figures of a validation, under the names of metrics.csv."""


class HeadTask(PictureTask):
    """Trains a network of the head on the training part and evaluates it on the validation part.

    Args:
        config: all settings.
        data: pictures of all parts.
        split: the pictures of each part.
        teacher: whose answers a network with heatmaps learns beside the labels.
    """

    curves = {
        "accuracy": ("visibility accuracy", ("train_micro", "micro", "macro", "floor_all_occluded", "floor_majority")),
        "loss": ("loss per picture", ("train_loss", "loss")),
        "error": ("error of visible points, px", ("train_error_px", "error_px", "floor_error_px")),
        "uncertainty": ("log sigma", ("log_sigma_visibility", "log_sigma_coordinate", "log_sigma_class")),
    }

    def __init__(self, config: HeadConfig, data: HeadData, split: Split, teacher: Teacher | None = None):
        torch.manual_seed(config.train.seed)
        self.config, self.data, self.teacher = config, data, teacher
        self._trainee = Trainee(config)
        if config.model.weights:
            from training.models.pretrained import load_weights

            load_weights(self.trainee.network.backbone, config.model.weights)
        self.train, self.val = split.indices["train"], split.indices["val"]
        super().__init__(config.train, data.cache, self.train)
        self.identity = {
            "config": config.identity,
            "data": data.digest,
            "persons": split.persons,
        }
        if teacher:
            self.identity[TEACHER] = teacher.run.sha256
        self.flip = torch.from_numpy(head_flip())
        self._positions = positions_of(data, self.train, config.data.occluded)
        baselines = fit_baselines(data.targets.take(self.train)).predict(data.targets.frame[self.val])
        self.baselines = {  # figures keep their names in metrics.csv, which resumed runs continue
            "floor_all_occluded": self._score(baselines[ALL_OCCLUDED])["micro"],
            "floor_majority": self._score(baselines[PER_POINT])["micro"],
            "floor_error_px": self._score(baselines[PER_POINT])["error_px"],
        }
        label = "loss per picture, before it is weighted"
        parts = [f"loss_{name}" for name in self._tasks]
        self.curves = {**self.curves, **{name: (label, (f"train_{name}", name)) for name in parts}}
        self._targets: Any = None
        self._known: Any = None

    @property
    def template(self) -> Template | None:
        """The training persons' heads in 3D; None where occluded points have no positions."""
        return self._positions.template

    @property
    def _tasks(self) -> tuple[str, ...]:
        """Columns of the losses' parts in training; validation knows no teacher."""
        return (*self.trainee.criterion.TASKS, *([TEACHER] if self.teacher else []))

    @property
    def trainee(self) -> Trainee:
        """See Task."""
        return self._trainee

    def step(self, module: nn.Module, batch: Batch, epoch: int, generator: torch.Generator, scale: float) -> Step:
        """See Task."""
        device = batch.index.device
        targets = self._on(device).take(batch.index)
        images, xy, visible, trusted = as_input(batch.images), targets.xy, targets.visible, targets.trusted
        known = self._known[batch.index]
        if self.config.augment != Augmentation():
            changed = augment(images, xy, visible, generator, self.config.augment, self.flip, known)
            images, xy, visible = changed.images, changed.xy, changed.visible
            trusted, known = (torch.gather(values, 1, changed.source) for values in (trusted, known))
        if self.config.data.occluded != "zero":
            trusted = trusted & known
        weight = self._occluded_weight(epoch, images.device)
        data_scale = 1.0 if self.config.loss.reduction == "sum" else scale
        taught = self.teacher.answers(images) if self.teacher else None
        losses, tallies = module(images, xy, visible, trusted, weight, data_scale, scale, taught)
        count = torch.full((1,), float(len(images)), device=images.device)
        constant = self._constant(images.device)
        whole = self._of_pictures(losses.total.detach() - scale * constant, len(images), scale) + constant * count
        return Step(losses.total, torch.cat([count, losses.parts.sum(0), tallies, whole]))

    def _of_pictures(self, data: Tensor, count: int, scale: float = 1.0) -> Tensor:
        """The sum over a batch's pictures of what the criterion gives: their mean times ``scale``, or that sum."""
        is_mean = self.config.model.network == "heatmaps" or self.config.loss.reduction == "mean"
        return data * count / scale if is_mean else data

    def _constant(self, device: torch.device) -> Tensor:
        """What the uncertainty weights add to the loss of any picture."""
        sigmas = self.trainee.criterion.log_sigma
        return torch.zeros((), device=device) if sigmas is None else sigmas.detach().sum()

    def _occluded_weight(self, epoch: int, device: torch.device) -> Tensor:
        """Equation 3 and loss.occluded; a tensor, so that compiled code does not change with the epoch."""
        loss = self.config.loss
        weight = decay_weight(epoch, loss.decay_start, loss.decay_end, loss.decay_floor) if loss.decay else 1.0
        return torch.tensor(loss.occluded * weight, device=device)

    def read_logs(self, logs: Tensor) -> dict[str, float]:
        """See Task: the loss and its parts before they are weighted, per picture, and figures at threshold 0.5."""
        pictures, *rest, whole = logs.tolist()
        tasks = self._tasks
        parts = {f"loss_{name}": value / pictures for name, value in zip(tasks, rest, strict=False)}
        counts: dict[str, float] = dict(zip(map(str, TALLIES), rest[len(tasks) :], strict=True))
        return {"loss": whole / pictures} | parts | _rates(counts, self.config.data.size)

    def validate(self, epoch: int, hardware: Hardware) -> dict[str, float]:
        """See Task: the validation pictures without augmentation and dropout."""
        share = self.val[hardware.rank :: hardware.world]
        tasks = self.trainee.criterion.TASKS
        total = torch.zeros(1 + len(tasks), dtype=torch.float64, device=hardware.device)
        weight = self._occluded_weight(epoch, hardware.device)

        def add_loss(output: HeadOutput, index: Tensor) -> None:
            targets = self._on(hardware.device).take(index)
            trusted = targets.trusted if self.config.data.occluded == "zero" else targets.trusted & targets.visible
            losses = self.trainee.criterion(output, targets.xy, targets.visible, trusted, weight, 1.0, 0.0)
            # A mean over the batch is undone; the sums are divided by the number of all pictures at the end.
            whole = self._of_pictures(losses.total, len(index))
            total.add_(torch.cat([whole[None], losses.parts.sum(0)]))

        network = self.trainee.network
        parts = hardware.gather(predict(network, self.data, share, self.config, hardware.device, on_batch=add_loss))
        probability = np.zeros((len(self.val), *parts[0].probability.shape[1:]), np.float32)
        xy = np.zeros((*probability.shape, 2), np.float32)
        for rank, part in enumerate(parts):
            probability[rank :: hardware.world], xy[rank :: hardware.world] = part.probability, part.xy
        whole, *each = (hardware.sum(total) / len(self.val)).tolist()
        figures = self._score(Predictions(probability, xy))
        figures["loss"] = whole + self._constant(hardware.device).item()
        figures |= {f"loss_{name}": value for name, value in zip(tasks, each, strict=True)}
        score = rising(figures, self.config.train.best_by)
        return figures | self.baselines | self._uncertainty() | {"score": score}

    def _score(self, predictions: Predictions) -> dict[str, float]:
        found = point_estimates(predictions, self.data.targets.take(self.val), self.config.data.size)
        return {name: found[key] for key, name in _SHOWN.items()}

    def _uncertainty(self) -> dict[str, float]:
        """log sigma of each task, mean and of each branch."""
        weights = self.trainee.criterion.log_sigma
        if weights is None:
            return {}
        values, tasks = weights.detach().cpu().numpy(), self.trainee.criterion.TASKS
        out = {f"log_sigma_{name}": float(values[:, column].mean()) for column, name in enumerate(tasks)}
        for column, name in enumerate(tasks):
            out |= {f"log_sigma_{name}_{branch}": float(value) for branch, value in enumerate(values[:, column])}
        return out

    def _on(self, device: torch.device) -> Any:
        """All targets on the device, moved once; training pictures have positions of occluded points, if known."""
        if self._targets is None:
            targets = replace(self.data.targets, xy=self._positions.xy)
            self._targets = targets.to_torch(device)
            self._known = torch.from_numpy(self._positions.known).to(device)
        return self._targets

    def names(self, index: Tensor) -> list[str]:
        """See Task."""
        return [self.data.records[number].image for number in index.tolist()]


def rising(figures: Mapping[str, float], best_by: str) -> float:
    """The figure that chooses the best epoch, with the sign that makes a larger one better."""
    return figures[best_by] if best_by in ("micro", "macro", "joint") else -figures[best_by]


@torch.no_grad()
def predict(
    network: HeadNetwork,
    data: HeadData,
    index: NDArray[np.int64],
    config: HeadConfig,
    device: torch.device,
    progress: Callable[[int], None] = lambda _: None,
    on_batch: Callable[[HeadOutput, Tensor], None] | None = None,
) -> Predictions:
    """The network's predictions for some of the pictures.

    Args:
        network: in eval mode.
        data: all pictures.
        index: [N] numbers of those to use.
        config: for its precision.
        device: of the network.
        progress: called with the number of pictures just done.
        on_batch: called with each batch's output, with all that losses need, and the numbers of its pictures.
    """
    probability = np.zeros((len(index), 174), np.float32)
    xy = np.zeros((len(index), 174, 2), np.float32)
    for_loss = on_batch is not None
    outputs = outputs_of(network, data.cache, index, config.train.precision, device, progress, for_loss=for_loss)
    for rows, numbers, output in outputs:
        if on_batch is not None:
            on_batch(output, numbers)
        probability[rows] = torch.sigmoid(output.visibility_logits.float()).cpu().numpy()
        xy[rows] = output.coordinates.float().cpu().numpy()
    return Predictions(probability, xy)


def _rates(counts: dict[str, float], size: int) -> dict[str, float]:
    """Figures at threshold 0.5 from tallies."""
    points, visible = counts["points"], counts["visible"]
    hits, alarms = counts["true_positives"], counts["false_positives"]
    occluded = points - visible
    nothing = float("nan")
    return {
        "micro": (hits + occluded - alarms) / points,
        "fpr": alarms / occluded if occluded else nothing,
        "fnr": 1 - hits / visible if visible else nothing,
        "error_px": size * counts["error"] / visible if visible else nothing,
    }
