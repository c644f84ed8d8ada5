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

from controller.batch import Settings, run_batch
from controller.checking import open_ledger
from controller.progress import Progress
from engines.recipe import Recipe

ROOT = Path(__file__).resolve().parents[1]


def bare_loop(root: Path, out: Path) -> float:
    """Pictures a second of the least that could be done, on one core."""
    cv2.setNumThreads(1)
    out.mkdir()
    images = sorted((root / "train/image/img_512").iterdir())
    begun = time.perf_counter()
    for path in images:
        cv2.imwrite(str(out / path.name), (cv2.imread(str(path)) * 0.8).astype("uint8"))
    return len(images) / (time.perf_counter() - begun)


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=180)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root, out = Path(folder) / "dataset", Path(folder) / "out"
        made = [sys.executable, "-m", "synthetic", "--out", str(root), "--identities", str(-(-options.pictures // 45))]
        subprocess.run([*made, "--quiet"], check=True, cwd=ROOT)
        recipe = Recipe(engine="relight")
        settings = Settings(root, out, recipe, limit=options.pictures, workers=options.workers)
        begun = time.perf_counter()
        summary = run_batch(settings, Progress(quiet=True))
        wall = time.perf_counter() - begun
        with open_ledger(out) as ledger:
            busy = ledger.seconds_of_work()
        start = summary.seconds_to_open or 0.0
        peer = bare_loop(root, Path(folder) / "bare")
    rate = summary.made / (wall - start)
    ideal = busy / options.workers
    overhead = (wall - start - ideal) / (wall - start)
    print(f"relight batch, 512², {summary.made} pictures, {options.workers} workers")
    print(f"  whole command           {summary.made / wall:6.1f} images/s ({wall:.1f} s)")
    print(f"  once workers are ready  {rate:6.1f} images/s (they need {start:.1f} s)")
    print(f"  one picture             {1000 * busy / summary.made:6.1f} ms of a worker, reading to writing")
    print(f"  bookkeeping             {100 * overhead:6.1f} % of the time")
    print(f"  bare OpenCV loop        {peer:6.1f} images/s on one core; ratio {rate / peer:.2f}")


if __name__ == "__main__":
    main()
