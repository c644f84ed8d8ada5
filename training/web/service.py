"""From a request to the points of its picture: admission, upload, decoding, model.

Decoding and models run in threads beside the event loop. Limits bounds how many requests are processed at a time; the
models work on one picture at a time. All that belongs to a request is on the stack of its own call, so answers cannot
mix.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeVar, get_args

import numpy as np
from fastapi import Request
from numpy.typing import NDArray
from starlette.requests import HTTPConnection

from acusim.errors import EngineError, PictureError
from training.data.photographs import Photograph
from training.inference.model import THRESHOLDS, Found, Model
from training.settings import TaskName
from training.web.clients import Budget, Places, client_of
from training.web.detection import Detector
from training.web.memory import trim_memory
from training.web.refusals import Refusal
from training.web.uploads import Form, Limits, picture_of, pixels_of, read_form

T = TypeVar("T")
KIND_WORDS: dict[TaskName, tuple[str, str]] = {"head": ("head", "头部"), "hand": ("hand", "手部")}
"""In English and Chinese."""


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """A picture and its points."""

    model: Model
    chosen: str
    photograph: Photograph
    found: Found
    threshold: float
    times_ms: Mapping[str, float]

    @property
    def xy_px(self) -> NDArray[np.float64]:
        """The points [N, 2] in pixels of the upright picture, whatever it was reduced to."""
        return self.found.xy_px * self.photograph.reduced


class Service:
    """The models, and which requests may use them when.

    Args:
        models: the models, one or both kinds.
        limits: what it accepts.
        detector: distinguishes heads from hands; needed where both kinds are loaded.
    """

    def __init__(self, models: Mapping[TaskName, Model], limits: Limits, detector: Detector | None):
        self.models, self.limits, self.detector = models, limits, detector
        self._threads = ThreadPoolExecutor(limits.workers, "picture")
        self._budget = Budget(limits.workers, limits.pixels)
        self._model = threading.Lock()
        self._closing = False
        self._places = Places(limits.waiting, limits.waiting_of_one)
        self._live = Places(limits.live, limits.live_of_one)

    async def answer(self, request: Request, finish: Callable[[Form, Result], T]) -> T:
        """Reads a request's picture, finds its points, and turns them into what is sent.

        Raises:
            Refusal: too many requests, or the picture or a field cannot be used.
        """
        with self._places.take(_sender(request)):
            form = await read_form(request, self.limits)
            return await self._answered(form, finish, request.is_disconnected)

    async def look(self, connection: HTTPConnection, frame: Form, finish: Callable[[Form, Result], T]) -> T:
        """Finds the points of a frame that has arrived.

        Raises:
            Refusal: as answer.
        """
        with self._places.take(_sender(connection)):
            return await self._answered(frame, finish)

    def live(self, connection: HTTPConnection) -> AbstractContextManager[None]:
        """A place for a connection that sends frames.

        Raises:
            Refusal: all are taken.
        """
        return self._live.take(_sender(connection))

    async def _answered(
        self, form: Form, finish: Callable[[Form, Result], T], is_gone: Callable[[], Awaitable[bool]] | None = None
    ) -> T:
        arrived, pixels = time.perf_counter(), pixels_of(form)
        async with self._budget.take(pixels):
            if is_gone and await is_gone():
                raise Refusal("bad_form")
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self._finished, form, arrived, pixels, finish)

    def _finished(self, form: Form, arrived: float, pixels: int, finish: Callable[[Form, Result], T]) -> T:
        try:
            return finish(form, self._recognise(form, arrived))
        finally:
            trim_memory(pixels)

    def _recognise(self, form: Form, arrived: float) -> Result:
        started = time.perf_counter()
        requested, threshold = _fields(form)
        quick = flag(form, "quick")
        if requested and requested not in self.models:
            loaded = [[KIND_WORDS[kind][language] for kind in self.models] for language in (0, 1)]
            raise Refusal("no_model", kind=KIND_WORDS[requested], loaded=(", ".join(loaded[0]), "、".join(loaded[1])))
        fitting = [self.models[requested]] if requested else list(self.models.values())
        photograph = picture_of(form, max(model.enough_px for model in fitting))
        decoded = time.perf_counter()
        with self._model:
            if self._closing:
                raise Refusal("stopping")
            turn = time.perf_counter()
            model, chosen = fitting[0], "asked" if requested else "only"
            if len(fitting) > 1:
                model, chosen = self._detected(photograph), "detected"
            try:
                found = model.recognise(photograph.pixels, quick)
            except EngineError:
                raise Refusal("broken_model") from None
            except PictureError:  # of the cropper: decoding is over
                raise Refusal("no_face") from None
            done = time.perf_counter()
        times = {"decode": decoded - started, "model": done - turn, "waited": started - arrived + turn - decoded}
        threshold = THRESHOLDS[model.evidence] if threshold is None else threshold
        rounded = {name: round(1000 * value, 1) for name, value in times.items()}
        return Result(model, chosen, photograph, found, threshold, rounded)

    def _detected(self, photograph: Photograph) -> Model:
        assert self.detector
        kind = self.detector.kind_of(photograph.pixels)
        if kind is None:
            raise Refusal("undecided")
        return self.models[kind]

    def close(self) -> None:
        """Waits for the picture that the model is processing; those behind it are refused."""
        self._closing = True
        self._threads.shutdown(cancel_futures=True)
        if self.detector:
            self.detector.close()


def _sender(connection: HTTPConnection) -> str:
    address = connection.client.host if connection.client else ""
    return client_of(address, connection.headers.get("x-forwarded-for", ""))


def flag(form: Form, name: str, default: bool = False) -> bool:
    """A field that is true or false.

    Raises:
        Refusal: it is something else.
    """
    value = form.fields.get(name, str(default).lower())
    if value not in ("true", "false"):
        raise Refusal("bad_value", field=name, allowed="true | false")
    return value == "true"


def _fields(form: Form) -> tuple[TaskName | None, float | None]:
    """The form's kind and threshold; None for automatic detection and the model's default."""
    kind, text = form.fields.get("kind", "auto"), form.fields.get("threshold")
    kinds: dict[str, TaskName | None] = {"auto": None} | {name: name for name in get_args(TaskName)}
    if kind not in kinds:
        raise Refusal("bad_value", field="kind", allowed=" | ".join(kinds))
    try:
        threshold = None if text is None else float(text)
    except ValueError:
        threshold = np.nan
    if threshold is not None and not 0 <= threshold <= 1:
        raise Refusal("bad_value", field="threshold", allowed="0..1")
    return kinds[kind], threshold
