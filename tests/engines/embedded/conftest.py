"""A home of its own for each test, and a hub without a network."""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from benchmarks import random_weights
from engines.embedded import hub
from engines.embedded.published import PUBLISHED
from tests.engines.embedded.model_files import PLACES, make_parts_small, write


@pytest.fixture(scope="session")
def random_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of models with random weights, 1.7 GB, laid out as ComfyUI's."""
    place = tmp_path_factory.mktemp("models")
    random_weights.main(["--out", str(place)])
    yield place
    shutil.rmtree(place)


NARROW = replace(random_weights.SMALL, vision_width=768, vision_layers=2, vision_patch=32, channels=32)


@pytest.fixture(scope="session")
def narrow_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """As random_models, for wiring fc, by the same names: as narrow as they may be, 0.5 GB; for all but numbers."""
    place = tmp_path_factory.mktemp("narrow")
    for file, contents in (entry for name, entry in random_weights.FILES.items() if name != "iclight_fbc"):
        random_weights.write_weights(place / file, list(contents(NARROW)), seed=0)
    yield place
    shutil.rmtree(place)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where caches go; the hub's is home/hub."""

    def refuse(*arguments: object, **more: object) -> str:
        raise AssertionError("nothing is to be fetched here")

    folder = tmp_path / "home"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "hf_hub_download", refuse)
    return folder


class Hub:
    """A hub that holds tiny files in place of the published ones."""

    def __init__(self, home: Path):
        self.fetched: list[str] = []
        self.error: Exception | None = None
        self.damage: Callable[[Path], None] = lambda path: None
        self._cache = home / "hub"

    def download(self, repo: str, path: str, *, revision: str) -> str:
        """What hf_hub_download does, in the same places."""
        if self.error:
            raise self.error
        entry = next(e for e in PUBLISHED.values() if (e.repo, e.path, e.revision) == (repo, path, revision))
        shapes = next(shapes for _, name, shapes in PLACES.values() if name == entry.name)
        place = self._cache / f"models--{repo.replace('/', '--')}/snapshots/{revision}/{path}"
        self.fetched.append(entry.name)
        write(place, shapes)
        self.damage(place)
        return str(place)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of model_files load: text encoder and VAE are as small there."""
    make_parts_small(monkeypatch)


@pytest.fixture
def small_hub(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The published files of a default recipe, made tiny, on a hub that counts what is fetched."""
    for folder, name, shapes in PLACES.values():
        data = write(tmp_path / "published" / folder / name, shapes).read_bytes()
        tiny = replace(PUBLISHED[name], size=len(data), sha256=hashlib.sha256(data).hexdigest())
        monkeypatch.setitem(PUBLISHED, name, tiny)
    stand_in = Hub(home)
    monkeypatch.setattr(hub, "hf_hub_download", stand_in.download)
    return stand_in
