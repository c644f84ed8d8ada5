"""``--merge``: joins what several controllers created on disjoint selections of one data set into one OUT."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acusim.errors import AcuSimError, ConfigError
from acusim.files import safe_join, sha256
from acusim.lock import LOCK_FILE, Lock, lock_owner
from acusim.pictures import read_file
from controller.ledger import DONE, LEDGER_FILE, STATE_FOLDER, Done, Ledger
from controller.output_files import write_file
from controller.places import state_folder
from controller.plan import shared_files, variant_folders
from controller.results import write_contact_sheet, write_manifest
from controller.settings import FOCUS_FILE, BatchSettings
from controller.stored import open_ledger
from controller.traces import KEPT, holds_more, keep_state, lost_ledger
from engines.base import WORKFLOW_FILE

_BESIDE = ("recipe.toml", "models.json", WORKFLOW_FILE, FOCUS_FILE)
"""Files of OUT that say what decided its pixels."""
_COMMIT_EVERY = 500


@dataclass(slots=True)
class Merged:
    """What became of the images of the other OUTs."""

    copied: int = 0
    already: int = 0
    """Images that were there, with the same bytes."""
    refused: list[tuple[str, str]] = field(default_factory=list)
    """(path, reason) of images that were not copied."""


def merge(output: Path, others: Sequence[Path], note: Callable[[str], None]) -> Merged:
    """Copies into an OUT what is done in others, with its ledger's entries; their files are compared with their hashes.

    Args:
        output: OUT; may be new.
        others: OUTs of the same data set and settings, but for the selection; they are left as they are.
        note: called with what a user should know.

    Raises:
        ConfigError: one is no OUT, is being worked on, or was created with other settings; names the differences.
        OutputError: OUT cannot be written.
    """
    merged = Merged()
    with ExitStack() as stack:
        ledgers = [stack.enter_context(open_ledger(other)) for other in others]
        for other in others:
            if (owner := lock_owner(other / STATE_FOLDER / LOCK_FILE)) is not None:
                raise ConfigError(f"{str(other)!r} is being worked on ({owner}); wait until that has ended")
        state = state_folder(output)
        stack.enter_context(Lock(state / LOCK_FILE, "controller", output))
        own = stack.enter_context(Ledger(state / LEDGER_FILE, create=not holds_more(output)))
        if own.get_meta("identity") is None and holds_more(output):
            raise lost_ledger(output)
        known = _same(output, own, others, ledgers)
        for other, ledger in zip(others, ledgers, strict=True):
            _copy_beside(output, other, known)
            _copy(own, output, ledger, other, merged)
        settings = BatchSettings.from_stored(known["settings"], output)
        write_manifest(own, output)
        if settings.dataset.is_dir():
            write_contact_sheet(own, output, settings.dataset)
        else:
            note(f"no contact sheet: the data set {str(settings.dataset)!r} is not here")
    return merged


def _same(output: Path, own: Ledger, others: Sequence[Path], ledgers: Sequence[Ledger]) -> dict[str, Any]:
    """What OUT holds beside its items, which is stored, once it is found to be the others'."""
    known: dict[str, Any] = {name: own.get_meta(name) for name in KEPT}
    first = output
    codes: dict[str, bool] = known["bald codes"] or {}
    for other, ledger in zip(others, ledgers, strict=True):
        theirs = {name: ledger.get_meta(name) for name in KEPT}
        if known["identity"] is None:
            first, known = other, theirs
        pairs = {f"bald codes, {code}": (codes.get(code, bald), bald) for code, bald in theirs["bald codes"].items()}
        for name in known["identity"].keys() | theirs["identity"].keys():
            pairs[name] = known["identity"].get(name), theirs["identity"].get(name)
        changes = [f"{name}: {mine} and {yours}" for name, (mine, yours) in sorted(pairs.items()) if mine != yours]
        if changes:
            raise ConfigError(
                f"{str(first)!r} and {str(other)!r} were created with other settings ({'; '.join(changes)[:500]}); "
                "nothing was merged"
            )
        codes |= theirs["bald codes"]
    known["bald codes"] = codes
    for name, value in known.items():
        own.set_meta(name, value)
    own.commit()
    keep_state(output, known)
    return known


def _copy_beside(output: Path, other: Path, known: dict[str, Any]) -> None:
    variants = variant_folders(known["settings"].get("variants", 1))
    shared = [folder + name for folder in variants for name in shared_files(known["identity"])]
    for name in (*_BESIDE, *shared):
        if (other / name).is_file() and not (output / name).exists():
            write_file(output, name, safe_join(other, name).read_bytes())


def _copy(own: Ledger, output: Path, ledger: Ledger, other: Path, merged: Merged) -> None:
    done = {entry.key: entry.sha256 for entry in own.done()}
    for number, entry in enumerate(ledger.done()):
        if entry.key in done:
            if done[entry.key] == entry.sha256:
                merged.already += 1
            else:
                merged.refused.append((entry.key, f"the image in {str(other)!r} is another one; the one in OUT stays"))
            continue
        try:
            files = _read(entry, other)
        except AcuSimError as error:
            merged.refused.append((entry.key, f"{error}; --verify and --repair {str(other)!r} first"))
            continue
        for relative, data in files:
            write_file(output, relative, data)
        own.plan([entry.key])
        own.finish([entry])
        merged.copied += 1
        if number % _COMMIT_EVERY == 0:
            own.commit()
    states = own.states()
    own.plan(key for key in ledger.states() if key not in states)
    own.skip(
        (key, reason, record.get("attempts", []))
        for key, reason, record in list(ledger.outcomes())
        if reason is not None and states.get(key, ("",))[0] != DONE
    )
    own.commit()


def _read(entry: Done, other: Path) -> list[tuple[str, bytes]]:
    """The files of an item, the image last.

    Raises:
        AcuSimError: one is missing, or is not what was written.
    """
    files: list[tuple[str, bytes]] = []
    for name in ("label", "depth", "mask", "image"):
        if name in entry.record and (name == "image" or f"{name}_sha256" in entry.record):
            expected = entry.sha256 if name == "image" else entry.record[f"{name}_sha256"]
            data = read_file(safe_join(other, entry.record[name]), name)
            if sha256(data) != expected:
                raise ConfigError(f"{entry.record[name]!r} is not what was written")
            files.append((entry.record[name], data))
    return files
