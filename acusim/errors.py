"""Every error this project raises on purpose.

    AcuSimError
    ├── ConfigError      an argument, recipe or prompt file is wrong          (exit code 1)
    ├── SampleIdError    a file name is not a sample ID
    ├── LabelError       a label file is not in AcuSim's format
    ├── LayoutError      a dataset root, or a path below it, is not usable
    ├── PictureError     an image or depth map cannot be read safely
    ├── ProvenanceError  an image carries no valid record of how it was created
    ├── OutputError      the output folder cannot be written: stop, do not skip
    ├── EngineError      an engine is not available or failed                 (exit code 3)
    └── TrainingError    training cannot continue                             (exit code 3)

A message names the value, what is allowed, and what to do next. ``SampleIdError``, ``LabelError``, ``LayoutError`` and
``PictureError`` concern one item: a batch skips that item and continues.
"""

from collections.abc import Sequence

SHOWN = 80


def shown(value: object) -> str:
    """A value from an untrusted file for a message: its repr, cut to 80 characters."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deeply; an integer of more digits than Python prints
        text = f"a {type(value).__name__} that cannot be printed"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(text)} characters)"


class AcuSimError(Exception):
    """Base of all errors raised on purpose."""


class ConfigError(AcuSimError):
    """An argument, a recipe, a prompt file or a combination of them is wrong."""


def few(texts: Sequence[object], most: int, between: str = ", ") -> str:
    """The first of some texts, and how many more there are: ``a, b and 3 more``."""
    rest = f"{between.strip(' ,')} and {len(texts) - most} more" if len(texts) > most else ""
    return between.join(map(str, texts[:most])) + rest


class SampleIdError(AcuSimError):
    """A file name does not follow AcuSim's sample ID grammar."""


class LabelError(AcuSimError):
    """A label file is unreadable or not in the official format."""


class LayoutError(AcuSimError):
    """A dataset root or a path in it is missing, ambiguous or leads out of the root."""


class PictureError(AcuSimError):
    """An image or depth map is unreadable, unsafe or of a kind whose geometry is ambiguous."""


class ProvenanceError(AcuSimError):
    """An image carries no record, or an unreadable one, of how it was created."""


class OutputError(AcuSimError):
    """The output folder cannot be written any more (disk full, read-only, quota)."""


class EngineError(AcuSimError):
    """An engine is not available here or failed as a whole."""


class TrainingError(AcuSimError):
    """Training cannot continue: the loss is not a number, or no memory is left. Its checkpoints are intact."""
