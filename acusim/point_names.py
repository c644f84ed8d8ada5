"""Names of labelled points: each once, and printable."""

from collections.abc import Collection

from acusim.errors import LabelError, shown
from acusim.files import printable


def unused_name(name: str, names: Collection[str], reserved: Collection[str] = ()) -> str:
    """A point's name that is not among some: ``tip``, else ``tip (2)``, ``tip (3)`` …, and none that is reserved.

    Raises:
        LabelError: it holds control characters, or is not valid Unicode.
    """
    name = name.strip() or "point"
    if printable(name) != name:
        raise LabelError(f"the name of a point, {shown(name)}, holds control characters or is not valid Unicode")
    found, number = name, 2
    while found in names or (number > 2 and found in reserved):
        found, number = f"{name} ({number})", number + 1
    return found
