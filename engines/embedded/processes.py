"""One engine in several processes, each on a GPU of its own, as one engine: a batch with one ledger is shared by all.

Where a process dies, its calls are made once more, each alone on a process, so that what brings processes down is told
from what happened to be beside it. This process loads no torch and opens no GPU, however many its children use.
"""

import atexit
import dataclasses
import itertools
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from acusim.errors import AcuSimError, ConfigError, EngineError
from engines.base import Check, Engine, Request, Result, Setup
from engines.embedded.child import load
from engines.embedded.crew import Child, Crew
from engines.options import EmbeddedOptions
from engines.recipe import Recipe

FACTORY = "engines.embedded.engine:EmbeddedEngine"
DEATHS_ALLOWED = 2
"""A call that so many processes died of is split; a single request is answered by an error."""


class Processes(Engine):
    """The embedded engine in ``gpus`` processes."""

    name = "embedded"
    processes = False

    def __init__(self, recipe: Recipe, setup: Setup | None = None, factory: str | Callable[..., Engine] = FACTORY):
        """Makes one engine here as well, which is never opened, to ask it what it is.

        Args:
            recipe: what decides pixels.
            setup: with ``gpus``, the number of processes.
            factory: what makes the engine from a recipe and a setup, as ``module:name`` or itself; the processes
                import it by its name.

        Raises:
            ConfigError: there is no setup, the number of processes is out of range, or the engine refuses the setup.
        """
        super().__init__(recipe, setup)
        if setup is None:
            raise ConfigError(f"engine {self.name} needs to know the data set")
        self._factory = factory if isinstance(factory, str) else f"{factory.__module__}:{factory.__qualname__}"
        self._options = setup.of(EmbeddedOptions)
        self._count = self._options.gpus
        self._setup = dataclasses.replace(setup, options=self._options.changed(gpus=1))
        self._inner = load(self._factory)(recipe, self._setup)
        self._identity: dict[str, str] | None = None
        self._crew: Crew | None = None
        self.notes = self._inner.notes
        self.lanes = self._inner.lanes * self._count
        self.batch_size = self._inner.batch_size

    def identity(self) -> dict[str, str]:
        """The engine's, asked once.

        Raises:
            EngineError: files are missing.
        """
        if self._identity is None:
            self._identity = self._inner.identity()
        return dict(self._identity)

    def documents(self) -> dict[str, bytes]:
        """The engine's."""
        return self._inner.documents()

    def check(self) -> list[Check]:
        """The engine's, and whether so many GPUs may be seen."""
        checks = self._inner.check()
        try:
            self._places()
        except EngineError as error:
            checks.append(Check("GPUs", False, str(error), "name more there, or fewer with --gpus"))
        return checks

    def open(self) -> None:
        """Starts all processes at once and waits until each has its engine open.

        Raises:
            EngineError, ConfigError: what the first one that could not says; none of them is left.
        """
        self.close()
        options = self._options.changed(gpus=1)
        if options.device == "auto":  # else a process without a GPU would compute on the CPU, in other numbers
            options = options.changed(device="cuda")
        known = (self._identity or {}).get("precision")
        if known == "fp32" or known == "bf16" or known == "fp16":  # what auto means must not differ between GPUs
            options = options.changed(precision=known)
        setup = dataclasses.replace(self._setup, options=options)
        self._crew = Crew(self._places(), self._factory, self.recipe, setup, self.notes)
        # At its own end multiprocessing waits for processes, and these end only when they are told to.
        atexit.register(self.close)
        opened = self._crew.open()
        self.lanes = sum(ready.lanes for ready in opened)
        self.batch_size = min(ready.batch_size for ready in opened)

    def _places(self) -> list[tuple[str, dict[str, str]]]:
        """Name and environment of each process.

        Raises:
            EngineError: fewer GPUs may be seen than are wanted.
        """
        if self._options.device == "cpu":
            share = str(max(1, len(os.sched_getaffinity(0)) // self._count))
            threads = {"OMP_NUM_THREADS": share, "MKL_NUM_THREADS": share}
            return [(f"process {number}", threads) for number in range(self._count)]
        return [
            (entry if entry.startswith(("GPU-", "MIG-")) else f"GPU {entry}", {"CUDA_VISIBLE_DEVICES": entry})
            for entry in visible_gpus(os.environ, self._count)
        ]

    def augment(self, batch: Sequence[Request]) -> list[Result | AcuSimError]:
        """Lets one process answer, and others what it dies of.

        Raises:
            EngineError: an engine broke down, or its process died again and again.
            RuntimeError: a fault in an engine's code.
        """
        crew = self._crew
        if crew is None:
            raise EngineError(f"engine {self.name} is not open")
        answers: dict[int, Result | AcuSimError] = {}
        todo: deque[tuple[list[int], int, bool]] = deque()
        if batch:
            todo.append((list(range(len(batch))), 0, False))
        last: Child | None = None
        while todo:
            positions, deaths, alone = todo.popleft()
            requests = [batch[position] for position in positions]
            call, last = crew.call(requests, alone, last if deaths else None)
            if call.answers is not None:
                answers.update(zip(positions, call.answers, strict=True))
            elif isinstance(call.error, EngineError):
                raise EngineError(f"{last.name}: {call.error}")
            elif call.error is not None:
                raise call.error
            elif deaths + 1 < DEATHS_ALLOWED:
                todo.appendleft((positions, deaths + 1, True))
            elif len(positions) > 1:
                todo.extendleft(([position], 0, True) for position in reversed(positions))
            else:
                reason = f"the process that worked on it died {DEATHS_ALLOWED} times ({call.died})"
                answers[positions[0]] = AcuSimError(reason)
        return [answers[position] for position in range(len(batch))]

    def work_in_progress(self) -> float:
        """As the processes tell it, several times a second."""
        return self._crew.work_in_progress() if self._crew else 0.0

    def stop(self) -> None:
        """Ends calls under way, those of processes that do not answer as well."""
        if self._crew:
            self._crew.stop()

    def close(self) -> None:
        """Ends all processes."""
        crew, self._crew = self._crew, None
        if crew:
            crew.close()
        atexit.unregister(self.close)


def visible_gpus(environment: Mapping[str, str], count: int) -> list[str]:
    """What each of some processes has to be given as CUDA_VISIBLE_DEVICES.

    Raises:
        EngineError: the variable is set and names fewer.
    """
    told = environment.get("CUDA_VISIBLE_DEVICES")
    if told is None:
        return [str(number) for number in range(count)]
    entries = (entry.strip() for entry in told.split(","))
    # CUDA does not look behind an entry that is none.
    seen = list(itertools.takewhile(lambda entry: entry not in ("", "-1"), entries))
    if len(seen) < count:
        raise EngineError(
            f"--gpus {count}, but CUDA_VISIBLE_DEVICES={told!r} names {len(seen)}; name more there, or say a smaller "
            "number, or --device cpu"
        )
    return seen[:count]
