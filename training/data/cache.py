"""Decoded pictures, memory-mapped: decoded once for all runs, checked when first read.

A start opens the existing shards (shards.py) and decodes only pictures that none of them contains. A lock is held while
decoding; a second trainer waits and finds the work done. A killed trainer leaves a temporary file, which the next one
removes. A damaged shard is regenerated; a damaged entry is decoded again from its file.
"""

import shutil
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acusim.errors import OutputError
from acusim.files import is_part, sha256
from acusim.lock import LOCK_FILE, Lock
from acusim.parallel import map_each
from training.data.progress import Progress, Say
from training.data.shards import (
    SUFFIX,
    Shard,
    ShardError,
    Source,
    Task,
    bytes_each,
    decode,
    make_shard,
    open_shard,
    per_shard,
    read_source,
    repair,
    why_not,
)

_FEW = 64
"""Up to so many pictures are decoded in this process, since others would take longer to start."""


class PictureCache:
    """The pixels of some pictures, in the order of the sources; may be read from several threads.

    Args:
        size: side of the pictures in pixels.
        sources: the files they come from.
        places: the shard and the index in it of each.
        say: called with a message about a damaged entry.
    """

    def __init__(self, size: int, sources: Sequence[Source], places: Sequence[tuple[Shard, int]], say: Say):
        self.size = size
        self._sources, self._places, self._say = tuple(sources), tuple(places), say
        self._checked = np.zeros(len(sources), bool)
        self._kept: dict[int, NDArray[np.uint8]] = {}
        self._repairing = threading.Lock()

    def __len__(self) -> int:
        return len(self._sources)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """[size, size, 3] uint8 RGB, read-only.

        Raises:
            PictureError: the entry is damaged and its file is missing or has changed.
        """
        if index in self._kept:
            return self._kept[index]
        shard, slot = self._places[index]
        pixels = shard.pixels[slot]
        if not self._checked[index]:
            if zlib.crc32(pixels.data) != shard.crcs[slot]:
                return self._repaired(index)
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

    def _repaired(self, index: int) -> NDArray[np.uint8]:
        source, (shard, slot) = self._sources[index], self._places[index]
        with self._repairing:
            if index in self._kept:
                return self._kept[index]
            self._say(f"cache: the entry of {source.name} in {shard.path.name} is damaged; it is decoded again")
            pixels, _ = decode(read_source(source), source, self.size)
            right = zlib.crc32(pixels.data) == shard.crcs[slot]
            if right and repair(shard, slot, pixels) and zlib.crc32(shard.pixels[slot].data) == shard.crcs[slot]:
                return shard.pixels[slot]
            self._kept[index] = pixels
            return pixels


def open_cache(
    folder: Path, sources: Sequence[Source], size: int, workers: int, progress: Progress, say: Say
) -> tuple[PictureCache, list[int], dict[int, str]]:
    """Opens the cache of some pictures, after decoding those that it lacks.

    Args:
        folder: of caches; one folder serves any number of data sets and sizes.
        sources: the pictures.
        size: side in pixels; larger pictures are reduced, see shards.decode.
        workers: processes that decode.
        progress: called with how many of the missing pictures are decoded.
        say: called with a message about damage or waiting.

    Returns:
        The cache of the usable pictures; the indices of their sources, in order; and why the others are not usable.

    Raises:
        OutputError: not enough space, or the folder cannot be written.
    """
    place = folder / f"img_{size}"
    found, damaged = _open_shards(place, size)
    failed: dict[Source, str] = {}
    if damaged or _missing(sources, found):
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cache {str(place)!r} cannot be created: {error.strerror or error}") from None
        with _lock(folder, say):
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
    """The shard and index of each picture by its file's SHA-256; and damaged shards with the reason."""
    found: dict[str, tuple[Shard, int]] = {}
    damaged: dict[Path, str] = {}
    for path in sorted(place.glob(f"[!.]*{SUFFIX}")):
        try:
            shard = open_shard(path, size)
        except FileNotFoundError:  # another process just removed it as damaged
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
    """Removes damaged shards and temporary files; only while the lock is held."""
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
            f"cache {str(place)!r}: {len(missing)} pictures need {needed:,} bytes and {free:,} are free; "
            "free some space, name another folder for the cache, or choose a smaller size"
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
    for task, reasons in map_each(make_shard, tasks, workers if len(missing) > _FEW else 1):
        failed.update(reasons)
        done += len(task.sources)
        progress("decode", done, len(missing))


def _lock(folder: Path, say: Say) -> Lock:
    """A lock that goes with the process and waits for another trainer."""

    def on_wait(owner: str) -> None:
        say(f"cache: another process decodes pictures into {str(folder)!r} ({owner}); this one waits for it")

    return Lock(folder / LOCK_FILE, "trainer", folder, on_wait)
