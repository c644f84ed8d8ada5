"""The model files of a recipe: found or downloaded, checked before use, and identified by their hashes."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from acusim.errors import ConfigError, EngineError, LayoutError
from acusim.files import printable
from acusim.tensor_files import read_header
from engines.base import Check
from engines.embedded import hub
from engines.embedded.hashes import file_sha256
from engines.embedded.kinds import Tensors, judge
from engines.embedded.published import Published, default_file, size_text
from engines.embedded.weight_lookup import WeightFile, find_weights, look_up, needed_roles
from engines.recipe import Recipe


def download(files: Mapping[str, WeightFile]) -> dict[str, WeightFile]:
    """Downloads what is not in the cache yet, and compares the published files with their sizes and hashes.

    Returns:
        The files, each with its path.

    Raises:
        EngineError: a file cannot be downloaded, or is not the published one, and must not be used.
    """
    return {
        role: replace(file, path=_download(file.path, file.published)) if file.hub and file.published else file
        for role, file in files.items()
    }


def check_kinds(files: Mapping[str, WeightFile], recipe: Recipe) -> None:
    """Checks each file by its header; files that are not downloaded yet are skipped.

    Raises:
        EngineError: names every file that is damaged or of the wrong kind.
    """
    wrong = [
        f"  {file.role}: {_place(file)}: {what}\n    -> {_replacement(file, recipe)}"
        for file, ok, what in _judged(files, recipe)
        if not ok
    ]
    if wrong:
        raise EngineError("\n".join(["model files that cannot be used:", *wrong]))


def ready_weights(recipe: Recipe, models: Path | None) -> tuple[dict[str, WeightFile], list[str]]:
    """The files of a recipe, present and checked, and what a user should know of them.

    Raises:
        EngineError: a file is missing, damaged, of the wrong kind, or cannot be downloaded.
        ConfigError: a name in the recipe leads out of the folder.
    """
    files = find_weights(recipe, models)
    check_kinds(files, recipe)  # before gigabytes are downloaded
    complete = all(file.path is not None for file in files.values())
    files = download(files)
    if not complete:
        check_kinds(files, recipe)
    return files, notes(files)


def identity(recipe: Recipe, models: Path | None) -> dict[str, str]:
    """The hash of each file, by role; of published files the pinned one, so that nothing need be downloaded for it.

    Raises:
        EngineError: a file is missing or cannot be read.
        ConfigError: a name in the recipe leads out of the folder.
    """
    return {f"weights {role}": _fingerprint(file) for role, file in find_weights(recipe, models).items()}


def notes(files: Mapping[str, WeightFile]) -> list[str]:
    """What a user should know: other files under a published name, and downloaded ones without a pinned hash.

    Raises:
        EngineError: a file cannot be read.
    """
    found: list[str] = []
    for file in files.values():
        entry = file.published
        if entry is None or file.path is None or (file.hub and entry.sha256 is not None):  # download() has compared it
            continue
        digest = file_sha256(file.path)
        if entry.sha256 is None:
            found.append(f"{file.role}: no hash of {entry.name} is pinned; unchecked, it has SHA-256 {digest}")
        elif digest != entry.sha256:
            found.append(f"{file.role}: {_place(file)} has a published name but is another file ({digest[:12]})")
    return found


def checks(recipe: Recipe, models: Path | None) -> list[Check]:
    """A line for each file of a recipe: where it is, what it is, and what to do; nothing is downloaded.

    Hashes that are not cached are computed, which takes some seconds for each gigabyte.
    """
    try:
        files, missing = look_up(recipe, models)
    except (ConfigError, EngineError) as error:
        return [Check("models", False, str(error), "see above")]
    lines = {each.role: Check(each.role, False, each.found, each.fix) for each in missing}
    for file, ok, what in _judged(files, recipe):
        refusal = Check(file.role, False, f"{_place(file)}: {what}", _replacement(file, recipe))
        lines[file.role] = _line(file, what) if ok else refusal
    to_download = [file.published for file in files.values() if file.path is None and file.published]
    for entry in to_download:
        found = f"{entry.name} is not downloaded yet: {size_text(entry.size)} from {entry.repo}, {entry.licence}"
        fix = f"the first run downloads it into {hub.cache_folder()}; or {hub.by_hand(entry)}"
        lines[entry.role] = Check(entry.role, None, found, fix)
    ordered = [lines[role] for role in needed_roles(recipe) if role in lines]
    return [*ordered, _total(files, to_download)] if models is None and files else ordered


def _download(path: Path | None, entry: Published) -> Path:
    """The path of a published file, downloaded if need be, that is byte for byte the pinned one."""
    path = path or hub.download(entry)
    difference = _difference(path, entry)
    if difference:
        raise EngineError(f"{entry.name} from {entry.repo} is not used: {difference}; {_download_again(path)}")
    return path


def _difference(path: Path, entry: Published) -> str | None:
    """How a file differs from the published one."""
    try:
        size = path.stat().st_size
    except OSError as error:
        return f"{path} cannot be read ({error.strerror})"
    if entry.size not in (None, size):
        return f"{path} has {size} bytes, the published file {entry.size}"
    digest = file_sha256(path)
    if entry.sha256 not in (None, digest):
        return f"{path} has SHA-256 {digest}, the published file {entry.sha256}"
    return None


def _download_again(path: Path) -> str:
    return f"delete {os.path.realpath(path)}, and the next run downloads it again"


def _judged(files: Mapping[str, WeightFile], recipe: Recipe) -> Iterator[tuple[WeightFile, bool, str]]:
    """For each file that is present whether it can be used, and what it is."""
    headers: dict[str, Tensors] = {}
    for role, file in files.items():
        if file.path is None:
            continue
        try:
            headers[role] = read_header(file.path)
            ok, what = judge(role, headers[role], recipe, headers)
            if ok:
                from engines.embedded.stored import open_tensors  # imports torch, which other reports do without

                with open_tensors(file.path):  # with the library that loads the tensors
                    pass
        except (EngineError, LayoutError) as error:
            ok, what = False, str(error)
        yield file, ok, what


def _fingerprint(file: WeightFile) -> str:
    if file.hub and file.published:
        entry = file.published
        return entry.sha256 or f"{entry.repo}@{entry.revision}:{entry.path}"
    if file.path is None:
        raise EngineError(f"{file.role}: {file.name} is not downloaded yet")
    return file_sha256(file.path)


def _place(file: WeightFile) -> str:
    return printable(str(file.path or file.name))


def _replacement(file: WeightFile, recipe: Recipe) -> str:
    """What to do about a file that cannot be used."""
    if file.hub and file.path:
        return _download_again(file.path)
    return f"use another file, such as {default_file(file.role, recipe).origin}"


def _line(file: WeightFile, what: str) -> Check:
    """The line of a file of the right kind."""
    path, entry = file.path, file.published
    if path is None:
        return Check(file.role, None, f"{file.name} is not downloaded yet")
    try:
        if file.hub and entry and (difference := _difference(path, entry)):
            return Check(file.role, False, difference, _download_again(path))
        digest = file_sha256(path)
        found = f"{_place(file)}, {size_text(path.stat().st_size)}, {digest[:12]}"
    except (EngineError, OSError) as error:
        return Check(file.role, False, str(error), "make it readable")
    if entry is None:
        return Check(file.role, True, f"{found}, own file: {what}")
    if entry.sha256 is None:
        return Check(file.role, None, f"{found}, unchecked: no hash is pinned: {what}", "nothing to do")
    if entry.sha256 == digest:
        return Check(file.role, True, f"{found}, published file: {what}")
    fix = f"nothing to do if that is intended; else use {entry.origin}"
    return Check(file.role, None, f"{found}, not the published file of that name: {what}", fix)


def _total(files: Mapping[str, WeightFile], to_download: list[Published]) -> Check:
    """How much is to be downloaded, and whether that is possible."""
    size = sum(entry.size or 0 for entry in to_download)
    total = size_text(sum((file.published.size or 0) for file in files.values() if file.published))
    if not to_download:
        return Check("models", True, f"{total}, all downloaded, in {hub.cache_folder()}")
    found = f"{total} in all, {size_text(size)} of it to download, in {hub.cache_folder()}"
    if hub.is_offline():
        return Check("models", False, f"{found}; HF_HUB_OFFLINE is set", "unset it, or use --models DIR")
    free = hub.free_bytes()
    if free is not None and free < size:
        return Check("models", False, f"{found}; {size_text(free)} free", "free some space, or set HF_HOME")
    return Check("models", None, found, "the first run downloads it; or use --models DIR")
