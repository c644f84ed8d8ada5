"""Settings from TOML files: one way to read them and to say what is wrong with them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from acusim.errors import ConfigError
from acusim.text_files import toml_of

T = TypeVar("T")


def read_settings(path: Path, what: str, make: Callable[[dict[str, Any]], T]) -> T:
    """What ``make`` makes of a TOML file.

    Args:
        path: the file.
        what: it is called in messages, such as "recipe".
        make: from the file's content; raises ConfigError.

    Raises:
        ConfigError: unreadable, not TOML, or not what ``make`` takes; names the file.
    """
    try:
        settings = toml_of(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{what} {str(path)!r} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise ConfigError(f"{what} {str(path)!r} cannot be read as TOML: {error}") from None
    try:
        return make(settings)
    except ConfigError as error:
        raise ConfigError(f"{what} {str(path)!r}: {error}") from None
