"""The ledger: what is planned, running, done or set aside, in OUT/.acusim/ledger.sqlite.

An item is one output picture, keyed by its path relative to OUT. A picture is a function of its item alone, so an
item that was cut off is simply made again, to the same bytes; only what is *done* is never touched.
"""

import fcntl
import json
import os
import socket
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from acusim.errors import ConfigError, OutputError

STATE_FOLDER = ".acusim"
LEDGER_FILE = "ledger.sqlite"
PLANNED, RUNNING, DONE, SET_ASIDE = "planned", "running", "done", "set aside"
LOCK_TRIES = 25
STATES = (PLANNED, RUNNING, DONE, SET_ASIDE)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS items (
    key TEXT PRIMARY KEY,           -- output picture, relative to OUT
    state TEXT NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,   -- how often it was started; does not decide a pixel
    attempt INTEGER NOT NULL DEFAULT 0, -- which re-roll is the one on disk; decides the seed
    reason TEXT,                    -- why it was set aside
    sha256 TEXT, bytes INTEGER,     -- of the picture on disk
    record TEXT,                    -- JSON: the manifest's line
    seconds REAL,
    stamp TEXT                      -- size and time of the sources, to notice a change
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS items_by_state ON items (state);
"""


@dataclass(frozen=True, slots=True)
class Done:
    """An item that was made."""

    key: str
    attempt: int
    sha256: str
    size: int
    record: dict[str, Any]
    seconds: float
    stamp: str
    """Size and time of the sources when the work began."""


class Ledger:
    """The open ledger. Use it as a context manager; changes are kept by commit()."""

    def __init__(self, path: Path, read_only: bool = False):
        self._path = path
        for suffix in ("", "-wal", "-shm", "-journal"):
            file = path.with_name(path.name + suffix)
            if file.is_symlink() or (file.exists() and not file.is_file()):
                raise ConfigError(f"ledger {str(file)!r} is a link or not a regular file; it must lie in OUT itself")
        address = path.absolute().as_uri()
        with self._guard():
            if read_only:
                self._db = self._open_read_only(address)
            else:
                self._db = sqlite3.connect(f"{address}?mode=rwc", uri=True, timeout=10)
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=NORMAL")
                self._db.executescript(_SCHEMA)

    def _open_read_only(self, address: str) -> sqlite3.Connection:
        database = sqlite3.connect(f"{address}?mode=ro", uri=True, timeout=10)
        try:
            database.execute("SELECT COUNT(*) FROM meta").fetchone()
            return database
        except sqlite3.OperationalError:
            # On a read-only disk the log of changes cannot be opened; if it is empty, none is needed.
            log = self._path.with_name(f"{self._path.name}-wal")
            if log.exists() and log.stat().st_size:
                raise
            database.close()
            return sqlite3.connect(f"{address}?mode=ro&immutable=1", uri=True)

    @contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            text = str(error)
            if "no such table" in text:
                raise ConfigError(f"ledger {str(self._path)!r} is empty: no batch got as far as planning") from None
            if "not a database" in text or "malformed" in text:
                raise ConfigError(
                    f"ledger {str(self._path)!r} is damaged ({text}); the pictures beside it are whole: "
                    "move them away, or use another --output"
                ) from None
            raise OutputError(f"ledger {str(self._path)!r} cannot be used: {text}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def commit(self) -> None:
        """Makes everything since the last commit last."""
        with self._guard():
            self._db.commit()

    def get_meta(self, name: str) -> Any:
        """A stored JSON value, None if there is none."""
        with self._guard():
            row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        try:
            return json.loads(row[0]) if row else None
        except ValueError:
            raise ConfigError(
                f"ledger {str(self._path)!r}: the entry {name!r} is damaged; use another --output"
            ) from None

    def set_meta(self, name: str, value: Any) -> None:
        """Stores a JSON value."""
        with self._guard():
            self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, json.dumps(value, ensure_ascii=False)))

    def plan(self, keys: Iterable[str]) -> None:
        """Adds items that are not known yet."""
        with self._guard():
            self._db.executemany(
                "INSERT OR IGNORE INTO items (key, state) VALUES (?, ?)", ((key, PLANNED) for key in keys)
            )

    def recover(self) -> int:
        """Puts what was running when the last controller died back to planned; returns how many."""
        with self._guard():
            return self._db.execute("UPDATE items SET state = ? WHERE state = ?", (PLANNED, RUNNING)).rowcount

    def replan(self, keys: Iterable[str]) -> None:
        """Puts items back to planned, whatever they were."""
        with self._guard():
            self._db.executemany("UPDATE items SET state = ? WHERE key = ?", ((PLANNED, key) for key in keys))

    def start(self, keys: Iterable[str]) -> None:
        """Marks items as running."""
        with self._guard():
            self._db.executemany(
                "UPDATE items SET state = ?, tries = tries + 1, reason = NULL WHERE key = ?",
                ((RUNNING, key) for key in keys),
            )

    def finish(self, done: Iterable[Done]) -> None:
        """Marks items as done."""
        with self._guard():
            self._db.executemany(
                "UPDATE items SET state = ?, attempt = ?, sha256 = ?, bytes = ?, record = ?, seconds = ?, "
                "stamp = ?, reason = NULL WHERE key = ?",
                (
                    (
                        DONE,
                        d.attempt,
                        d.sha256,
                        d.size,
                        json.dumps(d.record, ensure_ascii=False),
                        d.seconds,
                        d.stamp,
                        d.key,
                    )
                    for d in done
                ),
            )

    def set_aside(self, reasons: Iterable[tuple[str, str, list[dict[str, Any]]]]) -> None:
        """Marks (key, reason, the gate's attempts) as set aside; adds unknown keys, leaves what is done."""
        with self._guard():
            self._db.executemany(
                "INSERT INTO items (key, state, reason, record) VALUES (?1, ?3, ?2, ?5) ON CONFLICT (key) DO UPDATE "
                "SET state = ?3, reason = ?2, sha256 = NULL, bytes = NULL, record = ?5 WHERE state != ?4",
                ((key, reason, SET_ASIDE, DONE, _told(attempts)) for key, reason, attempts in reasons),
            )

    def forget(self, keys: Iterable[str]) -> None:
        """Removes items, such as a damaged file that is not in the dataset any more."""
        with self._guard():
            self._db.executemany("DELETE FROM items WHERE key = ?", ((key,) for key in keys))

    def counts(self) -> dict[str, int]:
        """How many items are in each state, all four of them named."""
        with self._guard():
            found = dict(self._db.execute("SELECT state, COUNT(*) FROM items GROUP BY state").fetchall())
        return {state: found.get(state, 0) for state in STATES}

    def states(self) -> dict[str, tuple[str, int | None, str | None]]:
        """Key -> (state, bytes of the picture, stamp of its sources)."""
        with self._guard():
            rows = self._db.execute("SELECT key, state, bytes, stamp FROM items")
            return {key: (state, size, stamp) for key, state, size, stamp in rows}

    def stamp(self, stamps: Iterable[tuple[str, str]]) -> None:
        """Notes new stamps of sources that were found unchanged."""
        with self._guard():
            self._db.executemany("UPDATE items SET stamp = ?2 WHERE key = ?1", stamps)

    def record(self, key: str) -> dict[str, Any]:
        """The record of one done item, empty if there is none."""
        with self._guard():
            row = self._db.execute("SELECT sha256, record FROM items WHERE key = ?", (key,)).fetchone()
        return _whole_record(*row) if row and row[1] else {}

    def outcomes(self) -> Iterator[tuple[str, str | None, dict[str, Any]]]:
        """(key, why it is set aside or None, record) of each item that is done or set aside, by key."""
        with self._guard():
            query = "SELECT key, state, sha256, record, reason FROM items WHERE state IN (?, ?) ORDER BY key"
            for key, state, digest, record, reason in self._db.execute(query, (DONE, SET_ASIDE)):
                if state == DONE:
                    yield key, None, _whole_record(digest, record)
                else:
                    yield key, reason, json.loads(record) if record else {}

    def prompt_sets(self) -> list[tuple[str, str]]:
        """(key, prompt set) of each done item, by key."""
        with self._guard():
            query = "SELECT key, json_extract(record, '$.prompt_set') FROM items WHERE state = ? ORDER BY key"
            return self._db.execute(query, (DONE,)).fetchall()

    def records(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """(key, record) of each done item, by key."""
        with self._guard():
            cursor = self._db.execute("SELECT key, sha256, record FROM items WHERE state = ? ORDER BY key", (DONE,))
            for key, digest, record in cursor:
                yield key, _whole_record(digest, record)

    def aside(self) -> list[tuple[str, str]]:
        """(key, reason) of each item that is set aside, by key."""
        with self._guard():
            return self._db.execute(
                "SELECT key, reason FROM items WHERE state = ? ORDER BY key", (SET_ASIDE,)
            ).fetchall()

    def seconds_of_work(self) -> float:
        """What the workers spent on all done pictures, added up."""
        with self._guard():
            return self._db.execute("SELECT COALESCE(SUM(seconds), 0) FROM items").fetchone()[0]

    def tries(self, key: str) -> int:
        """How often an item was started."""
        with self._guard():
            row = self._db.execute("SELECT tries FROM items WHERE key = ?", (key,)).fetchone()
        return row[0] if row else 0


def _told(attempts: list[dict[str, Any]]) -> str | None:
    return json.dumps({"attempts": attempts}, ensure_ascii=False) if attempts else None


def _whole_record(digest: str, record: str) -> dict[str, Any]:
    return {**json.loads(record), "sha256": digest}


class Lock:
    """One controller at a time on one OUT: an advisory lock that the system drops when its owner dies."""

    def __init__(self, folder: Path):
        self._path = folder / "lock"
        self._file: int | None = None

    def __enter__(self) -> Self:
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise ConfigError(f"lock {str(self._path)!r} cannot be made: {error.strerror}") from None
        try:
            self._take(handle)
        except OSError:
            owner = os.read(handle, 4096).decode("utf-8", "replace").strip() or "unknown"
            os.close(handle)
            raise ConfigError(
                f"another controller is at work on {str(self._path.parents[1])!r}: {owner}; wait for it, or stop it"
            ) from None
        self._file = handle
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        try:
            os.ftruncate(handle, 0)
            os.write(handle, f"process {os.getpid()} on {socket.gethostname()}, since {started}\n".encode())
        except OSError as error:
            os.close(handle)
            raise OutputError(f"lock {str(self._path)!r} cannot be written: {error.strerror}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The file stays: removing it would let a third controller lock a file that nobody else sees.
        if self._file is not None:
            os.close(self._file)
            self._file = None

    @staticmethod
    def _take(handle: int) -> None:
        for _ in range(LOCK_TRIES):
            with suppress(OSError):  # somebody may just be looking whether the lock is held
                return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            time.sleep(0.02)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

    @staticmethod
    def owner(folder: Path) -> str | None:
        """Who holds the lock, None if nobody does."""
        try:
            handle = os.open(folder / "lock", os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
        except OSError:
            return os.read(handle, 4096).decode("utf-8", "replace").strip() or "unknown"
        finally:
            os.close(handle)
