"""Where the model files of a recipe are: in a folder laid out as ComfyUI's models, or in the cache of the hub.

The two are never mixed: a folder (``EmbeddedOptions.models``), or, without one, the published files of pinned revisions
in the hub's own cache. Only safetensors files are read: loading a pickle runs code.

A name in a recipe may have folders before it, with either separator; absolute names and ``..`` are refused. Links are
followed wherever they lead, since ComfyUI's users keep models on other disks, and both the folder and the links in it
are the user's own.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from acusim.errors import ConfigError, EngineError, LayoutError, few
from acusim.files import plain_parts, printable
from acusim.folders import is_junk
from engines.embedded import hub
from engines.embedded.published import FOLDERS, PUBLISHED, Published, default_file, published_file
from engines.recipe import Recipe

PICKLES = (".ckpt", ".pt", ".pth", ".bin")
LISTED = 8
"""How many of the files present a message names."""
CONVERT = (
    "python -c \"import sys, torch; from safetensors.torch import save_file; flat = lambda d, p='': {n: t for k, v in "
    "d.items() for n, t in (flat(v, f'{p}{k}.') if isinstance(v, dict) else {f'{p}{k}': v}).items()}; d = torch.load("
    "sys.argv[1], map_location='cpu', weights_only=True); save_file({n: t.clone().contiguous() for n, t in flat("
    "d.get('state_dict', d)).items() if isinstance(t, torch.Tensor)}, sys.argv[2])\" OLD NEW.safetensors"
)
"""Turns a pickled file into a safetensors file without running code in it; torch refuses where that is impossible."""


@dataclass(frozen=True, slots=True)
class WeightFile:
    """One model file that a recipe needs."""

    role: str
    """The recipe's setting, such as checkpoint."""
    name: str
    """As the recipe has it."""
    path: Path | None
    """None: not downloaded yet."""
    published: Published | None
    """The published file of that name; None for one of the user's own."""
    hub: bool = False
    """It is the published file, from the hub's cache, and not from a folder of the user's."""


@dataclass(frozen=True, slots=True)
class MissingFile:
    """A file that is not present and cannot be downloaded."""

    role: str
    found: str
    fix: str


def needed_roles(recipe: Recipe) -> tuple[str, ...]:
    """What a recipe needs; without weight on the IP-Adapter or the ControlNet not these, nor the image encoder."""
    unused = {
        "ip_adapter": recipe.ip_adapter_weight == 0,
        "clip_vision": recipe.ip_adapter_weight == 0,
        "control_net": recipe.control_strength == 0,
    }
    return tuple(role for role in FOLDERS if not unused.get(role))


def look_up(recipe: Recipe, models: Path | None) -> tuple[dict[str, WeightFile], list[MissingFile]]:
    """The files that are present or can be downloaded, by role, and those that are missing. Errors as find_weights."""
    find = _find_in_hub if models is None else _Folder(models).find
    results = [find(role, getattr(recipe, role), recipe) for role in needed_roles(recipe)]
    files = {result.role: result for result in results if isinstance(result, WeightFile)}
    return files, [result for result in results if isinstance(result, MissingFile)]


def find_weights(recipe: Recipe, models: Path | None) -> dict[str, WeightFile]:
    """Where each file is that a recipe needs, by role; nothing is opened, nothing downloaded.

    Args:
        recipe: names the files.
        models: ComfyUI's models folder, one laid out like it, or ComfyUI's own folder; None for the published files.

    Raises:
        EngineError: names every file that is missing, where it belongs, and where it comes from.
        ConfigError: a name in the recipe leads out of the folder.
    """
    files, missing = look_up(recipe, models)
    if missing:
        lines = "\n".join(f"  {each.role}: {each.found}\n    -> {each.fix}" for each in missing)
        raise EngineError(f"model files are missing:\n{lines}")
    return files


def _find_in_hub(role: str, name: str, recipe: Recipe) -> WeightFile | MissingFile:
    entry = PUBLISHED.get(name)
    default = default_file(role, recipe).name
    if entry is None or entry.role != role:
        found = f"{name} is none of the published files, and no folder of model files is given"
        fix = f"give the folder that holds all of them by --models DIR, or --set {role}={default}"
        return MissingFile(role, found, fix)
    if entry.wiring not in (None, recipe.wiring):
        found = f"{name} is for wiring {entry.wiring}, the recipe has {recipe.wiring}"
        return MissingFile(role, found, f"--set wiring={entry.wiring}, or --set {role}={default}")
    if entry.revision is None:
        found = f"{name} is not downloaded, because no commit of {entry.repo} is pinned"
        return MissingFile(role, found, hub.by_hand(entry))
    return WeightFile(role, name, hub.cached_file(entry), entry, hub=True)


class _Folder:
    """A folder of model files, laid out as ComfyUI's."""

    def __init__(self, models: Path):
        known = [folder for folders in FOLDERS.values() for folder in folders]
        if not os.path.isdir(models):
            raise EngineError(
                f"--models {str(models)!r} is not a folder; name ComfyUI's models folder, or one laid out like it: "
                f"{', '.join(f'{folder}/' for folder in known)}"
            )
        self._roots = (models, models / "models")
        holding = (root for root in self._roots if any(os.path.isdir(root / name) for name in known))
        self._root = next(holding, models)

    def find(self, role: str, name: str, recipe: Recipe) -> WeightFile | MissingFile:
        """Where a file is; the first of the role's folders that has it counts, as in ComfyUI."""
        parts = _plain_parts(role, name)
        folders = [root / folder for root in self._roots for folder in FOLDERS[role]]
        paths = [folder.joinpath(*parts) for folder in folders]
        entry = published_file(role, parts[-1])
        for path in paths:
            if os.path.isfile(path):
                return WeightFile(role, name, path, entry)
        hints = [f"{path} is a broken link" for path in paths if os.path.islink(path)]
        pickles = (path.with_suffix(ending) for path in paths for ending in PICKLES)
        pickled = next((path for path in pickles if os.path.isfile(path)), None)
        if pickled:
            hints.append(f"{pickled} exists, but loading a pickle can run code, so it is refused")
        misplaced = next((root / parts[-1] for root in self._roots if os.path.isfile(root / parts[-1])), None)
        if misplaced:
            hints.append(f"{misplaced} exists; move it into {FOLDERS[role][0]}/")
        hints.append(f"present: {_listing(folders)}")
        expected = " or ".join(f"{folder}/" for folder in FOLDERS[role])
        found = printable(f"{name} is not in {expected} of {self._root}; {'; '.join(hints)}")
        fix = f"convert it: {CONVERT}" if pickled else f"put it there{f': {entry.origin}' if entry else ''}"
        if entry is None:
            fix += f", or --set {role}=NAME with another one, such as {default_file(role, recipe).origin}"
        return MissingFile(role, found, fix)


def _plain_parts(role: str, name: str) -> tuple[str, ...]:
    """The folders and the name of a model file below its folder.

    Raises:
        ConfigError: the name is absolute or leads out of the folder.
    """
    try:
        if re.match(r"[A-Za-z]:", name):
            raise LayoutError("a drive of Windows")
        return plain_parts(name.replace("\\", "/"))
    except LayoutError:
        raise ConfigError(f"{role} = {name!r} is not a relative name below a folder") from None


def _listing(folders: list[Path]) -> str:
    """The safetensors files in some folders, by the names that a recipe would have."""
    names: set[str] = set()
    seen: set[str] = set()
    for folder in folders:
        for current, subfolders, found in os.walk(folder, followlinks=True):
            real = os.path.realpath(current)
            if real in seen:  # a link may lead back up
                subfolders.clear()
                continue
            seen.add(real)
            subfolders[:] = [name for name in subfolders if not is_junk(name)]
            models = (Path(current, name) for name in found if name.endswith(".safetensors") and not is_junk(name))
            names |= {path.relative_to(folder).as_posix() for path in models}
    return few(sorted(names), LISTED) if names else "no safetensors files"
