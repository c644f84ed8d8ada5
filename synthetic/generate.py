"""Makes a data set: hands views to workers, writes files aside and renames them, stops cleanly.

What a file holds depends on seed, identity and frame alone; so any number of workers, in any order,
interrupted or not, ends at the same bytes.
"""

import io
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from acusim.errors import OutputError
from acusim.files import write_atomic
from acusim.processes import one_thread_each
from synthetic import __version__
from synthetic.identity import Identity, identity
from synthetic.plan import Settings, Task, open_tasks, prepare, sample_paths

DEPTH_PNG_COMPRESSION = 1


class StopFlag(Protocol):
    """What workers look at between two views."""

    def is_set(self) -> bool: ...


@dataclass(frozen=True)
class Summary:
    """What a run did."""

    made: int
    """Views made now."""
    skipped: int
    """Views that were there already."""
    seconds: float
    interrupted: bool
    peak_rss_mb: int
    """Largest memory of any process that rendered."""

    @property
    def views_per_second(self) -> float:
        return self.made / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class TaskResult:
    """What a worker did of its task."""

    made: int
    peak_rss_mb: int


def peak_rss_mb() -> int:
    """Largest resident memory of this process so far; 0 where the system does not say."""
    try:
        # getrusage would count the parent's memory too, which a started process briefly shares.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) // 1024
    except (OSError, StopIteration):
        return 0


def provenance_record(settings: Settings, who: Identity, frame: int, light: dict[str, Any]) -> dict[str, Any]:
    """What is embedded in each picture: no time, no path."""
    return {
        "generator": "synthetic",
        "version": __version__,
        "seed": settings.seed,
        "identity": who.describe(),
        "frame": frame,
        "size": settings.size,
        "quality": settings.quality,
        "light": {"mode": settings.light, **light},
    }


def encode_depth(depth_mm: Any) -> bytes:
    """[S, S] uint16 mm as a 16-bit PNG."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(depth_mm).save(out, "PNG", compress_level=DEPTH_PNG_COMPRESSION)
    return out.getvalue()


def run_task(settings: Settings, task: Task, stop: StopFlag, report: Callable[[int], None]) -> TaskResult:
    """Makes a task's views, looking at the stop flag before each.

    Raises:
        OutputError: a file cannot be written.
    """
    import cv2

    from acusim.labels import dump_label
    from acusim.pictures import encode
    from synthetic.head import build_head
    from synthetic.labelling import make_label
    from synthetic.lights import studio_light, surroundings, wild_light
    from synthetic.render import render

    cv2.setNumThreads(1)
    made = 0
    if stop.is_set():
        return TaskResult(0, peak_rss_mb())
    who = identity(settings.seed, task.index)
    head = build_head(who, settings.seed)
    panorama = surroundings(settings.seed, who.index) if settings.light == "wild" else None
    for frame in task.frames:
        if stop.is_set():
            break
        light = studio_light() if panorama is None else wild_light(settings.seed, who.index, frame, panorama)
        view = render(head, light, frame, size=settings.size, quality=settings.quality, seed=settings.seed)
        record = provenance_record(settings, who, frame, light.describe())
        paths = sample_paths(settings, who.sample_id(frame))
        files = (
            (paths.label, dump_label(make_label(head, frame))),
            (paths.depth, encode_depth(view.depth_mm)),
            (paths.image, encode(view.rgb, ".png", record)),
        )
        try:
            for relative, data in files:
                write_atomic(settings.out / relative, data)
        except OSError as error:
            message = f"cannot write below {str(settings.out)!r}: {error.strerror or error}"
            raise OutputError(f"{message}; free some space or give another --out, then run again to go on") from None
        made += 1
        report(1)
    return TaskResult(made, peak_rss_mb())


# -- workers --

_shared: dict[str, Any] = {}


def _start_worker(settings: Settings, stop: Any, done: Any) -> None:
    # The parent decides what an interrupt means; a worker finishes its view first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _shared.update(settings=settings, stop=stop, done=done)


def _work(task: Task) -> TaskResult:
    def report(count: int) -> None:
        with _shared["done"].get_lock():
            _shared["done"].value += count

    return run_task(_shared["settings"], task, _shared["stop"], report)


def generate(settings: Settings, on_progress: Callable[[int, int], None] | None = None) -> Summary:
    """Makes whatever is missing of a data set.

    Args:
        settings: what to make.
        on_progress: called with (views made so far in this run, views to make).

    Raises:
        ConfigError: the folder was made with other arguments.
        OutputError: the folder cannot be written.
    """
    prepare(settings)
    tasks, finished = open_tasks(settings)
    total = sum(len(task.frames) for task in tasks)
    started = time.monotonic()
    tell = on_progress or (lambda made, total: None)
    if settings.workers == 1 or not tasks:
        results, interrupted = _run_here(settings, tasks, total, tell)
    else:
        results, interrupted = _run_in_processes(settings, tasks, total, tell)
    made = sum(result.made for result in results)
    peak = max((result.peak_rss_mb for result in results), default=peak_rss_mb())
    return Summary(made, finished, time.monotonic() - started, interrupted, peak)


class _Interrupt:
    """Turns SIGINT and SIGTERM into a flag while it is open, where this is the main thread."""

    def __init__(self, flag: Any) -> None:
        self.flag = flag
        self.old: dict[int, Any] = {}

    def __enter__(self) -> "_Interrupt":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self.old[number] = signal.signal(number, lambda *_: self.flag.set())
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.old.items():
            signal.signal(number, handler)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Holds SIGINT back while workers start: they inherit the mask, so Ctrl-C reaches the parent alone."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _run_here(
    settings: Settings, tasks: list[Task], total: int, tell: Callable[[int, int], None]
) -> tuple[list[TaskResult], bool]:
    stop, made = threading.Event(), 0
    results: list[TaskResult] = []

    def report(count: int) -> None:
        nonlocal made
        made += count
        tell(made, total)

    tell(0, total)
    with _Interrupt(stop):
        for task in tasks:
            results.append(run_task(settings, task, stop, report))
            if stop.is_set():
                break
    return results, stop.is_set()


def _run_in_processes(
    settings: Settings, tasks: list[Task], total: int, tell: Callable[[int, int], None]
) -> tuple[list[TaskResult], bool]:
    context = multiprocessing.get_context("spawn")
    stop, done = context.Event(), context.Value("q", 0)
    results: list[TaskResult] = []
    workers = min(settings.workers, len(tasks))
    with (
        one_thread_each(),
        _Interrupt(stop),
        ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(settings, stop, done)) as pool,
    ):
        waiting: Iterator[Task] = iter(tasks)
        running: set[Future[TaskResult]] = set()
        tell(0, total)
        try:
            while True:
                with _interrupts_held():
                    while len(running) < workers + 1 and not stop.is_set() and (task := next(waiting, None)):
                        running.add(pool.submit(_work, task))
                if not running:
                    break
                ready, running = wait(running, timeout=0.25, return_when=FIRST_COMPLETED)
                results += [future.result() for future in ready]
                tell(done.value, total)
        except BrokenProcessPool:
            raise OutputError(
                "a worker process died (out of memory?); finished files are kept: run again with fewer --workers"
            ) from None
        except BaseException:
            stop.set()
            raise
    return results, stop.is_set()
