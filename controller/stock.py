"""Taking stock: what of a plan is done, what is on disk, what is to do."""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from acusim.errors import AcuSimError, ConfigError, OutputError
from acusim.files import ignores_case, is_part, safe_join, sha256
from acusim.folders import os_error_reason
from acusim.point_mask import mask_path
from controller.ledger import DONE, LEDGER_FILE, RUNNING, STATE_FOLDER, Ledger
from controller.plan import Item, Plan, split_colliding
from controller.results import MANIFEST

SOURCES = ("source", "label", "depth", "foreground", "annotation")
"""Whatever a sample may consist of, as records name their hashes."""


@dataclass(slots=True)
class Stock:
    """What take_stock found."""

    todo: list[Item]
    stamps: dict[str, str]
    """For each item of ``todo``: size and time of its sources, to notice later that one has changed."""
    already: int
    """Items that are done and intact."""
    skipped: list[tuple[str, str]]
    """(key, reason) of images that cannot be created."""
    notes: list[str]


class Listing:
    """Size and time of the files below a folder, listed folder by folder when first asked."""

    def __init__(self, root: Path, ours: bool):
        self._root = os.path.realpath(root)
        self._ours = ours
        self._folders: dict[str, dict[str, tuple[int, int]]] = {}

    def entry(self, relative: str) -> tuple[int, int] | None:
        """(size, modification time in ns) of a file, None if there is no such regular file.

        Raises:
            ConfigError: the folder is one of ours, but a link leads away from it.
            OutputError: the folder is one of ours and cannot be read.
        """
        folder, _, name = relative.rpartition("/")
        if folder not in self._folders:
            self._folders[folder] = self._list(folder)
        return self._folders[folder].get(name)

    def size(self, relative: str) -> int | None:
        """Size of a file in bytes, None if there is no such regular file."""
        entry = self.entry(relative)
        return entry[0] if entry else None

    def _list(self, folder: str) -> dict[str, tuple[int, int]]:
        path = os.path.join(self._root, folder)
        found: dict[str, tuple[int, int]] = {}
        if self._ours and os.path.realpath(path) != os.path.normpath(path):
            raise ConfigError(f"{folder!r} in the output folder is a symbolic link; put all of OUT where it should be")
        if not os.path.isdir(path):
            return found
        try:
            # Names are asked for one by one: other files, such as those of a file manager, make no difference.
            with os.scandir(path) as entries:
                for entry in entries:
                    with suppress(OSError):  # a file may vanish meanwhile
                        if self._ours and is_part(entry.name):
                            os.unlink(entry.path)  # left over from a crash
                        elif entry.is_file(follow_symlinks=not self._ours):
                            status = entry.stat(follow_symlinks=not self._ours)
                            found[entry.name] = (status.st_size, status.st_mtime_ns)
        except OSError as error:
            if self._ours:
                raise OutputError(f"folder {folder!r} of the output cannot be read: {os_error_reason(error)}") from None
        return found


def _stamp(item: Item, dataset: Listing) -> str:
    stamps = ["{}:{}".format(*(dataset.entry(source) or (0, 0))) for source in item.sample.sources.values()]
    return ";".join([*stamps, *filter(None, [item.sample.annotation_sha256])])


def _remove_parts(plan: Plan, items: Iterable[Item], on_disk: Listing) -> None:
    """Lists every folder of OUT that a batch writes to, which removes what a crash left there."""
    for path in (MANIFEST, f"{STATE_FOLDER}/{LEDGER_FILE}"):
        on_disk.entry(path)
    for item in items:
        image = item.sample.image
        for path in (image, mask_path(image), *item.sample.copied.values(), *plan.shared):
            on_disk.entry(item.folder + path)


def _companions_intact(item: Item, dataset: Listing, on_disk: Listing) -> bool:
    """Whether label and depth are in OUT and have the sizes of their sources."""
    return all(on_disk.size(item.folder + path) == dataset.size(path) for path in item.sample.copied.values())


def _sources_unchanged(item: Item, ledger: Ledger, root: Path) -> bool:
    """Whether the sources still have the hashes of a done image's record."""
    record, sources = ledger.record(item.key), item.sample.sources
    try:
        found = {name: sha256(safe_join(root, path).read_bytes()) for name, path in sources.items()}
    except (OSError, AcuSimError):
        return False
    if annotation := item.sample.annotation_sha256:
        found["annotation"] = annotation
    return all(record.get(f"{name}_sha256") == found.get(name) for name in SOURCES)


class _Inspection:
    """Decides of each item whether it is done, and counts why one is not any more."""

    def __init__(self, ledger: Ledger, root: Path, on_disk: Listing, damaged: Iterable[str]):
        self._ledger, self._root, self._damaged = ledger, root, set(damaged)
        self._states = ledger.states()
        self._on_disk, self._dataset = on_disk, Listing(root, ours=False)
        self.lost = self.changed = 0
        self.restamped: list[tuple[str, str]] = []
        """(key, stamp) of items whose sources were touched, but not changed."""

    def stamp(self, item: Item) -> str:
        """Size and time of an item's sources."""
        return _stamp(item, self._dataset)

    def is_done(self, item: Item, stamp: str) -> bool:
        """Whether an item is done, intact, and of the sources that are there now."""
        state, size, old_stamp = self._states.get(item.key, ("", None, None))
        if state != DONE:
            return False
        intact = item.key not in self._damaged and self._on_disk.size(item.key) == size
        fresh = old_stamp == stamp
        if intact and not fresh and _sources_unchanged(item, self._ledger, self._root):
            self.restamped.append((item.key, stamp))
            fresh = True
        intact = intact and (not fresh or _companions_intact(item, self._dataset, self._on_disk))
        self.lost += not intact
        self.changed += intact and not fresh
        return intact and fresh

    def notes(self) -> list[str]:
        """Why done items are done again."""
        found = []
        if self.lost:
            found.append(f"{self.lost} images were done but are damaged or gone from disk: regenerated")
        if self.changed:
            found.append(f"{self.changed} images were done, but their sources have changed since: regenerated")
        return found


def take_stock(
    ledger: Ledger, plan: Plan, output: Path, damaged: Iterable[str] = (), only_known: bool = False
) -> Stock:
    """Brings the ledger up to date with the plan and with what is on disk.

    Args:
        ledger: open for writing.
        plan: what is asked for.
        output: OUT.
        damaged: keys that are done, but found damaged.
        only_known: leaves out what the ledger does not know yet.

    Raises:
        ConfigError: a folder of OUT is a link.
        OutputError: OUT cannot be written.
    """
    items, skipped = plan.items, list(plan.skipped)
    ledger.recover()
    states = ledger.states()
    if only_known:
        items = [item for item in items if item.key in states]
        skipped = [(key, reason) for key, reason in skipped if key in states]
    try:
        folding = ignores_case(output)
    except OSError as error:
        raise OutputError(f"output folder {str(output)!r} cannot be written: {error.strerror}") from None
    if folding:
        checked = list(split_colliding(items))
        skipped += [(item.key, reason) for item, reason in checked if reason]
        items = [item for item, reason in checked if not reason]
    on_disk = Listing(output, ours=True)
    _remove_parts(plan, items, on_disk)
    inspection = _Inspection(ledger, plan.root, on_disk, damaged)
    stock = Stock([], {}, 0, skipped, [])
    for item in items:
        stamp = inspection.stamp(item)
        if inspection.is_done(item, stamp):
            stock.already += 1
        else:
            stock.todo.append(item)
            stock.stamps[item.key] = stamp
    stock.notes = inspection.notes()
    if plan.complete and not only_known:
        wanted = {item.key for item in items} | {key for key, _ in skipped}
        ledger.forget(key for key, (state, *_) in states.items() if state not in (DONE, RUNNING) and key not in wanted)
    ledger.plan(item.key for item in stock.todo)
    ledger.replan(item.key for item in stock.todo if item.key in states)
    ledger.stamp(inspection.restamped)
    ledger.skip((key, reason, []) for key, reason in skipped)
    ledger.commit()
    return stock
