"""An upload read into memory: the form, its limits, and the picture in it. Nothing is written to a disk.

Starlette's parser limits the number of parts and the size of fields. The size of the file and of the whole body, the
time that both may take, and whether the form is complete have no limit there, so they are checked here.
"""

import asyncio
import contextlib
import io
import re
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field

from PIL import Image
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from acusim.errors import PictureError
from acusim.files import printable
from training.data.photographs import MAX_PIXELS, Photograph, read_photograph
from training.web.refusals import Refusal

FIELD_BYTES = 64
"""Of a field's value."""
FORM_BYTES = 64 << 10
"""Of a form beside its picture."""
MAX_PARTS = 8
NAME_CHARACTERS = 120
DRAINED = 4
"""A body that is too large is read to its end and dropped, up to so many times the limit: browsers show the answer only
then."""
FILE, KNOWN = "file", ("kind", "threshold", "quick", "names", "hidden")


@dataclass(frozen=True, slots=True)
class Limits:
    """What the server accepts."""

    picture_bytes: int = 32 << 20
    """Size of a file."""
    seconds: float = 60.0
    """For the upload of one picture."""
    pause_seconds: float = 10.0
    """For which an upload may pause."""
    waiting: int = 32
    """Requests that are processed or wait at a time; times picture_bytes this bounds the memory of uploads."""
    waiting_of_one: int = 24
    """How many of them one sender may have."""
    live: int = 32
    """Connections that send a camera's frames."""
    live_of_one: int = 24
    """How many of them one sender may have."""
    workers: int = 2
    """Pictures that are decoded at a time; the models work on one at a time."""
    pixels: int = MAX_PIXELS
    """Of the pictures that are decoded at a time, all together: a large picture is decoded alone."""


@dataclass(slots=True)
class Form:
    """What was sent."""

    picture: bytes = b""
    name: str = ""
    """Of the file, safe to print."""
    fields: dict[str, str] = field(default_factory=dict)


async def read_form(request: Request, limits: Limits) -> Form:
    """Reads a multipart form from a request as it arrives.

    Raises:
        Refusal: too large, too slow, damaged, no picture, or an unknown field.
    """
    content_type, options = parse_options_header(request.headers.get("content-type"))
    if content_type.lower() != b"multipart/form-data" or b"boundary" not in options:
        raise Refusal("not_a_form")
    too_large, endless = (Refusal("too_large", end, mib=limits.picture_bytes >> 20) for end in (False, True))
    most = limits.picture_bytes + FORM_BYTES
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > DRAINED * most:
        raise endless
    body = _counted(_without_pauses(request.stream(), limits.pause_seconds), DRAINED * most, endless)
    try:
        async with asyncio.timeout(limits.seconds):
            try:
                return await _form(request, _counted(body, most, too_large), limits.picture_bytes, too_large)
            except Refusal as refusal:
                if not refusal.hang_up:
                    async for _ in body:
                        pass
                raise
    except TimeoutError:
        raise Refusal("too_slow", True, seconds=round(limits.seconds), pause=round(limits.pause_seconds)) from None
    except ClientDisconnect:
        raise Refusal("bad_form") from None


async def _counted(stream: AsyncGenerator[bytes], most: int, refusal: Refusal) -> AsyncGenerator[bytes]:
    """The chunks of a body; raises the refusal once there are more bytes than ``most``."""
    received = 0
    async for chunk in stream:
        received += len(chunk)
        if received > most:
            raise refusal
        yield chunk


class _Parser(MultiPartParser):
    """Starlette's parser without its files on the disk; it notes whether the form is complete."""

    spool_max_size = 0
    """SpooledTemporaryFile: never leave memory."""
    ended = False

    def on_end(self) -> None:
        """The closing boundary has arrived."""
        self.ended = True


async def _form(request: Request, body: AsyncGenerator[bytes], most: int, too_large: Refusal) -> Form:
    parser = _Parser(request.headers, body, max_files=MAX_PARTS, max_fields=MAX_PARTS, max_part_size=FIELD_BYTES)
    try:
        data = await parser.parse()
    except (MultiPartException, ValueError) as error:
        # A part without a name is a form that somebody wrote by hand; ValueError: a charset that cannot decode.
        raise _unknown_field("") if '"name"' in str(getattr(error, "message", "")) else Refusal("bad_form") from None
    async with contextlib.AsyncExitStack() as files:
        form, pictures = Form(), list[UploadFile]()
        for name, value in data.multi_items():
            if isinstance(value, UploadFile):
                files.push_async_callback(value.close)
            if name == FILE:
                pictures += [value] if isinstance(value, UploadFile) else []
            elif name not in KNOWN:
                raise _unknown_field(name)
            elif name in form.fields or not isinstance(value, str):
                raise Refusal("repeated", field=name)
            else:
                form.fields[name] = value
        if not parser.ended or len(data.multi_items()) > MAX_PARTS:
            raise Refusal("bad_form")
        if len(pictures) > 1:
            raise Refusal("repeated", field=FILE)
        if not pictures:
            raise Refusal("no_picture")
        form.picture = await pictures[0].read()
        form.name = printable(re.split(r"[/\\]", pictures[0].filename or "")[-1])[:NAME_CHARACTERS]
    if not form.picture:
        raise Refusal("empty")
    if len(form.picture) > most:
        raise too_large
    return form


def _unknown_field(name: str) -> Refusal:
    names = ", ".join((FILE, *KNOWN))
    return Refusal("bad_value", field=printable(name)[:40], allowed=(f"one of {names}", f"以下之一：{names}"))


async def _without_pauses(stream: AsyncIterator[bytes], seconds: float) -> AsyncGenerator[bytes]:
    """The chunks of a body; a TimeoutError where the next one does not arrive."""
    while True:
        async with asyncio.timeout(seconds):
            try:
                chunk = await anext(stream)
            except StopAsyncIteration:
                return
        yield chunk


_SIGNATURES = (
    (b"GIF8", 0, "GIF"),
    (b"WEBP", 8, "WebP"),
    (b"BM", 0, "BMP"),
    (b"II*\0", 0, "TIFF"),
    (b"MM\0*", 0, "TIFF"),
    (b"%PDF", 0, "PDF"),
    (b"ftyphei", 4, "HEIC"),
    (b"ftyphev", 4, "HEIC"),
    (b"ftypmif1", 4, "HEIC"),
    (b"ftypavif", 4, "AVIF"),
)
"""Files that people take for pictures, by their first bytes."""
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"


def pixels_of(form: Form) -> int:
    """How many pixels an upload declares; 0 where it declares none and decoding will refuse it."""
    try:
        with Image.open(io.BytesIO(form.picture), formats=("PNG", "JPEG")) as image:
            return image.width * image.height
    except Exception:  # Pillow raises many types on damaged headers
        return 0


def picture_of(form: Form, enough_px: int) -> Photograph:
    """Decodes an upload by its content.

    Args:
        form: the upload.
        enough_px: see read_photograph.

    Raises:
        Refusal: not a PNG or JPEG, damaged, animated, or too many pixels.
    """
    data = form.picture
    if not data.startswith((_PNG, _JPEG)):
        other = next((name for start, at, name in _SIGNATURES if data.startswith(start, at)), None)
        raise Refusal("other_type", type=other) if other else Refusal("not_a_picture")
    try:
        return read_photograph(data, form.name, enough_px)
    except PictureError as error:
        text = str(error)
        if "megapixels" in text:
            raise Refusal("too_many_pixels", megapixels=MAX_PIXELS >> 20) from None
        raise Refusal("animated" if "several frames" in text else "damaged") from None
