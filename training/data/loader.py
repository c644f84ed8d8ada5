"""Batches: an order that seed and epoch decide, and pictures prefetched before the step that uses them.

No random state is kept between steps: (seed, epoch, step) decides a batch, so a run that resumes at any step gets the
batches of an uninterrupted one.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from acusim.errors import ConfigError
from acusim.seeds import generator_of

if TYPE_CHECKING:
    import torch

PREFETCH = 3
"""Batches that are copied before they are requested."""


class Pictures(Protocol):
    """The source of batches, such as training.data.cache.PictureCache."""

    @property
    def size(self) -> int:
        """Side of the pictures in pixels."""
        ...

    def read(self, indices: Sequence[int] | NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        """Copies pictures into out [len(indices), size, size, 3]; called from several threads."""


@dataclass(frozen=True, slots=True)
class Order:
    """Which pictures make up each batch: that of all processes together, of which each has an equal share.

    Pictures of an epoch that do not fill a batch are omitted; other epochs omit others.
    """

    seed: int
    batch_size: int
    """Pictures of a batch over all processes."""
    rank: int = 0
    world: int = 1
    """Processes that share a batch."""

    def __post_init__(self) -> None:
        if self.world < 1 or not 0 <= self.rank < self.world:
            raise ConfigError(f"rank {self.rank} is not in 0..{self.world - 1}")
        if self.batch_size < 1 or self.batch_size % self.world:
            raise ConfigError(
                f"a batch of {self.batch_size} pictures cannot be divided among {self.world} processes evenly; "
                f"choose a multiple of {self.world}"
            )

    def steps(self, count: int) -> int:
        """Batches in an epoch of so many pictures.

        Raises:
            ConfigError: they do not fill one batch.
        """
        steps = count // self.batch_size
        if not steps:
            raise ConfigError(f"{count} pictures do not fill a batch of {self.batch_size}; choose a smaller one")
        return steps

    def epoch(self, indices: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        """The pictures of all processes in the order of an epoch."""
        return generator_of(f"order\n{self.seed}\n{epoch}").permutation(indices)

    def batch(self, ordered: NDArray[np.int64], step: int) -> NDArray[np.int64]:
        """This process's share of a batch.

        Args:
            ordered: what epoch() returned.
            step: 0-based.
        """
        share = self.batch_size // self.world
        start = step * self.batch_size + self.rank * share
        return ordered[start : start + share]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Pictures of one step."""

    step: int
    """0-based within the epoch."""
    images: "torch.Tensor"
    """uint8 [B, S, S, 3] RGB, in pinned memory where requested."""
    index: "torch.Tensor"
    """int64 [B] numbers of the pictures, which index their targets."""


def batches(
    pictures: Pictures,
    indices: NDArray[np.int64],
    order: Order,
    epoch: int,
    *,
    start_step: int = 0,
    threads: int = 2,
    pin: bool = False,
) -> Iterator[Batch]:
    """The batches of an epoch, prefetched by threads.

    Leaving the loop early, or an error, ends the threads; an error of a picture is raised with its batch.

    Args:
        pictures: decoded pictures.
        indices: numbers of those to use.
        order: seed, batch size, processes.
        epoch: 0-based.
        start_step: the first batch; those before it are not read.
        threads: how many batches are copied at the same time.
        pin: pinned memory, from which a GPU copies while it computes.

    Raises:
        ConfigError: the pictures do not fill one batch, or there is no such step.
    """
    steps = order.steps(len(indices))
    if not 0 <= start_step <= steps:
        raise ConfigError(f"step {start_step} is not in 0..{steps}, the steps of this epoch")
    return _prefetched(pictures, order.epoch(indices, epoch), order, range(start_step, steps), max(1, threads), pin)


def _prefetched(
    pictures: Pictures, ordered: NDArray[np.int64], order: Order, steps: range, threads: int, pin: bool
) -> Iterator[Batch]:
    import torch

    def make(step: int) -> Batch:
        index = order.batch(ordered, step)
        shape = (len(index), pictures.size, pictures.size, 3)
        images = torch.empty(shape, dtype=torch.uint8, pin_memory=pin)
        pictures.read(index, images.numpy())
        return Batch(step, images, torch.from_numpy(index.astype(np.int64)))

    pool = ThreadPoolExecutor(threads, "batches")
    waiting: deque[Future[Batch]] = deque()
    todo = iter(steps)
    try:
        while True:
            while len(waiting) < max(PREFETCH, threads) and (step := next(todo, None)) is not None:
                waiting.append(pool.submit(make, step))
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
