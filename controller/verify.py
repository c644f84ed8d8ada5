"""``--verify``: every file of OUT against its hash in the ledger."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from acusim.errors import AcuSimError
from acusim.files import safe_join, sha256
from controller.ledger import Ledger
from controller.plan import shared_files, used_folders
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
    """Compares the files of every done image with their hashes in the ledger, and shared ones with the dataset's."""
    output = settings.out
    keys: list[str] = []
    for key, record in ledger.records():
        keys.append(key)
        for name in ("image", "label", "depth", "mask"):
            if name not in record or name != "image" and f"{name}_sha256" not in record:  # a label of all images
                continue
            expected = record["sha256"] if name == "image" else record[f"{name}_sha256"]
            found = _hash_below(output, record[name])
            if found != expected:
                yield Fault(key, record[name], "missing" if found is None else "not the bytes that were written")
    for name in shared_files(ledger.get_meta("identity") or {}):
        expected = _sha256(settings.dataset / name)
        for folder in used_folders(keys, settings.variants):
            if expected is not None and _hash_below(output, folder + name) != expected:
                yield Fault("", folder + name, f"not the dataset's {name}")


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
