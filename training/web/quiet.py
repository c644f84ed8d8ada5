"""Keeps off the terminal what other packages' native code writes to standard error.

MediaPipe, onnxruntime and torch write notices there that none of their settings stops. They are silenced while models
are loaded and while the detector runs; errors are Python exceptions, and those are never silenced.
"""

import contextlib
import logging
import os
import sys
import warnings
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


@contextlib.contextmanager
def terminal_for_errors() -> Iterator[None]:
    """Keeps Python's own standard error on the terminal whatever is silenced, for errors alone.

    Warnings of other packages, which any upload could cause, are dropped; ``python -W`` shows them.
    """
    before, level = sys.stderr, logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)
    with contextlib.ExitStack() as stack:
        if not sys.warnoptions:
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
        if before is sys.__stderr__:
            own = os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8", errors="backslashreplace")
            sys.stderr = stack.enter_context(own)
        try:
            yield
        finally:
            sys.stderr = before
            logging.getLogger().setLevel(level)
