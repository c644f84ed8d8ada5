"""Writes files below OUT, and decides which errors concern one item and which the whole batch."""

import errno
from collections.abc import Iterable
from pathlib import Path

from acusim.errors import AcuSimError, LayoutError, OutputError
from acusim.files import safe_join, write_atomic

_FATAL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.EFBIG, errno.ENODEV}
"""Errors of writing that the next item would meet as well: the batch stops instead of skipping items."""
_BLOCKED = {errno.ENOTDIR, errno.EEXIST, errno.ELOOP}
"""A file or a loop of links is in the place of a folder of OUT: the next item would meet it, too."""


def write_file(output: Path, relative: str, content: bytes | Iterable[bytes]) -> None:
    """Writes one file below OUT.

    Raises:
        LayoutError: this path leads out of OUT, or the file system does not take its name.
        OutputError: nothing can be written any more.
    """
    path = safe_join(output, relative)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(error, relative, output, _FATAL | _BLOCKED) from None
    try:
        write_atomic(path, content)
    except OSError as error:
        raise _unwritable(error, relative, output, _FATAL) from None


def _unwritable(error: OSError, relative: str, output: Path, fatal: set[int]) -> AcuSimError:
    if error.errno in fatal:
        return OutputError(f"cannot write {relative!r} below {str(output)!r}: {error.strerror}")
    return LayoutError(f"cannot write {relative!r}: {error.strerror}")
