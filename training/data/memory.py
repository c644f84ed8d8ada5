"""Hashes of files and depths of points, stored so that the next start need not compute them again.

One SQLite file in the cache's folder. A file's hash is valid as long as its size and time are unchanged; depths are
keyed by the content of the depth map and the label. If the file is damaged or not writable, all is computed again.
"""

import os
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acusim.errors import AcuSimError
from acusim.files import sha256
from acusim.pictures import read_file
from training.data.progress import Say

FILE = "known.sqlite"
_WAIT_SECONDS = 60.0
_CHUNK = 2000
_TABLES = (
    "CREATE TABLE IF NOT EXISTS file (path TEXT PRIMARY KEY, size INT, time INT, sha256 TEXT) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS depth (key TEXT PRIMARY KEY, crc INT, mm BLOB) WITHOUT ROWID",
)


class Memory:
    """The stored values.

    Args:
        folder: the cache's folder, created where missing.
        say: called with a message about a damaged file.
    """

    def __init__(self, folder: Path, say: Say):
        self._say = say
        self._db: sqlite3.Connection | None = None
        path = folder / FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                self._db = self._open(path)
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):  # locked, read-only or full, not damaged
                    raise
                say(f"cache: {path.name} is damaged ({error}); the files are read again")
                path.unlink(missing_ok=True)
                self._db = self._open(path)
        except (OSError, sqlite3.Error) as error:
            say(f"cache: {str(path)!r} cannot be used ({error}); the files are read again at each start")

    @staticmethod
    def _open(path: Path) -> sqlite3.Connection:
        path.touch()  # SQLite would create it for its owner alone, whatever the umask
        db = sqlite3.connect(path, timeout=_WAIT_SECONDS)
        try:
            (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise sqlite3.DatabaseError(verdict)
            with db:
                for table in _TABLES:
                    db.execute(table)
        except BaseException:
            db.close()
            raise
        return db

    def close(self) -> None:
        """Closes the file."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def _get(self, query: str, keys: Iterable[str]) -> dict[str, tuple[Any, ...]]:
        if self._db is None:
            return {}
        try:
            rows = ((key, self._db.execute(query, (key,)).fetchone()) for key in keys)
            return {key: row for key, row in rows if row is not None}
        except sqlite3.Error as error:
            self._say(f"cache: {FILE} cannot be read ({error}); the files are read again")
            return {}

    def _put(self, query: str, rows: Iterable[tuple[Any, ...]]) -> None:
        if self._db is None:
            return
        try:
            with self._db:
                self._db.executemany(query, rows)
        except sqlite3.Error as error:
            self._say(f"cache: {FILE} cannot be written ({error}); the files are read again at the next start")
            self.close()

    def hashes(
        self, paths: Sequence[Path], threads: int, progress: Callable[[int, int], None], what: str = "picture"
    ) -> list[str | AcuSimError]:
        """The SHA-256 of each file, or the error of one that cannot be read.

        Args:
            paths: the files.
            threads: how many read at the same time.
            progress: called with how many of the unknown files are read, and of how many.
            what: name of such a file in messages.
        """
        known = self._get("SELECT size, time, sha256 FROM file WHERE path = ?", map(os.fspath, paths))
        out: list[str | AcuSimError] = [""] * len(paths)
        unknown: list[tuple[int, tuple[int, int]]] = []
        for index, path in enumerate(paths):
            try:
                status = path.stat()
                now = (status.st_size, status.st_mtime_ns)
            except OSError:
                now = (-1, -1)
            before = known.get(os.fspath(path))
            if before is not None and before[:2] == now:
                out[index] = before[2]
            else:
                unknown.append((index, now))

        def digest(item: tuple[int, tuple[int, int]]) -> str | AcuSimError:
            try:
                return sha256(read_file(paths[item[0]], what))
            except AcuSimError as error:
                return error

        with ThreadPoolExecutor(max(1, threads)) as pool:
            for start in range(0, len(unknown), _CHUNK):
                part = unknown[start : start + _CHUNK]
                rows: list[tuple[str, int, int, str]] = []
                for (index, now), result in zip(part, pool.map(digest, part), strict=True):
                    out[index] = result
                    if isinstance(result, str):
                        rows.append((os.fspath(paths[index]), *now, result))
                self._put("INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?)", rows)
                progress(start + len(part), len(unknown))
        return out

    def depths(self, keys: Iterable[str], count: int) -> dict[str, NDArray[np.float32]]:
        """Stored depths [count] by their key."""
        rows = self._get("SELECT crc, mm FROM depth WHERE key = ?", keys)
        return {
            key: np.frombuffer(data, np.float32)
            for key, (crc, data) in rows.items()
            if isinstance(data, bytes) and len(data) == 4 * count and zlib.crc32(data) == crc
        }

    def keep_depths(self, depths: Iterable[tuple[str, NDArray[np.float32]]]) -> None:
        """Stores depths by their key."""
        rows = ((key, zlib.crc32(data), data) for key, values in depths for data in (values.tobytes(),))
        self._put("INSERT OR REPLACE INTO depth VALUES (?, ?, ?)", rows)
