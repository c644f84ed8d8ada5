"""Which roots of a server contain the data set and OUT, proved by files that it must be able to read."""

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acusim.errors import EngineError
from acusim.files import is_inside, printable, sha256
from acusim.folders import is_junk
from acusim.layout import MAP_FILE
from acusim.pictures import EXTENSIONS
from engines.comfyui.client import Client
from engines.comfyui.errors import ServerError, safe_text
from engines.comfyui.staging import staging_folder

SERVED_BYTES = 64 << 20
"""The server reports hashes of files up to this size."""


@dataclass(frozen=True, slots=True)
class Root:
    """A folder that a server may use, as it reports."""

    name: str
    path: str
    writable: bool
    free_bytes: int | None


def parse_roots(info: Mapping[str, Any]) -> list[Root]:
    """The roots in an /acusim/info answer; invalid entries are left out."""
    roots = info.get("roots")
    found: list[Root] = []
    for name, entry in roots.items() if isinstance(roots, dict) else []:
        path = entry.get("path") if isinstance(entry, dict) else None
        if isinstance(path, str) and os.path.isabs(path) and all(printable(text) == text for text in (name, path)):
            free = entry.get("free_bytes")
            known = isinstance(free, int) and not isinstance(free, bool) and 0 <= free < 1 << 63
            found.append(Root(name, path, entry.get("writable") is True, free if known else None))
    return found


def locate(roots: list[Root], folder: Path, write: bool) -> tuple[Root, str] | None:
    """The innermost root that contains a folder, and the folder's path below it with forward slashes."""
    real = os.path.realpath(folder)
    holding = [root for root in roots if (root.writable or not write) and is_inside(os.path.realpath(root.path), real)]
    if not holding:
        return None
    root = max(holding, key=lambda root: len(os.path.realpath(root.path)))
    below = os.path.relpath(real, os.path.realpath(root.path)).replace(os.sep, "/")
    return root, "" if below == "." else below


def why_not_shared(client: Client, roots: list[Root], dataset: Path, output: Path | None) -> str:
    """Why the shared transport does not work with a server; "" if it does.

    Raises:
        EngineError: OUT cannot be written.
    """
    if output is None:
        return "there is no output folder"
    data, out = locate(roots, dataset, False), locate(roots, output, True)
    if data is None or out is None:
        missing = [name for name, place in (("the data set", data), ("OUT", out)) if place is None]
        named = ", ".join(repr(root.name) for root in roots) or "none"
        return f"{' and '.join(missing)} not below a root of the server ({named})"
    try:
        known = _any_file(dataset)
        if known is None:
            return "the data set has no image in AcuSim's layout, which the server could read in its place"
        if not _reads_same(client, *data, known.relative_to(os.path.realpath(dataset)).as_posix(), known):
            return f"the server sees another folder at its root {data[0].name!r} than this program"
        with _probe(output) as probe:
            relative = probe.relative_to(os.path.realpath(output)).as_posix()
            if not _reads_same(client, *out, relative, probe):
                return f"the server sees another folder at its root {out[0].name!r} than this program"
    except ServerError as error:
        return safe_text(error)
    return ""


def roots_setting(roots: list[Root], dataset: Path, output: Path | None) -> str:
    """The setting of a server that makes the shared transport possible, with the roots that it has already."""
    wanted = [root for root in roots if root.name not in ("input", "output")]
    entries = [f"{root.name}={root.path}" if root.writable else f"{root.name}@ro={root.path}" for root in wanted]
    names = {root.name for root in roots}
    for name, folder, write in (("data", dataset, False), ("out", output, True)):
        if folder is not None and locate(roots, folder, write) is None:
            free = next(n for n in (name, *(f"{name}{number}" for number in range(2, 99))) if n not in names)
            entries.append(f"{free}{'' if write else '@ro'}={os.path.realpath(folder)}")
    return f"ACUSIM_ROOTS={os.pathsep.join(entries)}"


def _reads_same(client: Client, root: Root, below: str, relative: str, path: Path) -> bool:
    facts = client.file_facts(root.name, f"{below}/{relative}" if below else relative)
    return facts is not None and facts.get("sha256") == sha256(path.read_bytes())


def _any_file(dataset: Path) -> Path | None:
    """Some file of the data set, to compare: an image, since map.txt is the same in all data sets."""
    real = Path(os.path.realpath(dataset))
    found = (path for path in real.glob("*/image/*/*") if path.suffix.lower() in EXTENSIONS and os.path.isfile(path))
    images = (path for path in found if not any(map(is_junk, path.relative_to(real).parts)))
    path = next(images, real / MAP_FILE)
    return path if os.path.isfile(path) and path.stat().st_size <= SERVED_BYTES else None


@contextmanager
def _probe(output: Path) -> Iterator[Path]:
    """A small temporary file in OUT's staging folder; folders created for it are removed with it."""
    folder = staging_folder(output)
    created = [place for place in (folder, *folder.parents) if not place.exists()]
    path = folder / f"probe-{secrets.token_hex(8)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(secrets.token_bytes(32))
        yield path
    except OSError as error:
        raise EngineError(f"cannot write below {str(output)!r}: {error.strerror}") from None
    finally:
        path.unlink(missing_ok=True)
        for place in created:
            try:
                place.rmdir()
            except OSError:
                break
