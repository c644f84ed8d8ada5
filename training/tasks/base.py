"""Tasks whose input is square pictures: steps, batches, and outputs for some of the pictures."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from acusim.errors import ConfigError
from training.data.loader import Order, Pictures, batches
from training.hardware import Hardware
from training.loop import Batch, Task
from training.precision import mixed_precision
from training.settings import Precision, TrainConfig

PREDICT_BATCH = 32
"""Pictures of a batch without gradient."""


class PictureTask(Task):
    """A task whose batches are drawn from pictures by seed and epoch.

    Args:
        train_config: seed, size and parts of batches.
        pictures: all pictures.
        chosen: [N] numbers of those to train on.

    Raises:
        ConfigError: they do not fill one batch.
    """

    def __init__(self, train_config: TrainConfig, pictures: Pictures, chosen: NDArray[np.int64]):
        if len(chosen) < train_config.batch_size:
            raise ConfigError(
                f"train.batch_size = {train_config.batch_size} is more than the {len(chosen)} training pictures; "
                f"write --set train.batch_size={len(chosen)} or less"
            )
        self._train_config, self._pictures, self._chosen = train_config, pictures, chosen

    def steps(self, hardware: Hardware) -> int:
        """Complete batches of the training pictures; the rest of an epoch's order is omitted."""
        return self._order(hardware).steps(len(self._chosen))

    def _order(self, hardware: Hardware) -> Order:
        config = self._train_config
        return Order(config.seed, config.batch_size, rank=hardware.rank, world=hardware.world)

    def batches(self, epoch: int, first_step: int, hardware: Hardware) -> Iterator[Batch]:
        """See Task."""
        order, pin = self._order(hardware), hardware.device.type == "cuda"
        parts = self._train_config.accumulate
        with contextlib.closing(
            batches(self._pictures, self._chosen, order, epoch, start_step=first_step, pin=pin)  # type: ignore[type-var]
        ) as prefetched:
            for whole in prefetched:
                for images, index in zip(whole.images.chunk(parts), whole.index.chunk(parts), strict=True):
                    yield Batch(images, index)


def as_input(images: Tensor) -> Tensor:
    """[B, S, S, 3] uint8 to [B, 3, S, S] float32 in 0..1, channels last in memory as they were."""
    return images.permute(0, 3, 1, 2).float() / 255


def outputs_of(
    network: nn.Module,
    pictures: Pictures,
    index: NDArray[np.int64],
    precision: Precision,
    device: torch.device,
    progress: Callable[[int], None] = lambda _: None,
    **how: Any,
) -> Iterator[tuple[slice, Tensor, Any]]:
    """The network's output for some pictures, batch by batch.

    Args:
        network: in eval mode, on the device.
        pictures: all pictures.
        index: [N] numbers of those to use.
        precision: of the network's arithmetic.
        device: of the network.
        progress: called with the number of pictures whose output has just been used.
        how: further arguments of the network.

    Yields:
        The slice of ``index``, the numbers of the pictures on the device, and the network's output.
    """
    for rows, pixels in squares_of(pictures, index):
        with mixed_precision(device, precision):
            output = network(as_input(torch.from_numpy(pixels).to(device)), **how)
        yield rows, torch.from_numpy(index[rows]).to(device), output
        progress(len(pixels))


def squares_of(pictures: Pictures, index: NDArray[np.int64]) -> Iterator[tuple[slice, NDArray[np.uint8]]]:
    """Some of the pictures in batches of PREDICT_BATCH: the slice of ``index``, and the pixels [B, S, S, 3]."""
    for start in range(0, len(index), PREDICT_BATCH):
        rows = slice(start, min(start + PREDICT_BATCH, len(index)))
        pixels = np.empty((rows.stop - start, pictures.size, pictures.size, 3), np.uint8)
        pictures.read(index[rows], pixels)
        yield rows, pixels
