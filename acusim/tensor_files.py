"""The header of a safetensors file: names, types and shapes, and whether the file is complete. No tensor is loaded.

Layout (https://github.com/huggingface/safetensors): length of the header as 8 bytes, little endian; the header as JSON;
the tensors' bytes one after the other, without gaps.
"""

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from acusim.errors import LayoutError, shown

MAX_HEADER_BYTES = 64 << 20
"""Headers of large models have about 1 MiB; this bounds the memory."""
_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
    **{"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6},
}
"""Size of one number of each type."""
_SNIFFED = 1024
_PICKLE = "a pickled PyTorch file (.ckpt, .pt, .bin) under another name; loading one can run code"


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor's entry in the header."""

    dtype: str
    """As safetensors names it, such as F16."""
    shape: tuple[int, ...]


def read_header(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file, by name, in the order of the file's header.

    Raises:
        LayoutError: the file is of another kind, damaged or incomplete; the message says which.
    """
    try:
        if path.exists() and not path.is_file():
            raise LayoutError(f"{path.name!r} cannot be read: not a regular file")
        with open(path, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            start = stream.read(_SNIFFED)
            length = int.from_bytes(start[:8], "little")
            if start[8:9] != b"{" or not 2 <= length <= MAX_HEADER_BYTES:
                raise LayoutError(f"{path.name!r} {_what_else(start, length, size)}")
            if 8 + length > size:
                raise LayoutError(f"{path.name!r} is damaged: cut off after {size} bytes, within its header")
            stream.seek(8)
            text = stream.read(length)
    except OSError as error:
        raise LayoutError(f"{path.name!r} cannot be read: {error.strerror or error}") from None
    try:
        header = json.loads(text, object_pairs_hook=_once)
        if not isinstance(header, dict):
            raise ValueError("it is not a JSON object")
        _check_notes(header.pop("__metadata__", None))
        spans: list[tuple[int, int]] = []
        tensors = {name: _tensor(name, entry, spans) for name, entry in header.items()}
        end = _end(spans)
    except (ValueError, RecursionError) as error:  # JSON and UTF-8 errors are ValueErrors
        raise LayoutError(f"{path.name!r} is damaged: its header cannot be read: {error}") from None
    if 8 + length + end != size:
        cut = "cut off, as an unfinished download is" if 8 + length + end > size else "too many"
        raise LayoutError(f"{path.name!r} is damaged: {size} of {8 + length + end} bytes ({cut})")
    return tensors


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; ValueError where a name is not valid text or occurs twice, which readers interpret differently."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{shown(name)} occurs twice")
        found[name] = value
    "".join(found).encode()  # half a surrogate pair is not valid
    return found


def _check_notes(notes: Any) -> None:
    """ValueError where the file's notes are not what the library that loads the tensors requires."""
    texts = isinstance(notes, dict) and all(isinstance(value, str) for value in notes.values())
    if notes is not None and not texts:
        raise ValueError(f"__metadata__ is {shown(notes)}, not texts by name")


def _tensor(name: str, entry: Any, spans: list[tuple[int, int]]) -> Tensor:
    """One entry of the header; adds the range of its bytes, counted from the end of the header, to ``spans``."""
    if not isinstance(entry, dict):
        raise ValueError(f"tensor {shown(name)} is not a JSON object")
    dtype, shape, place = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise ValueError(f"tensor {shown(name)} is of type {shown(dtype)}; known are {', '.join(_BITS)}")
    if not _are_sizes(shape) or not _are_sizes(place) or len(place) != 2:
        raise ValueError(f"tensor {shown(name)} has shape {shown(shape)} and place {shown(place)}")
    if 8 * (place[1] - place[0]) != _BITS[dtype] * math.prod(shape):
        raise ValueError(f"tensor {shown(name)} of shape {shown(shape)} has the place {shown(place)}")
    spans.append((place[0], place[1]))
    return Tensor(dtype, tuple(shape))


def _are_sizes(values: Any) -> TypeGuard[list[int]]:
    few = isinstance(values, list) and len(values) <= 16
    return few and all(type(value) is int and 0 <= value < 1 << 48 for value in values)


def _end(spans: list[tuple[int, int]]) -> int:
    """How many bytes the tensors take; ValueError where they overlap or leave gaps."""
    end = 0
    for first, after in sorted(spans):
        if first != end:
            raise ValueError(f"bytes {min(first, end)} to {max(first, end)} belong to no tensor, or to two")
        end = after
    return end


def _what_else(start: bytes, length: int, size: int) -> str:
    """What a file is that does not start as safetensors files do."""
    first = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    if size < 10:
        return (
            "is not a safetensors file: it is empty" if size == 0 else f"is not a safetensors file: it has {size} bytes"
        )
    if start.startswith(b"PK\x03\x04") or (start[0] == 0x80 and 2 <= start[1] <= 5):
        return f"is not a safetensors file but {_PICKLE}"
    if start.startswith(b"version https://git-lfs"):
        return "is not a safetensors file but a Git LFS pointer: fetch the file itself (git lfs pull, or a download)"
    if first.lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "is not a safetensors file but a web page, as a refused download leaves it: download it again"
    if start.startswith(b"GGUF"):
        return "is not a safetensors file but a GGUF file, which is not read here"
    if not start.strip(b"\x00"):
        return "is damaged: it starts with zeros only, as an unfinished download does"
    text = first.decode("utf-8", "replace").split("\n")[0][:60]
    if text and text.isprintable() and "\ufffd" not in text:
        return f"is not a safetensors file but text that starts with {shown(text)}: download it again"
    return f"is damaged: its header claims {length} of {size} bytes; at most {MAX_HEADER_BYTES} are read"
