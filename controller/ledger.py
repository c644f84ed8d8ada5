"""The ledger: what is planned, running, done or skipped, in OUT/.acusim/ledger.sqlite.

An item is one output image, keyed by its path relative to OUT. An image is a function of its item alone, so an item
that was cut off is simply redone, to the same bytes; only what is *done* is never touched.

A damaged ledger is never used nor replaced silently: DamagedLedger points to ``--repair``, which rebuilds it
(rebuilding.py).
"""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from acusim.errors import ConfigError, OutputError

STATE_FOLDER = ".acusim"
LEDGER_FILE = "ledger.sqlite"
PLANNED, RUNNING, DONE, SKIPPED = "planned", "running", "done", "skipped"
_STORED_SKIPPED = "set aside"
"""How the table writes SKIPPED, which had this name when the first ledgers were written."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS items (
    key TEXT PRIMARY KEY,           -- output image, relative to OUT
    state TEXT NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,   -- how often it was started; does not decide a pixel
    attempt INTEGER NOT NULL DEFAULT 0, -- which re-roll is the one on disk; decides the seed
    reason TEXT,                    -- why it is skipped
    sha256 TEXT, bytes INTEGER,     -- of the image on disk
    record TEXT,                    -- JSON: the manifest's line
    seconds REAL,
    stamp TEXT                      -- size and time of the sources, to notice a change
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS items_by_state ON items (state);
"""
_TEXTS = {"image", "label", "source", "sample", "prompt_set"}
"""Of the record of each item that is done."""
_COMPANIONS = ("depth", "mask", "label_sha256", "depth_sha256", "mask_sha256")
"""What it may hold beside them."""
_COLUMNS = {
    "meta": {"name", "value"},
    "items": {"key", "state", "tries", "attempt", "reason", "sha256", "bytes", "record", "seconds", "stamp"},
}
SUFFIXES = ("", "-wal", "-shm", "-journal")
"""Of the files that a ledger consists of."""
_OF_THE_DISK = {
    *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_IOERR),
    *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY),
}
"""SQLite's error codes that are not about what the file holds."""
_PRIMARY = 0xFF
"""Mask of SQLite's primary error codes, which these are."""


class DamagedLedger(ConfigError):
    """A ledger is missing or damaged; ``--repair`` rebuilds it."""

    def __init__(self, path: Path, what: str):
        output = path.parent.parent
        self.what = f"ledger {str(path)!r} {what}"
        super().__init__(
            f"{self.what}; nothing was changed: --repair --output {output} rebuilds it from "
            "manifest.jsonl and the records inside the images, and regenerates only what does not verify"
        )


@dataclass(frozen=True, slots=True)
class Done:
    """An item that is done."""

    key: str
    attempt: int
    sha256: str
    size: int
    record: dict[str, Any]
    seconds: float
    stamp: str
    """Size and time of the sources when the work started."""


class Ledger:
    """The open ledger. Use it as a context manager; changes are kept by commit().

    Args:
        path: its file.
        read_only: whether nothing may be written.
        create: whether it may be a new one.

    Raises:
        DamagedLedger: what is there is damaged or something else, and is left as it is.
        ConfigError: it is empty, and may not be written.
        OutputError: it cannot be read or written.
    """

    def __init__(self, path: Path, read_only: bool = False, create: bool = True):
        self._path = path
        for suffix in SUFFIXES:
            file = path.with_name(path.name + suffix)
            if file.is_symlink() or (file.exists() and not file.is_file()):
                raise DamagedLedger(file, "is a link or not a regular file; it must be in OUT itself")
        if not create and not path.exists():
            raise DamagedLedger(path, "is gone")
        address = path.absolute().as_uri()
        with self._guard():
            if read_only:
                self._db = self._open_read_only(address)
            else:
                path.touch()  # SQLite would let nobody but its owner write to it, whatever the umask
                self._db = sqlite3.connect(f"{address}?mode=rw", uri=True, timeout=10)
            try:
                if read_only:
                    self._check_form("quick_check")
                else:
                    self._prepare(create)
            except BaseException:
                self._db.close()
                raise

    def _prepare(self, create: bool) -> None:
        """Creates the tables of a new ledger; a damaged one is not touched."""
        (tables,) = self._db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        if tables:
            self._check_form("quick_check")
        elif not create:
            raise DamagedLedger(self._path, "is empty")
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
        except sqlite3.Error as error:
            text, code = str(error), getattr(error, "sqlite_errorcode", 0) & _PRIMARY
            if "no such table" in text and not self._path.stat().st_size:
                raise ConfigError(f"ledger {str(self._path)!r} is empty: no batch got as far as planning") from None
            # For a header of another version SQLite reports that a writable file is read-only.
            odd = code == sqlite3.SQLITE_READONLY and os.access(self._path, os.W_OK)
            odd = odd and os.access(self._path.parent, os.W_OK)
            if code in _OF_THE_DISK and not odd:
                raise OutputError(f"ledger {str(self._path)!r} cannot be used: {text}") from None
            raise DamagedLedger(self._path, f"is damaged ({text})") from None
        except OSError as error:
            raise OutputError(f"ledger {str(self._path)!r} cannot be used: {error.strerror or error}") from None

    def _check_form(self, how: str) -> None:
        (verdict,) = self._db.execute(f"PRAGMA {how}(1)").fetchone()
        if verdict != "ok":
            raise DamagedLedger(self._path, f"is damaged ({str(verdict).splitlines()[-1]})")
        for table, columns in _COLUMNS.items():
            missing = columns - {row[1] for row in self._db.execute(f"PRAGMA table_info({table})")}
            if missing:
                what = f"is not one of this program's: its table {table!r} has no {', '.join(sorted(missing))}"
                raise DamagedLedger(self._path, what)

    def check(self) -> None:
        """Reads all of it.

        Raises:
            DamagedLedger: something in it is not as this program writes it.
        """
        with self._guard():
            self._check_form("integrity_check")
        names = ("identity", "bald codes", "settings")
        wrong = [name for name in names if not isinstance(self.get_meta(name), dict)]
        if wrong:
            raise DamagedLedger(self._path, f"is damaged (the entry {wrong[0]!r} is missing)")
        for _ in self.outcomes():
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; what was not committed is gone."""
        self._db.close()

    def commit(self) -> None:
        """Writes all changes since the last commit to disk."""
        with self._guard():
            self._db.commit()

    def _each(self, query: str, *values: Any) -> Iterator[Any]:
        """The rows of a query, one by one."""
        with self._guard():
            yield from self._db.execute(query, values)

    def _many(self, query: str, rows: Iterable[tuple[Any, ...]]) -> None:
        with self._guard():
            self._db.executemany(query, rows)

    def get_meta(self, name: str) -> Any:
        """A stored JSON value, None if there is none."""
        try:
            for (value,) in self._each("SELECT value FROM meta WHERE name = ?", name):
                return json.loads(value)
        except ValueError:
            raise DamagedLedger(self._path, f"is damaged (the entry {name!r} cannot be read)") from None
        return None

    def set_meta(self, name: str, value: Any) -> None:
        """Stores a JSON value."""
        self._many("INSERT OR REPLACE INTO meta VALUES (?, ?)", [(name, _json(value))])

    def plan(self, keys: Iterable[str]) -> None:
        """Adds items that are not known yet."""
        self._many("INSERT OR IGNORE INTO items (key, state) VALUES (?, ?)", ((key, PLANNED) for key in keys))

    def recover(self) -> int:
        """Puts what was running when the last controller died back to planned; returns how many."""
        with self._guard():
            return self._db.execute("UPDATE items SET state = ? WHERE state = ?", (PLANNED, RUNNING)).rowcount

    def replan(self, keys: Iterable[str]) -> None:
        """Puts items back to planned, whatever they were."""
        self._many("UPDATE items SET state = ? WHERE key = ?", ((PLANNED, key) for key in keys))

    def start(self, keys: Iterable[str]) -> None:
        """Marks items as running."""
        query = "UPDATE items SET state = ?, tries = tries + 1, reason = NULL WHERE key = ?"
        self._many(query, ((RUNNING, key) for key in keys))

    def finish(self, done: Iterable[Done]) -> None:
        """Marks items as done."""
        self._many(
            "UPDATE items SET state = ?, attempt = ?, sha256 = ?, bytes = ?, record = ?, seconds = ?, stamp = ?, "
            "reason = NULL WHERE key = ?",
            ((DONE, d.attempt, d.sha256, d.size, _json(d.record), d.seconds, d.stamp, d.key) for d in done),
        )

    def skip(self, reasons: Iterable[tuple[str, str, list[dict[str, Any]]]]) -> None:
        """Marks (key, reason, the gate's attempts) as skipped; adds unknown keys, leaves what is done."""
        self._many(
            "INSERT INTO items (key, state, reason, record) VALUES (?1, ?3, ?2, ?5) ON CONFLICT (key) DO UPDATE "
            "SET state = ?3, reason = ?2, sha256 = NULL, bytes = NULL, record = ?5 WHERE state != ?4",
            (
                (key, reason, _STORED_SKIPPED, DONE, _json({"attempts": attempts}) if attempts else None)
                for key, reason, attempts in reasons
            ),
        )

    def forget(self, keys: Iterable[str]) -> None:
        """Removes items, such as a damaged file that is not in the dataset any more."""
        self._many("DELETE FROM items WHERE key = ?", ((key,) for key in keys))

    def stamp(self, stamps: Iterable[tuple[str, str]]) -> None:
        """Stores new stamps of sources that were found unchanged."""
        self._many("UPDATE items SET stamp = ?2 WHERE key = ?1", stamps)

    def counts(self) -> dict[str, int]:
        """How many items are in each state, all four of them named."""
        found = dict(self._each("SELECT state, COUNT(*) FROM items GROUP BY state"))
        found[SKIPPED] = found.pop(_STORED_SKIPPED, 0)
        return {state: found.get(state, 0) for state in (PLANNED, RUNNING, DONE, SKIPPED)}

    def states(self) -> dict[str, tuple[str, int | None, str | None]]:
        """Key -> (state as stored, bytes of the image, stamp of its sources)."""
        return {key: tuple(entry) for key, *entry in self._each("SELECT key, state, bytes, stamp FROM items")}

    def record(self, key: str) -> dict[str, Any]:
        """The record of one done item, empty if there is none."""
        for digest, record in self._each("SELECT sha256, record FROM items WHERE key = ?", key):
            return self._intact_record(key, digest, record) if record else {}
        return {}

    def records(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """(key, record) of each done item, by key."""
        query = "SELECT key, sha256, record FROM items WHERE state = ? ORDER BY key"
        for key, digest, record in self._each(query, DONE):
            yield key, self._intact_record(key, digest, record)

    def done(self) -> Iterator[Done]:
        """Each done item, by key."""
        query = "SELECT key, attempt, sha256, bytes, record, seconds, stamp FROM items WHERE state = ? ORDER BY key"
        for key, attempt, digest, size, record, seconds, stamp in self._each(query, DONE):
            found = self._intact_record(key, digest, record)
            own = {name: value for name, value in found.items() if name != "sha256"}
            numbers = isinstance(attempt, int) and attempt >= 0 and isinstance(size, int)
            if not (numbers and isinstance(seconds, int | float) and isinstance(stamp, str)):
                raise DamagedLedger(self._path, f"is damaged (the entry of {key!r} is not as it was written)")
            yield Done(key, attempt, digest, size, own, seconds, stamp)

    def outcomes(self) -> Iterator[tuple[str, str | None, dict[str, Any]]]:
        """(key, why it is skipped or None, record) of each item that is done or skipped, by key."""
        query = "SELECT key, state, sha256, record, reason FROM items WHERE state IN (?, ?) ORDER BY key"
        for key, state, digest, record, reason in self._each(query, DONE, _STORED_SKIPPED):
            if state == DONE:
                yield key, None, self._intact_record(key, digest, record)
            else:
                yield key, reason, self._parsed(key, record) if record else {}

    def _parsed(self, key: str, record: str) -> dict[str, Any]:
        try:
            parsed = json.loads(record)
        except (TypeError, ValueError, RecursionError):
            parsed = None
        if not isinstance(parsed, dict):
            raise DamagedLedger(self._path, f"is damaged (the record of {key!r} cannot be read)")
        return parsed

    def _intact_record(self, key: str, digest: str, record: str) -> dict[str, Any]:
        parsed = self._parsed(key, record)
        if not isinstance(digest, str) or not parsed.keys() >= _TEXTS:
            raise DamagedLedger(self._path, f"is damaged (the record of {key!r} is incomplete)")
        texts = [parsed[name] for name in (*_TEXTS, *_COMPANIONS) if name in parsed]
        if parsed["image"] != key or not all(isinstance(text, str) for text in texts):
            raise DamagedLedger(
                self._path, f"is damaged (the record of {key!r} is another's, or not as it was written)"
            )
        return {**parsed, "sha256": digest}

    def prompt_sets(self) -> list[tuple[str, str]]:
        """(key, prompt set) of each done item, by key."""
        query = "SELECT key, json_extract(record, '$.prompt_set') FROM items WHERE state = ? ORDER BY key"
        return list(self._each(query, DONE))

    def skipped(self) -> list[tuple[str, str]]:
        """(key, reason) of each skipped item, by key."""
        return list(self._each("SELECT key, reason FROM items WHERE state = ? ORDER BY key", _STORED_SKIPPED))

    def seconds_of_work(self) -> float:
        """Time that the workers spent on all done images, added up."""
        return next(self._each("SELECT COALESCE(SUM(seconds), 0) FROM items"))[0]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
