"""A small engine for workers: does what a job's text says, and writes down where it was."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from acusim.errors import AcuSimError, EngineError, PictureError
from engines.base import Engine, Request, Result, Setup
from engines.options import EmbeddedOptions
from engines.recipe import Recipe

PLAN = "plan.json"
"""In the setup's data set: what opening an engine on some GPU does."""


class Own(PictureError):
    """An error of the engine's own, which cannot be unpickled."""

    def __init__(self, name: str, reason: str):
        super().__init__(f"{name}: {reason}")


class Small(Engine):
    """Answers negatives. Texts: hold, kill, refuse, break, fault, short, note."""

    name = "small"
    processes = False
    concurrency = 2
    batch_size = 4

    def __init__(self, recipe: Recipe, setup: Setup):
        super().__init__(recipe, setup)
        self.folder = setup.dataset
        self.how = setup.of(EmbeddedOptions)
        self.gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "")

    def identity(self) -> dict[str, str]:
        return {"weights": self._plan().get("weights", "abc"), "precision": "bf16"}

    def _plan(self) -> dict[str, str]:
        plan = self.folder / PLAN
        return json.loads(plan.read_text()).get(self.gpu, {}) if plan.is_file() else {}

    def open(self) -> None:
        how = self._plan()
        if "wait" in how:
            self._mark("opening")
            self._until(how["wait"])
        if "kill" in how:
            os.kill(os.getpid(), signal.SIGKILL)
        if "fail" in how:
            raise EngineError(how["fail"])
        if "fault" in how:
            raise KeyError(how["fault"])
        if "own" in how:
            raise Own(self.gpu, how["own"])
        self.notes += how.get("notes", [])

    def augment(self, batch: Sequence[Request]) -> list[Result | AcuSimError]:
        self._mark("started", len(batch))
        answers = [self._answer(request) for request in batch]
        return answers[1:] if batch[0].positive == "short" else answers

    def _answer(self, request: Request) -> Result | AcuSimError:
        word = request.positive
        if word == "hold":
            self._until("go")
        elif word == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif word == "refuse":
            return Own(request.sample.name, "not this one")
        elif word == "break":
            raise EngineError("the GPU has fallen off")
        elif word == "fault":
            raise ValueError("a fault in the code")
        elif word == "note":
            self.notes.append("half the memory is in use")
        threads = os.environ.get("OMP_NUM_THREADS")
        facts = {"pid": os.getpid(), "gpu": self.gpu, "device": self.how.device, "precision": self.how.precision}
        return Result(255 - request.pixels, facts | {"threads": threads, "gpus": self.how.gpus, "seed": request.seed})

    def work_in_progress(self) -> float:
        return 0.5 * len(list(self.folder.glob(f"started-{os.getpid()}-*")))

    def close(self) -> None:
        self._mark("closed")

    def _mark(self, what: str, count: int = 0) -> None:
        (self.folder / f"{what}-{os.getpid()}-{count}-{threading.get_ident()}").touch()

    def _until(self, name: str) -> None:
        deadline = time.monotonic() + 60
        while not (self.folder / name).exists():
            time.sleep(0.01)
            assert time.monotonic() < deadline


def marks(folder: Path, what: str) -> list[int]:
    """The processes that did something, one entry for each time."""
    return [int(path.name.split("-")[1]) for path in sorted(folder.glob(f"{what}-*"))]


def until(condition: Callable[[], bool]) -> None:
    """Waits for something, for a minute."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def gone(process: int) -> bool:
    """Whether a process has ended."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX"
