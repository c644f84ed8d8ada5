"""Reads settings from TOML files, with one form of error for all of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from acusim.errors import ConfigError
from acusim.files import read_regular
from acusim.text_files import toml_of

MAX_BYTES = 16 << 20
"""Of a file of settings."""
_T = TypeVar("_T")


def read_settings(path: Path, what: str, make: Callable[[dict[str, Any]], _T]) -> _T:
    """The result of ``make`` for the content of a TOML file.

    Args:
        path: the file.
        what: its name in messages, such as "recipe".
        make: called with the file's content; raises ConfigError.

    Raises:
        ConfigError: unreadable, not TOML, or refused by ``make``; names the file.
    """
    try:
        settings = toml_of(read_regular(path, MAX_BYTES))
    except OSError as error:
        raise ConfigError(f"{what} {str(path)!r} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise ConfigError(f"{what} {str(path)!r} cannot be read as TOML: {error}") from None
    try:
        return make(settings)
    except ConfigError as error:
        raise ConfigError(f"{what} {str(path)!r}: {error}") from None
