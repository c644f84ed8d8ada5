"""Recognisers that need no model, and pictures as uploads."""

import hashlib
import io
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from fastapi import FastAPI
from numpy.typing import NDArray
from PIL import Image

from training.inference.drawing import HEAD, Palette, hand_palette
from training.inference.face_crop import Framing
from training.inference.head_fit import HeadFit
from training.inference.model import Evidence, Found
from training.inference.point_names import HEAD_POINTS, Point, hand_points
from training.settings import TaskName
from training.tasks.hand_points import read_points
from training.web.connections import ConnectionLimits
from training.web.server import PageServer

HAND_CODES = read_points().ids


@dataclass
class Fake:
    """Answers with numbers that the pixels alone decide, slowly if asked to; tells how many threads were in it."""

    kind: TaskName = "head"
    points: tuple[Point, ...] = HEAD_POINTS
    palette: Palette = HEAD
    evidence: Evidence = "visibility"
    enough_px: int = 64
    hand_type: tuple[float, float] | None = None
    framing: Framing | None = None
    fit: HeadFit | None = None
    error: Exception | None = None
    made_by: Mapping[str, Any] = field(default_factory=lambda: {"run": "fake"})
    seconds: float = 0.0
    most_inside: int = 0
    gate: threading.Event | None = None
    entered: threading.Event = field(default_factory=threading.Event)
    quick: list[bool] = field(default_factory=list)
    """Of each picture: whether one look was asked for."""
    _inside: int = 0

    def recognise(self, pixels: NDArray[np.uint8], quick: bool = False) -> Found:
        self.quick.append(quick)
        self._inside += 1
        self.most_inside = max(self.most_inside, self._inside)
        self.entered.set()
        if self.gate:
            assert self.gate.wait(20)
        time.sleep(self.seconds)
        if self.error:
            raise self.error
        xy = coordinates_of(pixels, len(self.points))
        self._inside -= 1
        hand_type = None if self.hand_type is None else np.array(self.hand_type)
        return Found(np.arange(len(self.points)) % 2 * 0.8 + 0.1, xy, hand_type, self.framing, self.fit)


def hand() -> Fake:
    points = read_points()
    return Fake("hand", hand_points(points.points), hand_palette(points), "peak", hand_type=(0.97, 0.12))


def coordinates_of(pixels: NDArray[np.uint8], count: int) -> NDArray[np.float64]:
    """[count, 2] within the picture, from the hash of its pixels."""
    digest = hashlib.sha256(pixels.tobytes()).digest()
    unit = np.random.default_rng(int.from_bytes(digest)).random((count, 2))
    return unit * (pixels.shape[1], pixels.shape[0])


def noise(seed: int, width: int = 90, height: int = 70) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def encoded(pixels: NDArray[Any] | Image.Image, format: str = "PNG", **how: Any) -> bytes:
    out = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(out, format, **how)
    return out.getvalue()


@contextmanager
def running(app: FastAPI, limits: ConnectionLimits = ConnectionLimits()) -> Iterator[int]:  # noqa: B008  frozen
    """The application behind a socket; gives its port."""
    server = PageServer(app, limits=limits, port=0, lifespan="on")
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started:
        assert thread.is_alive() and time.monotonic() < deadline
        time.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()
