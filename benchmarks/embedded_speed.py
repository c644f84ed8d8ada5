"""Engine embedded against a ComfyUI server driven by this controller: same models, samples, machine and run.

    python -m benchmarks.embedded_speed --models DIR [--server URL] [--sizes 128,256] [--samples 24] [--steps 4]

DIR is the server's models folder; the files are those of --recipe (written by tools.random_weights). For each size
both engines relight the same images in turn, --repeat times, and the best run of each counts. Before each run the
server relights other images, so that its models are loaded, but neither this scene nor these texts are cached; engine
embedded loads its models in every run, so the rate excludes opening the engine, whose time is printed beside it. Memory
is the peak during the batch: of the server's process, and of the controller with engine embedded; the server's is known
only where it runs on this machine.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psutil

from acusim.layout import scan
from acusim.pictures import read_rgb
from benchmarks.comfyui_speed import PROMPTS
from engines.recipe import Recipe
from engines.scenes import SHIPPED

ROOT = Path(__file__).resolve().parents[1]
TICK = 0.5


@dataclass(frozen=True, slots=True)
class BatchRun:
    """One batch."""

    rate: float
    """Images a second, without opening the engine."""
    loading: float
    """Seconds until the engine was open."""
    anonymous: float
    """Peak, GiB."""
    resident: float
    """Peak with pages of files, GiB."""


class Watch:
    """Peak memory of a process and its children."""

    def __init__(self, process: psutil.Process | None):
        self._process = process
        self.anonymous = self.resident = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *unused: object) -> None:
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        while self._process is not None and not self._ended.wait(TICK):
            try:
                members = [self._process, *self._process.children(recursive=True)]
                infos = [member.memory_info() for member in members]
            except psutil.Error:
                continue
            resident = sum(each.rss for each in infos)
            self.resident = max(self.resident, resident / 2**30)
            self.anonymous = max(self.anonymous, (resident - sum(each.shared for each in infos)) / 2**30)


def server_process(url: str) -> psutil.Process | None:
    """The process that listens at a loopback address, None if it is not visible here."""
    port = urlsplit(url).port
    for connection in psutil.net_connections("tcp"):
        address: Any = connection.laddr
        if connection.status == psutil.CONN_LISTEN and address and address.port == port and connection.pid:
            return psutil.Process(connection.pid)
    return None


def run(engine: str, folder: Path, more: list[str], watched: psutil.Process | None) -> BatchRun:
    """Runs one batch by the command line."""
    line = [sys.executable, "-m", "controller", "--batch", "--json", "--quiet", "--engine", engine]
    for option in ("dataset", "recipe.toml", "prompts.toml", "scenes"):
        line += [f"--{option.partition('.')[0]}", str(folder / option)]
    line += ["--output", str(folder / engine), *more]
    child = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with Watch(psutil.Process(child.pid) if watched is None else watched) as watch:
        report = json.loads(child.communicate()[0])
    if report["exit_code"]:
        raise SystemExit(f"engine {engine} failed: {report}")
    seconds = report["seconds"] - report["seconds_to_open"]
    return BatchRun(report["created"] / seconds, report["seconds_to_open"], watch.anonymous, watch.resident)


def differences(one: Path, other: Path) -> tuple[int, float]:
    """Largest difference in levels, and the share of pixels that differ, over all images of two data sets."""
    largest, different, pixels = 0, 0, 0
    for sample in scan(one).samples:
        pair = [read_rgb(root / sample.image).pixels.astype(int) for root in (one, other)]
        difference = np.abs(pair[0] - pair[1]).max(axis=2)
        largest = max(largest, int(difference.max()))
        different, pixels = different + int((difference > 0).sum()), pixels + difference.size
    return largest, different / pixels


def prepare_run(folder: Path, recipe: Recipe, dataset: Path, warm: bool = False) -> Path:
    """A folder with the inputs of a run; for a warm-up with another scene and other texts."""
    folder.mkdir()
    (folder / "dataset").symlink_to(dataset)
    (folder / "recipe.toml").write_text(recipe.to_toml())
    (folder / "prompts.toml").write_text(PROMPTS.replace("photograph", "picture") if warm else PROMPTS)
    (folder / "scenes").mkdir()
    name = "neon_night.jpg" if warm else "window_room.jpg"
    (folder / "scenes" / name).write_bytes((SHIPPED / name).read_bytes())
    return folder


def measure(options: argparse.Namespace, size: int, recipe: Recipe, folder: Path) -> None:
    """Prints the figures of one size."""
    dataset = folder / "dataset"
    line = [sys.executable, "-m", "synthetic", "--out", str(dataset), "--size", str(size)]
    line += ["--identities", str(-(-options.samples // 12)), "--views", "1,4,7,10,13,16,19,22,25,28,31,34"]
    subprocess.run(line, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    common = ["--batch-size", str(options.batch_size)]
    limit = ["--limit", str(options.samples)]
    server = ["--server", options.server, *common]
    local = ["--models", str(options.models), "--device", options.device, *common]
    if options.precision != "auto":
        local += ["--precision", options.precision]
    watched = server_process(options.server)
    runs: list[tuple[BatchRun, BatchRun]] = []
    for number in range(options.repeat):
        warm = prepare_run(folder / f"warm{number}", recipe, dataset, warm=True)
        run("comfyui", warm, [*server, "--limit", str(options.batch_size)], None)
        inputs = prepare_run(folder / f"{number}", recipe, dataset)
        runs.append(
            (run("comfyui", inputs, [*server, *limit], watched), run("embedded", inputs, [*local, *limit], None))
        )
    theirs, ours = (max(of_one, key=lambda each: each.rate) for of_one in zip(*runs, strict=True))
    print(f"\n{size} x {size}, {options.samples} samples, {options.steps} steps, batches of {options.batch_size}")
    for name, best in (("comfyui", theirs), ("embedded", ours)):
        print(
            f"  {name:9} {best.rate:6.3f} images/s, {1000 / best.rate:6.0f} ms an image; open after"
            f" {best.loading:4.1f} s; memory {best.anonymous:.2f} GiB of its own, {best.resident:.2f} with files' pages"
        )
    memory = f", {ours.anonymous / theirs.anonymous:.2f} x the memory" if theirs.anonymous else ""
    print(f"  ratio     {ours.rate / theirs.rate:6.2f} x the images/s{memory}")
    largest, share = differences(folder / "0/comfyui", folder / "0/embedded")
    print(f"  images    at most {largest} levels apart, in {100 * share:.3f} % of the pixels", flush=True)


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="the server's models folder")
    parser.add_argument("--server", default="http://127.0.0.1:8188")
    parser.add_argument("--sizes", default="128")
    parser.add_argument("--samples", type=int, default=24)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--repeat", type=int, default=2, help="runs of each engine, in turn")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", help="of engine embedded")
    parser.add_argument("--recipe", type=Path, default=ROOT / "tools/random_weights.toml", help="model files")
    options = parser.parse_args()
    recipe = Recipe.from_dict({"steps": options.steps}, Recipe.from_toml(options.recipe))
    for size in options.sizes.split(","):
        with tempfile.TemporaryDirectory() as folder:
            measure(options, int(size), recipe, Path(folder))


if __name__ == "__main__":
    main()
