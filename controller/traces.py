"""What is known of an OUT without its ledger: kept settings, the manifest, records in the images."""

import itertools
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from acusim.errors import AcuSimError, LayoutError, OutputError
from acusim.files import safe_join, write_atomic
from acusim.folders import is_junk, list_folder
from acusim.labelled_files import files_below
from acusim.pictures import EXTENSIONS, read_provenance
from controller.ledger import LEDGER_FILE, STATE_FOLDER, DamagedLedger
from controller.records import PROGRAM
from controller.results import DONE, MANIFEST, SKIPPED

KEPT_FILE = "settings.json"
KEPT_FORMAT = 1
KEPT = ("identity", "bald codes", "settings")
"""What is in it, and in the ledger's table ``meta``."""
_INSPECTED = 20
"""Images that are inspected for a record, to recognise an OUT of this program."""


def holds_more(output: Path) -> bool:
    """Whether an OUT holds anything beside the folder of the ledger."""
    return bool(list_folder(output))  # which leaves hidden names out


def lost_ledger(output: Path) -> DamagedLedger:
    """The error of an OUT that a batch has created, but without a ledger."""
    ledger = output / STATE_FOLDER / LEDGER_FILE
    what = "is empty or damaged" if ledger.is_file() else "is gone"
    return DamagedLedger(ledger, f"{what}: {str(output)!r} holds images of a batch, but no ledger of them")


def created_here(output: Path) -> bool:
    """Whether a batch has created an OUT, judged by its manifest, its kept settings and its first images."""
    if kept_state(output) is not None or any(True for _ in manifest_lines(output)):
        return True
    for path in itertools.islice(images_of(output), _INSPECTED):
        with suppress(AcuSimError):
            if read_provenance(path).get("program") == PROGRAM:
                return True
    return False


def images_of(output: Path) -> Iterator[Path]:
    """Every regular file of OUT in the place of an image, of all variants."""
    laid_out = False
    for pattern in ("*/image/img_*/*", "v[0-9][0-9]/*/image/img_*/*"):
        for path in output.glob(pattern):
            if path.suffix.lower() not in EXTENSIONS or is_junk(path.name):
                continue
            if path.is_file() and not path.is_symlink():
                laid_out = True
                yield path
    if not laid_out and output.is_dir():  # of another data set than AcuSim
        for relative in files_below(output, [])[1].values():
            if not (output / relative).is_symlink():
                yield output / relative


def manifest_lines(output: Path) -> Iterator[dict[str, Any]]:
    """The intact lines of manifest.jsonl, in their order; none where it is gone."""
    try:
        with open(safe_join(output, MANIFEST), "rb") as stream:
            for text in stream:
                with suppress(ValueError, RecursionError):  # a last line that was cut off, or damage
                    line = json.loads(text)
                    if (
                        isinstance(line, dict)
                        and isinstance(line.get("image"), str)
                        and line.get("status") in (DONE, SKIPPED)
                    ):
                        yield line
    except (OSError, LayoutError):
        return


def keep_state(output: Path, state: dict[str, Any]) -> None:
    """Writes a copy of what the ledger holds beside its items, from which it can be rebuilt.

    Raises:
        OutputError: it cannot be written.
    """
    path = output / STATE_FOLDER / KEPT_FILE
    content = json.dumps({"format": KEPT_FORMAT, **state}, ensure_ascii=False, indent=1).encode() + b"\n"
    try:
        if not path.is_file() or path.read_bytes() != content:
            write_atomic(path, content)
    except OSError as error:
        raise OutputError(f"{str(path)!r} cannot be written: {error.strerror or error}") from None


def kept_state(output: Path) -> dict[str, Any] | None:
    """The identity, bald codes and settings of an OUT whose ledger cannot be used, None where they are gone, too."""
    folder = output / STATE_FOLDER
    if folder.is_symlink():
        return None
    with suppress(OSError, ValueError, RecursionError):
        found = _checked(json.loads((folder / KEPT_FILE).read_bytes()))
        if found:
            return found
    ledger = folder / LEDGER_FILE
    if not ledger.is_file() or ledger.is_symlink():
        return None
    with suppress(sqlite3.Error, ValueError, RecursionError):  # it may be damaged elsewhere
        with closing(sqlite3.connect(f"{ledger.absolute().as_uri()}?mode=ro", uri=True)) as database:
            rows = dict(database.execute("SELECT name, value FROM meta").fetchall())
        return _checked({name: json.loads(rows[name]) for name in KEPT if name in rows})
    return None


def _checked(found: Any) -> dict[str, Any] | None:
    complete = isinstance(found, dict) and all(isinstance(found.get(name), dict) for name in KEPT)
    return found if complete else None
