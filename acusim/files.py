"""Paths that stay inside their root, and files that are there whole or not at all."""

import hashlib
import os
import secrets
import unicodedata
from pathlib import Path, PurePosixPath

from acusim.errors import LayoutError

PART_PREFIX, PART_SUFFIX = ".acusim-", ".part"
"""A file being written is called .acusim-<hex>.part beside its target; after a crash it may be left over."""


def safe_join(root: Path, relative: str) -> Path:
    """Joins a relative path to a root and makes sure that it cannot lead out.

    Args:
        root: an existing folder; may itself be reached through a link.
        relative: with forward slashes; untrusted.

    Returns:
        The path below ``root``. It need not exist.

    Raises:
        LayoutError: the path is absolute, has a ``..``, or passes a symbolic link that leads out of the root.
    """
    parts = PurePosixPath(relative).parts
    if not parts or relative.startswith("/") or ".." in parts or "\x00" in relative or "\\" in relative:
        raise LayoutError(f"path {relative!r} is not a plain relative path below {str(root)!r}")
    path = root.joinpath(*parts)
    real_root, real = os.path.realpath(root), os.path.realpath(path)
    if real != real_root and not real.startswith(real_root.rstrip(os.sep) + os.sep):
        raise LayoutError(f"path {relative!r} leads out of {str(root)!r} through a symbolic link")
    return path


def write_atomic(path: Path, data: bytes) -> None:
    """Writes a file aside, in the same folder, and renames it into place.

    Raises:
        OSError: as the file system says; nothing half-written is left under the target's name.
    """
    aside = path.with_name(f"{PART_PREFIX}{secrets.token_hex(6)}{PART_SUFFIX}")
    try:
        with open(aside, "xb") as stream:
            stream.write(data)
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def is_part(name: str) -> bool:
    """Whether a file name is one that write_atomic uses while it writes."""
    return name.startswith(PART_PREFIX) and name.endswith(PART_SUFFIX)


def sha256(data: bytes) -> str:
    """Hex digest of some bytes."""
    return hashlib.sha256(data).hexdigest()


def same_on_every_disk(name: str) -> str:
    """What a name becomes on a file system that ignores case and Unicode composition (macOS, Windows)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def folds_names(folder: Path) -> bool:
    """Whether the file system of a writable folder takes two names for one that differ in case only."""
    probe = folder / f"{PART_PREFIX}{secrets.token_hex(6)}a{PART_SUFFIX}"
    probe.touch()
    try:
        return probe.with_name(probe.name.upper()).exists()
    finally:
        probe.unlink()
