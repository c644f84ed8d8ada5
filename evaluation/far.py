"""Tasks for workers that do not see the images: the files travel with them, in the folders of a small data set.

What is known of these files from an earlier run travels as well, so that an interrupted run is resumed.
"""

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from acusim.errors import AcuSimError
from acusim.files import safe_join, sha256
from acusim.parallel import Work
from acusim.pictures import read_file
from evaluation.measuring import Measured, Task, Worker, measure, prepare, write_mask
from evaluation.settings import ReportSettings
from evaluation.store import Store

ORIGINAL, AUGMENTED, STILL, MASKS = "original", "augmented", "still", "masks"


@dataclasses.dataclass(frozen=True, slots=True)
class FarTask:
    """A task with its files."""

    task: Task
    files: Mapping[tuple[str, str], bytes]
    """By root and path below it; one that cannot be read is missing."""
    known: Mapping[str, Any]
    """Records of these files by their keys."""


def far_tasks(settings: ReportSettings, tasks: Iterable[Task], store: Store) -> Iterator[FarTask]:
    """Tasks with the files that they are about."""
    known = store.by_content()
    for task in tasks:
        pair = task.pair
        places = [(ORIGINAL, path) for path in (pair.original, pair.label, pair.depth)]
        places += [(AUGMENTED, path) for path in (pair.augmented, pair.augmented_label, pair.augmented_depth)]
        if task.kind == "null" and settings.still is not None:
            places.append((STILL, pair.original))
        files: dict[tuple[str, str], bytes] = {}
        for root, path in places:
            if path is not None:
                with contextlib.suppress(AcuSimError):  # the worker finds it missing, and says so
                    files[root, path] = read_file(safe_join(getattr(settings, root), path))
        records = {key: record for data in files.values() for key, record in known.get(sha256(data), ())}
        yield FarTask(task, files, records)


class _Known:
    """Records that came with a task, in place of a store."""

    def __init__(self, records: Mapping[str, Any]):
        self._records = records

    def get(self, key: str) -> Any | None:
        return self._records.get(key)


@contextmanager
def far_prepare(settings: ReportSettings) -> Iterator[Worker]:
    """As measuring.prepare, without a store."""
    with prepare(settings, None) as worker:
        yield worker


def far_measure(far: FarTask, work: Work) -> tuple[Measured, list[tuple[str, bytes]]]:
    """The result of a task, and the point masks to be written, by path below their root."""
    worker: Worker = work.state
    with TemporaryDirectory(prefix="acusim-") as folder:
        roots = {name: Path(folder) / name for name in (ORIGINAL, AUGMENTED, STILL, MASKS)}
        for path in roots.values():
            path.mkdir()
        for (root, relative), data in far.files.items():
            path = safe_join(roots[root], relative)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        used = {name: path if getattr(worker.settings, name) is not None else None for name, path in roots.items()}
        here = worker.at(used, _Known(far.known))
        measured = measure(far.task, dataclasses.replace(work, state=here))
        written = [path for path in sorted(roots[MASKS].rglob("*")) if path.is_file()]
        return measured, [(path.relative_to(roots[MASKS]).as_posix(), path.read_bytes()) for path in written]


def write_masks(root: Path, masks: Iterable[tuple[str, bytes]]) -> None:
    """Writes point masks of workers.

    Raises:
        OutputError: one cannot be written.
    """
    for relative, data in masks:
        write_mask(safe_join(root, relative), data)
