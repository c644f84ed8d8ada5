"""SHA-256 of large files, cached from run to run.

A cached hash is valid as long as the file's size, time and inode are the same. The cache is
``model_hashes`` of acusim.caches; without it only time is lost.
"""

import hashlib
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

from acusim.caches import cache_path
from acusim.errors import ConfigError, EngineError
from acusim.files import printable, write_atomic

CHUNK = 8 << 20
SHOWN_FROM = 256 << 20
"""Bytes; for larger files progress is shown."""
SETTLED_NS = 2_000_000_000
"""A younger file might be rewritten within one tick of its disk's clock, which its time would not show."""
KEPT = 256
"""Files in the cache."""
MAX_CACHE_BYTES = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")


def file_sha256(path: Path) -> str:
    """Hex digest of a file; read only if it changed since it was cached.

    Raises:
        EngineError: it cannot be read, or changes while it is read.
    """
    real = os.path.realpath(path)
    try:
        with open(real, "rb") as stream:
            stamp = _stamp(stream.fileno())
            cached = _read_cache().get(real)
            if isinstance(cached, dict) and all(cached.get(key) == value for key, value in stamp.items()):
                digest = cached.get("sha256")
                if isinstance(digest, str) and _SHA256.fullmatch(digest):
                    return digest
            digest = _digest(stream, path.name, stamp["size"])
            if _stamp(stream.fileno()) != stamp:
                raise EngineError(f"{str(path)!r} changed while it was read; run again when nothing writes to it")
    except OSError as error:
        raise EngineError(f"{str(path)!r} cannot be read: {error.strerror or error}") from None
    if time.time_ns() - stamp["mtime_ns"] > SETTLED_NS:
        _store(real, {**stamp, "sha256": digest})
    return digest


def _digest(stream: Any, name: str, size: int) -> str:
    digest, buffer = hashlib.sha256(), memoryview(bytearray(CHUNK))
    quiet = size < SHOWN_FROM or not sys.stderr.isatty()
    with tqdm(total=size, unit="B", unit_scale=True, desc=f"hash of {printable(name)}", disable=quiet) as bar:
        while count := stream.readinto(buffer):
            digest.update(buffer[:count])
            bar.update(count)
    return digest.hexdigest()


def _stamp(handle: int) -> dict[str, int]:
    state = os.fstat(handle)
    return {"size": state.st_size, "mtime_ns": state.st_mtime_ns, "inode": state.st_ino}


def _cache() -> Path | None:
    """The file of the cache; None without a home folder."""
    try:
        return cache_path("model_hashes")
    except ConfigError:
        return None


def _read_cache() -> dict[str, Any]:
    """The cached entries, by real path; empty where the file is missing or damaged."""
    path = _cache()
    try:
        if path is None or path.stat().st_size > MAX_CACHE_BYTES:
            return {}
        files = json.loads(path.read_bytes())["files"]
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return {}
    return files if isinstance(files, dict) else {}


def _store(real: str, entry: dict[str, Any]) -> None:
    path = _cache()
    if path is None:
        return
    files = _read_cache()
    files.pop(real, None)
    files[real] = entry
    kept = dict(list(files.items())[-KEPT:])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps({"files": kept}, indent=1).encode())
    except (OSError, ValueError):  # only time is lost
        return
