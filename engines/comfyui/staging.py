"""What the engine keeps below ``OUT/.acusim``: the name that OUT goes by on servers, and pictures on their way.

Each run stages in a folder of its own. Who may write to OUT is settled before an engine opens: any other run's folder
is a dead one's then. An engine without OUT touches none of this.
"""

import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

from acusim.errors import EngineError
from acusim.files import write_atomic

STAGING = ".acusim/staging"
"""Below OUT."""
TOKEN_FILE = ".acusim/server_token"


def known_token(output: Path | None) -> str:
    """The name that an OUT goes by on servers; "" if it has none yet, or is a copy of the OUT that has it."""
    if output is not None:
        with suppress(OSError, UnicodeDecodeError):
            path = output / TOKEN_FILE
            token, _, place = path.read_text(encoding="ascii").strip().partition(" ")
            if len(token) == 16 and all(c in "0123456789abcdef" for c in token) and place == _place(path.parent):
                return token
    return ""


def out_token(output: Path | None) -> str:
    """The same, made where there is none; kept in OUT, so that a later run finds what an earlier one left.

    Raises:
        EngineError: OUT cannot be written.
    """
    token = known_token(output)
    if token or output is None:
        return token or secrets.token_hex(8)
    token = secrets.token_hex(8)
    path = output / TOKEN_FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, f"{token} {_place(path.parent)}\n".encode())
    except OSError as error:
        raise EngineError(f"cannot write {str(path)!r}: {error.strerror}") from None
    return token


def _place(folder: Path) -> str:
    """What tells a folder from a copy of it."""
    status = os.stat(os.path.realpath(folder))
    return f"{status.st_dev} {status.st_ino}"


def staging_folder(output: Path) -> Path:
    """OUT's folder for pictures on their way; it need not exist.

    Raises:
        EngineError: it is a symbolic link, or reached through one: files would be written, and removed, elsewhere.
    """
    real = Path(os.path.realpath(output)) / STAGING
    if os.path.realpath(real) != str(real):
        raise EngineError(f"{str(real)!r} leads elsewhere through a symbolic link; remove the link")
    return real


class Staging:
    """The folder of one run."""

    def __init__(self, output: Path):
        """Takes OUT; nothing is made yet."""
        self.output = output
        self._run = f"run-{secrets.token_hex(8)}"
        self.below = f"{STAGING}/{self._run}"
        """Below OUT."""

    @property
    def folder(self) -> Path:
        """Where this run's files are.

        Raises:
            EngineError: a symbolic link leads elsewhere.
        """
        return staging_folder(self.output) / self._run

    def begin(self) -> None:
        """Removes what dead runs left.

        Raises:
            EngineError: a symbolic link leads elsewhere, or the folder cannot be read.
        """
        staging = staging_folder(self.output)
        try:
            left = [entry for entry in os.scandir(staging) if entry.name != self._run]
        except FileNotFoundError:
            return
        except OSError as error:
            raise EngineError(f"cannot read {str(staging)!r}: {error.strerror}") from None
        for entry in left:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                with suppress(OSError):
                    os.unlink(entry.path)

    def close(self) -> None:
        """Removes this run's folder, and the one for all runs if it is empty then."""
        with suppress(EngineError, OSError):
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.parent.rmdir()
