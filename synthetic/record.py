"""The record of a folder of synthetic images, and whether the folder fits the settings of a run."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from acusim.errors import ConfigError, OutputError
from acusim.files import write_atomic
from acusim.folders import list_folder

RECORD_FILE = "synthetic.json"


def prepare_root(
    root: Path,
    *,
    made_by: str,
    version: str,
    fixed: Mapping[str, Any],
    grown: Callable[[dict[str, Any]], dict[str, Any]],
    may_change: str,
    folders: Sequence[str] = (),
    files: Mapping[str, bytes] | None = None,
    unwritten: Mapping[str, Any] | None = None,
    option: str = "--out",
) -> None:
    """Creates a root with its folders, files and record, or refuses one that was created otherwise.

    Args:
        root: the folder; new, empty, or created with the same arguments.
        made_by: name of the generator, for the record.
        version: of the generator; a folder holds the images of one version.
        fixed: the settings that decide pixels: a folder holds one set of them.
        grown: from the record before (empty for a new root) to the record's counts after.
        may_change: the options that may differ from run to run, for the message.
        folders: to create, relative.
        files: to write where they are missing, relative.
        unwritten: values with which a setting is left out of the record, as records before that setting lack it.
        option: of the command line that names the root, for messages.

    Raises:
        ConfigError: the root was created with other arguments, or holds something else.
        OutputError: it cannot be written.
    """
    if root.exists() and not root.is_dir():
        raise ConfigError(f"{option} {str(root)!r} is a file; give a folder")
    path = root / RECORD_FILE
    usual = unwritten or {}
    written = {name: value for name, value in fixed.items() if name not in usual or value != usual[name]}
    record: dict[str, Any] = {"made_by": made_by, "version": version, "arguments": written}
    if path.exists():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
            changes = _changes(before, record, usual)
            counts = grown(before)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise ConfigError(f"{str(path)!r} is damaged; restore it, or give another {option}") from None
        if changes:
            raise ConfigError(
                f"{option} {str(root)!r} was created with other arguments: {'; '.join(changes)}. "
                f"Give the same arguments (only {may_change} may change) or another {option}"
            )
    else:
        if root.is_dir() and list_folder(root):
            raise ConfigError(
                f"{option} {str(root)!r} is not empty and has no {RECORD_FILE}: it was not created by this program; "
                "give a new or empty folder"
            )
        counts = grown({})
    try:
        _write(root, folders, files or {}, record | counts)
    except OSError as error:
        raise OutputError(f"{option} {str(root)!r} cannot be written: {error.strerror or error}") from None


def _write(root: Path, folders: Sequence[str], files: Mapping[str, bytes], record: Mapping[str, Any]) -> None:
    """Creates folders, the files that are missing, and the record."""
    for folder in (".", *folders):
        os.makedirs(root / folder, exist_ok=True)
    for name, data in files.items():
        if not (root / name).is_file():
            write_atomic(root / name, data)
    write_atomic(root / RECORD_FILE, (json.dumps(record, indent=2) + "\n").encode())


def _changes(before: dict[str, Any], now: dict[str, Any], usual: Mapping[str, Any]) -> list[str]:
    pairs = {"version": (before["version"], now["version"])}
    if before["made_by"] != now["made_by"]:
        return [f"it holds the output of {before['made_by']!r}, now {now['made_by']!r}"]
    old, new = ({**usual, **entry["arguments"]} for entry in (before, now))
    pairs |= {f"--{key}": (old.get(key), value) for key, value in new.items()}
    return [f"{key} was {first}, now {second}" for key, (first, second) in pairs.items() if first != second]
