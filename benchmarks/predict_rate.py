"""Pictures per second of ``predict``, from files to results, beside a naive program with the same network.

    python -m benchmarks.predict_rate [RUN] [--pictures 64] [--size 512] [--threads 2] [--crop none]

The pictures are JPEGs and PNGs of noise over soft shapes, half of each. Peer, in the same run: one picture after the
other is opened with Pillow, scaled by it, and given to the network alone; it writes no results. Without RUN the network
is a resnet18 of 128 pixels with random weights; they do not matter to the time.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import training
from training.config import load_config
from training.inference.model import Model, head_model
from training.inference.predict import predict_files
from training.inference.predictors import head_predictor
from training.models.acusimnet import AcuSimNet
from training.models.grouping import make_groups
from training.tasks.head_config import HeadConfig


def write_pictures(folder: Path, count: int, size: int) -> list[Path]:
    """Files as cameras and renderers write them."""
    random = np.random.default_rng(0)
    paths = []
    for number in range(count):
        soft = Image.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8)).resize((size, size))
        pixels = np.asarray(soft).astype(np.int16) + random.integers(-6, 7, (size, size, 1), np.int16)
        paths.append(folder / f"{number:04d}.{'jpg' if number % 2 else 'png'}")
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(paths[-1])
    return paths


def random_model() -> Model:
    """A small network with random weights."""
    config = load_config().with_settings(["model.backbone=resnet18", "model.trunk=single", "data.size=128"])
    assert isinstance(config, HeadConfig)
    network = AcuSimNet(config.model, make_groups(config.model.grouping, config.train.seed)).eval()
    return head_model(head_predictor(network, "cpu"), 128, {})


def naive(model: Model, paths: list[Path]) -> None:
    """One picture after the other, and no results."""
    for path in paths:
        square = np.array(Image.open(path).convert("RGB").resize((model.size, model.size)))
        model.predictor(square[None])


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Duration of a call, and the processor's time in it, which depends less on what else the machine does."""
    started, before = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started, time.process_time() - before


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", help="a run, or head (default: random weights)")
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--crop", choices=("auto", "none"), default="none")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = training.load_model(options.run, device="cpu") if options.run else random_model()
    model = model.with_crop(options.crop)
    print(f"{options.pictures} pictures of {options.size}², crop {options.crop}, {options.threads} threads")
    with tempfile.TemporaryDirectory() as folder:
        paths = write_pictures(Path(folder), options.pictures, options.size)
        out = Path(folder) / "out"
        works = {
            "naive program, no results": lambda: naive(model, paths),
            "predict, JSON alone": lambda: predict_files(model, paths, out, pictures=False),
            "predict, JSON and pictures": lambda: predict_files(model, paths, out),
        }
        naive(model, paths[:8])
        if model.cropper:
            model.cropper.open()
        for name, work in works.items():
            wall, processor = seconds(work)
            each = 1000 * processor / len(paths)
            print(f"{name}: {len(paths) / wall:.1f} pictures/s, {each:.1f} ms of processor each")


if __name__ == "__main__":
    main()
