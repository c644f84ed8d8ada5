"""How an image was created: a JSON object in the image's own metadata.

PNG carries it in an iTXt chunk named ``acusim``, JPEG in a comment that starts with ``acusim:``. It holds no
time stamps and no absolute paths, so that the same run gives the same bytes anywhere.
"""

import json
from collections.abc import Mapping
from typing import Any

from PIL import Image, PngImagePlugin

from acusim.errors import ProvenanceError

KEY = "acusim"
MAX_BYTES = 60_000
"""A JPEG comment holds at most 65,533 bytes."""


def _to_text(record: dict[str, Any]) -> str:
    """The canonical JSON text of a record."""
    text = json.dumps(record, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    if len(text.encode()) > MAX_BYTES:
        raise ProvenanceError(f"a record of {len(text.encode())} bytes exceeds the limit of {MAX_BYTES}")
    return text


def png_info(record: dict[str, Any] | None, texts: Mapping[str, str] | None = None) -> PngImagePlugin.PngInfo:
    """The metadata chunks for a PNG: the record, and texts of other programs by their keyword."""
    info = PngImagePlugin.PngInfo()
    if record is not None:
        info.add_itxt(KEY, _to_text(record))
    for keyword, text in (texts or {}).items():
        info.add_text(keyword, text)
    return info


def jpeg_comment(record: dict[str, Any]) -> bytes:
    """The comment for a JPEG."""
    return f"{KEY}:{_to_text(record)}".encode()


def from_image(image: Image.Image) -> dict[str, Any] | None:
    """The record in an opened image, None where there is none.

    Raises:
        ProvenanceError: there is one, but it is not a JSON object.
    """
    text = image.info.get(KEY)
    comment = image.info.get("comment")
    if text is None and isinstance(comment, bytes) and comment.startswith(f"{KEY}:".encode()):
        text = comment[len(KEY) + 1 :].decode("utf-8", "replace")
    if text is None:
        return None
    try:
        record = json.loads(text)  # untrusted: whoever uses a record checks its fields
    except (ValueError, TypeError, RecursionError) as error:
        raise ProvenanceError(f"the record in the picture is damaged: {error}") from None
    if not isinstance(record, dict):
        raise ProvenanceError("the record in the picture is not a JSON object")
    return record
