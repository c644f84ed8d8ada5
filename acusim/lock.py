"""One program at a time in one folder: an advisory lock that the system drops when its owner dies.

The lock belongs to the open file, not to its content: whatever kills the owner releases it, and a later process with
the same number does not hold it. The content only names the owner. Every lock of the project is one of these.
"""

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import lock_descriptor

from acusim.errors import ConfigError, OutputError

LOCK_FILE = "lock"
_TRIES, _PAUSE_SECONDS = 25, 0.02
"""Before a lock counts as held: another program may just be checking it."""
_OWNER_BYTES = 4096
_UNKNOWN = "unknown"


class Lock:
    """Held while it is open as a context manager.

    Args:
        path: the lock's file, in a folder that exists.
        who: what its owner is called in messages, such as "controller".
        place: what is locked, for messages.
        on_wait: called once with a description of the owner where the lock is held; the lock then waits until it is
            released. None refuses instead.

    Raises:
        ConfigError: another program holds the lock and ``on_wait`` is None; names its owner.
        OutputError: the file cannot be created or is a link, or the file system has no locks or no space.
    """

    def __init__(self, path: Path, who: str, place: Path, on_wait: Callable[[str], None] | None = None):
        self._path, self._who, self._place, self._on_wait = path, who, place, on_wait
        self._handle: int | None = None

    def __enter__(self) -> Self:
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise OutputError(f"lock {str(self._path)!r} cannot be created: {error.strerror}") from None
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
        self._handle = handle
        return self

    def _take(self, handle: int) -> None:
        if self._on_wait is not None:
            if not lock_descriptor(handle, blocking=False):
                self._on_wait(_owner(handle))
                lock_descriptor(handle)
            return
        for _ in range(_TRIES):
            if lock_descriptor(handle, blocking=False):
                return
            time.sleep(_PAUSE_SECONDS)
        raise ConfigError(
            f"another {self._who} is working on {str(self._place)!r}: {_owner(handle)}; wait for it, or stop it"
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The file stays: removing it would let a third program lock a file that nobody else sees.
        if self._handle is not None:
            with suppress(OSError):
                os.ftruncate(self._handle, 0)
            os.close(self._handle)
            self._handle = None


def lock_owner(path: Path) -> str | None:
    """Who holds a lock, such as ``process 71 on host, since …``; None if nobody does, or there are no locks here."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # Held without an owner's name: by another program that is checking it, or by an owner about to write its name.
        for _ in range(_TRIES):
            if lock_descriptor(handle, blocking=False):
                return None
            if (owner := _owner(handle)) != _UNKNOWN:
                return owner
            time.sleep(_PAUSE_SECONDS)
        return _UNKNOWN
    except OSError:
        return None
    finally:
        os.close(handle)


def _owner(handle: int) -> str:
    return os.pread(handle, _OWNER_BYTES, 0).decode("utf-8", "replace").strip() or _UNKNOWN
