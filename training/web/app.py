"""The server's application: the page, and the interface at /api.

Decoding and models run in threads beside the event loop. As many requests as Limits says are in the house at a time,
one of them at the model; all that belongs to a request is on the stack of its own call, so answers cannot mix.
"""

import asyncio
import contextlib
import json
import mimetypes
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib import metadata, resources
from typing import Any, TypeVar, get_args

import numpy as np
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from acusim.errors import EngineError
from acusim.files import sha256
from acusim.folders import is_litter
from acusim.pictures import encode
from training.data.photographs import MAX_PIXELS, Photograph
from training.inference.drawing import draw_points
from training.inference.predict import DRAWN, MOST_ENLARGED
from training.tasks.hand_type import type_json
from training.web import schema
from training.web.clients import Budget, Places, client_of
from training.web.detection import Detector
from training.web.guard import Guard
from training.web.memory import give_back
from training.web.recogniser import THRESHOLDS, Found, Kind, Recogniser
from training.web.refusals import Refusal, failure
from training.web.uploads import Form, Limits, picture_of, pixels_of, read_form

T = TypeVar("T")
KIND_WORDS: dict[Kind, tuple[str, str]] = {"head": ("head", "头部"), "hand": ("hand", "手部")}
"""In English and Chinese."""
STATIC = resources.files("training.web").joinpath("static")


@dataclass(frozen=True, slots=True, eq=False)
class _Result:
    """A picture and its points."""

    recogniser: Recogniser
    chosen: str
    photograph: Photograph
    found: Found
    threshold: float
    times_ms: Mapping[str, float]


class _House:
    """The models, and who may use them when."""

    def __init__(self, recognisers: Mapping[Kind, Recogniser], limits: Limits, detector: Detector | None):
        self.recognisers, self.limits, self.detector = recognisers, limits, detector
        self._threads = ThreadPoolExecutor(limits.workers, "picture")
        self._turn = Budget(limits.workers, limits.pixels)
        self._model = threading.Lock()
        self._closing = False
        self._places = Places(limits.waiting, limits.waiting_of_one)

    async def answer(self, request: Request, finish: Callable[[Form, _Result], T]) -> T:
        """Reads a request's picture, finds its points, and makes of them what is sent."""
        address = request.client.host if request.client else ""
        with self._places.take(client_of(address, request.headers.get("x-forwarded-for", ""))):
            form = await read_form(request, self.limits)
            arrived, pixels = time.perf_counter(), pixels_of(form)
            async with self._turn.take(pixels):
                if await request.is_disconnected():
                    raise Refusal("bad_form")
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._threads, self._finished, form, arrived, pixels, finish)

    def _finished(self, form: Form, arrived: float, pixels: int, finish: Callable[[Form, _Result], T]) -> T:
        try:
            return finish(form, self._work(form, arrived))
        finally:
            give_back(pixels)

    def _work(self, form: Form, arrived: float) -> _Result:
        begun = time.perf_counter()
        asked, threshold = _asked(form)
        if asked and asked not in self.recognisers:
            loaded = [[KIND_WORDS[kind][language] for kind in self.recognisers] for language in (0, 1)]
            raise Refusal("no_model", kind=KIND_WORDS[asked], loaded=(", ".join(loaded[0]), "、".join(loaded[1])))
        fitting = [self.recognisers[asked]] if asked else list(self.recognisers.values())
        photograph = picture_of(form, max(recogniser.enough_px for recogniser in fitting))
        decoded = time.perf_counter()
        with self._model:
            if self._closing:
                raise Refusal("stopping")
            turn = time.perf_counter()
            recogniser, chosen = fitting[0], "asked" if asked else "only"
            if len(fitting) > 1:
                assert self.detector
                kind = self.detector.kind_of(photograph.pixels)
                if kind is None:
                    raise Refusal("undecided")
                recogniser, chosen = self.recognisers[kind], "detected"
            try:
                found = recogniser.recognise(photograph.pixels)
            except EngineError:
                raise Refusal("broken_model") from None
            done = time.perf_counter()
        times = {"decode": decoded - begun, "model": done - turn, "waited": begun - arrived + turn - decoded}
        threshold = THRESHOLDS[recogniser.evidence] if threshold is None else threshold
        rounded = {name: round(1000 * value, 1) for name, value in times.items()}
        return _Result(recogniser, chosen, photograph, found, threshold, rounded)

    def close(self) -> None:
        """Waits for the picture that the model is at; those behind it are given up."""
        self._closing = True
        self._threads.shutdown(cancel_futures=True)
        if self.detector:
            self.detector.close()


def _asked(form: Form) -> tuple[Kind | None, float | None]:
    kind, text = form.fields.get("kind", "auto"), form.fields.get("threshold")
    kinds: dict[str, Kind | None] = {"auto": None} | {name: name for name in get_args(Kind)}
    if kind not in kinds:
        raise Refusal("bad_value", field="kind", allowed=" | ".join(kinds))
    try:
        threshold = None if text is None else float(text)
    except ValueError:
        threshold = np.nan
    if threshold is not None and not 0 <= threshold <= 1:
        raise Refusal("bad_value", field="threshold", allowed="0..1")
    return kinds[kind], threshold


def _model(recogniser: Recogniser) -> dict[str, Any]:
    return {
        "kind": recogniser.kind,
        "evidence": recogniser.evidence,
        "threshold": THRESHOLDS[recogniser.evidence],
        "made_by": dict(recogniser.made_by),
    }


def _document(form: Form, result: _Result) -> bytes:
    """An Answer as JSON."""
    photograph, found, recogniser = result.photograph, result.found, result.recogniser
    width, height = photograph.size_px
    xy = found.xy_px * photograph.reduced
    points = [
        {
            **asdict(point),
            "visible": bool(confidence >= result.threshold),
            "confidence": None if recogniser.evidence == "none" else round(float(confidence), 6),
            "x": round(float(x), 3),
            "y": round(float(y), 3),
        }
        for point, confidence, (x, y) in zip(recogniser.points, found.confidence, xy, strict=True)
    ]
    picture = {
        "name": form.name,
        "width": width,
        "height": height,
        "sha256": sha256(form.picture),
        "notes": list(photograph.notes),
    }
    answer = {
        "kind": recogniser.kind,
        "chosen": result.chosen,
        "picture": picture,
        "model": _model(recogniser),
        "threshold": result.threshold,
        "hand": None if found.hand_type is None else type_json(found.hand_type),
        "points": points,
        "timing_ms": result.times_ms,
    }
    return json.dumps(answer, ensure_ascii=False, allow_nan=False).encode()


def _drawn(form: Form, result: _Result) -> bytes:
    """The picture with its visible points, a JPEG."""
    pixels, found = result.photograph.pixels, result.found
    names = form.fields.get("names", "true")
    if names not in ("true", "false"):
        raise Refusal("bad_value", field="names", allowed="true | false")
    visible = np.flatnonzero(found.confidence >= result.threshold)
    drawn = draw_points(
        pixels,
        found.xy_px[visible],
        visible,
        names=names == "true",
        confidence=found.confidence[visible],
        scale=max(1, min(MOST_ENLARGED, -(-DRAWN // max(pixels.shape[:2])))),
        palette=result.recogniser.palette,
    )
    return encode(drawn, ".jpg")


def create_app(
    recognisers: Mapping[Kind, Recogniser],
    limits: Limits = Limits(),  # noqa: B008  frozen
    *,
    host: str = "127.0.0.1",
    names: tuple[str, ...] = (),
    detector: Detector | None = None,
) -> FastAPI:
    """The application.

    Args:
        recognisers: the models, one or both kinds.
        limits: what it takes on.
        host: what the server listens on, see Guard.
        names: further names that it answers to.
        detector: tells heads from hands; made here where both kinds are loaded and none is given.
    """
    if len(recognisers) > 1 and detector is None:
        detector = Detector()
    house: _House

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        nonlocal house
        house = _House(recognisers, limits, detector)
        yield
        await asyncio.get_running_loop().run_in_executor(None, house.close)

    app = FastAPI(
        title="AcuSim acupoints",
        version=_version(),
        description="Finds acupoints in a picture. Research software: not a medical device, no medical advice.",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # redirects name the server's own address, not that of a proxy before it
        servers=[{"url": "..", "description": "this server, as seen from this document"}],
        lifespan=lifespan,
    )
    app.add_middleware(Guard, host=host, names=names)
    app.add_exception_handler(Refusal, lambda _, error: failure(error))  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, _http_failure)  # type: ignore[arg-type]

    @app.get("/api/models")
    @app.head("/api/models", include_in_schema=False)
    def models() -> schema.Models:
        """The models that are loaded, their points, and the limits."""
        loaded = [{**_model(one), "points": list(map(asdict, one.points))} for one in recognisers.values()]
        colours = {name: colour for one in recognisers.values() for name, colour in one.palette.colours.items()}
        return schema.Models.model_validate(
            {
                "models": loaded,
                "auto": "only" if len(recognisers) == 1 else "detected",
                "max_bytes": limits.picture_bytes,
                "max_pixels": MAX_PIXELS,
                "colours": {name: "#{:02x}{:02x}{:02x}".format(*colour) for name, colour in colours.items()},
            }
        )

    body = {"requestBody": schema.REQUEST_BODY}

    @app.post("/api/recognise", response_model=schema.Answer, responses=schema.REFUSALS, openapi_extra=body)
    async def recognise(request: Request) -> Response:
        """The points of a picture. The file is read into memory and forgotten with the answer."""
        return Response(await house.answer(request, _document), media_type="application/json")

    jpeg = {200: {"content": {"image/jpeg": {}}, "description": "the picture with its visible points"}}

    @app.post("/api/picture", response_class=Response, responses=jpeg | schema.REFUSALS, openapi_extra=body)
    async def picture(request: Request) -> Response:
        """The picture with its visible points drawn into it, and a legend."""
        saved = {"Content-Disposition": 'attachment; filename="acupoints.jpg"'}
        return Response(await house.answer(request, _drawn), media_type="image/jpeg", headers=saved)

    # A fixed set of files, held in memory: no path of a request ever reaches the disk.
    for file in STATIC.iterdir():
        if is_litter(file.name):
            continue
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        path = "/" if file.name == "index.html" else f"/static/{file.name}"
        app.add_api_route(path, _sender(file.read_bytes(), kind), include_in_schema=False, methods=["GET", "HEAD"])
    return app


def _sender(data: bytes, kind: str) -> Callable[[], Response]:
    return lambda: Response(data, media_type=kind)


def _http_failure(_: Request, error: HTTPException) -> Response:
    answer = failure(Refusal("wrong_method" if error.status_code == 405 else "not_found"))
    answer.headers.update(error.headers or {})
    return answer


def _version() -> str:
    try:
        return metadata.version("acusim-augment")
    except metadata.PackageNotFoundError:  # a checkout that is not installed
        return "0"
