"""Engine embedded against a ComfyUI server driven by this controller: same models, samples, machine and run.

    python -m benchmarks.embedded_speed --models DIR [--server URL] [--sizes 128,256] [--samples 24] [--steps 4]

DIR is the server's models folder; the files are those of --recipe (made by benchmarks.random_weights). For each size
both engines make the same pictures, in turn, as often as --repeat says, and the best of each counts. Before each run
the server makes other pictures, so that its models are loaded, but neither this scene nor these texts are kept by it;
engine embedded loads its models in every run, so the rate is that from the opened engine on, and how long opening took
is told beside it. Memory is the most that was held while the batch ran: by the server's process, and by the controller
with engine embedded; the server's is known only where it runs on this machine.
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
class Ran:
    """One batch."""

    rate: float
    """Pictures a second, from the opened engine on."""
    loading: float
    """Seconds until the engine was open."""
    anonymous: float
    """GiB, at most."""
    resident: float
    """GiB, at most, with pages of files."""


class Watch:
    """The most memory that a process and its children held."""

    def __init__(self, process: psutil.Process | None):
        self._process = process
        self.anonymous = self.resident = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *unused: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while self._process is not None and not self._ended.wait(TICK):
            try:
                members = [self._process, *self._process.children(recursive=True)]
                held = [member.memory_info() for member in members]
            except psutil.Error:
                continue
            resident = sum(each.rss for each in held)
            self.resident = max(self.resident, resident / 2**30)
            self.anonymous = max(self.anonymous, (resident - sum(each.shared for each in held)) / 2**30)


def server_process(url: str) -> psutil.Process | None:
    """The process that listens at a loopback address, None if it is not ours to see."""
    port = urlsplit(url).port
    for connection in psutil.net_connections("tcp"):
        address: Any = connection.laddr
        if connection.status == psutil.CONN_LISTEN and address and address.port == port and connection.pid:
            return psutil.Process(connection.pid)
    return None


def run(engine: str, folder: Path, more: list[str], watched: psutil.Process | None) -> Ran:
    """One whole batch by the command."""
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
    return Ran(report["made"] / seconds, report["seconds_to_open"], watch.anonymous, watch.resident)


def apart(one: Path, other: Path) -> tuple[int, float]:
    """Largest difference in levels, and the share of pixels that differ, over all pictures of two data sets."""
    largest, different, pixels = 0, 0, 0
    for sample in scan(one).samples:
        pair = [read_rgb(root / sample.image).pixels.astype(int) for root in (one, other)]
        difference = np.abs(pair[0] - pair[1]).max(axis=2)
        largest = max(largest, int(difference.max()))
        different, pixels = different + int((difference > 0).sum()), pixels + difference.size
    return largest, different / pixels


def prepared(folder: Path, recipe: Recipe, dataset: Path, warm: bool = False) -> Path:
    """A folder with what a run reads; to warm a server up, with another scene and other texts."""
    folder.mkdir()
    (folder / "dataset").symlink_to(dataset)
    (folder / "recipe.toml").write_text(recipe.to_toml())
    (folder / "prompts.toml").write_text(PROMPTS.replace("photograph", "picture") if warm else PROMPTS)
    (folder / "scenes").mkdir()
    name = "neon_night.jpg" if warm else "window_room.jpg"
    (folder / "scenes" / name).write_bytes((SHIPPED / name).read_bytes())
    return folder


def measure(options: argparse.Namespace, size: int, recipe: Recipe, folder: Path) -> None:
    """One size: both engines in turn, and what they made."""
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
    ran: list[tuple[Ran, Ran]] = []
    for number in range(options.repeat):
        warm = prepared(folder / f"warm{number}", recipe, dataset, warm=True)
        run("comfyui", warm, [*server, "--limit", str(options.batch_size)], None)
        place = prepared(folder / f"{number}", recipe, dataset)
        ran.append((run("comfyui", place, [*server, *limit], watched), run("embedded", place, [*local, *limit], None)))
    theirs, ours = (max(of_one, key=lambda each: each.rate) for of_one in zip(*ran, strict=True))
    print(f"\n{size} x {size}, {options.samples} samples, {options.steps} steps, batches of {options.batch_size}")
    for name, best in (("comfyui", theirs), ("embedded", ours)):
        print(
            f"  {name:9} {best.rate:6.3f} images/s, {1000 / best.rate:6.0f} ms an image; open after"
            f" {best.loading:4.1f} s; memory {best.anonymous:.2f} GiB of its own, {best.resident:.2f} with files' pages"
        )
    memory = f", {ours.anonymous / theirs.anonymous:.2f} x the memory" if theirs.anonymous else ""
    print(f"  ratio     {ours.rate / theirs.rate:6.2f} x the images/s{memory}")
    largest, share = apart(folder / "0/comfyui", folder / "0/embedded")
    print(f"  pictures  at most {largest} levels apart, in {100 * share:.3f} % of the pixels", flush=True)


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
    parser.add_argument("--recipe", type=Path, default=ROOT / "benchmarks/random_weights.toml", help="model files")
    options = parser.parse_args()
    recipe = Recipe.from_dict({"steps": options.steps}, Recipe.from_toml(options.recipe))
    for size in options.sizes.split(","):
        with tempfile.TemporaryDirectory() as place:
            measure(options, int(size), recipe, Path(place))


if __name__ == "__main__":
    main()
