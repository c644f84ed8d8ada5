"""Taking stock: what of a plan is done, what lies on disk, what is to be made."""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from acusim.errors import AcuSimError, ConfigError, OutputError
from acusim.files import folds_names, is_part, safe_join, sha256
from acusim.folders import why
from controller.ledger import DONE, RUNNING, Ledger
from controller.plan import Item, Plan, split_colliding


@dataclass(slots=True)
class Stock:
    """What take_stock found."""

    todo: list[Item]
    stamps: dict[str, str]
    """For each item of ``todo``: size and time of its sources, to notice later that one was changed."""
    already: int
    """Items that are done and whole."""
    aside: list[tuple[str, str]]
    """(key, reason) of pictures that cannot be made."""
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
            # Names are asked for one by one: what else lies there, such as litter, makes no difference.
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
                raise OutputError(f"folder {folder!r} of the output cannot be read: {why(error)}") from None
        return found


def _sources(item: Item) -> list[str]:
    sample = item.sample
    return [sample.image, sample.label, *([sample.depth] if sample.depth else [])]


def _stamp(item: Item, dataset: Listing) -> str:
    return ";".join("{}:{}".format(*(dataset.entry(source) or (0, 0))) for source in _sources(item))


def _companions_whole(item: Item, dataset: Listing, on_disk: Listing) -> bool:
    """Whether label and depth lie in OUT with the bytes count of their sources."""
    return all(on_disk.size(item.folder + source) == dataset.size(source) for source in _sources(item)[1:])


def _sources_unchanged(item: Item, ledger: Ledger, root: Path) -> bool:
    """Whether the sources still have the hashes that went into a done picture."""
    record = ledger.record(item.key)
    expected = [record.get(name) for name in ("source_sha256", "label_sha256", "depth_sha256")]
    try:
        found = [sha256(safe_join(root, source).read_bytes()) for source in _sources(item)]
    except (OSError, AcuSimError):
        return False
    return found == expected[: len(found)] and (len(found) == 3 or expected[2] is None)


def take_stock(
    ledger: Ledger, plan: Plan, output: Path, damaged: Iterable[str] = (), only_known: bool = False
) -> Stock:
    """Brings the ledger up to date with the plan and with what lies on disk.

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
    items, aside, notes = plan.items, list(plan.aside), []
    ledger.recover()
    states = ledger.states()
    if only_known:
        items = [item for item in items if item.key in states]
        aside = [(key, reason) for key, reason in aside if key in states]
    try:
        folding = folds_names(output)
    except OSError as error:
        raise OutputError(f"output folder {str(output)!r} cannot be written: {error.strerror}") from None
    if folding:
        checked = list(split_colliding(items))
        aside += [(item.key, reason) for item, reason in checked if reason]
        items = [item for item, reason in checked if not reason]
    bad = set(damaged)
    on_disk, dataset = Listing(output, ours=True), Listing(plan.root, ours=False)
    stock = Stock([], {}, 0, aside, notes)
    lost = changed = 0
    restamped: list[tuple[str, str]] = []
    for item in items:
        state, size, stamp = states.get(item.key, ("", None, None))
        now, size_now = _stamp(item, dataset), on_disk.size(item.key)
        if state == DONE:
            whole = item.key not in bad and size_now == size
            fresh = stamp == now
            if whole and not fresh and _sources_unchanged(item, ledger, plan.root):
                restamped.append((item.key, now))
                fresh = True
            whole = whole and (not fresh or _companions_whole(item, dataset, on_disk))
            if whole and fresh:
                stock.already += 1
                continue
            lost, changed = lost + (not whole), changed + (whole and not fresh)
        stock.todo.append(item)
        stock.stamps[item.key] = now
    if lost:
        notes.append(f"{lost} pictures were done but are damaged or gone from disk: made again")
    if changed:
        notes.append(f"{changed} pictures were done, but their sources have changed since: made again")
    if plan.complete and not only_known:
        wanted = {item.key for item in items} | {key for key, _ in aside}
        ledger.forget(key for key, (state, *_) in states.items() if state not in (DONE, RUNNING) and key not in wanted)
    ledger.plan(item.key for item in stock.todo)
    ledger.replan(item.key for item in stock.todo if item.key in states)
    ledger.stamp(restamped)
    ledger.set_aside((key, reason, []) for key, reason in aside)
    ledger.commit()
    return stock
