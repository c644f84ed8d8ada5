"""Files of decoded pictures: how one is written, read and checked.

    <cache>/img_<size>/<name>.pictures

    pixels      [n, size, size, 3] uint8 RGB
    thumbnails  [n, 32, 32] uint8 grey
    index       JSON: format, size, CRC-32 of the thumbnails; for each picture the SHA-256 of its file, the CRC-32 of
                its pixels, its side as read
    end         CRC-32 and length of the index, eight letters

A picture is known by the SHA-256 of the file it was decoded from, so equal files share one entry and a changed file
is never paired with its old pixels. A shard is written to a temporary file and renamed; only a damaged entry is ever
changed in it.
"""

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acusim.errors import OutputError, PictureError
from acusim.files import sha256, write_atomic
from acusim.pictures import decode_rgb, read_file

FORMAT = 1
"""Raised whenever acusim.pictures decodes anything in another way."""
SUFFIX = ".pictures"
THUMBNAIL = 32
FLAT = 1e-3
"""A thumbnail that varies less, in grey levels, is not compared."""
MAX_SIDE = 4096
_SHARD_BYTES = 128 << 20
_SHARD_PICTURES = 1024
_ENTRY_BYTES = 160
"""Upper bound of a picture's share of the index."""
_END = struct.Struct("<IQ8s")
_MAGIC = b"ACUSHARD"


@dataclass(frozen=True, slots=True)
class Source:
    """A picture file to decode."""

    path: Path
    name: str
    """Its name in messages: relative to its root."""
    sha256: str
    """Of the file."""
    side: int
    """Side in pixels that its folder states."""


@dataclass(frozen=True, slots=True)
class Task:
    """A shard to write."""

    path: Path
    size: int
    sources: tuple[Source, ...]


class ShardError(ValueError):
    """A shard's file is damaged or of another format."""


@dataclass(slots=True, eq=False)
class Shard:
    """An opened shard."""

    path: Path
    size: int
    keys: tuple[str, ...]
    """SHA-256 of each picture's file."""
    crcs: tuple[int, ...]
    sides: tuple[int, ...]
    """Side of each picture as it was read, before it was reduced."""
    pixels: NDArray[np.uint8]
    """[n, size, size, 3], memory-mapped."""
    thumbnails: NDArray[np.uint8]
    """[n, 32, 32], memory-mapped."""


def per_shard(size: int) -> int:
    """How many pictures a shard holds at most."""
    return max(1, min(_SHARD_PICTURES, _SHARD_BYTES // (3 * size * size)))


def bytes_each(size: int) -> int:
    """Most bytes of a picture on the disk."""
    return 3 * size * size + THUMBNAIL * THUMBNAIL + _ENTRY_BYTES


def why_not(side: int, source: Source) -> str | None:
    """Why a square picture of that side is not usable; None if it is."""
    return None if side == source.side else f"{side} x {side} pixels in a folder of size {source.side}"


def decode(data: bytes, source: Source, size: int) -> tuple[NDArray[np.uint8], int]:
    """The pixels for a model: as acusim.pictures decodes them, a larger picture averaged over areas.

    Averaging whole areas keeps every point of the picture at the same share of its side.

    Returns:
        [size, size, 3] uint8 RGB, and the picture's own side.

    Raises:
        PictureError: it cannot be decoded, is not square, or not of the side that its folder states.
    """
    import cv2

    pixels = decode_rgb(data, source.path.name).pixels
    height, width = pixels.shape[:2]
    if height != width:
        raise PictureError(f"picture {source.path.name!r}: {width} x {height} pixels; a picture of a head is square")
    if wrong := why_not(width, source):
        raise PictureError(f"picture {source.path.name!r}: {wrong}")
    if width != size:
        pixels = np.asarray(cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA), np.uint8)
    return pixels, width


def read_source(source: Source) -> bytes:
    """The bytes of the file, which must still have the source's hash.

    Raises:
        PictureError: it cannot be read, or its content has changed.
    """
    data = read_file(source.path)
    if sha256(data) != source.sha256:
        raise PictureError(f"picture {source.path.name!r}: changed meanwhile; start again")
    return data


def thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[32, 32] grey."""
    import cv2

    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA), np.uint8)


def unit_thumbnails(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """[N, 32, 32] -> [N, 1024] without mean and of length 1; flat ones NaN, which is near nothing."""
    flat = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    flat -= flat.mean(1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return flat / np.where(length < FLAT * flat.shape[1] ** 0.5, np.float32(np.nan), length)


def make_shard(task: Task) -> tuple[Task, dict[Source, str]]:
    """Decodes the pictures of a shard and writes it.

    Returns:
        The task, and the sources that are not usable with the reason.

    Raises:
        OutputError: it cannot be written.
    """
    failed: dict[Source, str] = {}
    try:
        write_atomic(task.path, _pieces(task, failed))
        if len(failed) == len(task.sources):
            task.path.unlink()
    except OSError as error:
        raise OutputError(f"cache {str(task.path.parent)!r} cannot be written: {error.strerror or error}") from None
    return task, failed


def _pieces(task: Task, failed: dict[Source, str]) -> Iterator[bytes]:
    import cv2

    cv2.setNumThreads(1)
    keys: list[str] = []
    crcs: list[int] = []
    sides: list[int] = []
    thumbnails: list[bytes] = []
    for source in task.sources:
        try:
            pixels, side = decode(read_source(source), source, task.size)
        except PictureError as error:
            failed[source] = str(error)
            continue
        data = pixels.tobytes()
        keys.append(source.sha256)
        crcs.append(zlib.crc32(data))
        sides.append(side)
        thumbnails.append(thumbnail(pixels).tobytes())
        yield data
    yield from thumbnails
    index = {
        "format": FORMAT,
        "size": task.size,
        "keys": keys,
        "crcs": crcs,
        "sides": sides,
        "thumbnails": zlib.crc32(b"".join(thumbnails)),
    }
    text = json.dumps(index, separators=(",", ":")).encode()
    yield text
    yield _END.pack(zlib.crc32(text), len(text), _MAGIC)


def open_shard(path: Path, size: int) -> Shard:
    """Opens a shard.

    Raises:
        ShardError: damaged, cut off, or of another format.
        OSError: it cannot be read.
    """
    with open(path, "rb") as stream:
        total = stream.seek(0, 2)
        if total < _END.size:
            raise ShardError("it is cut off")
        stream.seek(total - _END.size)
        crc, length, magic = _END.unpack(stream.read(_END.size))
        if magic != _MAGIC or length > total - _END.size:
            raise ShardError("it is cut off or damaged")
        stream.seek(total - _END.size - length)
        text = stream.read(length)
    if zlib.crc32(text) != crc:
        raise ShardError("its index is damaged")
    index = json.loads(text)
    if index["format"] != FORMAT or index["size"] != size:
        raise ShardError("it is of another format")
    keys, crcs, sides = tuple(index["keys"]), tuple(index["crcs"]), tuple(index["sides"])
    count = len(keys)
    pixel_bytes, thumbnail_bytes = 3 * count * size * size, count * THUMBNAIL * THUMBNAIL
    if total != pixel_bytes + thumbnail_bytes + length + _END.size:
        raise ShardError("its length is wrong")
    whole = np.memmap(path, np.uint8, "r")
    pixels = whole[:pixel_bytes].reshape(count, size, size, 3)
    thumbnails = whole[pixel_bytes : pixel_bytes + thumbnail_bytes].reshape(count, THUMBNAIL, THUMBNAIL)
    if zlib.crc32(thumbnails.data) != index["thumbnails"]:
        raise ShardError("its thumbnails are damaged")
    return Shard(path, size, keys, crcs, sides, pixels, thumbnails)


def repair(shard: Shard, slot: int, pixels: NDArray[np.uint8]) -> bool:
    """Writes the correct pixels of a damaged entry; False if the file cannot be written."""
    try:
        with open(shard.path, "r+b") as stream:
            stream.seek(3 * shard.size * shard.size * slot)
            stream.write(pixels.tobytes())
    except OSError:
        return False
    return True
