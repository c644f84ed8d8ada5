"""Speed of the relight engine at 512² on one core, beside a peer in the same run.

    python -m benchmarks.relight_speed [--pictures 12] [--rounds 10]

Peer: Reinhard colour transfer towards the scene ("Color Transfer between Images", IEEE CG&A 2001) and a new
background behind the same mask, with OpenCV on one thread: it changes colours but knows no light. Both read the same
depth maps from disk; decoding and encoding of the pictures is left out. The two take turns, and the process keeps
freed memory, as those of a batch do. Figures are CPU time of the best round.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from acusim.files import sha256
from acusim.pictures import read_depth, read_rgb
from acusim.processes import keep_memory
from acusim.sample_id import SampleId
from engines.base import Request, Result
from engines.recipe import Recipe
from engines.relight.engine import RelightEngine
from engines.scenes import load_scenes

ROOT = Path(__file__).resolve().parents[1]


def requests(root: Path, count: int) -> list[Request]:
    """Requests for the pictures of a dataset, each with a scene."""
    scenes, _ = load_scenes()
    images = sorted((root / "train/image/img_512").iterdir())[:count]
    return [
        Request(
            sample=SampleId.parse(path.stem),
            source=path,
            pixels=read_rgb(path).pixels,
            source_data=path.read_bytes(),
            source_sha256=sha256(path.read_bytes()),
            depth=root / "train/depth/img_512" / path.name,
            depth_data=(root / "train/depth/img_512" / path.name).read_bytes(),
            scene=scenes[index % len(scenes)],
            bald=False,
            prompt_set="",
            positive="",
            negative="",
            seed=index,
        )
        for index, path in enumerate(images)
    ]


def colour_transfer(request: Request, scene: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The peer: means and deviations of the head in CIELAB become those of the scene, half way."""
    assert request.depth is not None
    mask = read_depth(request.depth)[0] > 0
    head = cv2.cvtColor(request.pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    wanted = cv2.cvtColor(scene.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    (mean, spread), (new_mean, new_spread) = (
        cv2.meanStdDev(head, mask=mask.astype(np.uint8)),
        cv2.meanStdDev(wanted),
    )
    moved = (head - mean.T) * (0.5 + 0.5 * new_spread.T / np.maximum(spread.T, 1e-3)) + (mean.T + new_mean.T) / 2
    rgb = cv2.cvtColor(moved.astype(np.float32), cv2.COLOR_LAB2RGB) * 255
    alpha = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.8)[..., None]
    return np.clip(rgb * alpha + scene * (1 - alpha), 0, 255).astype(np.uint8)


def best_seconds(works: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """CPU seconds of some works, in turns, in the best of some rounds after one that does not count."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(1 + rounds):
        for work, taken in zip(works, times, strict=True):
            start = time.process_time()
            work()
            taken.append(time.process_time() - start)
    return [min(taken[1:]) for taken in times]


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=12, help="heads to relight (default 12)")
    parser.add_argument("--rounds", type=int, default=10, help="the best of so many rounds counts (default 10)")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    keep_memory()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "dataset"
        command = [sys.executable, "-m", "synthetic", "--out", str(root), "--quiet", "--views", "1,5,9,34"]
        subprocess.run([*command, "--identities", str(-(-options.pictures // 4))], check=True, cwd=ROOT)
        work = requests(root, options.pictures)
        backgrounds = {
            request.scene: np.asarray(
                cv2.resize(read_rgb(request.scene.path).pixels, (512, 512), interpolation=cv2.INTER_AREA), np.uint8
            )
            for request in work
        }
        with RelightEngine(Recipe(engine="relight")) as engine:
            failed = [answer for answer in engine.augment(work) if not isinstance(answer, Result)]
            assert not failed, failed[0]
            works = lambda: engine.augment(work), lambda: [colour_transfer(one, backgrounds[one.scene]) for one in work]
            ours, peer = (1000 * seconds / len(work) for seconds in best_seconds(works, options.rounds))
    print(f"relight          {ours:6.1f} ms a picture (512 x 512, one core, {len(work)} pictures)")
    print(f"colour transfer  {peer:6.1f} ms a picture (Reinhard 2001 and a new background, OpenCV)")
    print(f"relight / colour transfer = {ours / peer:.2f}")


if __name__ == "__main__":
    main()
