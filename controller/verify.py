"""``--verify``: every file of OUT against its hash in the ledger."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from acusim.errors import AcuSimError
from acusim.files import safe_join, sha256
from acusim.layout import MAP_FILE
from controller.ledger import Ledger
from controller.plan import used_folders
from controller.settings import BatchSettings


@dataclass(frozen=True, slots=True)
class Fault:
    """A file in OUT that is not as it was written."""

    key: str
    """The output image it belongs to."""
    path: str
    """The file, relative to OUT."""
    what: str


def verify(ledger: Ledger, settings: BatchSettings) -> Iterator[Fault]:
    """Compares every file of every done image with its hash in the ledger, and map.txt with the dataset's."""
    output = settings.out
    keys: list[str] = []
    for key, record in ledger.records():
        keys.append(key)
        for name in ("image", "label", "depth", "mask"):
            if name not in record:
                continue
            expected = record["sha256"] if name == "image" else record[f"{name}_sha256"]
            found = _hash_below(output, record[name])
            if found != expected:
                yield Fault(key, record[name], "missing" if found is None else "not the bytes that were written")
    expected = _sha256(settings.dataset / MAP_FILE)
    for folder in used_folders(keys, settings.variants):
        if expected is not None and _hash_below(output, folder + MAP_FILE) != expected:
            yield Fault("", folder + MAP_FILE, "not the dataset's map.txt")


def _hash_below(output: Path, relative: str) -> str | None:
    try:
        return _sha256(safe_join(output, relative))
    except AcuSimError:
        return None


def _sha256(path: Path) -> str | None:
    """Hash of a regular file, None if there is none."""
    try:
        return sha256(path.read_bytes()) if path.is_file() else None
    except OSError:
        return None
