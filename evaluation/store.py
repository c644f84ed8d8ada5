"""Measurements by the content of the files they were taken on, so that an interrupted run is resumed.

One SQLite file in the output folder. The parent process writes; workers only read.
"""

import json
import sqlite3
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from acusim.errors import OutputError

FILE = "measured.sqlite"
FLUSH_SECONDS = 2.0
_WAIT_SECONDS = 60.0


class Store:
    """The parent's side: collects records and writes them every few seconds."""

    def __init__(self, folder: Path):
        self.path = folder / FILE
        self._waiting: dict[str, str] = {}
        self._last = time.monotonic()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.path.touch()  # SQLite would let nobody but its owner write to it, whatever the umask
            self._db = sqlite3.connect(self.path, timeout=_WAIT_SECONDS)
            self._db.execute("CREATE TABLE IF NOT EXISTS measured (key TEXT PRIMARY KEY, record TEXT) WITHOUT ROWID")
            self._db.commit()
        except (OSError, sqlite3.Error) as error:
            raise OutputError(
                f"{str(self.path)!r} cannot be written: {error}; repair it or name another --out"
            ) from None

    def add(self, records: Iterable[tuple[str, Any]]) -> None:
        """Keeps some records; writes them if the last write was long ago."""
        self._waiting.update((key, json.dumps(record, allow_nan=False)) for key, record in records)
        if time.monotonic() - self._last > FLUSH_SECONDS:
            self.flush()

    def by_content(self) -> dict[str, list[tuple[str, Any]]]:
        """The records that are written, with their keys, by each hash of a file in them."""
        found: dict[str, list[tuple[str, Any]]] = {}
        for key, text in self._db.execute("SELECT key, record FROM measured"):
            with suppress(ValueError):  # damaged: measured again
                entry = key, json.loads(text)
                for word in str(key).split():
                    if len(word) == 64:
                        found.setdefault(word, []).append(entry)
        return found

    def flush(self) -> None:
        """Writes the waiting records.

        Raises:
            OutputError: the disk is full or the file is damaged.
        """
        try:
            with self._db:
                self._db.executemany("INSERT OR REPLACE INTO measured VALUES (?, ?)", self._waiting.items())
        except sqlite3.Error as error:
            raise OutputError(f"{str(self.path)!r} cannot be written: {error}") from None
        self._waiting.clear()
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.flush()
        finally:
            self._db.close()


class Reader:
    """A worker's side."""

    def __init__(self, path: Path):
        self._db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_WAIT_SECONDS)

    def get(self, key: str) -> Any | None:
        """The record of a key, None if there is none or it is damaged."""
        try:
            row = self._db.execute("SELECT record FROM measured WHERE key = ?", (key,)).fetchone()
            return json.loads(row[0]) if row else None
        except (sqlite3.Error, ValueError):
            return None
