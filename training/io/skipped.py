"""The table of what a command set aside, with the reasons, beside what it made."""

import csv
import io
from collections.abc import Collection, Iterable
from pathlib import Path

from acusim.errors import ConfigError, OutputError
from acusim.layout import Problem
from acusim.results import csv_line, put

FILE = "set_aside.csv"
HEADER = ["path", "reason"]
MAX_BYTES = 64 << 20


class SetAside:
    """One such table. There is none where nothing was set aside.

    Args:
        path: of its file.

    Raises:
        ConfigError: a file of somebody else is there.
    """

    def __init__(self, path: Path):
        self.path = path
        self._before = _rows(path)

    def write(self, problems: Iterable[Problem], looked_at: Collection[str] | None = None) -> None:
        """Writes the table, or takes it away where it would be empty.

        Args:
            problems: what was set aside.
            looked_at: paths that this command looked at; what an earlier one told of others stays. None: it looked at
                everything.

        Raises:
            OutputError: it cannot be written.
        """
        now = [[problem.path, problem.reason] for problem in problems]
        seen = {path for path, _ in now} | set(looked_at or ())
        kept = [] if looked_at is None else [row for row in self._before if row[0] not in seen]
        rows = kept + now
        if rows:
            put(self.path, (csv_line(row) for row in [HEADER, *rows]))
            return
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{str(self.path)!r} cannot be removed: {error.strerror or error}") from None


def beside(path: Path) -> Path:
    """Where the table lies that belongs to a single file: labels.json has labels.set_aside.csv."""
    return path.with_name(f"{path.stem}.{FILE}")


def _rows(path: Path) -> list[list[str]]:
    """The rows of an earlier table."""
    try:
        if not path.exists() and not path.is_symlink():
            return []
        if path.is_file() and not path.is_symlink() and path.stat().st_size <= MAX_BYTES:
            header, *rows = csv.reader(io.StringIO(path.read_text(encoding="utf-8")))
            if header == HEADER:
                return [row for row in rows if len(row) == len(HEADER)]
    except (OSError, ValueError, csv.Error):
        pass
    raise ConfigError(f"{str(path)!r} is there and was not made by this program; move it or name another --out")
