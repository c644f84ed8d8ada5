"""Decoded pictures, memory-mapped: decoded once for all runs, checked when first read.

A start opens the shards (shards.py) that are there, and decodes only pictures that none of them holds. Whoever decodes
holds a lock meanwhile; a second trainer waits and finds the work done. What a killed one leaves behind is a part file,
which the next one removes. A damaged shard is made again; a damaged entry is decoded again from its file.
"""

import os
import shutil
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acusim.errors import OutputError
from acusim.files import is_part, sha256
from acusim.lock import LOCK_FILE, open_lock_file, try_lock, wait_for_lock
from training.data.shards import (
    SUFFIX,
    Shard,
    ShardError,
    Source,
    Task,
    bytes_each,
    decode,
    make_shard,
    mend,
    open_shard,
    per_shard,
    read_source,
    why_not,
)
from training.data.threads import Progress, Say, spread

_FEW = 64
"""So few pictures are decoded in this process: others would take longer to start."""


class PictureCache:
    """The pixels of some pictures, in the order in which they were asked for; may be read from several threads.

    Args:
        size: side of the pictures in pixels.
        sources: the files they come from.
        places: the shard and the place in it of each.
        say: told of damaged entries.
    """

    def __init__(self, size: int, sources: Sequence[Source], places: Sequence[tuple[Shard, int]], say: Say):
        self.size = size
        self._sources, self._places, self._say = tuple(sources), tuple(places), say
        self._checked = np.zeros(len(sources), bool)
        self._kept: dict[int, NDArray[np.uint8]] = {}
        self._mending = threading.Lock()

    def __len__(self) -> int:
        return len(self._sources)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """[size, size, 3] uint8 RGB, read-only.

        Raises:
            PictureError: the entry is damaged and its file is gone or another.
        """
        if index in self._kept:
            return self._kept[index]
        shard, slot = self._places[index]
        pixels = shard.pixels[slot]
        if not self._checked[index]:
            if zlib.crc32(pixels.data) != shard.crcs[slot]:
                return self._mended(index)
            self._checked[index] = True
        return pixels

    def read(self, indices: Sequence[int] | NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        """Copies pictures into out [len(indices), size, size, 3]."""
        for row, index in zip(out, indices, strict=True):
            np.copyto(row, self[int(index)])

    def thumbnails(self) -> NDArray[np.uint8]:
        """[N, 32, 32] uint8 grey."""
        rows = [shard.thumbnails[slot] for shard, slot in self._places]
        return np.stack(rows) if rows else np.zeros((0, 32, 32), np.uint8)

    def _mended(self, index: int) -> NDArray[np.uint8]:
        source, (shard, slot) = self._sources[index], self._places[index]
        with self._mending:
            if index in self._kept:
                return self._kept[index]
            self._say(f"cache: the entry of {source.name} in {shard.path.name} is damaged; it is decoded again")
            pixels, _ = decode(read_source(source), source, self.size)
            right = zlib.crc32(pixels.data) == shard.crcs[slot]
            if right and mend(shard, slot, pixels) and zlib.crc32(shard.pixels[slot].data) == shard.crcs[slot]:
                return shard.pixels[slot]
            self._kept[index] = pixels
            return pixels


def open_cache(
    folder: Path, sources: Sequence[Source], size: int, workers: int, progress: Progress, say: Say
) -> tuple[PictureCache, list[int], dict[int, str]]:
    """Opens the cache of some pictures, after decoding those that it lacks.

    Args:
        folder: where caches lie; one folder serves any number of data sets and sizes.
        sources: the pictures.
        size: side in pixels; larger pictures are made smaller, see shards.decode.
        workers: processes that decode.
        progress: told how many of the missing pictures are decoded.
        say: told of what is damaged, and of waiting.

    Returns:
        The cache of the pictures that can be used; which of the sources they are, in order; and why the others cannot.

    Raises:
        OutputError: too little space, or the folder cannot be written.
    """
    place = folder / f"img_{size}"
    found, damaged = _open_shards(place, size)
    failed: dict[Source, str] = {}
    if damaged or _missing(sources, found):
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cache {str(place)!r} cannot be made: {error.strerror or error}") from None
        with locked(folder / LOCK_FILE, say):
            _clean(place, size, say)
            found, _ = _open_shards(place, size)
            missing = _missing(sources, found)
            _build(place, missing, size, workers, progress, failed)
            found, _ = _open_shards(place, size)
    kept: list[int] = []
    reasons: dict[int, str] = {}
    for index, source in enumerate(sources):
        if source.sha256 not in found:
            reasons[index] = failed.get(source, "it could not be decoded")
            continue
        shard, slot = found[source.sha256]
        if wrong := why_not(shard.sides[slot], source):
            reasons[index] = f"picture {source.path.name!r}: {wrong}"
        else:
            kept.append(index)
    cache = PictureCache(size, [sources[i] for i in kept], [found[sources[i].sha256] for i in kept], say)
    return cache, kept, reasons


def _open_shards(place: Path, size: int) -> tuple[dict[str, tuple[Shard, int]], dict[Path, str]]:
    """Where each picture lies by its file's SHA-256; and damaged shards with what is wrong."""
    found: dict[str, tuple[Shard, int]] = {}
    damaged: dict[Path, str] = {}
    for path in sorted(place.glob(f"[!.]*{SUFFIX}")):
        try:
            shard = open_shard(path, size)
        except FileNotFoundError:  # another process just removed it because it is damaged
            continue
        except (ShardError, OSError) as error:
            damaged[path] = str(error)
            continue
        for slot, key in enumerate(shard.keys):
            found.setdefault(key, (shard, slot))
    return found, damaged


def _missing(sources: Sequence[Source], found: dict[str, tuple[Shard, int]]) -> list[Source]:
    return list(dict.fromkeys(source for source in sources if source.sha256 not in found))


def _clean(place: Path, size: int, say: Say) -> None:
    """Removes what killed processes and failing disks left behind; only while the lock is held."""
    for path, reason in _open_shards(place, size)[1].items():
        say(f"cache: {path.name} is damaged ({reason}); its pictures are decoded again")
        path.unlink(missing_ok=True)
    for path in place.iterdir():
        if is_part(path.name):
            path.unlink(missing_ok=True)


def _build(
    place: Path, missing: list[Source], size: int, workers: int, progress: Progress, failed: dict[Source, str]
) -> None:
    needed, free = len(missing) * bytes_each(size), shutil.disk_usage(place).free
    if needed > free:
        raise OutputError(
            f"cache {str(place)!r}: {len(missing)} pictures take {needed:,} bytes and {free:,} are free; "
            "free some space, name another folder for the cache, or take a smaller size"
        )
    step = per_shard(size) if workers == 1 else max(1, min(per_shard(size), -(-len(missing) // workers)))
    tasks: list[Task] = []
    for start in range(0, len(missing), step):
        part = tuple(missing[start : start + step])
        name = sha256("".join(f"{source.sha256} {source.side}\n" for source in part).encode())[:24]
        tasks.append(Task(place / f"{name}{SUFFIX}", size, part))
    done = 0
    if missing:
        progress("decode", 0, len(missing))
    for task, reasons in spread(make_shard, tasks, workers if len(missing) > _FEW else 1):
        failed.update(reasons)
        done += len(task.sources)
        progress("decode", done, len(missing))


@contextmanager
def locked(path: Path, say: Say) -> Iterator[None]:
    """Holds a lock that goes with the process; says so where it has to wait.

    Raises:
        OutputError: the lock's file cannot be made.
    """
    try:
        handle = open_lock_file(path)
    except OSError as error:
        raise OutputError(f"cache: lock {str(path)!r} cannot be made: {error.strerror or error}") from None
    try:
        try:
            if not try_lock(handle):
                say(f"cache: another process decodes pictures into {str(path.parent)!r}; this one waits for it")
                wait_for_lock(handle)
        except OSError as error:
            raise OutputError(f"cache: lock {str(path)!r} cannot be used: {error.strerror or error}") from None
        yield
    finally:
        os.close(handle)
