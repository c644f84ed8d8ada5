"""Engines against fake servers, on small data sets."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acusim.errors import AcuSimError
from acusim.files import sha256
from acusim.layout import scan
from acusim.pictures import decode_rgb, read_file
from engines.base import Request, Result, Setup
from engines.comfyui.engine import ComfyUIEngine
from engines.comfyui.times import Times
from engines.options import ComfyUIOptions
from engines.recipe import Recipe
from engines.scenes import SHIPPED, Scene
from tests.engines.comfyui.fake_server import FakeServer

QUICK = Times(
    connect=2,
    read=2,
    socket=2,
    silent=20,
    socket_backoff=(0.02, 0.05),
    confirm=0.2,
    poll=0.05,
    retry=0.02,
    stall=20,
    progress=20,
    settle=0.01,
    backoff=(0.03, 0.1),
    patience=5,
)


@pytest.fixture
def dataset(make_dataset: Callable[..., Path]) -> Path:
    """Eight samples of 64 pixels."""
    return make_dataset()


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """OUT, which the fake server does not see by itself."""
    path = tmp_path / "out"
    path.mkdir()
    return path


@pytest.fixture
def new_server(tmp_path: Path, dataset: Path, output: Path) -> Iterator[Callable[..., FakeServer]]:
    """Creates fake servers; shared ones see data set and OUT."""
    created: list[FakeServer] = []

    def make(shared: bool = True) -> FakeServer:
        roots = {"data": dataset, "out": output} if shared else {}
        created.append(FakeServer(tmp_path / f"server{len(created)}", roots))
        return created[-1]

    yield make
    for server in created:
        server.kill()


@pytest.fixture
def server(new_server: Callable[..., FakeServer]) -> FakeServer:
    """One server that shares folders with us."""
    return new_server()


@pytest.fixture
def far_server(new_server: Callable[..., FakeServer]) -> FakeServer:
    """One server that shares nothing with us."""
    return new_server(shared=False)


@pytest.fixture
def new_engine(dataset: Path, output: Path) -> Iterator[Callable[..., ComfyUIEngine]]:
    """Makes engines that are open, unless a test asks for a closed one."""
    created: list[ComfyUIEngine] = []

    def make(
        *servers: FakeServer,
        opened: bool = True,
        batch: int = 4,
        times: Times = QUICK,
        recipe: Any = None,
        **setup: Any,
    ) -> ComfyUIEngine:
        urls = tuple(server.url for server in servers)
        places = {"dataset": setup.pop("dataset", dataset), "output": setup.pop("output", output)}
        options = ComfyUIOptions(**{"server": urls, "batch_size": batch, **setup})
        engine = ComfyUIEngine(Recipe(**(recipe or {})), Setup(**places, options=options))
        engine.times = times
        created.append(engine)
        if opened:
            engine.open()
        return engine

    yield make
    for engine in created:
        engine.stop()
        engine.close()


@pytest.fixture
def requests(dataset: Path) -> list[Request]:
    """One request for each sample; all share scene and texts."""
    return make_requests(dataset)


def make_requests(dataset: Path, **changes: Any) -> list[Request]:
    """Requests for all samples of a data set."""
    path = SHIPPED / "clinic.jpg"
    scene = Scene(path.name, path, sha256(path.read_bytes()))
    found = scan(dataset)
    created: list[Request] = []
    for number, sample in enumerate(found.samples):
        picture = decode_rgb(read_file(found.root / sample.image), sample.image)
        depth = found.root / sample.depth if sample.depth else None
        fields: dict[str, Any] = {
            "sample": sample.id,
            "source": found.root / sample.image,
            "pixels": picture.pixels,
            "source_data": picture.data,
            "source_sha256": sha256(picture.data),
            "depth": depth,
            "depth_data": depth.read_bytes() if depth else None,
            "scene": scene,
            "bald": False,
            "prompt_set": "female",
            "positive": "a head",
            "negative": "a hat",
            "seed": 1000 + number,
        }
        created.append(Request(**{**fields, **changes}))
    return created


def assert_created(answers: Sequence[Result | AcuSimError], requests: Sequence[Request]) -> None:
    """Each answer is the inverted sample: nothing missing, nothing swapped."""
    assert len(answers) == len(requests)
    for answer, request in zip(answers, requests, strict=True):
        assert isinstance(answer, Result), answer
        assert np.array_equal(answer.pixels, 255 - request.pixels)


def wait_for(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    """Until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "never came"
        time.sleep(0.005)


def polled(server: FakeServer, times: int) -> None:
    """Until the queue was asked for some more times: whatever was to happen meanwhile has had its chance."""
    until = server.requests.count("GET /queue") + times
    wait_for(lambda: server.requests.count("GET /queue") >= until)


def in_threads(engine: ComfyUIEngine, batches: Sequence[Sequence[Request]]) -> list[Any]:
    """Several batches at once, one thread each: their answers, or the error that ended them."""
    answers: list[Any] = [None] * len(batches)

    def run(number: int) -> None:
        try:
            answers[number] = engine.augment(batches[number])
        except AcuSimError as error:
            answers[number] = error

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(len(batches))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive(), "a batch never ended"
    return answers
