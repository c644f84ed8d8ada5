"""Inputs of nodes, in the form that ComfyUI's INPUT_TYPES expects."""

from collections.abc import Iterable
from typing import Any

Widget = tuple[Any, dict[str, Any]]
MAX_SEED = 2**64 - 1


def link(kind: str, tooltip: str) -> Widget:
    """An input that another node's output is connected to."""
    return kind, {"tooltip": tooltip}


def heads() -> dict[str, Widget]:
    """Relit heads beside what they were made from."""
    return {
        "images": link("IMAGE", "The relit images, as decoded."),
        "originals": link("IMAGE", "The samples' own images: images of AcuSim Load Samples."),
        "mask": link("MASK", "The heads: mask of AcuSim Load Samples."),
    }


def text(tooltip: str, default: str = "", **options: Any) -> Widget:
    """A text field."""
    return "STRING", {"default": default, **options, "tooltip": tooltip}


def integer(tooltip: str, default: int, low: int, high: int, **options: Any) -> Widget:
    """A whole number in low..high."""
    return "INT", {"default": default, "min": low, "max": high, "step": 1, **options, "tooltip": tooltip}


def fixed_integer(tooltip: str, high: int = MAX_SEED) -> Widget:
    """A whole number in 0..high, such as a seed, that the editor does not change after each run."""
    return integer(tooltip, 0, 0, high, control_after_generate=False)


def share(tooltip: str, default: float) -> Widget:
    """A number in 0..1."""
    return "FLOAT", {"default": default, "min": 0.0, "max": 1.0, "step": 0.05, "tooltip": tooltip}


def choice(tooltip: str, names: Iterable[str], **options: Any) -> Widget:
    """One of some names."""
    return list(names), {**options, "tooltip": tooltip}


def switch(tooltip: str) -> Widget:
    """On or off; on by default."""
    return "BOOLEAN", {"default": True, "tooltip": tooltip}
