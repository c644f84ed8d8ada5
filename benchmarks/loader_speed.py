"""Images a second and core of the cached loader at 512², beside decoding the same PNG files, in one run.

    python -m benchmarks.loader_speed [--identities 2] [--batch-size 16] [--rounds 5] [--dataset ROOT]

Peers: Pillow through acusim.pictures.read_rgb, which refuses what is ambiguous; and OpenCV's imdecode with its colours
put in order. Each fills the same batches as the loader does. Figures are CPU time, of all threads, in the best of the
rounds; files are in the page cache. The first epoch of a process also checks every picture's CRC-32; it is reported
separately.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from acusim.pictures import read_rgb
from training.data.loader import Order, batches
from training.data.records import HeadData, load

ROOT = Path(__file__).resolve().parents[1]
SIZE = 512


def cached(data: HeadData, batch_size: int) -> Callable[[], object]:
    """An epoch of the loader."""

    def epoch() -> None:
        for _ in batches(data.cache, np.arange(len(data)), Order(0, batch_size), 0, threads=1):
            pass

    return epoch


def decoding(paths: list[Path], batch_size: int, decode: Callable[[Path], NDArray[np.uint8]]) -> Callable[[], object]:
    """An epoch of decoding into batches."""

    def epoch() -> None:
        for start in range(0, len(paths), batch_size):
            part = paths[start : start + batch_size]
            out = np.empty((len(part), SIZE, SIZE, 3), np.uint8)
            for row, path in zip(out, part, strict=True):
                row[:] = decode(path)

    return epoch


def with_opencv(path: Path) -> NDArray[np.uint8]:
    """[S, S, 3] RGB."""
    pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)


def rate(epoch: Callable[[], object], pictures: int) -> float:
    """Pictures a second of CPU time."""
    started = time.process_time()
    epoch()
    return pictures / (time.process_time() - started)


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--identities", type=int, default=2, help="synthetic heads, 45 views each (default 2)")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5, help="rounds, of which the best counts (default 5)")
    parser.add_argument("--dataset", type=Path, help="an AcuSim root to use instead of synthetic heads")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = options.dataset or Path(folder) / "heads"
        if options.dataset is None:
            line = [sys.executable, "-m", "synthetic", "--out", str(root), "--quiet"]
            subprocess.run([*line, "--identities", str(options.identities)], check=True, cwd=ROOT)
        data = load([root], size=SIZE, cache_dir=Path(folder) / "cache")
        paths = [root / record.image for record in data.records]
        epochs = {
            "loader": cached(data, options.batch_size),
            "Pillow, read_rgb": decoding(paths, options.batch_size, lambda path: read_rgb(path).pixels),
            "OpenCV, imdecode": decoding(paths, options.batch_size, with_opencv),
        }
        first = rate(epochs["loader"], len(data))
        best = dict.fromkeys(epochs, 0.0)
        for _ in range(options.rounds):
            for name, epoch in epochs.items():
                best[name] = max(best[name], rate(epoch, len(data)))
    print(f"{len(data)} PNG files of {SIZE}², batches of {options.batch_size}, images a second and core")
    print(f"  loader, checking   {first:8.0f}   (the first epoch of a process)")
    print(f"  loader             {best['loader']:8.0f}")
    for name in list(epochs)[1:]:
        print(f"  {name:18} {best[name]:8.0f}   the loader is {best['loader'] / best[name]:.0f} x faster")


if __name__ == "__main__":
    main()
