"""Commands as tests run them: in this process, which saves the imports of another one."""

import io
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from unittest.mock import patch

from acusim.command_line import OUR_PACKAGES


def run_here(main: Callable[[], int], line: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """What a command says and its exit code, as if it were a process of its own.

    Args:
        main: the command, which reads ``sys.argv``.
        line: of the command, from the file on.
    """
    out, error = io.StringIO(), io.StringIO()
    with patch.object(sys, "argv", [*line]), _loggers_kept(), redirect_stdout(out), redirect_stderr(error):
        try:
            code = main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    return subprocess.CompletedProcess([*line], code, out.getvalue(), error.getvalue())


@contextmanager
def _loggers_kept() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in OUR_PACKAGES]
    before = [(each.handlers[:], each.level, each.propagate) for each in loggers]
    try:
        yield
    finally:
        for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
            logger.handlers[:], logger.level, logger.propagate = handlers, level, propagate
