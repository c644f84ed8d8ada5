"""End-to-end speed of the relight batch at 512², and how much of it is bookkeeping.

    python -m benchmarks.batch_speed [--pictures 180] [--workers 2]

Peer, in the same run: a bare loop in one process that reads each sample with OpenCV, darkens it, and writes it,
with no checks, no ledger and no labels: the least anyone could do. Bookkeeping is what the controller adds to the
workers' own time (plan, ledger, pipes, manifest, contact sheet), measured without the start of the processes.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2

from controller.batch import run_batch
from controller.progress import Progress
from controller.settings import BatchSettings
from controller.stored import open_ledger
from engines.options import RelightOptions
from engines.recipe import Recipe

ROOT = Path(__file__).resolve().parents[1]


def bare_loop(root: Path, out: Path) -> float:
    """Pictures a second of the least that could be done, on one core."""
    cv2.setNumThreads(1)
    out.mkdir()
    images = sorted((root / "train/image/img_512").iterdir())
    start = time.perf_counter()
    for path in images:
        cv2.imwrite(str(out / path.name), (cv2.imread(str(path)) * 0.8).astype("uint8"))
    return len(images) / (time.perf_counter() - start)


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=180)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root, out = Path(folder) / "dataset", Path(folder) / "out"
        persons = str(-(-options.pictures // 45))
        command = [sys.executable, "-m", "synthetic", "--out", str(root), "--identities", persons]
        subprocess.run([*command, "--quiet"], check=True, cwd=ROOT)
        settings = BatchSettings(
            dataset=root,
            output=out,
            recipe=Recipe(engine="relight"),
            limit=options.pictures,
            engine_options=RelightOptions(workers=options.workers),
        )
        start = time.perf_counter()
        summary = run_batch(settings, Progress(quiet=True))
        wall = time.perf_counter() - start
        with open_ledger(out) as ledger:
            busy = ledger.seconds_of_work()
        opening = summary.seconds_to_open or 0.0
        peer = bare_loop(root, Path(folder) / "bare")
    rate = summary.created / (wall - opening)
    ideal = busy / options.workers
    overhead = (wall - opening - ideal) / (wall - opening)
    print(f"relight batch, 512², {summary.created} pictures, {options.workers} workers")
    print(f"  whole command           {summary.created / wall:6.1f} images/s ({wall:.1f} s)")
    print(f"  once workers are ready  {rate:6.1f} images/s (they need {opening:.1f} s)")
    print(f"  one picture             {1000 * busy / summary.created:6.1f} ms of a worker, reading to writing")
    print(f"  bookkeeping             {100 * overhead:6.1f} % of the time")
    print(f"  bare OpenCV loop        {peer:6.1f} images/s on one core; ratio {rate / peer:.2f}")


if __name__ == "__main__":
    main()
