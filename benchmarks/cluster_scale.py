"""What a cluster costs: relight on Ray against the local pool, and how many items a second one controller feeds.

    python -m benchmarks.cluster_scale relight [--pictures 200] [--workers 2]
    python -m benchmarks.cluster_scale feed [--items 20000] [--actors 2 8 64] [--demand 400]

``relight``: the same batch at 512² on the local pool and on a local Ray, without start-up and in turns; the ratio of
their times, and whether the files are equal.

``feed``: workers that only sleep for each item and send the sample's own bytes back as the image, so that only
the controller's work is left: reading, sending, receiving, hashing, writing, the ledger. Images a second, those that
the workers could do at most, and the controller's largest memory in the first and the second half. Its peer is the same
loop without workers: read, hash, write.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from acusim.files import sha256
from acusim.layout import scan
from acusim.parallel import Work
from acusim.parallel.cluster import RayCluster, Share
from controller import hosts, workers
from controller.batch import run_batch
from controller.job import JobResult
from controller.job_files import Disk
from controller.progress import Progress
from controller.records import planned_line
from controller.settings import BatchSettings
from controller.summary import Summary
from engines.options import RelightOptions
from engines.recipe import Recipe

ROOT = Path(__file__).resolve().parents[1]


def made(root: Path, persons: int) -> Path:
    """A data set at 512², 45 views of each person; one that is there is used."""
    command = [sys.executable, "-m", "synthetic", "--out", str(root), "--identities", str(persons), "--quiet"]
    subprocess.run(command, check=True, cwd=ROOT)
    return root


class _Clock(Progress):
    """Notes how many images there were when."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.times: list[tuple[int, float, float]] = []

    def advance(self, created: int, skipped: int, work_in_progress: float = 0.0, activity: str = "") -> None:
        self.times.append((created, time.perf_counter(), time.process_time()))

    def each(self) -> tuple[float, float]:
        """Seconds of each image, and the processor's seconds of this process; without the first and the last tenth."""
        end = self.times[-1][0]
        inner = [entry for entry in self.times if 0.1 * end <= entry[0] <= 0.9 * end]
        count, *seconds = (last - first for first, last in zip(inner[0], inner[-1], strict=True))
        return seconds[0] / count, seconds[1] / count


def batch(
    root: Path, out: Path, clock: Progress, variants: int = 1, limit: int | None = None, **options: object
) -> Summary:
    """Runs a batch of relight."""
    shutil.rmtree(out, ignore_errors=True)
    how = RelightOptions(**options)  # type: ignore[arg-type]
    recipe = Recipe(engine="relight")
    settings = BatchSettings(
        dataset=root, output=out, recipe=recipe, limit=limit, variants=variants, engine_options=how
    )
    return run_batch(settings, clock)


def after_start(summary: Summary) -> float:
    """Seconds from the first image that was handed out to the end."""
    return summary.seconds - (summary.seconds_to_open or 0.0)


def _files(out: Path) -> dict[str, bytes]:
    """The images and labels of an OUT."""
    return {str(path.relative_to(out)): path.read_bytes() for path in (out / "train").rglob("*.*")}


def relight(options: argparse.Namespace) -> None:
    """Compares the two pools."""
    with tempfile.TemporaryDirectory() as folder:
        root, out = made(options.dataset or Path(folder) / "dataset", -(-options.pictures // 45)), Path(folder)
        seconds: dict[str, list[float]] = {"local": [], "ray": []}
        for _ in range(options.rounds):
            for name, cluster in (("local", None), ("ray", "local")):
                how = {"workers": options.workers, "cluster": cluster}
                summary = batch(root, out / name, Progress(quiet=True), limit=options.pictures, **how)
                if summary.created != options.pictures:
                    raise SystemExit(f"{name}: {summary.created} images; skipped: {summary.skipped[:1]}")
                seconds[name].append(after_start(summary))
        local, ray = (_files(out / name) for name in seconds)
    print(f"relight, 512², {options.pictures} pictures, {options.workers} workers, {options.rounds} rounds in turns")
    for name, each in seconds.items():
        print(f"  {name:5} {' '.join(f'{one:6.1f}' for one in each)} s once workers are ready")
    print(f"  ratio {median(seconds['ray']) / median(seconds['local']):.2f} (medians); the same files: {local == ray}")


@contextmanager
def _asleep(seconds: float) -> Iterator[float]:
    yield seconds


def _slept(group: workers.Batch, work: Work) -> list[JobResult]:
    """The samples themselves as images, after a while."""
    time.sleep(work.state * len(group.jobs))
    results: list[JobResult] = []
    for job in group.jobs:
        files = (group.samples or {})[job.key]
        parts = [(job.folder + job.sample.label, files["label"]), (job.key, files["source"])]
        record = planned_line(job, Recipe(engine="relight")) | {"facts": {}, "label_sha256": sha256(files["label"])}
        results.append(JobResult(job.key, 0, sha256(files["source"]), len(files["source"]), record, files=tuple(parts)))
    return results


class _Memory:
    """The largest resident memory of this process while a context lasts, in MB, by halves of what is done."""

    def __init__(self, clock: _Clock, middle: int) -> None:
        self.peaks = [0.0, 0.0]
        self._clock, self._middle = clock, middle
        self._ended = threading.Event()

    def __enter__(self) -> "_Memory":
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(0.2):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            half = int(bool(self._clock.times) and self._clock.times[-1][0] > self._middle)
            self.peaks[half] = max(self.peaks[half], pages * os.sysconf("SC_PAGE_SIZE") / 1e6)


def bare(root: Path, out: Path) -> float:
    """Items a second of a loop that reads samples, hashes them and writes them."""
    samples = scan(root).samples
    disk = Disk(root, out)
    started = time.perf_counter()
    for sample in samples:
        image, label = ((root / name).read_bytes() for name in (sample.image, sample.label))
        disk.write(
            JobResult(sample.image, 0, sha256(image), len(image), files=((sample.label, label), (sample.image, image)))
        )
    return len(samples) / (time.perf_counter() - started)


def feed(options: argparse.Namespace) -> None:
    """Measures the controller with workers that only sleep."""
    persons = 5
    variants = max(1, min(99, options.items // (45 * persons)))
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        root = made(options.dataset or Path(folder) / "dataset", persons)
        size = sum(path.stat().st_size for path in (root / "train/image/img_512").iterdir()) / (45 * persons)
        print(f"samples of 512² with {size / 1e3:.0f} kB each")
        print(f"  bare loop   {bare(root, Path(folder) / 'bare'):7.1f} images/s: read, hash, write")
        for actors in options.actors:
            clock = _Clock()
            with _sleeping(actors, actors / options.demand), _Memory(clock, variants * 45 * persons // 2) as memory:
                summary = batch(root, Path(folder) / "out", clock, variants, cluster="local")
            seconds, own = clock.each()
            first, second = memory.peaks
            print(
                f"  {actors:3} actors {1 / seconds:7.1f} images/s of {options.demand:.0f} at most, "
                f"{summary.created} images, {1e3 * own:.1f} ms of the controller's processor each; "
                f"memory at most {first:.0f} MB in the first half, {second:.0f} in the second"
            )


@contextmanager
def _sleeping(actors: int, seconds: float) -> Iterator[None]:
    """Replaces what workers do, in batches of this process."""
    originals: list[tuple[object, str, Callable[..., object]]] = []

    def patch(place: object, name: str, value: Callable[..., object]) -> None:
        originals.append((place, name, getattr(place, name)))
        setattr(place, name, value)

    from benchmarks import cluster_scale  # workers import it by this name

    real = workers.run
    patch(workers, "run", lambda _function, *more, **how: real(cluster_scale._slept, *more, **how | {
        "prepare": cluster_scale._asleep, "arguments": (seconds,), "watch": None}))  # fmt: skip
    patch(hosts, "cluster_of", lambda _: RayCluster("local", Share(), actors))
    try:
        yield
    finally:
        for place, name, value in originals:
            setattr(place, name, value)


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True)
    one = parts.add_parser("relight")
    one.add_argument("--pictures", type=int, default=200)
    one.add_argument("--workers", type=int, default=2)
    one.add_argument("--rounds", type=int, default=3)
    one.set_defaults(run=relight)
    two = parts.add_parser("feed")
    two.add_argument("--items", type=int, default=20_000)
    two.add_argument("--actors", type=int, nargs="+", default=[2, 8, 64])
    two.add_argument("--demand", type=float, default=400, help="images a second that the workers could do together")
    two.add_argument("--folder", type=Path, help="where to write; some 250 kB for each item")
    two.set_defaults(run=feed)
    for each in (one, two):
        each.add_argument(
            "--dataset", type=Path, metavar="DIR", help="where the data set is, or is created (default: nowhere)"
        )
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
