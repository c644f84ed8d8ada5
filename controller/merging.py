"""``--merge``: joins what several controllers created on disjoint selections of one data set into one OUT."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from acusim.errors import AcuSimError, ConfigError
from acusim.files import overlap, safe_join, sha256
from acusim.lock import LOCK_FILE, Lock, lock_owner
from acusim.pictures import read_file
from controller.ledger import DONE, LEDGER_FILE, STATE_FOLDER, Done, Ledger
from controller.output_files import write_file
from controller.places import check_places, state_folder
from controller.plan import shared_files, variant_folders
from controller.results import write_contact_sheet, write_manifest
from controller.settings import FOCUS_FILE, BatchSettings
from controller.stored import open_ledger, stored_settings
from controller.traces import KEPT, holds_more, keep_state, lost_ledger
from engines.base import WORKFLOW_FILE

_BESIDE = ("recipe.toml", "models.json", WORKFLOW_FILE, FOCUS_FILE)
"""Files of OUT that say what decided its pixels."""
_COMPANIONS = {"label": ".json", "depth": ".png", "mask": ".json"}
"""Files beside an image, and how their names end."""
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
        for other, ledger in zip(others, ledgers, strict=True):
            if (owner := lock_owner(other / STATE_FOLDER / LOCK_FILE)) is not None:
                raise ConfigError(f"{str(other)!r} is being worked on ({owner}); wait until that has ended")
            ledger.check()
            check_places(stored_settings(ledger, other).dataset, output)
            _ensure_apart(output, other)
        state = state_folder(output)
        stack.enter_context(Lock(state / LOCK_FILE, "controller", output))
        own = stack.enter_context(Ledger(state / LEDGER_FILE, create=not holds_more(output)))
        if own.get_meta("identity") is not None:
            own.check()
        elif holds_more(output):
            raise lost_ledger(output)
        known = _same(output, own, others, ledgers)
        settings = BatchSettings.from_stored(known["settings"], output)
        keys = set[str]().union(*(ledger.states() for ledger in (own, *ledgers)))
        written = {place: digest for entry in own.done() for _, place, digest in _places(entry, keys)}
        for other, ledger in zip(others, ledgers, strict=True):
            _copy_beside(output, other, known["identity"], settings.variants)
            _copy(own, output, ledger, other, merged, keys, written)
        write_manifest(own, output)
        if settings.dataset.is_dir():
            write_contact_sheet(own, output, settings.dataset)
        else:
            note(f"no contact sheet: the data set {str(settings.dataset)!r} is not here")
    return merged


def _ensure_apart(output: Path, other: Path) -> None:
    if overlap(output.resolve(), other.resolve()):
        raise ConfigError(
            f"--output {str(output)!r} and --merge {str(other)!r} are the same or one is in the other; name two "
            "separate folders"
        )


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


def _copy_beside(output: Path, other: Path, identity: dict[str, Any], variants: int) -> None:
    shared = [folder + name for folder in variant_folders(variants) for name in shared_files(identity)]
    for name in (*_BESIDE, *shared):
        if (other / name).is_file() and not (output / name).exists():
            write_file(output, name, safe_join(other, name).read_bytes())


def _copy(
    own: Ledger, output: Path, ledger: Ledger, other: Path, merged: Merged, keys: set[str], written: dict[str, str]
) -> None:
    """Copies the items of one OUT; ``written`` is the hash of each file of OUT's items, by its place."""
    done = {entry.key: entry.sha256 for entry in own.done()}
    for number, entry in enumerate(ledger.done()):
        if entry.key in done:
            if done[entry.key] == entry.sha256:
                merged.already += 1
            else:
                merged.refused.append((entry.key, f"the image in {str(other)!r} is another one; the one in OUT stays"))
            continue
        try:
            places = _places(entry, keys)
            if taken := [place for _, place, digest in places if written.get(place, digest) != digest]:
                raise ConfigError(f"{taken[0]!r} is another file in OUT")
            files = [(place, _read(other, name, place, digest)) for name, place, digest in places]
        except AcuSimError as error:
            merged.refused.append((entry.key, f"{error}; --verify and --repair {str(other)!r} first"))
            continue
        for relative, data in files:
            write_file(output, relative, data)
        written |= {place: digest for _, place, digest in places}
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


def _places(entry: Done, keys: set[str]) -> list[tuple[str, str, str]]:
    """(kind, place in OUT, SHA-256) of the files of an item, the image last.

    Raises:
        ConfigError: one would lie where something else belongs.
    """
    folder, record = entry.key.removesuffix(entry.record["source"]), entry.record
    out = [(name, record[name], record[f"{name}_sha256"]) for name in _COMPANIONS if f"{name}_sha256" in record]
    for name, place, _ in out:
        if place in keys or place.removeprefix(folder) in _BESIDE or not place.endswith(_COMPANIONS[name]):
            raise ConfigError(f"{place!r} is no place for a {name}")
    out.append(("image", entry.key, entry.sha256))
    for name, place, _ in out:
        if any(part.startswith(".") for part in PurePosixPath(place).parts):
            raise ConfigError(f"{place!r} is no place for a {name}: its name is hidden")
    return out


def _read(other: Path, name: str, place: str, expected: str) -> bytes:
    """A file of an item.

    Raises:
        AcuSimError: it is missing, or is not what was written.
    """
    data = read_file(safe_join(other, place), name)
    if sha256(data) != expected:
        raise ConfigError(f"{place!r} is not what was written")
    return data
