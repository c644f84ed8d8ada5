"""Acupoints of the hand as a task of the loop."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from acusim.errors import ConfigError
from acusim.files import write_atomic
from training.data.loader import Order, batches
from training.hands.augmentation import VARIANTS
from training.hands.config import HandConfig
from training.hands.dataset import HandSquares
from training.hands.loading import HandSet
from training.hands.metrics import FIGURES, mean_pose, point_estimates, point_terms
from training.hands.model import HandNet, HandTrainee, locate
from training.hands.points import HandPoints
from training.hardware import Hardware
from training.head_task import PREDICT_BATCH, as_input
from training.loop import DTYPES, Batch, Step, Task

_FLOORS = ("pck", "precision", "oks", "iou", "error_px")
"""Figures of the mean pose that stand beside those of the model."""


class HandTask(Task):
    """Trains a hand network on the training part and looks at the validation part.

    Args:
        config: all settings.
        hands: pictures of all parts.
        train: squares of the training part, siblings among them.
        val: squares of the validation part.
    """

    curves = {
        "loss": ("loss of a point", ("train_loss", "loss")),
        "error": ("error of visible points, px", ("train_error_px", "error_px", "floor_error_px")),
        "pck": ("PCK", ("train_pck", "pck", "floor_pck")),
        "precision": ("precision", ("train_precision", "precision", "floor_precision")),
        "oks": ("OKS", ("oks", "floor_oks")),
        "iou": ("IoU", ("iou", "floor_iou")),
    }

    def __init__(self, config: HandConfig, hands: HandSet, train: HandSquares, val: HandSquares):
        torch.manual_seed(config.train.seed)
        self.config, self.hands, self.train, self.val = config, hands, train, val
        self._trainee = HandTrainee(config, len(hands.data.points))
        if config.model.weights:
            from training.hand_models.weights import load_pretrained

            load_pretrained(self.trainee.network.model, config.model.weights)
        if len(train) < config.train.batch_size:
            raise ConfigError(
                f"train.batch_size = {config.train.batch_size} is more than the {len(train)} training pictures; "
                f"write --set train.batch_size={len(train)} or less"
            )
        self.identity = {
            "config": config.identity,
            "data": hands.digest,
            "points": list(hands.data.points.ids),  # as JSON gives it back
            "persons": hands.persons,
        }
        pose = floor_of(train, hands.data.points)
        floors = self._figures(np.broadcast_to(pose, val.xy.shape))
        self.floors = {f"floor_{name}": floors[name] for name in _FLOORS}
        self._targets: tuple[Tensor, Tensor] | None = None

    @property
    def trainee(self) -> HandTrainee:
        """See Task."""
        return self._trainee

    def steps(self, hardware: Hardware) -> int:
        """Whole batches of the training squares; the rest of an epoch's order is left out."""
        return self._order(hardware).steps(len(self.train))

    def _order(self, hardware: Hardware) -> Order:
        train = self.config.train
        return Order(train.seed, train.batch_size, rank=hardware.rank, world=hardware.world)

    def batches(self, epoch: int, first_step: int, hardware: Hardware) -> Iterator[Batch]:
        """See Task."""
        order, pin = self._order(hardware), hardware.device.type == "cuda"
        parts = self.config.train.accumulate
        index = np.arange(len(self.train))
        with contextlib.closing(
            batches(self.train, index, order, epoch, start_step=first_step, pin=pin)  # type: ignore[type-var]
        ) as made:
            for whole in made:
                for images, numbers in zip(whole.images.chunk(parts), whole.index.chunk(parts), strict=True):
                    yield Batch(images, numbers)

    def step(self, module: nn.Module, batch: Batch, epoch: int, generator: torch.Generator, scale: float) -> Step:
        """See Task. The loss is the mean over pictures and points; a point that is not visible counts with 0."""
        if self._targets is None or self._targets[0].device != batch.index.device:
            self._targets = targets_of(self.train, batch.index.device)
        xy, visible = (values[batch.index] for values in self._targets)
        losses, output = module(as_input(batch.images), xy, visible)
        with torch.no_grad():
            found, _ = locate(output, self.config.loss.decoding)
            distance = torch.linalg.vector_norm(found - xy, dim=-1) * self.train.size
            metrics = self.config.metric_settings()
            loss = losses.sum()
            sums = [
                torch.full_like(loss, losses.numel()),
                loss,
                visible.sum(),
                (distance * visible).sum(),
                ((distance < metrics.pck * metrics.size) & visible).sum(),
                ((distance < metrics.precision_px) & visible).sum(),
            ]
        return Step(losses.mean() * scale, torch.stack([value.double() for value in sums]))

    def read_logs(self, logs: Tensor) -> dict[str, float]:
        """See Task: as the network was while it learned, with dropout, on augmented squares."""
        points, loss, visible, distance, near, precise = logs.tolist()
        rates = (value / visible if visible else float("nan") for value in (distance, near, precise))
        return {"loss": loss / points, **dict(zip(("error_px", "pck", "precision"), rates, strict=True))}

    def validate(self, epoch: int, hardware: Hardware) -> dict[str, float]:
        """See Task: the validation squares without dropout."""
        share = np.arange(len(self.val))[hardware.rank :: hardware.world]
        total = torch.zeros((), dtype=torch.float64, device=hardware.device)
        xy, visible = targets_of(self.val, hardware.device)

        def look(output: Tensor, index: Tensor) -> None:
            total.add_(self.trainee.criterion(output, xy[index], visible[index]).double().sum())

        parts = hardware.gather(
            predict(self.trainee.network, self.val, share, self.config, hardware.device, look=look).xy
        )
        found = np.zeros(self.val.xy.shape, np.float32)
        for rank, part in enumerate(parts):
            found[rank :: hardware.world] = part
        loss = hardware.sum(total).item() / self.val.visible.size
        figures = {"loss": loss, **self._figures(found * self.val.size)}
        best_by = self.config.train.best_by
        return figures | self.floors | {"score": figures[best_by] * (1 if best_by == "pck" else -1)}

    def _figures(self, predicted_px: NDArray[np.floating]) -> dict[str, float]:
        if not np.isfinite(predicted_px).all():  # a network that diverges
            return dict.fromkeys(FIGURES, float("nan"))
        settings = self.config.metric_settings()
        return point_estimates(point_terms(predicted_px, self.val.xy, self.val.visible, settings))

    def names(self, index: Tensor) -> list[str]:
        """See Task."""
        records = self.hands.data.records
        return [
            f"{records[int(self.train.row[number])].image} ({VARIANTS[self.train.variant[number]]})"
            for number in index.tolist()
        ]


def floor_of(train: HandSquares, points: HandPoints) -> NDArray[np.float64]:
    """[P, 2] the mean place of each point over the training part's own pictures, in pixels of the square.

    Raises:
        ConfigError: a point is in none of them.
    """
    own = train.variant == 0
    seen = train.visible[own].any(0)
    if not seen.all():
        never = ", ".join(name for name, there in zip(points.ids, seen, strict=True) if not there)
        raise ConfigError(f"no training picture has {never}: it cannot be learned; add pictures or another mapping")
    return mean_pose(train.xy[own], train.visible[own])


def targets_of(squares: HandSquares, device: torch.device) -> tuple[Tensor, Tensor]:
    """Points [M, P, 2] in 0..1 of the square and whether they are visible [M, P], on a device."""
    return torch.from_numpy(squares.xy / squares.size).to(device), torch.from_numpy(squares.visible).to(device)


@dataclass(frozen=True, slots=True, eq=False)
class HandPredictions:
    """What a network says of N squares."""

    xy: NDArray[np.float32]
    """[N, P, 2] 0..1 of the square."""
    confidence: NDArray[np.float32] | None
    """[N, P] height of the heatmaps' peaks, 0..1; None for networks that give coordinates."""

    def save(self, path: Path) -> None:
        """Writes a safetensors file with ``xy`` and, where there is one, ``confidence``.

        Raises:
            OSError: as the file system says.
        """
        from safetensors.numpy import save

        arrays = {"xy": self.xy} if self.confidence is None else {"xy": self.xy, "confidence": self.confidence}
        write_atomic(path, save(arrays))


@torch.no_grad()
def predict(
    network: HandNet,
    squares: HandSquares,
    index: NDArray[np.int64],
    config: HandConfig,
    device: torch.device,
    progress: Callable[[int], None] = lambda _: None,
    look: Callable[[Tensor, Tensor], None] | None = None,
) -> HandPredictions:
    """What a network says of some squares.

    Args:
        network: in eval mode.
        squares: the pictures.
        index: [N] which.
        config: for precision and decoding.
        device: where the network is.
        progress: called with the number of squares just done.
        look: called with each batch's output and the numbers of its squares.
    """
    xy = np.zeros((len(index), *squares.xy.shape[1:]), np.float32)
    confidence = np.zeros(xy.shape[:2], np.float32) if network.OUTPUT == "heatmaps" else None
    for start in range(0, len(index), PREDICT_BATCH):
        chosen = index[start : start + PREDICT_BATCH]
        pixels = np.empty((len(chosen), squares.size, squares.size, 3), np.uint8)
        squares.read(chosen, pixels)
        precision = config.train.precision
        with torch.autocast(device.type, DTYPES[precision], enabled=precision != "fp32"):
            output = network(as_input(torch.from_numpy(pixels).to(device)))
        if look is not None:
            look(output, torch.from_numpy(chosen).to(device))
        rows = slice(start, start + len(chosen))
        found, peak = locate(output, config.loss.decoding)
        xy[rows] = found.cpu().numpy()
        if confidence is not None and peak is not None:
            confidence[rows] = peak.cpu().numpy()
        progress(len(chosen))
    return HandPredictions(xy, confidence)
