"""Shared fixtures: small data sets, and the command as a process."""

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from controller.__main__ import main
from tests.commands import run_here
from tests.support import FOUR_SETS, ROOT, add_sample


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("a live ComfyUI server, for -m comfyui")
    group.addoption("--comfyui", metavar="URL", help="address of the server, such as http://127.0.0.1:8188")
    group.addoption(
        "--comfyui-recipe", metavar="F.toml", help="names of its model files, where they are not the recipe's defaults"
    )
    group.addoption(
        "--comfyui-folder",
        metavar="DIR",
        help="a folder below one of the server's roots: the tests work there, by shared folders",
    )
    group.addoption(
        "--comfyui-models",
        metavar="DIR",
        help="the server's models folder, which engine embedded reads, too: the tests compare the two engines",
    )
    group.addoption(
        "--comfyui-size",
        type=int,
        choices=(64, 128, 256, 512),
        default=128,
        help="side of the tests' pictures in pixels (default 128); 64 takes a quarter of the time",
    )
    group.addoption(
        "--comfyui-may-kill",
        action="store_true",
        help="the tests may kill the server with SIGKILL and start it again by its own command line",
    )


def pytest_configure(config: pytest.Config) -> None:
    """With pytest-xdist (-n), its processes are the parallelism: they and what they start have one thread each."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a job in the background: what tests start must hear Ctrl-C
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if getattr(config.option, "numprocesses", None):
        os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than cores, because much time is spent waiting; four at most, because one may need 4 GB."""
    return min(4, 1 + len(os.sched_getaffinity(0)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first: of several processes, none then ends minutes after the others."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    """Sets the umask for one test."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@pytest.fixture
def make_dataset(tmp_path: Path) -> Callable[..., Path]:
    """Makes a data set of some models in some frames and returns its root."""

    def make(
        frames: Sequence[int] = (1, 8), models: Sequence[str] = FOUR_SETS, name: str = "data", **how: object
    ) -> Path:
        root = tmp_path / name
        for model in models:
            for frame in frames:
                add_sample(root, f"{model}_{frame:04d}", **how)  # type: ignore[arg-type]
        return root

    return make


@pytest.fixture(scope="session")
def command() -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs ``python controller/controller.py`` with some arguments, and returns what it said.

    In this process, which saves its imports; ``apart`` starts one, as a user does.
    """

    def run(*arguments: object, check: int | None = None, apart: bool = False) -> "subprocess.CompletedProcess[str]":
        line = [str(ROOT / "controller" / "controller.py"), *map(str, arguments)]
        if apart:
            program = [sys.executable, *line]
            done = subprocess.run(program, capture_output=True, text=True, timeout=120, check=False)
        else:
            done = run_here(main, line)
        if check is not None:
            assert done.returncode == check, f"exit {done.returncode}, not {check}\n{done.stdout}\n{done.stderr}"
        return done

    return run


@pytest.fixture(scope="session")
def tree() -> Callable[[Path], dict[str, str]]:
    """Hash of every file below a folder by its relative path, without the ledger's own folder."""

    def hashes(root: Path) -> dict[str, str]:
        files = (path for path in sorted(root.rglob("*")) if path.is_file())
        return {
            str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
            if path.relative_to(root).parts[0] != ".acusim"
        }

    return hashes
