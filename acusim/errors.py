"""Every error this project raises on purpose.

    AcuSimError
    ├── ConfigError      an argument, recipe or prompt file is wrong          (exit code 1)
    ├── SampleIdError    a file name is not a sample ID
    ├── LabelError       a label file is not in AcuSim's schema
    ├── LayoutError      a dataset root, or a path below it, is not usable
    ├── PictureError     a picture or depth map cannot be read safely
    ├── ProvenanceError  a picture does not say (or not truly) what made it
    ├── OutputError      the output folder cannot be written any more: stop, do not skip
    ├── EngineError      an engine is not available or broke down             (exit code 3)
    └── TrainingError    training cannot go on from here                      (exit code 3)

A message names the value, what is allowed, and what to do next. ``SampleIdError``, ``LabelError``,
``LayoutError`` and ``PictureError`` speak of one item: a batch sets that item aside and goes on.
"""

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


class SampleIdError(AcuSimError):
    """A file name does not follow AcuSim's sample ID grammar."""


class LabelError(AcuSimError):
    """A label file is unreadable or breaks the official schema."""


class LayoutError(AcuSimError):
    """A dataset root or a path in it is missing, ambiguous or leads out of the root."""


class PictureError(AcuSimError):
    """A picture or depth map is unreadable, unsafe or of a kind whose geometry is ambiguous."""


class ProvenanceError(AcuSimError):
    """A picture carries no record, or an unreadable one, of what made it."""


class OutputError(AcuSimError):
    """The output folder cannot be written any more (disk full, read-only, quota)."""


class EngineError(AcuSimError):
    """An engine is not available here or broke down as a whole."""


class TrainingError(AcuSimError):
    """Training cannot go on from here: a loss that is no number, no memory left. Its checkpoints are whole."""
