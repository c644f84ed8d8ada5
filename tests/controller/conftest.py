"""The command as the tests of the controller run it."""

from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., object]


@pytest.fixture
def batch(command: Run) -> Run:
    def run(root: Path, out: Path, *more: object, check: int = 0, **how: object) -> object:
        return command("--batch", "--engine", "relight", "--dataset", root, "--output", out, *more, check=check, **how)

    return run
