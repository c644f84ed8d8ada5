"""Paths that stay inside their root, and files that are there whole or not at all."""

import hashlib
import os
import secrets
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from acusim.errors import LayoutError

_UNPRINTED = {"Cc", "Cs", "Zl", "Zp"}
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
    path = root.joinpath(*plain_parts(relative))
    if not is_inside(os.path.realpath(root), path):
        raise LayoutError(f"path {relative!r} leads out of its root through a symbolic link")
    return path


def plain_parts(relative: str) -> tuple[str, ...]:
    """The folders and the name that make up a relative path with forward slashes, which leads nowhere upwards.

    Raises:
        LayoutError: the path is empty or absolute, or has a ``..``, a backslash or a zero character.
    """
    parts = PurePosixPath(relative).parts
    if not parts or relative.startswith("/") or ".." in parts or "\x00" in relative or "\\" in relative:
        raise LayoutError(f"path {relative!r} is not a plain relative path")
    return parts


def is_inside(real_root: str, path: str | Path) -> bool:
    """Whether a path, links followed, lies in a root that is already free of links."""
    real = os.path.realpath(path)
    return real == real_root or real.startswith(real_root.rstrip(os.sep) + os.sep)


def write_atomic(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Writes a file, whole or in pieces, aside in the same folder, and renames it into place.

    Raises:
        OSError: as the file system says; nothing half-written is left under the target's name.
    """
    aside = path.with_name(f"{PART_PREFIX}{secrets.token_hex(6)}{PART_SUFFIX}")
    try:
        with open(aside, "xb") as stream:
            stream.writelines([data] if isinstance(data, bytes) else data)
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


def printable(name: str) -> str:
    """A file name that can be printed and stored: control characters and bytes that are no UTF-8 as escapes."""
    return "".join(_escaped(c) if unicodedata.category(c) in _UNPRINTED else c for c in name)


def _escaped(character: str) -> str:
    code = ord(character)
    # Python holds a byte that is no UTF-8 as U+DC00 + byte.
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else character.encode("unicode_escape").decode()


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
