"""The server's application: the page, and the interface at /api."""

import asyncio
import contextlib
import json
import mimetypes
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict
from importlib import metadata, resources
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.websockets import WebSocket

from acusim.files import sha256
from acusim.folders import is_junk
from acusim.pictures import encode
from training.data.photographs import MAX_PIXELS
from training.inference.model import THRESHOLDS, Model
from training.inference.result_files import drawn_points
from training.settings import TaskName
from training.tasks.hand_type import type_json
from training.web import schema
from training.web.connections import LIVE_PATH
from training.web.detection import Detector
from training.web.guard import Guard
from training.web.live import live_answer, refuse_live, serve_live
from training.web.refusals import Refusal, failure
from training.web.service import Result, Service, flag
from training.web.uploads import Form, Limits

STATIC = resources.files("training.web").joinpath("static")


def create_app(
    models: Mapping[TaskName, Model],
    limits: Limits = Limits(),  # noqa: B008  frozen
    *,
    host: str = "127.0.0.1",
    names: tuple[str, ...] = (),
    detector: Detector | None = None,
) -> FastAPI:
    """The application.

    Args:
        models: the models, one or both kinds.
        limits: what it accepts.
        host: what the server listens on, see Guard.
        names: further names that it answers to.
        detector: distinguishes heads from hands; created here where both kinds are loaded and none is given.
    """
    if len(models) > 1 and detector is None:
        detector = Detector()
    service: Service

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        nonlocal service
        service = Service(models, limits, detector)
        yield
        await asyncio.get_running_loop().run_in_executor(None, service.close)

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
    _add_interface(app, lambda: service, _models(models, limits))
    _add_files(app)
    return app


def _add_interface(app: FastAPI, service: Callable[[], Service], loaded: schema.Models) -> None:
    @app.get("/api/models")
    @app.head("/api/models", include_in_schema=False)
    def models() -> schema.Models:
        """The models that are loaded, their points, and the limits."""
        return loaded

    body = {"requestBody": schema.REQUEST_BODY}

    @app.post("/api/recognise", response_model=schema.Answer, responses=schema.REFUSALS, openapi_extra=body)
    async def recognise(request: Request) -> Response:
        """The points of a picture. The file is read into memory and forgotten with the answer."""
        return Response(await service().answer(request, _document), media_type="application/json")

    jpeg = {200: {"content": {"image/jpeg": {}}, "description": "the picture with its visible points"}}

    @app.post("/api/picture", response_class=Response, responses=jpeg | schema.REFUSALS, openapi_extra=body)
    async def picture(request: Request) -> Response:
        """The picture with its visible points drawn into it, and a legend."""
        attachment = {"Content-Disposition": 'attachment; filename="acupoints.jpg"'}
        return Response(await service().answer(request, _drawn), media_type="image/jpeg", headers=attachment)

    @app.get(LIVE_PATH, include_in_schema=False)
    async def no_websocket() -> Response:
        raise Refusal("not_a_websocket")

    @app.websocket(LIVE_PATH)
    async def live(socket: WebSocket) -> None:
        try:
            with service().live(socket):
                await socket.accept()
                await serve_live(socket, lambda frame: service().look(socket, frame, live_answer))
        except Refusal as refusal:
            await refuse_live(socket, refusal)


def _add_files(app: FastAPI) -> None:
    """The page: a fixed set of files, held in memory. No path of a request ever reaches the disk."""

    def sender(data: bytes, kind: str) -> Callable[[], Response]:
        return lambda: Response(data, media_type=kind)

    for file in STATIC.iterdir():
        if is_junk(file.name):
            continue
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        path = "/" if file.name == "index.html" else f"/static/{file.name}"
        app.add_api_route(path, sender(file.read_bytes(), kind), include_in_schema=False, methods=["GET", "HEAD"])


def _models(models: Mapping[TaskName, Model], limits: Limits) -> schema.Models:
    loaded = [{**_model(one), "points": list(map(asdict, one.points))} for one in models.values()]
    colours = {name: colour for one in models.values() for name, colour in one.palette.colours.items()}
    return schema.Models.model_validate(
        {
            "models": loaded,
            "auto": "only" if len(models) == 1 else "detected",
            "max_bytes": limits.picture_bytes,
            "max_pixels": MAX_PIXELS,
            "colours": {name: "#{:02x}{:02x}{:02x}".format(*colour) for name, colour in colours.items()},
        }
    )


def _model(model: Model) -> dict[str, Any]:
    return {
        "kind": model.kind,
        "evidence": model.evidence,
        "threshold": THRESHOLDS[model.evidence],
        "made_by": dict(model.made_by),
    }


def _document(form: Form, result: Result) -> bytes:
    """A schema.Answer as JSON."""
    photograph, found, model = result.photograph, result.found, result.model
    width, height = photograph.size_px
    xy, fit = result.xy_px, found.fit
    places = [None] * len(xy) if fit is None else fit.points_json()
    points = [
        {
            **asdict(point),
            "visible": bool(confidence >= result.threshold),
            "confidence": None if model.evidence == "none" else round(float(confidence), 6),
            "x": round(float(x), 3),
            "y": round(float(y), 3),
            "mm": mm,
        }
        for point, confidence, (x, y), mm in zip(model.points, found.confidence, xy, places, strict=True)
    ]
    picture = {
        "name": form.name,
        "width": width,
        "height": height,
        "sha256": sha256(form.picture),
        "notes": list(photograph.notes),
    }
    answer = {
        "kind": model.kind,
        "chosen": result.chosen,
        "picture": picture,
        "model": _model(model),
        "threshold": result.threshold,
        "crop": None if found.framing is None else found.framing.as_json(photograph.reduced),
        "hand": None if found.hand_type is None else type_json(found.hand_type),
        "pose": None if fit is None else fit.pose_json(),
        "fit": None if fit is None else fit.fit_json(),
        "points": points,
        "timing_ms": result.times_ms,
    }
    return json.dumps(answer, ensure_ascii=False, allow_nan=False).encode()


def _drawn(form: Form, result: Result) -> bytes:
    """The picture with its visible points, a JPEG."""
    options = {"names": flag(form, "names", default=True), "hidden": flag(form, "hidden")}
    pixels = result.photograph.pixels
    return encode(drawn_points(pixels, result.found, result.model, result.threshold, **options), ".jpg")


def _http_failure(_: Request, error: HTTPException) -> Response:
    answer = failure(Refusal("wrong_method" if error.status_code == 405 else "not_found"))
    answer.headers.update(error.headers or {})
    return answer


def _version() -> str:
    try:
        return metadata.version("acusim-augment")
    except metadata.PackageNotFoundError:  # a checkout that is not installed
        return "0"
