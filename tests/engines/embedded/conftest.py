"""A home of its own for each test, and a hub without a network."""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from engines.embedded import hub
from engines.embedded.published import PUBLISHED
from tests.engines.embedded.model_files import PLACES, SIZES_FOR_TEXTS, small_modules, write
from tools import random_weights


@pytest.fixture(scope="session")
def random_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of models with random weights, 1.8 GB, laid out as ComfyUI's."""
    folder = tmp_path_factory.mktemp("models")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda name: random_weights.main(["--out", str(folder), "--only", name]), random_weights.FILES))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def small_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """As random_models, for wiring fc, by the same names: as small as can be, 0.1 GB; for all but numbers."""
    folder = tmp_path_factory.mktemp("small")
    for file, contents in (entry for name, entry in random_weights.FILES.items() if name != "iclight_fbc"):
        random_weights.write_weights(folder / file, list(contents(SIZES_FOR_TEXTS)), seed=0)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where caches go; the hub's is home/hub."""

    def refuse(*arguments: object, **more: object) -> str:
        raise AssertionError("nothing is to be downloaded here")

    folder = tmp_path / "home"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "hf_hub_download", refuse)
    return folder


class Hub:
    """A hub that holds tiny files in place of the published ones."""

    def __init__(self, home: Path):
        self.downloaded: list[str] = []
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
        self.downloaded.append(entry.name)
        write(place, shapes)
        self.damage(place)
        return str(place)


@pytest.fixture(scope="module")
def small_parts() -> Iterator[None]:
    """For all tests of a file: see small_modules."""
    with small_modules():
        yield


@pytest.fixture
def small_hub(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The published files of a default recipe, made tiny, on a hub that counts downloads."""
    for folder, name, shapes in PLACES.values():
        data = write(tmp_path / "published" / folder / name, shapes).read_bytes()
        tiny = replace(PUBLISHED[name], size=len(data), sha256=hashlib.sha256(data).hexdigest())
        monkeypatch.setitem(PUBLISHED, name, tiny)
    fake = Hub(home)
    monkeypatch.setattr(hub, "hf_hub_download", fake.download)
    return fake
