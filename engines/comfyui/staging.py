"""What the engine keeps below ``OUT/.acusim``: OUT's token on servers, and images on their way.

Each run has a staging folder of its own. OUT is locked before an engine opens, so the folders of other runs are
leftovers. An engine without OUT uses none of this.
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
    """The token that identifies an OUT on servers; "" if it has none yet, or is a copy of the OUT that has it."""
    if output is not None:
        with suppress(OSError, UnicodeDecodeError):
            path = output / TOKEN_FILE
            token, _, place = path.read_text(encoding="ascii").strip().partition(" ")
            if len(token) == 16 and all(c in "0123456789abcdef" for c in token) and place == _place(path.parent):
                return token
    return ""


def ensure_token(output: Path | None) -> str:
    """The same, created where there is none; stored in OUT, so that a later run finds what an earlier one left.

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
    """Distinguishes a folder from a copy of it."""
    status = os.stat(os.path.realpath(folder))
    return f"{status.st_dev} {status.st_ino}"


def staging_folder(output: Path) -> Path:
    """OUT's folder for images on their way; it need not exist.

    Raises:
        EngineError: a symbolic link leads elsewhere, where files would be written and removed.
    """
    real = Path(os.path.realpath(output)) / STAGING
    if os.path.realpath(real) != str(real):
        raise EngineError(f"{str(real)!r} leads elsewhere through a symbolic link; remove the link")
    return real


class Staging:
    """The folder of one run."""

    def __init__(self, output: Path):
        """Takes OUT; creates nothing yet."""
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

    def remove_leftovers(self) -> None:
        """Removes what earlier runs left.

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
