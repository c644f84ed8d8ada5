"""Makes the environment that the Makefile's commands run in, and keeps it true to the pinned requirements.

    python3 tools/environment.py core     what `make demo` needs
    python3 tools/environment.py all      training, diffusion and the web page too
    python3 tools/environment.py dev      and what tests and checks need

Standard library alone: it runs before anything is installed. What is missing is found by asking the environment itself,
so an installation that was cut off is finished by the next call, and a complete one costs a fraction of a second.
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
    "dev": ("requirements.txt", "requirements-dev.txt"),
    "docs": ("requirements.txt", "requirements-docs.txt"),
}
SIZES = {"core": "0.3 GB", "all": "0.9 GB, or 3 GB where PyPI's torch brings CUDA's libraries"}
"""Of the downloads; README has the same figures."""
OLDEST, TOO_NEW = (3, 11), (3, 13)
ASK = """
import json, sys
from importlib.metadata import distributions
found = {d.metadata["Name"]: d.version for d in distributions()}
print(json.dumps({"version": sys.version_info[:2], "base": sys.base_prefix, "found": found}))
"""


class Refused(Exception):
    """The environment can't be made or used; the text says why and what to do."""


@dataclass(frozen=True)
class Interpreter:
    """A Python and what is installed in it."""

    version: tuple[int, int]
    base: str
    """Where the Python itself is installed, whatever environment it runs in."""
    found: dict[str, str]
    """Version by name, as normalised() gives it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code: 0 the environment is complete, 1 it is not, and why was printed."""
    parser = argparse.ArgumentParser(description="Makes the project's environment, or completes it.")
    parser.add_argument("level", choices=LEVELS, help="how much of the project it is for")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="its folder (default: .venv)")
    parser.add_argument(
        "--this-python", action="store_true", help="make it again if it was made with another Python than this one"
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
    """Makes an environment if there is none, and installs what it lacks.

    Args:
        folder: the environment. One reached by a symbolic link is used, never changed.
        level: one of LEVELS.
        this_python: whether one that was made with another Python is made again.

    Raises:
        Refused: the Python is not one of those allowed, the folder is not ours to change, or pip failed.
    """
    files = [ROOT / name for name in LEVELS[level]]
    pins = read_pins(files)
    there = asked(folder)
    if folder.is_symlink():
        _check_link(folder, there, pins, files)
        return
    if folder.exists() and not (folder / "pyvenv.cfg").is_file():
        raise Refused(f"{folder} is no virtual environment, so it is left as it is; move it away and try again")
    if there is None or not _allowed(there.version) or (this_python and _differs(there)):
        _create(folder)
        there = asked(folder)
    if there is None:
        raise Refused(f"{folder} was made, but its Python does not run; remove it and try again")
    if missing := lacking(there, pins):
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
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def asked(folder: Path) -> Interpreter | None:
    """What an environment's own Python says, None if there is none that runs."""
    try:
        answer = subprocess.run([_python(folder), "-c", ASK], capture_output=True, text=True, check=True, timeout=60)
        told = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    found = {normalised(name): version for name, version in told["found"].items() if name}
    return Interpreter((told["version"][0], told["version"][1]), told["base"], found)


def lacking(there: Interpreter, pins: dict[str, str]) -> list[str]:
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
    place = f"{folder} is a symbolic link to {folder.readlink()}, whose content is left as it is"
    if there is None:
        raise Refused(f"{place}; no Python runs in it. Remove the link, and an environment is made in its place")
    if missing := lacking(there, pins):
        install = f"{_python(folder)} -m pip install " + " ".join(f"-r {file.name}" for file in files)
        raise Refused(
            f"{place}; it lacks {_few(missing)}. Install that there ({install}), or remove the link, and an "
            "environment is made in its place"
        )


def _create(folder: Path) -> None:
    if not _allowed(sys.version_info[:2]):
        allowed = f"{OLDEST[0]}.{OLDEST[1]} or {OLDEST[0]}.{TOO_NEW[1] - 1}"
        version = ".".join(map(str, sys.version_info[:3]))
        raise Refused(f"Python {allowed} is needed, {sys.executable} is {version}; try `make PYTHON=python3.11 …`")
    print(f"making {folder} with Python {'.'.join(map(str, sys.version_info[:3]))}", file=sys.stderr)
    try:
        venv.EnvBuilder(clear=True, symlinks=True, with_pip=True).create(folder)
    except (OSError, subprocess.SubprocessError) as error:
        raise Refused(
            f"{folder} can't be made: {error}. Debian keeps venv in a package of its own: python3-venv"
        ) from None


def _install(folder: Path, level: str, files: Sequence[Path], missing: Sequence[str]) -> None:
    size = SIZES["core" if level == "core" else "all"]
    print(f"installing {_few(missing)} into {folder}; in all some {size} of downloads", file=sys.stderr)
    command = [_python(folder), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    code = subprocess.run([*command, *(part for file in files for part in ("-r", str(file)))], cwd=ROOT).returncode
    if code:
        raise Refused(
            f"pip failed (exit code {code}); its messages stand above. Check the network and the disk, then run the "
            "same command again: what is installed stays"
        )


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more packages"


if __name__ == "__main__":
    sys.exit(main())
