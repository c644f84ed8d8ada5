"""One engine in several processes, each on a GPU of its own, as one engine: a batch with one ledger is shared by all.

When a process dies, its calls are repeated, each alone on a process, so that a request that kills processes does not
condemn those that happened to run beside it. This process loads no torch and opens no GPU, however many processes it
spawns.
"""

import atexit
import dataclasses
import itertools
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from acusim.errors import AcuSimError, ConfigError, EngineError
from engines.base import Check, Engine, Request, Result, Setup
from engines.embedded.worker_pool import Died, Worker, WorkerPool
from engines.embedded.worker_process import load_factory
from engines.options import EmbeddedOptions
from engines.recipe import Recipe

FACTORY = "engines.embedded.engine:EmbeddedEngine"
DEATHS_ALLOWED = 2
"""A call that killed so many processes is split; a single request is answered by an error."""


class MultiProcessEngine(Engine):
    """The embedded engine in ``gpus`` processes."""

    name = "embedded"
    processes = False

    def __init__(self, recipe: Recipe, setup: Setup | None = None, factory: str | Callable[..., Engine] = FACTORY):
        """Creates one engine here as well, which is never opened, for its identity and checks.

        Args:
            recipe: the recipe.
            setup: with ``gpus``, the number of processes.
            factory: what creates the engine from a recipe and a setup, as ``module:name`` or itself; the processes
                import it by its name.

        Raises:
            ConfigError: there is no setup, the number of processes is out of range, or the engine refuses the setup.
        """
        super().__init__(recipe, setup)
        if setup is None:
            raise ConfigError(f"engine {self.name} requires a setup with the data set")
        self._factory = factory if isinstance(factory, str) else f"{factory.__module__}:{factory.__qualname__}"
        self._options = setup.of(EmbeddedOptions)
        self._count = self._options.gpus
        self._setup = dataclasses.replace(setup, options=self._options.changed(gpus=1))
        self._inner = load_factory(self._factory)(recipe, self._setup)
        self._identity: dict[str, str] | None = None
        self._pool: WorkerPool | None = None
        self.notes = self._inner.notes
        self.concurrency = self._inner.concurrency * self._count
        self.batch_size = self._inner.batch_size

    def identity(self) -> dict[str, str]:
        """The engine's, computed once.

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
        """The engine's, and whether so many GPUs are visible."""
        checks = self._inner.check()
        try:
            self._places()
        except EngineError as error:
            checks.append(Check("GPUs", False, str(error), "name more there, or fewer with --gpus"))
        return checks

    def open(self) -> None:
        """Starts all processes at once and waits until each has its engine open.

        Raises:
            EngineError, ConfigError: from the first process that failed; no process is left.
        """
        self.close()
        options = self._options.changed(gpus=1)
        if options.device == "auto":  # else a process without a GPU would run on the CPU, in another precision
            options = options.changed(device="cuda")
        known = (self._identity or {}).get("precision")
        if (
            known == "fp32" or known == "bf16" or known == "fp16"
        ):  # auto must not mean different things on different GPUs
            options = options.changed(precision=known)
        setup = dataclasses.replace(self._setup, options=options)
        self._pool = WorkerPool(self._places(), self._factory, self.recipe, setup, self.notes)
        # At exit multiprocessing waits for processes, and these end only when they are closed.
        atexit.register(self.close)
        opened = self._pool.open()
        self.concurrency = sum(ready.concurrency for ready in opened)
        self.batch_size = min(ready.batch_size for ready in opened)

    def _places(self) -> list[tuple[str, dict[str, str]]]:
        """Name and environment of each process.

        Raises:
            EngineError: fewer GPUs are visible than requested.
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
        """Lets one process answer, and others where it dies.

        Raises:
            EngineError: an engine broke down, or its process died repeatedly.
            RuntimeError: a fault in an engine's code.
        """
        pool = self._pool
        if pool is None:
            raise EngineError(f"engine {self.name} is not open")
        answers: dict[int, Result | AcuSimError] = {}
        todo: deque[tuple[list[int], int, bool]] = deque()
        if batch:
            todo.append((list(range(len(batch))), 0, False))
        last: Worker | None = None
        while todo:
            positions, deaths, alone = todo.popleft()
            requests = [batch[position] for position in positions]
            outcome, last = pool.call(requests, alone, last if deaths else None)
            if isinstance(outcome, EngineError):
                raise EngineError(f"{last.name}: {outcome}")
            if isinstance(outcome, RuntimeError):
                raise outcome
            if not isinstance(outcome, Died):
                answers.update(zip(positions, outcome, strict=True))
            elif deaths + 1 < DEATHS_ALLOWED:
                todo.appendleft((positions, deaths + 1, True))
            elif len(positions) > 1:
                todo.extendleft(([position], 0, True) for position in reversed(positions))
            else:
                reason = f"the process that worked on it died {DEATHS_ALLOWED} times ({outcome.how})"
                answers[positions[0]] = AcuSimError(reason)
        return [answers[position] for position in range(len(batch))]

    def work_in_progress(self) -> float:
        """As the processes report it, several times a second."""
        return self._pool.work_in_progress() if self._pool else 0.0

    def stop(self) -> None:
        """Ends running calls, those of processes that do not answer as well."""
        if self._pool:
            self._pool.stop()

    def close(self) -> None:
        """Ends all processes."""
        pool, self._pool = self._pool, None
        if pool:
            pool.close()
        atexit.unregister(self.close)


def visible_gpus(environment: Mapping[str, str], count: int) -> list[str]:
    """The value of CUDA_VISIBLE_DEVICES for each of ``count`` processes.

    Raises:
        EngineError: the variable is set and names fewer.
    """
    variable = environment.get("CUDA_VISIBLE_DEVICES")
    if variable is None:
        return [str(number) for number in range(count)]
    entries = (entry.strip() for entry in variable.split(","))
    # CUDA ignores everything from the first invalid entry on.
    seen = list(itertools.takewhile(lambda entry: entry not in ("", "-1"), entries))
    if len(seen) < count:
        raise EngineError(
            f"--gpus {count}, but CUDA_VISIBLE_DEVICES={variable!r} names {len(seen)}; name more there, or give a "
            "smaller number, or --device cpu"
        )
    return seen[:count]
