"""Keeps the server's terminal for errors, whatever training.inference.quiet silences."""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator


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
