"""The folders that nodes may read and write, and paths that stay inside them.

Anyone who can queue a graph can fill in a node's widgets, so a path is always a root's name and a plain relative path.
Roots are ComfyUI's input (read) and output (read and write), and the folders that the operator lists in
``ACUSIM_ROOTS``: ``name=/path`` or ``/path``, separated as in PATH; ``name@ro=/path`` is read-only.
"""

import importlib
import os
from dataclasses import dataclass
from pathlib import Path

from acusim.errors import AcuSimError, LayoutError, shown
from acusim.files import printable, safe_join

_VARIABLE = "ACUSIM_ROOTS"
SHIPPED_SCENES = "shipped scenes"
_READ_ONLY = "@ro"
_OURS = ("input", "output", SHIPPED_SCENES)


@dataclass(frozen=True, slots=True)
class Root:
    """A folder that nodes may use."""

    name: str
    path: Path
    """Absolute, links followed."""
    writable: bool


def all_roots(scenes: bool = False) -> tuple[dict[str, Root], tuple[str, ...]]:
    """The roots by name, and messages about entries of ACUSIM_ROOTS that are ignored.

    Args:
        scenes: include the scenes that this project ships, where they exist.
    """
    folder_paths = importlib.import_module("folder_paths")
    found = [
        Root("input", _real(folder_paths.get_input_directory()), False),
        Root("output", _real(folder_paths.get_output_directory()), True),
    ]
    shipped = Path(__file__).resolve().parents[1] / "engines" / "scene_pictures"
    if scenes and shipped.is_dir():
        found.insert(0, Root(SHIPPED_SCENES, shipped, False))
    roots = {root.name: root for root in found}
    problems: list[str] = []
    for entry in filter(None, (part.strip() for part in os.environ.get(_VARIABLE, "").split(os.pathsep))):
        root, error = _parse(entry)
        if root is not None and root.name in (*_OURS, *roots):
            root, error = None, f"the name {root.name!r} is taken"
        if root is None:
            problems.append(f"{_VARIABLE}: entry {entry!r} is ignored: {error}")
        else:
            roots[root.name] = root
    return roots, tuple(problems)


def names(write: bool = False, scenes: bool = False) -> list[str]:
    """Names of the roots that may be read, or written, for a choice widget."""
    return [root.name for root in all_roots(scenes)[0].values() if root.writable or not write]


_NAME_BYTES, _PATH_LENGTH = 255, 2000
"""The most bytes of a name, and characters of a path below a root."""


def find_root(name: str, write: bool = False, scenes: bool = False) -> Root:
    """The root of a name.

    Raises:
        LayoutError: there is none, it may not be written, or its folder is missing; lists the roots.
    """
    roots, problems = all_roots(scenes)
    root = roots.get(name)
    if root is None:
        ignored = "".join(f"; {problem}" for problem in problems)
        raise LayoutError(f"root {shown(name)} is not allowed; {_allowed(roots, write)}{ignored}")
    if write and not root.writable:
        raise LayoutError(f"root {name!r} is read-only; {_allowed(roots, write)}")
    if name == "output":
        root.path.mkdir(parents=True, exist_ok=True)
    if not os.path.isdir(root.path):
        raise LayoutError(
            f"root {name!r}: {str(root.path)!r} is not a folder on the machine that runs ComfyUI; create it, or "
            f"correct {_VARIABLE} and restart ComfyUI"
        )
    return root


def inside(root: Root, relative: str) -> Path:
    """A path below a root; the root itself for an empty one.

    Raises:
        LayoutError: the path is absolute, has a ``..`` or control characters, or leads out through a link.
    """
    if not relative:
        return root.path
    try:
        if printable(relative) != relative:
            raise LayoutError(f"path {relative!r} contains control characters or is not valid Unicode")
        if max(map(len, map(os.fsencode, relative.split("/")))) > _NAME_BYTES or len(relative) > _PATH_LENGTH:
            raise LayoutError(f"path {relative[:80]!r}… is longer than a file system takes")
        return safe_join(root.path, relative)
    except LayoutError as error:
        raise LayoutError(
            f"root {root.name!r}: {str(error)[:300]}; write a path below the root with forward slashes; roots "
            f"{_allowed(all_roots()[0], False)}"
        ) from None


def refusal(name: str | None, relative: str | None, write: bool = False, scenes: bool = False) -> str | None:
    """Why a root and a path are not allowed, None if they are; for VALIDATE_INPUTS, where a linked value is None.

    Whether a folder or file exists is not checked: an earlier prompt in the queue may create it.
    """
    try:
        if name is not None:
            root = find_root(name, write, scenes)
            if relative is not None:
                inside(root, relative)
    except AcuSimError as error:
        return str(error)
    return None


def _allowed(roots: dict[str, Root], write: bool) -> str:
    usable = ", ".join(repr(root.name) for root in roots.values() if root.writable or not write)
    return (
        f"allowed {'for writing ' if write else ''}are {usable}; the operator of this server adds one by starting "
        f"ComfyUI with {_VARIABLE}=name=/path"
    )


def _parse(entry: str) -> tuple[Root | None, str]:
    name, equals, path = entry.partition("=")
    if not equals or "/" in name or os.sep in name:
        name, path = "", entry
    writable = not name.endswith(_READ_ONLY)
    name = name.removesuffix(_READ_ONLY).strip()
    if not os.path.isabs(path):
        return None, f"{path!r} is not an absolute path; write name=/path"
    name = name or os.path.basename(os.path.normpath(path))
    if not name or printable(name) != name:
        return None, "it has no usable name; write name=/path"
    return Root(name, _real(path), writable), ""


def _real(path: str) -> Path:
    return Path(os.path.realpath(path))
