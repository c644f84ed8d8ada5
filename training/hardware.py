"""Devices and processes: one process, or several that ``accelerate launch`` or torchrun started, one for each GPU."""

import contextlib
import ctypes
import os
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from acusim.errors import ConfigError

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Names of glibc's malloc.h."""


class Hardware:
    """This process's device and its place among the others.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``; several processes take one GPU each.
        keep: whether this process keeps the memory that it once had, see keep_memory; a server should not.
    """

    def __init__(self, device: str = "auto", keep: bool = True):
        self.device: torch.device
        self.world = int(os.environ.get("WORLD_SIZE", "1"))
        if self.world > 1:
            # Reads what the launcher set, takes this process's GPU and meets the others.
            from accelerate import PartialState

            state = PartialState(cpu=device == "cpu" or not torch.cuda.is_available())
            assert state.device is not None
            self.rank, self.device = state.process_index, state.device
        else:
            self.rank, self.device = 0, _device(device)
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark = True
        elif keep:
            keep_memory()

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and messages."""
        return self.rank == 0

    def wrap(self, module: nn.Module, compiled: bool) -> nn.Module:
        """A module that shares its gradients with the other processes, compiled where wanted."""
        if self.world > 1:
            ids = [self.device] if self.device.type == "cuda" else None
            module = nn.parallel.DistributedDataParallel(module, device_ids=ids, gradient_as_bucket_view=True)
        if compiled:
            module = torch.compile(module)  # type: ignore[assignment]
        return module

    @contextlib.contextmanager
    def syncing(self, module: nn.Module, wanted: bool) -> Iterator[None]:
        """Leaves gradients unshared where more parts of a step are to come."""
        shared: Any = getattr(module, "_orig_mod", module)
        if wanted or self.world == 1:
            yield
        else:
            with shared.no_sync():
                yield

    def sum(self, values: Tensor) -> Tensor:
        """The sum of a tensor over all processes."""
        if self.world > 1:
            values = values.clone()
            torch.distributed.all_reduce(values)
        return values

    def any(self, value: bool) -> bool:
        """Whether it is true in any process."""
        if self.world == 1:
            return value
        return bool(self.sum(torch.tensor(float(value), device=self.device)).item())

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes in their order, in every process."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        torch.distributed.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Until all processes are here."""
        if self.world > 1:
            torch.distributed.barrier()

    @contextlib.contextmanager
    def main_first(self) -> Iterator[None]:
        """The main process does something before the others do."""
        if not self.is_main:
            self.wait()
        yield
        if self.is_main:
            self.wait()

    def close(self) -> None:
        """Leaves the other processes."""
        if self.world > 1 and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def keep_memory() -> None:
    """Lets this process keep the memory that tensors free, where its C library is glibc.

    By default glibc hands large blocks back, and the system then clears the pages of the next ones anew: a third of the
    time of a small network's step on a CPU.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, -1)


def _device(text: str) -> torch.device:
    if text == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(text)
    except RuntimeError:
        raise ConfigError(f"--device {text!r} is not auto, cpu, cuda or cuda:1") from None
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise ConfigError(
            f"--device {text!r}: this machine has {torch.cuda.device_count()} CUDA GPUs; write --device cpu"
        )
    return device
