"""Live pictures: a websocket on which a camera's frames come, and the points of the newest go back.

    client: a frame, a PNG or JPEG, as a binary message; ``/api/live?kind=auto`` says what it shows
    server: {"kind", "width", "height", "threshold", "face", "points": [[x, y, confidence], …], "model_ms"}
            or {"error": …}

Points are in the order of the model's in /api/models, in pixels of the frame. A frame that arrives while another is
looked at replaces those that wait, which are never answered. Nothing is kept.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from training.settings import TaskName
from training.web.refusals import Refusal, failure
from training.web.service import Result
from training.web.uploads import Form

IDLE_SECONDS = 30.0
"""For the next frame to arrive."""
DETECT = 15
"""Frames from one detection of head or hand to the next; between them it stays."""
TRY_LATER = 1013
"""Code of a closed websocket: the server is busy."""

Look = Callable[[Form], Awaitable[tuple[TaskName, str]]]
"""The kind of a frame's content and its answer."""


async def serve_live(socket: WebSocket, look: Look) -> None:
    """Answers the frames of an accepted connection until it ends."""
    frames: asyncio.Queue[bytes | None] = asyncio.Queue(1)
    reader = asyncio.create_task(_read(socket, frames))
    try:
        await _answer(socket, frames, look)
    except WebSocketDisconnect:
        pass
    finally:
        reader.cancel()
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # it is closed already
            await socket.close()


async def refuse_live(socket: WebSocket, refusal: Refusal) -> None:
    """Says why there is no room, and closes. A page sees nothing of an answer to the handshake."""
    await socket.accept()
    await socket.send_text(_text(refusal))
    await socket.close(TRY_LATER)


async def _read(socket: WebSocket, frames: asyncio.Queue[bytes | None]) -> None:
    """Keeps the newest frame in the queue; None once there are no more."""
    while True:
        frame = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(IDLE_SECONDS):
                message = await socket.receive()
                if message["type"] == "websocket.receive":
                    frame = message["bytes"]
        if frames.full():
            frames.get_nowait()
        frames.put_nowait(frame)
        if frame is None:
            return


async def _answer(socket: WebSocket, frames: asyncio.Queue[bytes | None], look: Look) -> None:
    asked = socket.query_params.get("kind", "auto")
    known, age = "", 0  # the kind of the last frame, and how many since a detection
    while (frame := await frames.get()) is not None:
        try:
            known, text = await _looked(look, frame, known if age else asked, known)
            age = (age + 1) % DETECT
        except Refusal as refusal:
            known, age, text = "", 0, _text(refusal)
        await socket.send_text(text)


async def _looked(look: Look, frame: bytes, kind: str, known: str) -> tuple[TaskName, str]:
    if not frame:
        raise Refusal("empty")
    fields = {"kind": kind, "quick": "true"}
    try:
        return await look(Form(frame, fields=fields))
    except Refusal as refusal:
        if refusal.code != "undecided" or not known:
            raise
        return await look(Form(frame, fields=fields | {"kind": known}))  # what it was a moment ago


def live_answer(_: Form, result: Result) -> tuple[TaskName, str]:
    """A frame's answer as JSON, beside its kind."""
    found = result.found
    xy = result.xy_px.round(2).tolist()
    known = result.model.evidence != "none"
    confidence = found.confidence.astype(float).round(4).tolist() if known else [None] * len(xy)
    width, height = result.photograph.size_px
    answer: dict[str, Any] = {"kind": result.model.kind, "width": width, "height": height}
    framing = found.framing
    face = None if framing is None or framing.reason in ("no_detector", "off") else framing.reason != "no_face"
    answer |= {"threshold": result.threshold, "face": face, "model_ms": result.times_ms["model"]}
    answer["points"] = [[x, y, sure] for (x, y), sure in zip(xy, confidence, strict=True)]
    return result.model.kind, json.dumps(answer, allow_nan=False)


def _text(refusal: Refusal) -> str:
    return bytes(failure(refusal).body).decode()
