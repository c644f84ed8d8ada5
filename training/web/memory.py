"""Memory that is given back to the system once a large picture is done with.

glibc keeps what was freed for the next request, for good and for each thread apart; a server that once saw a large
picture would stay as large as that.
"""

import ctypes
import sys
from collections.abc import Callable
from functools import cache

LARGE = 4 << 20
"""Pixels from which on a picture is worth the milliseconds."""


def give_back(pixels: int) -> None:
    """Gives free memory back after a picture of so many pixels; does nothing where the C library cannot."""
    trim = _trim()
    if pixels >= LARGE and trim:
        trim(0)


@cache
def _trim() -> Callable[[int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, musl does not
