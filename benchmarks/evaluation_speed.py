"""Speed of the drift protocol beside the bare detector, and of the certificate, at 512².

    python -m benchmarks.evaluation_speed [--pairs 600] [--workers 2]
    python -m benchmarks.evaluation_speed --pairs 9900      # the paper's data set: some minutes, 2 GB of disk

Peer, in the same run: as many processes that read each JPEG with OpenCV and run MediaPipe, nothing else. Both include
the start of their processes. The pictures are a few heads, original and relit, each file with a comment of its own so
that no two are equal. The certificate is timed on one core, without decoding; beside it stands the relight engine.
"""

import argparse
import multiprocessing
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import psutil

from acusim import parallel
from acusim.labels import read_label
from acusim.layout import scan
from acusim.parallel import Work
from acusim.pictures import encode, read_depth, read_rgb
from acusim.sample_id import SampleId
from benchmarks.relight_speed import best_seconds, requests
from engines.recipe import Recipe
from engines.relight.engine import RelightEngine
from evaluation.certificate import Judge
from evaluation.edits import NULL_EDITS
from evaluation.landmarks import Detector, silence_native_log
from evaluation.reference import make_reference
from evaluation.run import plan, run
from evaluation.settings import ReportSettings

ROOT = Path(__file__).resolve().parents[1]
VIEWS = "1-10,30-45,109-118,138-144"


def make_heads(folder: Path, identities: int, views: str) -> tuple[Path, Path]:
    """A synthetic data set and its relit copy."""
    original, augmented = folder / "heads", folder / "relit"
    command = [sys.executable, "-m", "synthetic", "--out", str(original), "--identities", str(identities)]
    subprocess.run([*command, "--views", views, "--quiet"], check=True, cwd=ROOT)
    command = [sys.executable, "-m", "controller", "--batch", "--engine", "relight", "--dataset", str(original)]
    subprocess.run([*command, "--output", str(augmented), "--quiet"], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    return original, augmented


def multiply(heads: tuple[Path, Path], folder: Path, pairs: int) -> tuple[Path, Path]:
    """Two data sets of ``pairs`` JPEGs each, no two files alike; labels are hard links."""
    roots = folder / "original", folder / "augmented"
    samples = scan(heads[0]).samples
    data = [[encode(read_rgb(root / s.image).pixels, ".jpg") for s in samples] for root in heads]
    for root, pictures in zip(roots, data, strict=True):
        image, label = root / "train/image/img_512", root / "train/label/label"
        image.mkdir(parents=True)
        label.mkdir(parents=True)
        for number in range(pairs):
            row, turn = number % len(samples), number // len(samples)
            sample = samples[row].id
            name = SampleId(sample.gender, f"{sample.name}{turn}", sample.size, sample.hair, sample.eye, sample.frame)
            comment = f"{root.name} {number}".encode()
            segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
            (image / f"{name}.jpg").write_bytes(pictures[row][:2] + segment + pictures[row][2:])
            (label / f"{name}.json").hardlink_to(heads[0] / samples[row].label)
    return roots


def bare_detector(paths: list[Path]) -> None:
    """The peer: reads and detects, keeps nothing."""
    silence_native_log()
    cv2.setNumThreads(1)
    with Detector() as detector:
        for path in paths:
            detector._mesh.process(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB))


def time_bare(paths: list[Path], workers: int) -> float:
    """Seconds of the peer over all pictures."""
    context = multiprocessing.get_context("spawn")
    started = time.perf_counter()
    processes = [context.Process(target=bare_detector, args=(paths[k::workers],)) for k in range(workers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert all(process.exitcode == 0 for process in processes)
    return time.perf_counter() - started


def watched(work: Callable[[], object]) -> tuple[float, list[float]]:
    """Seconds of some work, and the memory of this process and its children in MB, twice a second."""
    this, memory, done = psutil.Process(), [], threading.Event()

    def watch() -> None:
        while not done.wait(0.5):
            total = 0
            for process in (this, *this.children(recursive=True)):
                try:
                    total += process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            memory.append(total / 2**20)

    thread = threading.Thread(target=watch)
    thread.start()
    started = time.perf_counter()
    try:
        work()
        return time.perf_counter() - started, memory
    finally:
        done.set()
        thread.join()


def drift_speed(heads: tuple[Path, Path], folder: Path, pairs: int, workers: int) -> None:
    """The protocol beside the bare detector."""
    original, augmented = multiply(heads, folder, pairs)
    settings = ReportSettings(
        original=original,
        augmented=augmented,
        out=folder / "out",
        workers=workers,
        certificate=False,
        null=0,
        baselines=0,
    )
    ours, memory = watched(lambda: run(settings, plan(settings), lambda done, total: None))
    again, _ = watched(lambda: run(settings, plan(settings), lambda done, total: None))
    usual = settings.changed(out=folder / "usual", null=ReportSettings.model_fields["null"].default)
    with_null, _ = watched(lambda: run(usual, plan(usual), lambda done, total: None))
    paths = [path for root in (original, augmented) for path in sorted((root / "train/image/img_512").iterdir())]
    bare = time_bare(paths, workers)
    quarter = len(memory) // 4
    early, late = np.median(memory[quarter : 2 * quarter + 1]), np.median(memory[-quarter - 1 :])
    print(f"drift of {pairs} pairs of 512² JPEGs, {workers} workers, processes' start included")
    print(f"  protocol       {ours:7.1f} s, {2 * pairs / ours:6.1f} pictures/s")
    print(f"  bare detector  {bare:7.1f} s, {2 * pairs / bare:6.1f} pictures/s; ratio {ours / bare:.3f}")
    edited = min(usual.null, pairs) * len(NULL_EDITS)
    print(
        f"  with the null  {with_null:7.1f} s: {edited} edited pictures more, as users get them by default; ratio "
        f"{with_null / bare:.3f}, {with_null / bare * 2 * pairs / (2 * pairs + edited):.3f} a picture"
    )
    print(f"  run again      {again:7.1f} s, nothing left to do")
    print(
        f"  memory, all processes: second quarter {early:.0f} MB, last quarter {late:.0f} MB, peak {max(memory):.0f} MB"
    )


def certificate_speed(task: tuple[tuple[Path, Path], int, int], work: Work) -> str:
    """The certificate beside the relight engine, in a process with one thread: heads, pictures and rounds -> lines."""
    cv2.setNumThreads(1)
    (original, augmented), pictures, rounds = task
    judge = Judge()
    samples = scan(original).samples[:: max(1, len(scan(original).samples) // pictures)][:pictures]
    known = []
    for sample in samples:
        label = read_label(original / sample.label)
        assert sample.depth is not None
        known.append(
            (
                read_rgb(original / sample.image).pixels,
                read_rgb(augmented / sample.image).pixels,
                read_depth(original / sample.depth)[0],
                label.xy * 512,
                label.listed,
            )
        )
    references = [make_reference(o, d, xy, seen) for o, _, d, xy, seen in known]
    asked = requests(original, min(12, len(samples)))
    with RelightEngine(Recipe(engine="relight")) as engine:
        works = (
            lambda: [judge.judge(o, a, d, xy, seen) for o, a, d, xy, seen in known],
            lambda: [judge.compare(r, k[1]) for r, k in zip(references, known, strict=True)],
            lambda: engine.augment(asked),
        )
        seconds = best_seconds(works, rounds)
    counts = len(known), len(known), len(asked)
    whole, compare, relight = (1000 * taken / count for taken, count in zip(seconds, counts, strict=True))
    points = np.mean([seen.sum() for *_, seen in known])
    return (
        f"certificate at 512², one core, {len(known)} pictures with {points:.0f} visible acupoints in the mean\n"
        f"  whole                        {whole:6.1f} ms a picture\n"
        f"  original known from before   {compare:6.1f} ms\n"
        f"  relight engine               {relight:6.1f} ms; ratio {whole / relight:.2f} and {compare / relight:.2f}"
    )


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=600, help="pairs for the drift protocol (default 600)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--pictures", type=int, default=45, help="pictures for the certificate (default 45)")
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds; the best one counts (default 5)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        heads = make_heads(Path(folder), 4, VIEWS)
        [(_, lines)] = parallel.run(certificate_speed, [(heads, options.pictures, options.rounds)], 1)
        print(lines)
        drift_speed(heads, Path(folder), options.pairs, options.workers)


if __name__ == "__main__":
    main()
