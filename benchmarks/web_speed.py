"""The time the web page's server takes to answer, beside the bare forward pass of its model.

    python -m benchmarks.web_speed [--threads 2] [--rounds 5] [--uploads 20] [--size 512] [--backbone densenet201]

A photograph of 12 megapixels as a JPEG goes by HTTP over loopback to the server, which reads, decodes and letterboxes
it and asks the model, once as PyTorch and once as the ONNX file of export. Peer, in the same run: the same network on a
square that is ready for it. Weights are random; they do not matter to the time. Then --uploads different photographs
are sent at once: each answer must be the one that its own photograph gets alone.
"""

import argparse
import io
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import requests
import torch
from PIL import Image

from training.config import load_config
from training.inference.export import export
from training.inference.loading import load_model
from training.inference.model import Model, head_model
from training.inference.predictors import head_predictor
from training.models.acusimnet import AcuSimNet
from training.models.grouping import make_groups
from training.tasks.head_config import HeadConfig
from training.web.app import create_app
from training.web.server import PageServer

WIDTH, HEIGHT = 4000, 3000
AIM_SECONDS = 1.5


def photograph(seed: int) -> bytes:
    """A JPEG like a camera's: soft shapes, and the noise of a sensor."""
    random = np.random.default_rng(seed)
    soft = Image.fromarray(random.integers(0, 256, (30, 40, 3), np.uint8)).resize((WIDTH, HEIGHT))
    pixels = np.asarray(soft).astype(np.int16) + random.integers(-6, 7, (HEIGHT, WIDTH, 1), np.int16)
    out = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=90)
    return out.getvalue()


@contextmanager
def serving(recogniser: Model) -> Iterator[str]:
    """A server in a thread; gives the address that answers."""
    server = PageServer(create_app({"head": recogniser}), port=0)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/api/recognise"
    server.should_exit = True
    thread.join()


def ask(address: str, data: bytes) -> dict[str, Any]:
    """The answer to a photograph."""
    answer = requests.post(address, files={"file": ("photo.jpg", data)}, timeout=300)
    answer.raise_for_status()
    return answer.json()


def timed(works: Sequence[Callable[[], Any]], rounds: int) -> list[list[float]]:
    """Seconds of each work in each round, in turn, after a round that does not count."""
    out: list[list[float]] = [[] for _ in works]
    for _ in range(rounds + 1):
        for times, work in zip(out, works, strict=True):
            started = time.perf_counter()
            work()
            times.append(time.perf_counter() - started)
    return [times[1:] for times in out]


def spread(times: list[float]) -> str:
    """Median and range."""
    return f"median {statistics.median(times):.2f} s ({min(times):.2f} to {max(times):.2f})"


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--uploads", type=int, default=20)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--backbone", default="densenet201")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config = load_config("acusimnet").with_settings([f"model.backbone={options.backbone}", f"data.size={options.size}"])
    assert isinstance(config, HeadConfig)
    network = AcuSimNet(config.model, make_groups(config.model.grouping, config.train.seed)).eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export(network, path, options.size, config={}, checkpoint_sha256="")
        onnx = load_model(path, threads=options.threads)
    models = {"torch": head_model(head_predictor(network, "cpu"), options.size, {}), "onnx": onnx}
    first = photograph(0)
    square = np.zeros((1, options.size, options.size, 3), np.uint8)
    print(f"{options.backbone}, {options.size}², {options.threads} threads, a JPEG of {len(first) / 1e6:.1f} MB")
    failed = False
    for name, recogniser in models.items():
        with serving(recogniser) as address:
            works = (lambda one=recogniser: one.predictor(square)), (lambda to=address: ask(to, first))
            bare, whole = timed(works, options.rounds)
            ratio = statistics.median(whole) / statistics.median(bare)
            print(
                f"{name}: bare model {spread(bare)}; whole answer {spread(whole)}: {ratio:.2f} x, aim {AIM_SECONDS} s"
            )
            failed |= _load(name, address, options.uploads)
    sys.exit(failed)


def _load(name: str, address: str, uploads: int) -> bool:
    """Sends different photographs at once; whether any answer was wrong."""
    photographs = [photograph(seed) for seed in range(uploads)]
    alone = [ask(address, data)["points"] for data in photographs]
    with ThreadPoolExecutor(uploads) as pool:
        started = time.perf_counter()
        together = list(pool.map(lambda data: ask(address, data)["points"], photographs))
        seconds = time.perf_counter() - started
    wrong = sum(one != other for one, other in zip(alone, together, strict=True))
    print(f"{name}: {uploads} at once in {seconds:.1f} s, {seconds / uploads:.2f} s each, {wrong} mixed up, no error")
    return wrong > 0


if __name__ == "__main__":
    main()
