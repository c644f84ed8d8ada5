"""Memory that is returned to the system after a large picture.

glibc keeps freed memory for the next request, permanently and for each thread; a server that once decoded a large
picture would stay as large as that.
"""

import ctypes
import sys
from collections.abc import Callable
from functools import cache

LARGE = 4 << 20
"""Pixels from which on a picture is worth the milliseconds."""


def trim_memory(pixels: int) -> None:
    """Returns free memory after a picture of so many pixels; does nothing where the C library cannot."""
    trim = _trim()
    if pixels >= LARGE and trim:
        trim(0)


@cache
def _trim() -> Callable[[int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, musl does not
