"""Keeps off the terminal what other packages' native code writes to standard error.

MediaPipe, onnxruntime and torch write notices there that none of their settings stops. They are silenced while models
are loaded and while the detector runs; errors are Python exceptions, and those are never silenced.
"""

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Discards the process's standard error. One thread at a time."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
