"""Acupoints of the hand as a task of the loop."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from acusim.errors import ConfigError
from acusim.files import write_atomic
from training.data.augmentation import augment
from training.data.hand_augmentation import VARIANTS
from training.data.hand_loader import HandSet
from training.data.hand_squares import HandSquares
from training.eval.hand_metrics import (
    FIGURES,
    MIN_AREA_PX,
    MetricSettings,
    mean_pose,
    point_estimates,
    point_terms,
)
from training.hardware import Hardware
from training.loop import Batch, Step
from training.models.hand import HandNet, HandOutput, HandTrainee, locate, named_outputs
from training.tasks.base import PictureTask, as_input, outputs_of
from training.tasks.hand_config import HandConfig, OnlineAugmentation
from training.tasks.hand_points import HandPoints
from training.tasks.hand_type import TRAITS, UNKNOWN, known_types, majorities, mirrored_types

_BASELINE = ("pck", "precision", "oks", "iou", "error_px")
"""Figures of the mean pose that are recorded beside those of the model."""


class HandTask(PictureTask):
    """Trains a hand network on the training part and evaluates it on the validation part.

    Args:
        config: all settings.
        hands: pictures of all parts.
        train: squares of the training part, augmented variants included.
        val: squares of the validation part.
    """

    curves = {
        "loss": ("loss of a point", ("train_loss", "loss")),
        "error": ("error of visible points, px", ("train_error_px", "error_px", "floor_error_px")),
        "pck": ("PCK", ("train_pck", "pck", "floor_pck")),
        "precision": ("precision", ("train_precision", "precision", "floor_precision")),
        "oks": ("OKS", ("train_oks", "oks", "floor_oks")),
        "iou": ("IoU", ("train_iou", "iou", "floor_iou")),
    }

    def __init__(self, config: HandConfig, hands: HandSet, train: HandSquares, val: HandSquares):
        torch.manual_seed(config.train.seed)
        self.config, self.hands, self.train, self.val = config, hands, train, val
        self._trainee = HandTrainee(config, len(hands.data.points))
        if config.model.weights:
            from training.models.hand_pretrained import load_pretrained

            load_pretrained(self.trainee.network.model, config.model.weights)
        super().__init__(config.train, train, np.arange(len(train)))
        self.identity = {
            "config": config.identity,
            "data": hands.digest,
            "points": list(hands.data.points.ids),  # as JSON gives it back
            "persons": hands.persons,
        }
        pose = baseline_pose(train, hands.data.points)
        if not val.measured.any():
            raise ConfigError(
                f"no point of the {len(val)} pictures to validate with is visible at a position that is certain (point "
                "masks), so epochs cannot be compared; use more pictures, or another data.split_seed"
            )
        figures = self._figures(np.broadcast_to(pose, val.xy.shape))
        self.baselines = {f"floor_{name}": figures[name] for name in _BASELINE}
        self._targets: tuple[Tensor, Tensor, Tensor, Tensor] | None = None
        if "visibility" in self.trainee.network.outputs:
            self._add_visibility()
        if config.model.hand_type:
            self._add_types()

    def _add_visibility(self) -> None:
        """Adds the curve of visibility, and the baseline: of each point what most training pictures show."""
        majority = self.train.visible[self.train.variant == 0].mean(0) > 0.5
        self.baselines["floor_visibility"] = float((self.val.visible == majority).mean())
        curve = ("accuracy of visibility", ("visibility", "floor_visibility"))
        self.curves = {**self.curves, "visibility": curve}

    def _add_types(self) -> None:
        """Adds the hand's type: its curves, and the baseline of always predicting the most frequent type.

        Raises:
            ConfigError: no training picture has a type, or all have the same.
        """
        train, val = (self._types(part) for part in (self.train, self.val))
        if not any(len(set(train[:, trait].tolist()) - {UNKNOWN}) == 2 for trait in range(len(TRAITS))):
            traits = "; ".join(f"{name}: {' or '.join(values)}" for name, values in TRAITS.items())
            raise ConfigError(
                "model.hand_type has nothing to learn: no two training pictures differ in a trait that is known "
                f"({traits}); provide them by data.subject's groups side and face, or by labelme's flags 'left hand' "
                "and 'palm'"
            )
        baseline = accuracies(np.broadcast_to(majorities(train), val.shape), val)
        self.baselines |= {f"floor_{name}": value for name, value in baseline.items()}
        names = [name for trait in TRAITS for name in (f"train_{trait}", trait, f"floor_{trait}")]
        self.curves = {**self.curves, "hand_type": ("accuracy of the hand's type", tuple(names))}

    @property
    def trainee(self) -> HandTrainee:
        """See Task."""
        return self._trainee

    def step(self, module: nn.Module, batch: Batch, epoch: int, generator: torch.Generator, scale: float) -> Step:
        """See Task. The loss is the mean over pictures and points, of which those not visible or uncertain count as 0.

        With a head for the hand's type, its weighted mean over pictures and traits is added.
        """
        if self._targets is None or self._targets[0].device != batch.index.device:
            self._targets = self._targets_on(batch.index.device)
        xy, visible, known, types = (values[batch.index] for values in self._targets)
        images, online = as_input(batch.images), self.config.online
        if online != OnlineAugmentation():
            same = torch.arange(visible.shape[1])  # a mirrored hand has the same points
            changed = augment(images, xy, visible, generator, online, same, known)
            images, xy = changed.images, changed.xy
            types = mirrored_types(types, changed.mirrored)
        losses, of_types, output = module(images, xy, visible, known, types)
        with torch.no_grad():
            found, _ = locate(output.points, self.config.loss.decoding)
            distance = torch.linalg.vector_norm(found - xy, dim=-1) * self.train.size
            metrics = self.config.metric_settings()
            loss, measured = losses.sum(), visible & known
            sums = [
                torch.full_like(loss, losses.numel()),
                loss,
                measured.sum(),
                (distance * measured).sum(),
                ((distance < metrics.pck * metrics.size) & measured).sum(),
                ((distance < metrics.precision_px) & measured).sum(),
                *overlaps((found - xy) * self.train.size, xy * self.train.size, measured, metrics),
            ]
            if output.type_logits is not None:
                known = types != UNKNOWN
                right = ((output.type_logits > 0) == (types == 1)) & known
                sums += [*known.sum(0), *right.sum(0)]
        whole = losses.mean() + self.config.loss.hand_type * of_types.mean()
        return Step(whole * scale, torch.stack([value.double() for value in sums]))

    def _targets_on(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Targets of the training squares: points, which are visible, whose position is known, and types."""
        return *targets_of(self.train, device), torch.from_numpy(self._types(self.train)).to(device)

    def _types(self, squares: HandSquares) -> NDArray[np.int64]:
        return known_types([self.hands.data.records[row] for row in squares.row])

    def read_logs(self, logs: Tensor) -> dict[str, float]:
        """See Task: figures of the network during the epoch, with dropout, on augmented squares."""
        points, loss, visible, distance, near, precise, iou, oks, pictures, *types = logs.tolist()
        rates = (value / visible if visible else float("nan") for value in (distance, near, precise, iou))
        known, right = types[: len(TRAITS)], types[len(TRAITS) :]
        return {
            "loss": loss / points,
            **dict(zip(("error_px", "pck", "precision", "iou"), rates, strict=True)),
            "oks": oks / pictures if pictures else float("nan"),
            **{name: b / a if a else float("nan") for name, a, b in zip(TRAITS, known, right, strict=False)},
        }

    def validate(self, epoch: int, hardware: Hardware) -> dict[str, float]:
        """See Task: the validation squares without dropout."""
        share = np.arange(len(self.val))[hardware.rank :: hardware.world]
        total = torch.zeros((), dtype=torch.float64, device=hardware.device)
        xy, visible, known = targets_of(self.val, hardware.device)

        def add_loss(output: HandOutput, index: Tensor) -> None:
            total.add_(self.trainee.criterion(output, xy[index], visible[index], known[index]).double().sum())

        mine = predict(self.trainee.network, self.val, share, self.config, hardware.device, on_batch=add_loss)
        found = np.zeros(self.val.xy.shape, np.float32)
        types = np.zeros((len(found), len(TRAITS)), np.float32)
        confidence = np.zeros(found.shape[:2], np.float32)
        for rank, (of_points, of_types, sure) in enumerate(hardware.gather((mine.xy, mine.types, mine.confidence))):
            found[rank :: hardware.world] = of_points
            if of_types is not None:
                types[rank :: hardware.world] = of_types
            if sure is not None:
                confidence[rank :: hardware.world] = sure
        loss = hardware.sum(total).item() / self.val.visible.size
        figures = {"loss": loss, **self._figures(found * self.val.size)}
        if mine.of_visibility:
            figures["visibility"] = float(((confidence >= 0.5) == self.val.visible).mean())
        if self.config.model.hand_type:
            figures |= accuracies(types > 0.5, self._types(self.val))
        best_by = self.config.train.best_by
        return figures | self.baselines | {"score": figures[best_by] * (1 if best_by == "pck" else -1)}

    def _figures(self, predicted_px: NDArray[np.floating]) -> dict[str, float]:
        if not np.isfinite(predicted_px).all():  # a network that diverges
            return dict.fromkeys(FIGURES, float("nan"))
        settings = self.config.metric_settings()
        return point_estimates(point_terms(predicted_px, self.val.xy, self.val.measured, settings))

    def names(self, index: Tensor) -> list[str]:
        """See Task."""
        records = self.hands.data.records
        return [
            f"{records[int(self.train.row[number])].image} ({VARIANTS[self.train.variant[number]]})"
            for number in index.tolist()
        ]


def overlaps(error: Tensor, true: Tensor, visible: Tensor, settings: MetricSettings) -> tuple[Tensor, Tensor, Tensor]:
    """Sums over a batch as eval.hand_metrics defines their terms, on its device, so that nothing waits for the GPU.

    Args:
        error: [B, P, 2] predicted less true, pixels.
        true: [B, P, 2] pixels.
        visible: [B, P] bool.
        settings: parameters of the figures.

    Returns:
        The IoU summed over visible points, the OKS summed over pictures, and how many of these show a point.
    """
    shared = (settings.box_px - error.abs()).clamp(min=0).prod(-1)
    iou = shared / (2 * settings.box_px**2 - shared)
    seen = visible[..., None]
    highest, lowest = true.where(seen, -torch.inf).amax(1), true.where(seen, torch.inf).amin(1)
    shown = visible.any(1)
    area = (highest - lowest).prod(-1).where(shown, 1).clamp(min=MIN_AREA_PX)
    if settings.oks_scale == "square":
        area = torch.full_like(area, settings.size**2)
    oks = torch.exp(-error.square().sum(-1) / (2 * settings.k**2 * area)[:, None])
    each = (oks * visible).sum(1) / visible.sum(1).clamp(min=1)
    return (iou * visible).sum(), each.sum(), shown.sum()


def accuracies(predicted: NDArray[Any], known: NDArray[np.int64]) -> dict[str, float]:
    """Share of pictures of which each trait is right; NaN where none is known.

    Args:
        predicted: [N, 2] 0 or 1.
        known: [N, 2] as known_types has it.
    """
    out: dict[str, float] = {}
    for trait, name in enumerate(TRAITS):
        rows = known[:, trait] != UNKNOWN
        out[name] = float((predicted[rows, trait] == known[rows, trait]).mean()) if rows.any() else float("nan")
    return out


def baseline_pose(train: HandSquares, points: HandPoints) -> NDArray[np.float64]:
    """[P, 2] the mean position of each point over the original training pictures, in pixels of the square.

    Raises:
        ConfigError: a point is in none of them.
    """
    own = train.variant == 0
    seen = train.measured[own].any(0)
    if not seen.all():
        never = ", ".join(name for name, known in zip(points.ids, seen, strict=True) if not known)
        doubted = (train.visible[own].any(0) & ~seen).any()
        where = " at a position that its point mask trusts" if doubted else ""
        raise ConfigError(
            f"no training picture has {never}{where}: it cannot be learned; add pictures or another mapping"
        )
    return mean_pose(train.xy[own], train.measured[own])


def targets_of(squares: HandSquares, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Points [M, P, 2] in 0..1 of the square, [M, P] whether they are visible, and whether their position is known."""
    arrays = squares.xy / squares.size, squares.visible, squares.known
    xy, visible, known = (torch.from_numpy(array).to(device) for array in arrays)
    return xy, visible, known


@dataclass(frozen=True, slots=True, eq=False)
class HandPredictions:
    """Predictions for N squares."""

    xy: NDArray[np.float32]
    """[N, P, 2] 0..1 of the square."""
    confidence: NDArray[np.float32] | None
    """[N, P] 0..1: probability of being visible, or height of the heatmaps' peaks; None for networks that give
    coordinates alone."""
    types: NDArray[np.float32] | None = None
    """[N, 2] probability of each trait's second value, see hand_type.TRAITS; None for networks without that head."""
    of_visibility: bool = False
    """Whether the confidence is the probability of being visible."""

    def save(self, path: Path) -> None:
        """Writes a safetensors file with ``xy`` and, where present, ``confidence`` and ``types``.

        Raises:
            OSError: from the file system.
        """
        from safetensors.numpy import save

        arrays = {"xy": self.xy, "confidence": self.confidence, "types": self.types}
        write_atomic(path, save({name: array for name, array in arrays.items() if array is not None}))


@torch.no_grad()
def predict(
    network: HandNet,
    squares: HandSquares,
    index: NDArray[np.int64],
    config: HandConfig,
    device: torch.device,
    progress: Callable[[int], None] = lambda _: None,
    on_batch: Callable[[HandOutput, Tensor], None] | None = None,
) -> HandPredictions:
    """The network's predictions for some squares.

    Args:
        network: in eval mode.
        squares: all squares.
        index: [N] numbers of those to use.
        config: for precision and decoding.
        device: of the network.
        progress: called with the number of squares just done.
        on_batch: called with each batch's output, with all that losses need, and the numbers of its squares.
    """
    xy = np.zeros((len(index), *squares.xy.shape[1:]), np.float32)
    sure = {"heatmaps", "visibility"} & set(network.outputs)
    confidence = np.zeros(xy.shape[:2], np.float32) if sure else None
    types = np.zeros((len(index), len(TRAITS)), np.float32) if "hand_type" in network.outputs else None
    for_loss = on_batch is not None
    outputs = outputs_of(network, squares, index, config.train.precision, device, progress, for_loss=for_loss)
    for rows, numbers, output in outputs:
        if on_batch is not None:
            on_batch(output, numbers)
        named = named_outputs(output)
        found, confident = locate(output.points, config.loss.decoding, named.get("visibility"))
        xy[rows] = found.cpu().numpy()
        if confidence is not None and confident is not None:
            confidence[rows] = confident.float().cpu().numpy()
        if types is not None:
            types[rows] = named["hand_type"].float().cpu().numpy()
    return HandPredictions(xy, confidence, types, "visibility" in sure)
