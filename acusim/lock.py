"""One program at a time on one folder: an advisory lock that the system drops when its owner dies.

The lock belongs to the open file, not to what is written in it: whatever kills the owner frees it, and a process that
gets the owner's number later does not hold it. The text only says who the owner is.
"""

import errno
import fcntl
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from acusim.errors import ConfigError, OutputError

LOCK_FILE = "lock"
TRIES = 25
PAUSE_SECONDS = 0.02
"""Between two tries: somebody may just be looking whether the lock is held."""
_HELD = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}
_OWNER_BYTES = 4096


def open_lock_file(path: Path) -> int:
    """Opens the file of a lock, made if it is missing; it does not pass to child processes.

    Raises:
        OSError: it cannot be made, or is a link.
    """
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)


def try_lock(handle: int, kind: int = fcntl.LOCK_EX) -> bool:
    """Takes a lock if nobody holds it; returns whether it did.

    Raises:
        OSError: the file system has no locks.
    """
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return False
        raise
    return True


def wait_for_lock(handle: int) -> None:
    """Takes a lock as soon as nobody holds it."""
    fcntl.flock(handle, fcntl.LOCK_EX)


class Lock:
    """Held while it is open as a context manager.

    Args:
        path: the lock's file, in a folder that exists.
        who: what its owner is called in messages, such as "controller".
        place: what is locked, for messages.
    """

    def __init__(self, path: Path, who: str, place: Path):
        self._path, self._who, self._place = path, who, place
        self._file: int | None = None

    def __enter__(self) -> Self:
        try:
            handle = open_lock_file(self._path)
        except OSError as error:
            raise ConfigError(f"lock {str(self._path)!r} cannot be made: {error.strerror}") from None
        try:
            self._take(handle)
            started = time.strftime("%Y-%m-%d %H:%M:%S")
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}, since {started}\n".encode(), 0)
        except BaseException as error:
            os.close(handle)
            if isinstance(error, OSError):
                raise OutputError(
                    f"lock {str(self._path)!r} cannot be used: {error.strerror}; put it on a local disk with free space"
                ) from None
            raise
        self._file = handle
        return self

    def _take(self, handle: int) -> None:
        for _ in range(TRIES):
            if try_lock(handle):
                return
            time.sleep(PAUSE_SECONDS)
        raise ConfigError(
            f"another {self._who} is at work on {str(self._place)!r}: {_text(handle)}; wait for it, or stop it"
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The file stays: removing it would let a third program lock a file that nobody else sees.
        if self._file is not None:
            with suppress(OSError):
                os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = None


def lock_owner(path: Path) -> str | None:
    """Who holds a lock, None if nobody does."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return None if try_lock(handle, fcntl.LOCK_SH) else _text(handle)
    except OSError:  # no locks on this file system
        return None
    finally:
        os.close(handle)


def _text(handle: int) -> str:
    return os.pread(handle, _OWNER_BYTES, 0).decode("utf-8", "replace").strip() or "unknown"
