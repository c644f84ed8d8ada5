"""Reads text, JSON and TOML of other programs: their encoding, and clear errors where they cannot be read.

acusim.tolerances lists what is accepted beyond plain UTF-8. A text in another encoding is refused, not guessed.
"""

import json
import re
import tomllib
from typing import Any

from acusim.errors import LabelError, shown

_MAX_MESSAGE = 120
_KINDS = {
    "shapes": "a labelme file",
    "annotations": "a COCO data set",
    "label": "an AcuSim label",
    "points": "a point mask",
}
_HIGH = re.compile(rb"[\x80-\xff]+")


def text_of(data: bytes) -> str:
    """The text of a file in UTF-8, UTF-16 or UTF-32, with or without a byte-order mark.

    Raises:
        ValueError: another encoding, or damaged; the message says where, and which encoding it may be.
    """
    encoding = json.detect_encoding(data)  # by the mark, else by the positions of zero bytes
    try:
        return data.decode(encoding).lstrip("\ufeff")
    except UnicodeDecodeError as error:
        if encoding.startswith("utf-8"):
            raise ValueError(_not_utf8(data, error.start)) from None
        raise ValueError(f"its {encoding.upper()} is damaged at byte {error.start}: {error.reason}") from None


def _not_utf8(data: bytes, at: int) -> str:
    if b"\0" in data:
        return f"the byte 0x{data[at]:02x} at place {at} is not text: this is a file of another kind"
    line = data.count(b"\n", 0, at) + 1
    return (
        f"line {line} holds the byte 0x{data[at]:02x}, which is not UTF-8; the file may be in {_looks_like(data)}: "
        "save it as UTF-8"
    )


def _looks_like(data: bytes) -> str:
    """The most likely of the encodings that have no mark."""
    # Chinese characters are mostly pairs of such bytes; accented letters mostly stand alone.
    runs = [len(run) % 2 for run in _HIGH.findall(data)]
    if 2 * sum(runs) < len(runs):
        try:
            data.decode("gb18030")
        except UnicodeDecodeError:
            pass
        else:
            return "GBK (GB 18030)"
    return "Latin-1 (Windows-1252)"


def json_document(data: bytes) -> Any:
    """The document in a JSON file of labels.

    Raises:
        LabelError: as json_of.
    """
    try:
        return json_of(data)
    except ValueError as error:
        raise LabelError(f"not a JSON file: {error}") from None


def json_of(data: bytes) -> Any:
    """The document in a JSON file.

    Raises:
        ValueError: not JSON, or a key occurs twice in one object with different values.
    """
    text = text_of(data)
    try:
        return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise ValueError(str(error)[:_MAX_MESSAGE] if text.strip() else "the file is empty") from None
    except RecursionError:
        raise ValueError("objects or lists are nested too deeply") from None
    except _RepeatedKey as error:
        raise ValueError(str(error)) from None
    except ValueError:  # Python's limit of digits, whose own message names a Python function
        raise ValueError("a number has thousands of digits") from None


def looks_like(document: Any) -> str:
    """The end of a message on a document of the wrong kind: which kind it may be; empty if unknown."""
    found = [kind for key, kind in _KINDS.items() if isinstance(document, dict) and isinstance(document.get(key), list)]
    return f"; it looks like {found[0]}" if found else ""


class _RepeatedKey(ValueError):
    """A key with two values."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        for key, value in pairs:
            if out[key] != value:
                raise _RepeatedKey(f"the key {shown(key)} occurs twice in one object, with different values")
    return out


def toml_of(data: bytes) -> dict[str, Any]:
    """The document in a TOML file.

    Raises:
        ValueError: not TOML.
    """
    text = text_of(data)
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("arrays or tables are nested too deeply") from None
    except tomllib.TOMLDecodeError:
        raise
    except ValueError:  # Python's limit of digits, whose own message names a Python function
        raise ValueError("a number or a date is out of range") from None
