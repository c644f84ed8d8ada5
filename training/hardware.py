"""Devices and processes: one process, or several that ``accelerate launch`` or torchrun started, one for each GPU."""

import contextlib
import os
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from acusim.errors import ConfigError
from acusim.processes import keep_memory

if TYPE_CHECKING:
    from accelerate import Accelerator


class Hardware:
    """This process's device and its place among the others.

    accelerate's Accelerator distributes: it joins the processes, wraps the network, withholds synchronisation, clips,
    gathers and releases. Four of its parts are not used, since they would change results:

    - autocast and scaler: one process has one AcceleratorState with one precision, so a second run in another precision
      raises ValueError; fp16 on a CPU is silently fp32; and ``accelerate launch`` presets the precision from the user's
      own configuration file, past the run's identity. See training.precision.
    - its counter of accumulated parts, also one a process: a second loop changes that of the first. The environment
      presets it, too.
    - its data loader, which reads up to a resumed step: our order starts at any step.
    - its trackers, which append: after a killed process, epochs would be there twice (see training.history).

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``; several processes take one GPU each.
        keep: whether this process keeps the memory that it once had, see keep_memory; a server should not.
    """

    def __init__(self, device: str = "auto", keep: bool = True):
        self.world = int(os.environ.get("WORLD_SIZE", "1"))
        self._cpu = self.world > 1 and (device == "cpu" or not torch.cuda.is_available())
        self.rank: int = self.accelerator.process_index if self.world > 1 else 0
        self.device: torch.device = self.accelerator.device if self.world > 1 else _device(device)
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark = True
        elif keep:
            keep_memory()

    @cached_property
    def accelerator(self) -> "Accelerator":
        """What connects the processes; created at its first use, since importing it takes seconds."""
        from accelerate import Accelerator
        from accelerate.utils import DistributedDataParallelKwargs, GradientAccumulationPlugin

        return Accelerator(
            cpu=self._cpu,
            device_placement=False,  # it knows no --device cuda:1
            mixed_precision="no",
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
            kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True)],
        )

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and messages."""
        return self.rank == 0

    def wrap(self, module: nn.Module, compiled: bool) -> nn.Module:
        """A module that shares its gradients with the other processes, compiled where requested."""
        module = self.accelerator.prepare_model(module)
        return torch.compile(module) if compiled else module  # type: ignore[return-value]

    def syncing(self, module: nn.Module, wanted: bool) -> contextlib.AbstractContextManager[Any]:
        """Where not wanted, gradients stay in this process: more parts of the step follow."""
        return contextlib.nullcontext() if wanted else self.accelerator.no_sync(module)

    def clip(self, parameters: Iterable[nn.Parameter], norm: float) -> None:
        """Limits the norm of all gradients together."""
        self.accelerator.clip_grad_norm_(parameters, norm)

    def sum(self, values: Tensor) -> Tensor:
        """The sum of a tensor over all processes."""
        total: Any = self.accelerator.reduce(values, "sum")
        return total

    def any(self, value: bool) -> bool:
        """Whether it is true in any process."""
        return value if self.world == 1 else bool(self.sum(torch.tensor(float(value), device=self.device)).item())

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes in their order, in every process."""
        from accelerate.utils import gather_object

        return gather_object([value])

    def wait(self) -> None:
        """Until all processes are here."""
        self.accelerator.wait_for_everyone()

    def main_first(self) -> contextlib.AbstractContextManager[None]:
        """The main process does something before the others do."""
        return self.accelerator.main_process_first()

    def close(self) -> None:
        """Leaves the other processes."""
        if self.world > 1:
            self.accelerator.end_training()


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
