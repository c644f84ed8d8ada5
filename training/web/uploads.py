"""An upload read into memory: the form, its limits, and the picture in it. Nothing is written to a disk.

Starlette's own form parser is not used because it spools files of more than 1 MB to the disk.
"""

import asyncio
import io
import re
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from PIL import Image
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from acusim.errors import PictureError
from acusim.files import printable
from training.data.photographs import MAX_PIXELS, Photograph, read_photograph
from training.web.refusals import Refusal

FIELD_BYTES = 64
FORM_BYTES = 64 << 10
"""What a form may have beside its picture."""
MAX_PARTS = 8
NAME_CHARACTERS = 120
DRAINED = 4
"""A body that is too large is read to its end, and forgotten, up to so many times the limit: browsers show the answer
only then."""
FILE, KNOWN = "file", ("kind", "threshold", "names")


@dataclass(frozen=True, slots=True)
class Limits:
    """What the server takes on."""

    picture_bytes: int = 32 << 20
    """Size of a file."""
    seconds: float = 60.0
    """For the upload of one picture."""
    pause_seconds: float = 10.0
    """For which an upload may stand still."""
    waiting: int = 32
    """Requests that may be in the house at a time; times picture_bytes this bounds the memory of uploads."""
    waiting_of_one: int = 24
    """How many of them one sender may have."""
    workers: int = 2
    """Pictures that are decoded at a time; the models work on one at a time."""
    pixels: int = MAX_PIXELS
    """Of the pictures that are decoded at a time, all together: one large picture is worked on alone."""


@dataclass(slots=True)
class Form:
    """What was sent."""

    picture: bytes = b""
    name: str = ""
    """Of the file, safe to print."""
    fields: dict[str, str] = field(default_factory=dict)


async def read_form(request: Request, limits: Limits) -> Form:
    """Reads a multipart form from a request as it comes in.

    Raises:
        Refusal: too large, too slow, damaged, no picture, or a field that is not known.
    """
    content_type, options = parse_options_header(request.headers.get("content-type"))
    if content_type.lower() != b"multipart/form-data" or b"boundary" not in options:
        raise Refusal("not_a_form")
    most = limits.picture_bytes + FORM_BYTES
    too_large, endless = (Refusal("too_large", end, mib=limits.picture_bytes >> 20) for end in (False, True))
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > DRAINED * most:
        raise endless
    reader, received = _Reader(limits.picture_bytes, too_large), 0
    refusal: Refusal | None = None
    try:
        parser = MultipartParser(options[b"boundary"], reader.callbacks())
        async with asyncio.timeout(limits.seconds):
            async for chunk in _without_pauses(request.stream(), limits.pause_seconds):
                received += len(chunk)
                if received > DRAINED * most:
                    raise endless
                if refusal is None:
                    try:
                        if received > most:
                            raise too_large
                        parser.write(chunk)
                    except Refusal as error:
                        refusal = error
                        reader.forget()
    except TimeoutError:
        raise Refusal("too_slow", True, seconds=round(limits.seconds), pause=round(limits.pause_seconds)) from None
    except (FormParserError, ClientDisconnect):
        raise Refusal("bad_form") from None
    if refusal:
        raise refusal
    return reader.form()


async def _without_pauses(stream: AsyncIterator[bytes], seconds: float) -> AsyncIterator[bytes]:
    """The pieces of a body; a TimeoutError where the next one does not come."""
    while True:
        async with asyncio.timeout(seconds):
            try:
                chunk = await anext(stream)
            except StopAsyncIteration:
                return
        yield chunk


class _Reader:
    """Takes what the parser finds."""

    def __init__(self, most: int, too_large: Refusal):
        self._most, self._too_large = most, too_large
        self._header, self._value = bytearray(), bytearray()
        self._disposition = b""
        self._parts: list[tuple[str, str, bytearray]] = []
        self._ended = False

    def callbacks(self) -> Any:
        """For MultipartParser."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._data,
            "on_end": self._end,
        }

    def forget(self) -> None:
        """Lets go of what was read."""
        self._parts.clear()

    def form(self) -> Form:
        """The form, once all is read."""
        if not self._ended:
            raise Refusal("bad_form")
        form, files = Form(), 0
        for name, filename, data in self._parts:
            if name == FILE:
                form.picture, form.name, files = bytes(data), filename, files + 1
            elif name in KNOWN and name not in form.fields:
                form.fields[name] = data.decode(errors="replace")
            else:
                names = ", ".join((FILE, *KNOWN))
                raise Refusal(
                    "bad_value", field=printable(name)[:40], allowed=(f"one of {names}", f"以下之一：{names}")
                )
        if files != 1:
            raise Refusal("no_picture")
        if not form.picture:
            raise Refusal("empty")
        return form

    def _begin(self) -> None:
        self._disposition = b""
        if len(self._parts) == MAX_PARTS:
            raise Refusal("bad_form")

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        texts = [options.get(key, b"").decode(errors="replace") for key in (b"name", b"filename")]
        file = printable(re.split(r"[/\\]", texts[1])[-1])[:NAME_CHARACTERS]
        self._parts.append((texts[0], file, bytearray()))

    def _data(self, data: bytes, start: int, end: int) -> None:
        name, _, held = self._parts[-1]
        if len(held) + end - start > (self._most if name == FILE else FIELD_BYTES):
            raise self._too_large if name == FILE else Refusal("bad_form")
        held += memoryview(data)[start:end]

    def _end(self) -> None:
        self._ended = True


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
"""Files that people take for pictures, by what they begin with."""
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"


def pixels_of(form: Form) -> int:
    """How many pixels an upload says that it has; 0 where it does not say so and decoding will refuse it."""
    data = form.picture
    if data.startswith(_PNG) and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return width * height
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
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
