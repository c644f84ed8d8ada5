"""What the tests against a live ComfyUI server share: its address, its models' names, synthetic heads, the command."""

import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

from tests.support import ROOT

RANDOM = {
    "checkpoint": "sd15_random.safetensors",
    "ip_adapter": "ip-adapter_sd15_random.safetensors",
    "clip_vision": "clip_vision_random.safetensors",
    "control_net": "control_random.safetensors",
}


@pytest.fixture(scope="session")
def url(request: pytest.FixtureRequest) -> str:
    """Address of the live server."""
    address = request.config.getoption("--comfyui")
    if not address:
        pytest.skip("say --comfyui URL, the address of a running ComfyUI server with the packs and models")
    return str(address).rstrip("/")


@dataclass(frozen=True)
class Live:
    """Runs the controller against the live server."""

    url: str
    heads: Path
    recipe: list[str]
    """Arguments of every run that name the models."""
    transport: list[str]
    """Arguments of every run that say how pictures travel."""
    size: int = 128
    """Side of the pictures in pixels."""
    models: Path | None = None
    """Where engine embedded finds the models; it makes the pictures, without the server, where this is given."""

    def line(self, out: Path, wiring: str, *more: object) -> list[str]:
        """The command line of a small batch."""
        line = [sys.executable, str(ROOT / "controller/controller.py"), "--batch"]
        if self.models:
            line += ["--engine", "embedded", "--models", str(self.models), "--device", "cpu", "--precision", "fp32"]
        else:
            line += ["--engine", "comfyui", "--server", self.url, *self.transport]
        line += ["--dataset", str(self.heads), "--output", str(out), *self.recipe]
        line += ["--set", "steps=4", "--set", f"wiring={wiring}"]
        if self.random:
            line += ["--set", f"ic_light=iclight_sd15_{wiring}_random.safetensors"]
        return [*line, *map(str, more)]

    @property
    def random(self) -> bool:
        """Whether the models are those of tools.random_weights."""
        return f"checkpoint={RANDOM['checkpoint']}" in self.recipe

    def batch(self, out: Path, wiring: str, *more: object, check: int = 0) -> dict[str, Any]:
        """Runs a batch and returns its JSON report."""
        done = subprocess.run(
            self.line(out, wiring, "--json", *more), capture_output=True, text=True, timeout=900, check=False
        )
        assert done.returncode == check, f"exit {done.returncode}, not {check}\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    def get(self, path: str) -> Any:
        """A JSON answer of the server."""
        return requests.get(self.url + path, timeout=30).json()


def difference(first: bytes, second: bytes) -> tuple[int, float]:
    """Largest difference of two pictures in levels, and the share of pixels that differ in any channel."""
    one, other = (np.asarray(Image.open(io.BytesIO(data))).astype(int) for data in (first, second))
    apart = np.abs(one - other).max(2)
    return int(apart.max()), float((apart > 0).mean())


@pytest.fixture(scope="session")
def ground(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where all of this works: below a root of the server, if one is named."""
    folder = request.config.getoption("--comfyui-folder")
    if not folder:
        yield tmp_path_factory.mktemp("live")
        return
    with tempfile.TemporaryDirectory(prefix="live-", dir=folder) as place:
        yield Path(place)


@pytest.fixture
def tmp_path(ground: Path) -> Path:
    """A fresh folder there."""
    return Path(tempfile.mkdtemp(dir=ground))


@pytest.fixture(scope="session")
def size(request: pytest.FixtureRequest) -> int:
    """Side of the tests' pictures in pixels."""
    return int(request.config.getoption("--comfyui-size"))


@pytest.fixture(scope="session")
def heads(ground: Path, size: int) -> Path:
    """24 synthetic heads over all four prompt sets."""
    root = ground / "heads"
    line = [sys.executable, "-m", "synthetic", "--out", str(root), "--identities", "4", "--size", str(size)]
    subprocess.run([*line, "--views", "1,4,7,19,33,37"], cwd=ROOT, check=True, capture_output=True, timeout=300)
    return root


@pytest.fixture(scope="session")
def live(url: str, heads: Path, size: int, request: pytest.FixtureRequest) -> Live:
    """The live server with what it offers."""
    transport = ["--transport", "shared"] if request.config.getoption("--comfyui-folder") else []
    named = request.config.getoption("--comfyui-recipe")
    if named:
        return Live(url, heads, ["--recipe", str(named)], transport, size)
    loader = requests.get(f"{url}/object_info/CheckpointLoaderSimple", timeout=30).json()["CheckpointLoaderSimple"]
    offered = loader["input"]["required"]["ckpt_name"][0]
    recipe: list[str] = []
    if RANDOM["checkpoint"] in offered:
        for name, file in RANDOM.items():
            recipe += ["--set", f"{name}={file}"]
    return Live(url, heads, recipe, transport, size)


@pytest.fixture
def pictures() -> Callable[[Path], dict[str, bytes]]:
    """The pictures of a data set, by path."""

    def read(root: Path) -> dict[str, bytes]:
        return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.glob("*/image/*/*.png"))}

    return read
