"""Whether a checkpoint belongs to a run: the same settings, data, persons and initial weights."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from acusim.errors import ConfigError, few


def same_task(before: dict[str, Any], now: dict[str, Any], run: Path) -> None:
    """Checks that a checkpoint belongs to the same run.

    Args:
        before: the checkpoint's identity.
        now: the task's.
        run: the folder.

    Raises:
        ConfigError: it does not; names what differs.
    """
    differences = sorted(_differences(before, now))
    if differences:
        raise ConfigError(
            f"{str(run)!r} contains a run with other settings: {few(differences, 5, '; ')}. "
            "Choose another --out, or the previous settings to resume it"
        )


def _differences(before: Any, now: Any, name: str = "") -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in before.keys() | now.keys():
            yield from _differences(before.get(key), now.get(key), f"{name}.{key}" if name else key)
    elif before != now:
        yield f"{name} was {before!r}, is {now!r}"
