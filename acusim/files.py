"""Paths that stay inside their root, and files that are written completely or not at all."""

import errno
import hashlib
import os
import secrets
import stat
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from acusim.errors import LayoutError

_UNPRINTED = {"Cc", "Cs", "Zl", "Zp"}
PART_PREFIX, PART_SUFFIX = ".acusim-", ".part"
"""A file being written is called .acusim-<hex>.part beside its target; after a crash it may be left over."""


def safe_join(root: Path, relative: str) -> Path:
    """Joins a relative path to a root and checks that it cannot lead out.

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
    """The folders and the name of a relative path with forward slashes that never leads upwards.

    Raises:
        LayoutError: the path is empty or absolute, or has a ``..``, a backslash or a zero character.
    """
    parts = PurePosixPath(relative).parts
    if not parts or relative.startswith("/") or ".." in parts or "\x00" in relative or "\\" in relative:
        raise LayoutError(f"path {relative!r} is not a plain relative path")
    return parts


def is_inside(real_root: str, path: str | Path) -> bool:
    """Whether a path, links followed, is in a root that is already free of links."""
    real = os.path.realpath(path)
    return real == real_root or real.startswith(real_root.rstrip(os.sep) + os.sep)


def overlap(one: Path, two: Path) -> bool:
    """Whether two resolved folders are the same, or one is in the other."""
    return one == two or one in two.parents or two in one.parents


def read_regular(path: Path, most: int) -> bytes:
    """The bytes of a file; a pipe or a device would wait, or never end.

    Args:
        path: the file; may be a link to one.
        most: bytes that it may have.

    Raises:
        OSError: it cannot be read, is not a regular file, or is larger.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    if status.st_size > most:
        raise OSError(errno.EFBIG, f"{status.st_size} bytes, at most {most} are read")
    return path.read_bytes()


def write_atomic(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Writes a file, at once or in pieces, to a temporary file in the same folder, and renames it into place.

    Raises:
        OSError: from the file system; nothing half-written is left under the target's name.
    """
    temporary = path.with_name(f"{PART_PREFIX}{secrets.token_hex(6)}{PART_SUFFIX}")
    try:
        with open(temporary, "xb") as stream:
            stream.writelines([data] if isinstance(data, bytes) else data)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def is_part(name: str) -> bool:
    """Whether a file name is one that write_atomic uses while it writes."""
    return name.startswith(PART_PREFIX) and name.endswith(PART_SUFFIX)


def sha256(data: bytes) -> str:
    """Hex digest of some bytes."""
    return hashlib.sha256(data).hexdigest()


def printable(name: str) -> str:
    """A file name that can be printed and stored: control characters and bytes that are not UTF-8 as escapes."""
    return "".join(_escaped(c) if unicodedata.category(c) in _UNPRINTED else c for c in name)


def _escaped(character: str) -> str:
    code = ord(character)
    # Python holds a byte that is not UTF-8 as U+DC00 + byte.
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else character.encode("unicode_escape").decode()


def portable_name(name: str) -> str:
    """A name as file systems compare it that ignore case and Unicode composition (macOS, Windows)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def ignores_case(folder: Path) -> bool:
    """Whether the file system of a writable folder treats names that differ only in case as one."""
    probe = folder / f"{PART_PREFIX}{secrets.token_hex(6)}a{PART_SUFFIX}"
    probe.touch()
    try:
        return probe.with_name(probe.name.upper()).exists()
    finally:
        probe.unlink()
