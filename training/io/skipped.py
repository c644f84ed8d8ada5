"""The table of what a command skipped, with the reasons, beside what it wrote."""

import csv
import io
from collections.abc import Collection, Iterable
from pathlib import Path

from acusim.errors import ConfigError, OutputError
from acusim.layout import Problem
from acusim.results import csv_line, write_result

FILE = "skipped.csv"
HEADER = ["path", "reason"]
MAX_BYTES = 64 << 20


class SkippedFiles:
    """One such table. There is no file where nothing was skipped.

    Args:
        path: of its file.

    Raises:
        ConfigError: a file that this program did not write is there.
    """

    def __init__(self, path: Path):
        self.path = path
        self._before = _rows(path)

    def write(self, problems: Iterable[Problem], inspected: Collection[str] | None = None) -> None:
        """Writes the table, or removes it where it would be empty.

        Args:
            problems: what was skipped.
            inspected: paths that this command processed; rows of an earlier one about others stay. None: all paths.

        Raises:
            OutputError: it cannot be written.
        """
        now = [[problem.path, problem.reason] for problem in problems]
        seen = {path for path, _ in now} | set(inspected or ())
        kept = [] if inspected is None else [row for row in self._before if row[0] not in seen]
        rows = kept + now
        if rows:
            write_result(self.path, (csv_line(row) for row in [HEADER, *rows]))
            return
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{str(self.path)!r} cannot be removed: {error.strerror or error}") from None


def beside(path: Path) -> Path:
    """The path of the table that belongs to a single file: labels.json has labels.skipped.csv."""
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
    raise ConfigError(f"{str(path)!r} exists and was not written by this program; move it or name another --out")
