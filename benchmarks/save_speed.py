"""AcuSim Save Samples against ComfyUI's own SaveImage, in one run, for PNG at 512².

    python -m benchmarks.save_speed --comfyui PATH [--files 20000] [--rounds 7]

Needs ComfyUI's Python (torch). Both nodes are called as ComfyUI calls them, with the same tensor of eight pictures (the
shipped scenes with fine noise, as photographs and decoded latents have it), the same graph for the metadata, and a
preview; ours writes with labels off, since SaveImage has none. Once into a new folder, once into one that holds many
files already. Figures are wall time per picture, the median of the rounds; rounds alternate.
"""

import argparse
import importlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from acusim.foreground import fitted
from acusim.sample_id import SampleId
from comfy_nodes.samples import LoadedSample, Samples

ROOT = Path(__file__).resolve().parents[1]
SIDE = 512
GRAPH = {str(i): {"class_type": "KSampler", "inputs": {"seed": i, "steps": 24, "model": ["4", 0]}} for i in range(17)}


def pictures() -> np.ndarray[Any, np.dtype[np.float32]]:
    """[8, 512, 512, 3] the shipped scenes with noise of one and a half levels."""
    random = np.random.default_rng(0)
    scenes = sorted((ROOT / "engines" / "scene_pictures").glob("*.jpg"))[:8]
    levels = np.stack([fitted(np.asarray(Image.open(path).convert("RGB")), SIDE, SIDE) for path in scenes])
    noisy = levels / 255 + random.normal(0, 1.5 / 255, levels.shape)
    return noisy.clip(0, 1).astype(np.float32)


def batch(root: Path, count: int) -> Samples:
    """Samples without files."""
    names = [f"F_Ann_N_HA_O_{frame:04d}" for frame in range(1, count + 1)]
    samples = tuple(
        LoadedSample(SampleId.parse(name), f"train/image/img_{SIDE}/{name}.png", None, None, "0" * 64, "silhouette")
        for name in names
    )
    return Samples(root, samples, SIDE, SIDE)


def fill(folder: Path, files: int) -> None:
    """Creates empty files with names such as SaveImage gives."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, files + 1):
        (folder / f"speed_{number:05}_.png").touch()


def seconds_each(call: Callable[[], object], count: int) -> float:
    """Wall time of one call, per picture."""
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) / count


def main() -> None:
    """Prints one line for each folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comfyui", type=Path, required=True, metavar="PATH", help="a checkout of ComfyUI")
    parser.add_argument("--files", type=int, default=20_000, help="files in the full folder (default 20000)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds; the median is printed (default 7)")
    options = parser.parse_args()

    sys.path.insert(0, str(options.comfyui.resolve()))
    importlib.import_module("comfy.cli_args").args.cpu = True
    folder_paths, torch = importlib.import_module("folder_paths"), importlib.import_module("torch")
    peer_node = importlib.import_module("nodes").SaveImage
    our_node = importlib.import_module("comfy_nodes").NODE_CLASS_MAPPINGS["AcuSimSaveSamples"]
    images = torch.from_numpy(pictures())
    count, extra = len(images), {"workflow": GRAPH}
    print(f"{count} pictures of {SIDE} x {SIDE}, {os.cpu_count()} cores, ms a picture")
    with tempfile.TemporaryDirectory() as place:
        folder_paths.set_output_directory(place)
        folder_paths.set_temp_directory(str(Path(place, "temp")))
        for name, files in (("new", 0), ("full", options.files)):
            fill(Path(place, name), files)
            fill(Path(place, f"ours_{name}/train/image/img_{SIDE}"), files)
            samples = batch(Path(place, "nowhere"), count)

            def peer(name: str = name) -> object:
                with torch.inference_mode():
                    return peer_node().save_images(images, f"{name}/speed", GRAPH, extra)

            def ours(name: str = name, samples: Samples = samples) -> object:
                with torch.inference_mode():
                    return our_node().save(
                        images, samples, "output", f"ours_{name}", "png", False, True, "", GRAPH, extra
                    )

            rounds = [(seconds_each(peer, count), seconds_each(ours, count)) for _ in range(options.rounds)]
            theirs, mine = (statistics.median(column) * 1e3 for column in zip(*rounds, strict=True))
            sizes = [
                sum(path.stat().st_size for path in Path(place).glob(pattern)) // 1024
                for pattern in (f"{name}/*.png", f"ours_{name}/train/image/*/F_*.png")
            ]
            print(
                f"{files:6} files present: SaveImage {theirs:6.1f} ({sizes[0] // options.rounds // count} KiB), "
                f"Save Samples {mine:6.1f} ({sizes[1] // count} KiB): {theirs / mine:.1f} x faster"
            )


if __name__ == "__main__":
    main()
