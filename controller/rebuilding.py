"""A ledger that is lost, or behind what is in OUT: rebuilt from the manifest and the records inside the images.

An image counts as done again where its bytes have the manifest's hash, or, where the manifest does not have it, where
it is intact and its own record is that of the plan. Label, depth and point mask are then compared as --verify does.
What does not count stays planned, and is regenerated. JPEG has no checksum: an image that was altered without losing
its record is noticed by the manifest alone.
"""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acusim.errors import ConfigError, OutputError
from acusim.files import printable
from controller.examiner import Examiner, Foreign, Found
from controller.identity import check_identity, refuse_other
from controller.job import REASON_LENGTH
from controller.ledger import DONE, LEDGER_FILE, STATE_FOLDER, SUFFIXES, DamagedLedger, Ledger
from controller.planning import PlannedBatch, plan_batch
from controller.results import SKIPPED
from controller.settings import BatchSettings
from controller.traces import holds_more, images_of, kept_state, lost_ledger, manifest_lines

NEW_FILE = "ledger.new.sqlite"
"""A ledger that is being rebuilt."""
_NAMED = 3
"""So many differences are named."""


@dataclass(slots=True)
class Rebuilt:
    """What was found in an OUT."""

    by_manifest: int = 0
    """Images whose bytes are those of the manifest."""
    by_record: int = 0
    """Images that the manifest does not know, with a record that is the plan's."""
    skipped: int = 0
    """Items that the manifest lists as skipped."""
    refused: list[tuple[str, str]] = field(default_factory=list)
    """(key, reason) of images that do not count."""

    @property
    def counts(self) -> dict[str, int]:
        """How many items became known in which way; only ways that occurred."""
        found = {"by manifest": self.by_manifest, "by record": self.by_record, "skipped": self.skipped}
        return {name: count for name, count in found.items() if count}


def rebuild_if_lost(batch: PlannedBatch, note: Callable[[str], None]) -> Rebuilt | None:
    """Rebuilds the ledger of an OUT where it cannot be used; the old one stays in its folder under another name.

    Until the new one is complete, the old one stays where it is.

    Args:
        batch: everything of the data set.
        note: called with what a user should know.

    Returns:
        What was found; None if the ledger is intact.

    Raises:
        ConfigError: OUT was created with other settings; names the differences.
        OutputError: the folder cannot be written.
    """
    output = batch.output
    path = output / STATE_FOLDER / LEDGER_FILE
    reason = _damage(output, path)
    if reason is None:
        return None
    note(f"{reason}; it is rebuilt from manifest.jsonl and the records inside the images")
    kept = kept_state(output)
    if kept:
        refuse_other(kept["identity"], kept["bald codes"], batch)
    try:
        found, renamed = _rebuild(path, batch, kept)
    except OSError as error:
        raise OutputError(f"ledger {str(path)!r} cannot be rebuilt: {error.strerror or error}") from None
    counts = f"{found.by_manifest} images by manifest.jsonl, {found.by_record} by their own records alone"
    old = f"; the old one is {str(renamed)!r}" if renamed else ""
    note(f"the ledger is rebuilt: {counts}, {found.skipped} skipped{old}")
    if not kept:
        note("what else OUT was asked for is not known any more: --batch with the same settings finishes it")
    return found


def _rebuild(path: Path, batch: PlannedBatch, kept: dict[str, Any] | None) -> tuple[Rebuilt, Path | None]:
    """Writes a new ledger beside the old one, then takes its place; also returns the old one's new name."""
    asked = _asked(batch.settings, kept["settings"]) if kept else []
    fresh = path.with_name(NEW_FILE)
    for suffix in SUFFIXES:
        fresh.with_name(fresh.name + suffix).unlink(missing_ok=True)
    with Ledger(fresh) as ledger:
        found = adopt(ledger, batch, asked, strict=kept is None)
        ledger.set_meta("identity", kept["identity"] if kept else batch.identity)
        ledger.set_meta("bald codes", kept["bald codes"] if kept else {})
        check_identity(ledger, batch)
    renamed = _rename_damaged(path)
    os.rename(fresh, path)
    return found, renamed


def _damage(output: Path, path: Path) -> str | None:
    """What is wrong with the ledger of an OUT, None if it is intact."""
    try:
        if not os.path.lexists(path) or (path.is_file() and not path.is_symlink() and not path.stat().st_size):
            if holds_more(output):
                raise lost_ledger(output)
            return None
        with Ledger(path, read_only=True) as ledger:
            if ledger.get_meta("identity") is not None:
                ledger.check()
            elif holds_more(output):
                raise lost_ledger(output)
        return None
    except DamagedLedger as error:
        return error.what


def _rename_damaged(path: Path) -> Path | None:
    """Gives a ledger another name; None if there is none."""
    if not os.path.lexists(path):
        return None
    names = (path.with_name(f"ledger.damaged-{number}.sqlite") for number in itertools.count(1))
    renamed = next(name for name in names if not os.path.lexists(name))
    for suffix in SUFFIXES:
        file = path.with_name(path.name + suffix)
        if os.path.lexists(file):
            os.rename(file, renamed.with_name(renamed.name + suffix))
    return renamed


def _asked(settings: BatchSettings, stored: dict[str, Any]) -> list[str]:
    """The keys of the last run that asked for something."""
    last = BatchSettings.from_stored(stored, settings.out)
    last_asked = {name: getattr(last, name) for name in ("select", "persons", "limit", "budget", "focus")}
    asked = plan_batch(settings.changed(**last_asked, repair=False)).plan
    return [item.key for item in asked.items] + [key for key, _ in asked.skipped]


def adopt(ledger: Ledger, batch: PlannedBatch, asked: Iterable[str] = (), strict: bool = False) -> Rebuilt:
    """Notes in the ledger what is in OUT and verifies, as far as it is not done there; nothing is committed.

    Args:
        ledger: open for writing.
        batch: everything of the data set.
        asked: keys that OUT was asked for, as far as that is known.
        strict: whether an image that was created with other settings is an error. It is where only the command line
            has the settings that OUT was created with.

    Raises:
        ConfigError: strict, and images were created with other settings; names the differences.
    """
    output, states = batch.output, ledger.states()
    known = {key for key, (state, *_) in states.items() if state == DONE}
    lines = {line["image"]: line for line in manifest_lines(output) if printable(line["image"]) == line["image"]}
    jobs = {item.key: batch.job(item) for item in batch.plan.items}
    on_disk = {path.relative_to(output).as_posix() for path in images_of(output)}
    keys = sorted(key for key in on_disk - known if printable(key) == key)
    found, foreign = Rebuilt(), list[tuple[str, str]]()
    ledger.plan(asked)
    for key, answer in zip(keys, _in_threads(Examiner(batch, jobs, lines), keys), strict=True):
        if isinstance(answer, Foreign):
            foreign.append((key, answer.why))
        elif isinstance(answer, str):
            if key in jobs or key in lines:
                found.refused.append((key, answer))
        else:
            ledger.plan([key])
            ledger.finish([answer.done])
            found.by_manifest += answer.by_manifest
            found.by_record += not answer.by_manifest
            known.add(key)
    if foreign and strict:
        text = "; ".join(f"{key}: {why}" for key, why in foreign[:_NAMED])
        raise ConfigError(
            f"{len(foreign)} images in {str(output)!r} were created with other settings ({text}); use those, or move "
            "these images away"
        )
    found.refused += foreign
    ledger.plan(key for key in lines.keys() | {key for key, _ in found.refused} if key in jobs)
    listed = (line for key, line in sorted(lines.items()) if line["status"] == SKIPPED)
    skipped = [_skipped(line) for line in listed if line["image"] not in known | states.keys()]
    ledger.skip(skipped)
    found.skipped = len(skipped)
    return found


def _in_threads(examine: Examiner, keys: Sequence[str]) -> Iterator[Found | Foreign | str]:
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        yield from pool.map(examine, keys)
    finally:
        pool.shutdown(cancel_futures=True)


def _skipped(line: dict[str, Any]) -> tuple[str, str, list[dict[str, Any]]]:
    attempts = line.get("attempts")
    intact = isinstance(attempts, list) and all(isinstance(attempt, dict) for attempt in attempts)
    return line["image"], str(line.get("reason"))[:REASON_LENGTH], attempts if intact and attempts else []
