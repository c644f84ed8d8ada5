"""Creates the environment of the Makefile's commands, and keeps it in line with the pinned requirements.

    python3 tools/environment.py core     what `make demo` requires
    python3 tools/environment.py all      also training, diffusion and the web page
    python3 tools/environment.py dev      also what tests and checks require

Standard library only: it runs before anything is installed. Missing packages are found by querying the environment, so
an interrupted installation is completed by the next call, and a complete one costs a fraction of a second.
"""

import argparse
import fcntl
import json
import re
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LEVELS = {
    "core": ("requirements-core.txt",),
    "all": ("requirements.txt",),
    "dev": ("requirements.txt", "requirements-cluster.txt", "requirements-dev.txt"),
    "docs": ("requirements.txt", "requirements-docs.txt"),
}
SIZES = {"core": "0.3 GB", "all": "0.9 GB, or 3 GB where PyPI's torch brings CUDA's libraries"}
"""Of the downloads; README has the same figures."""
OLDEST, TOO_NEW = (3, 11), (3, 13)
QUERY = """
import json, sys
from importlib.metadata import distributions
found = {d.metadata["Name"]: d.version for d in distributions()}
print(json.dumps({"version": sys.version_info[:2], "base": sys.base_prefix, "found": found}))
"""


class Refused(Exception):
    """The environment cannot be created or used; the message says why and what to do."""


@dataclass(frozen=True)
class Interpreter:
    """A Python and what is installed in it."""

    version: tuple[int, int]
    base: str
    """Where the Python itself is installed, whatever environment it runs in."""
    found: dict[str, str]
    """Version by normalised() name."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code: 0 the environment is complete, 1 it is not; the reason is printed."""
    parser = argparse.ArgumentParser(description="Creates or completes the project's environment.")
    parser.add_argument("level", choices=LEVELS, help="how much of the project to install")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="its folder (default: .venv)")
    parser.add_argument(
        "--this-python", action="store_true", help="recreate it if it was created with another Python than this one"
    )
    options = parser.parse_args(arguments)
    try:
        with open(__file__, "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # `make -j` runs this several times at once
            complete(options.venv, options.level, options.this_python)
    except Refused as error:
        print(f"environment: {error}", file=sys.stderr)
        return 1
    return 0


def complete(folder: Path, level: str, this_python: bool = False) -> None:
    """Creates an environment if there is none, and installs missing packages.

    Args:
        folder: the environment. One behind a symbolic link is used, never changed.
        level: one of LEVELS.
        this_python: whether one that was created with another Python is recreated.

    Raises:
        Refused: the Python version is not allowed, the folder is not an environment of ours, or pip failed.
    """
    files = [ROOT / name for name in LEVELS[level]]
    pins = read_pins(files)
    there = query(folder)
    if folder.is_symlink():
        _check_link(folder, there, pins, files)
        return
    if folder.exists() and not (folder / "pyvenv.cfg").is_file():
        raise Refused(f"{folder} is not a virtual environment, so it is left unchanged; move it away and try again")
    if there is None or not _allowed(there.version) or (this_python and _differs(there)):
        _create(folder)
        there = query(folder)
    if there is None:
        raise Refused(f"{folder} was created, but its Python does not run; remove it and try again")
    if missing := missing_pins(there, pins):
        _install(folder, level, files, missing)


def read_pins(files: Sequence[Path]) -> dict[str, str]:
    """Version by normalised name, of all ``name==version`` lines; files named by ``-r`` included, ``-c`` not."""
    pins: dict[str, str] = {}
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            if line.startswith("-r "):
                pins |= read_pins([file.parent / line[3:].strip()])
            elif pin := re.match(r"([A-Za-z0-9._-]+)==([^\s;]+)", line):
                pins[normalised(pin[1])] = pin[2]
    return pins


def normalised(name: str) -> str:
    """A package's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def query(folder: Path) -> Interpreter | None:
    """The Python of an environment and its packages, None if there is none that runs."""
    try:
        answer = subprocess.run([_python(folder), "-c", QUERY], capture_output=True, text=True, check=True, timeout=60)
        state = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    found = {normalised(name): version for name, version in state["found"].items() if name}
    return Interpreter((state["version"][0], state["version"][1]), state["base"], found)


def missing_pins(there: Interpreter, pins: dict[str, str]) -> list[str]:
    """The pins that are not installed in the pinned version; 2.13.0+cpu is a build of 2.13.0."""
    installed = {name: version.split("+")[0] for name, version in there.found.items()}
    return [f"{name}=={version}" for name, version in pins.items() if installed.get(name) != version]


def _python(folder: Path) -> str:
    return str(folder / "bin" / "python")


def _allowed(version: tuple[int, int]) -> bool:
    return OLDEST <= version < TOO_NEW


def _differs(there: Interpreter) -> bool:
    same_base = Path(there.base).resolve() == Path(sys.base_prefix).resolve()
    return not (same_base and there.version == sys.version_info[:2])


def _check_link(folder: Path, there: Interpreter | None, pins: dict[str, str], files: Sequence[Path]) -> None:
    place = f"{folder} is a symbolic link to {folder.readlink()}, whose content is left unchanged"
    if there is None:
        raise Refused(f"{place}; no Python runs in it. Remove the link, and an environment is created in its place")
    if missing := missing_pins(there, pins):
        install = f"{_python(folder)} -m pip install " + " ".join(f"-r {file.name}" for file in files)
        raise Refused(
            f"{place}; missing packages: {_few(missing)}. Install them there ({install}), or remove the link, "
            "and an environment is created in its place"
        )


def _create(folder: Path) -> None:
    if not _allowed(sys.version_info[:2]):
        allowed = f"{OLDEST[0]}.{OLDEST[1]} or {OLDEST[0]}.{TOO_NEW[1] - 1}"
        version = ".".join(map(str, sys.version_info[:3]))
        raise Refused(f"Python {allowed} is required, {sys.executable} is {version}; try `make PYTHON=python3.11 …`")
    print(f"creating {folder} with Python {'.'.join(map(str, sys.version_info[:3]))}", file=sys.stderr)
    try:
        venv.EnvBuilder(clear=True, symlinks=True, with_pip=True).create(folder)
    except (OSError, subprocess.SubprocessError) as error:
        raise Refused(
            f"{folder} cannot be created: {error}. On Debian, venv is in a package of its own: python3-venv"
        ) from None


def _install(folder: Path, level: str, files: Sequence[Path], missing: Sequence[str]) -> None:
    size = SIZES["core" if level == "core" else "all"]
    print(f"installing {_few(missing)} into {folder}; about {size} of downloads in total", file=sys.stderr)
    command = [_python(folder), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    code = subprocess.run([*command, *(part for file in files for part in ("-r", str(file)))], cwd=ROOT).returncode
    if code:
        raise Refused(
            f"pip failed (exit code {code}); see its messages above. Check the network and the disk, then run the "
            "same command again: installed packages are kept"
        )


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more packages"


if __name__ == "__main__":
    sys.exit(main())
