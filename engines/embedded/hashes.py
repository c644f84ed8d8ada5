"""SHA-256 of large files, remembered from run to run.

What is remembered counts as long as the file's size, time and inode are the same. It lies in
``$XDG_CACHE_HOME/acusim-augment/weights.json`` (``~/.cache`` by default); without it nothing breaks but time.
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

from acusim.errors import EngineError
from acusim.files import printable, write_atomic

CHUNK = 8 << 20
SHOWN_FROM = 256 << 20
"""Bytes from which on progress is shown."""
SETTLED_NS = 2_000_000_000
"""A younger file might be written again within one tick of its disk's clock, which its time would not show."""
KEPT = 256
"""Files that are remembered."""
MAX_CACHE_BYTES = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")


def file_sha256(path: Path) -> str:
    """Hex digest of a file; read only if it changed since the last time.

    Raises:
        EngineError: it cannot be read, or changes meanwhile.
    """
    real = os.path.realpath(path)
    try:
        with open(real, "rb") as stream:
            stamp = _stamp(stream.fileno())
            remembered = _read_cache().get(real)
            if isinstance(remembered, dict) and all(remembered.get(key) == value for key, value in stamp.items()):
                digest = remembered.get("sha256")
                if isinstance(digest, str) and _SHA256.fullmatch(digest):
                    return digest
            digest = _digest(stream, path.name, stamp["size"])
            if _stamp(stream.fileno()) != stamp:
                raise EngineError(f"{str(path)!r} changed while it was read; run again when nothing writes to it")
    except OSError as error:
        raise EngineError(f"{str(path)!r} cannot be read: {error.strerror or error}") from None
    if time.time_ns() - stamp["mtime_ns"] > SETTLED_NS:
        _remember(real, {**stamp, "sha256": digest})
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
    """The file that remembers; None where there is no home to keep it in."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        folder = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    except RuntimeError:
        return None
    return folder / "acusim-augment" / "weights.json"


def _read_cache() -> dict[str, Any]:
    """What is remembered, by real path; nothing where the file is missing or damaged."""
    path = _cache()
    try:
        if path is None or path.stat().st_size > MAX_CACHE_BYTES:
            return {}
        files = json.loads(path.read_bytes())["files"]
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return {}
    return files if isinstance(files, dict) else {}


def _remember(real: str, facts: dict[str, Any]) -> None:
    path = _cache()
    if path is None:
        return
    files = _read_cache()
    files.pop(real, None)
    files[real] = facts
    kept = dict(list(files.items())[-KEPT:])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps({"files": kept}, indent=1).encode())
    except (OSError, ValueError):  # only time is lost
        return
