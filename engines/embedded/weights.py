"""The model files of a recipe: found or fetched, checked before use, and known by their hashes.

Two places, never mixed: a folder laid out as ComfyUI's models (``Setup.models``), or, without one, the published files
of pinned revisions in the hub's own cache. Only safetensors files are read: loading a pickle runs code.

A name in a recipe may have folders before it; absolute names and ``..`` are refused. Links are followed wherever they
lead, since ComfyUI's users keep models on other disks, and both the folder and the links in it are the user's own.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from acusim.errors import ConfigError, EngineError, LayoutError
from acusim.files import plain_parts, printable
from acusim.folders import is_litter
from acusim.tensor_files import read_header
from engines.base import Check
from engines.embedded import hub
from engines.embedded.hashes import file_sha256
from engines.embedded.kinds import Tensors, judge
from engines.embedded.published import FOLDERS, PUBLISHED, Published, amount, published_file, usual_file
from engines.recipe import Recipe

KNOWN = tuple(folder for folders in FOLDERS.values() for folder in folders)
"""The folders below a folder of models that are looked into."""
PICKLES = (".ckpt", ".pt", ".pth", ".bin")
LISTED = 8
"""How many files that are there a message names."""
CONVERT = (
    "python -c \"import sys, torch; from safetensors.torch import save_file; flat = lambda d, p='': {n: t for k, v in "
    "d.items() for n, t in (flat(v, f'{p}{k}.') if isinstance(v, dict) else {f'{p}{k}': v}).items()}; d = torch.load("
    "sys.argv[1], map_location='cpu', weights_only=True); save_file({n: t.clone().contiguous() for n, t in flat("
    "d.get('state_dict', d)).items() if isinstance(t, torch.Tensor)}, sys.argv[2])\" OLD NEW.safetensors"
)
"""Turns a pickled file into a safetensors file without running what is in it; torch refuses where that cannot be."""


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """One model file that a recipe needs."""

    role: str
    """The recipe's setting: checkpoint, ic_light, ip_adapter or clip_vision."""
    name: str
    """As the recipe has it."""
    path: Path | None
    """None: not fetched yet."""
    published: Published | None
    """The published file of that name; None for an own one."""
    hub: bool = False
    """It is the published file, from the hub's cache, and not from a folder of the user's."""


@dataclass(frozen=True, slots=True)
class _Missing:
    role: str
    found: str
    fix: str


def needed_roles(recipe: Recipe) -> tuple[str, ...]:
    """What a recipe needs; without weight on the IP-Adapter neither that nor its image encoder."""
    return tuple(FOLDERS) if recipe.ip_adapter_weight > 0 else ("checkpoint", "ic_light")


def find_weights(recipe: Recipe, models: Path | None) -> dict[str, WeightsFile]:
    """Where each file lies that a recipe needs, by role; nothing is opened, nothing fetched.

    Args:
        recipe: names the files.
        models: ComfyUI's models folder, one laid out like it, or ComfyUI's own folder; None for the published files.

    Raises:
        EngineError: names every file that is not there, where it belongs, and where it comes from.
        ConfigError: a name in the recipe leads out of the folder.
    """
    files, missing = _look(recipe, models)
    if missing:
        told = "\n".join(f"  {each.role}: {each.found}\n    -> {each.fix}" for each in missing)
        raise EngineError(f"not all model files are there:\n{told}")
    return files


def fetch(files: Mapping[str, WeightsFile]) -> dict[str, WeightsFile]:
    """Fetches what is not there yet, and compares the published files with their sizes and hashes.

    Returns:
        The files, each with its path.

    Raises:
        EngineError: a file cannot be fetched, or is not the published one; it is not to be used then.
    """
    return {role: _verified(file) if file.hub else file for role, file in files.items()}


def check_kinds(files: Mapping[str, WeightsFile], recipe: Recipe) -> dict[str, str]:
    """What each file is, by role, told by its header; files that are not fetched yet are passed over.

    Raises:
        EngineError: names every file that is damaged or of the wrong kind.
    """
    told, wrong = {}, []
    for file, ok, what in _judged(files, recipe):
        told[file.role] = what
        if not ok:
            wrong.append(f"  {file.role}: {_place(file)}: {what}\n    -> {_instead(file, recipe)}")
    if wrong:
        raise EngineError("\n".join(["model files that cannot be used:", *wrong]))
    return told


def ready_weights(recipe: Recipe, models: Path | None) -> tuple[dict[str, WeightsFile], list[str]]:
    """The files of a recipe, there and checked, and what a user should know of them.

    Raises:
        EngineError: a file is missing, damaged, of the wrong kind, or cannot be fetched.
        ConfigError: a name in the recipe leads out of the folder.
    """
    files = find_weights(recipe, models)
    check_kinds(files, recipe)  # before gigabytes are fetched
    complete = all(file.path is not None for file in files.values())
    files = fetch(files)
    if not complete:
        check_kinds(files, recipe)
    return files, notes(files)


def identity(recipe: Recipe, models: Path | None) -> dict[str, str]:
    """The hash of each file, by role; of published files the pinned one, so that nothing need be fetched for it.

    Raises:
        EngineError: a file is missing or cannot be read.
        ConfigError: a name in the recipe leads out of the folder.
    """
    return {f"weights {role}": _known_as(file) for role, file in find_weights(recipe, models).items()}


def notes(files: Mapping[str, WeightsFile]) -> list[str]:
    """What a user should know: files that only bear a published name, and fetched ones that no hash vouches for.

    Raises:
        EngineError: a file cannot be read.
    """
    found: list[str] = []
    for file in files.values():
        entry = file.published
        vouched = file.hub and entry is not None and entry.sha256 is not None  # fetch has compared it
        if entry is None or file.path is None or vouched:
            continue
        digest = file_sha256(file.path)
        if entry.sha256 is None:
            found.append(f"{file.role}: no hash of {entry.name} is pinned; unchecked, it has SHA-256 {digest}")
        elif digest != entry.sha256:
            found.append(f"{file.role}: {_place(file)} bears a published name but is another file ({digest[:12]})")
    return found


def checks(recipe: Recipe, models: Path | None) -> list[Check]:
    """A line for each file of a recipe: where it is, what it is, and what to do; nothing is fetched.

    Hashes that are not remembered are computed, which takes some seconds for each gigabyte.
    """
    try:
        files, missing = _look(recipe, models)
    except (ConfigError, EngineError) as error:
        return [Check("models", False, str(error), "see above")]
    lines = {each.role: Check(each.role, False, each.found, each.fix) for each in missing}
    for file, ok, what in _judged(files, recipe):
        refusal = Check(file.role, False, f"{_place(file)}: {what}", _instead(file, recipe))
        lines[file.role] = _line(file, what) if ok else refusal
    waiting = [file.published for file in files.values() if file.path is None and file.published]
    for entry in waiting:
        found = f"{entry.name} is not here yet: {amount(entry.size)} from {entry.repo}, {entry.licence}"
        fix = f"the first run fetches it into {hub.cache_folder()}; or {hub.by_hand(entry)}"
        lines[entry.role] = Check(entry.role, None, found, fix)
    ordered = [lines[role] for role in needed_roles(recipe) if role in lines]
    return [*ordered, _sum(files, waiting)] if models is None and files else ordered


def _look(recipe: Recipe, models: Path | None) -> tuple[dict[str, WeightsFile], list[_Missing]]:
    """What is there or can be fetched, and what is not."""
    find = _in_hub if models is None else _Folder(models).find
    places = [find(role, getattr(recipe, role), recipe) for role in needed_roles(recipe)]
    files = {place.role: place for place in places if isinstance(place, WeightsFile)}
    return files, [place for place in places if isinstance(place, _Missing)]


def _in_hub(role: str, name: str, recipe: Recipe) -> WeightsFile | _Missing:
    entry = PUBLISHED.get(name)
    usual = usual_file(role, recipe).name
    if entry is None or entry.role != role:
        found = f"{name} is none of the published files, and no folder of model files is named"
        return _Missing(role, found, f"name the folder that holds all of them by --models DIR, or --set {role}={usual}")
    if entry.wiring not in (None, recipe.wiring):
        found = f"{name} is for wiring {entry.wiring}, the recipe says {recipe.wiring}"
        return _Missing(role, found, f"--set wiring={entry.wiring}, or --set {role}={usual}")
    if entry.revision is None:
        return _Missing(role, f"{name} is not fetched, because no commit of {entry.repo} is pinned", hub.by_hand(entry))
    return WeightsFile(role, name, hub.cached_file(entry), entry, hub=True)


class _Folder:
    """A folder of model files, laid out as ComfyUI's."""

    def __init__(self, models: Path):
        if not os.path.isdir(models):
            raise EngineError(
                f"--models {str(models)!r} is not a folder; name ComfyUI's models folder, or one laid out like it: "
                f"{', '.join(f'{folder}/' for folder in KNOWN)}"
            )
        self._roots = (models, models / "models")
        holding = (root for root in self._roots if any(os.path.isdir(root / name) for name in KNOWN))
        self._root = next(holding, models)

    def find(self, role: str, name: str, recipe: Recipe) -> WeightsFile | _Missing:
        """Where a file lies; the first of the role's folders that has it counts, as in ComfyUI."""
        try:
            parts = plain_parts(name)
        except LayoutError:
            raise ConfigError(f"{role} = {name!r} is not a name below a folder, with / between folders") from None
        folders = [root / folder for root in self._roots for folder in FOLDERS[role]]
        places = [folder.joinpath(*parts) for folder in folders]
        entry = published_file(role, name)
        for place in places:
            if os.path.isfile(place):
                return WeightsFile(role, name, place, entry)
        hints = [f"{place} is a link that leads nowhere" for place in places if os.path.islink(place)]
        pickles = [place.with_suffix(ending) for place in places for ending in PICKLES]
        pickled = next((place for place in pickles if os.path.isfile(place)), None)
        if pickled:
            hints.append(f"{pickled} is there, but loading a pickle can run code, so it is refused")
        misplaced = next((root / parts[-1] for root in self._roots if os.path.isfile(root / parts[-1])), None)
        if misplaced:
            hints.append(f"{misplaced} is there; move it into {FOLDERS[role][0]}/")
        hints.append(f"there are: {_listing(folders)}")
        wanted = " or ".join(f"{folder}/" for folder in FOLDERS[role])
        fix = f"convert it: {CONVERT}" if pickled else f"put it there{f': {entry.origin}' if entry else ''}"
        usual = "" if entry else f", or --set {role}=NAME with another one, such as {usual_file(role, recipe).origin}"
        found = printable(f"{name} is not in {wanted} of {self._root}; {'; '.join(hints)}")
        return _Missing(role, found, fix + usual)


def _listing(folders: list[Path]) -> str:
    """The safetensors files in some folders, by the names that a recipe would have."""
    names: set[str] = set()
    seen: set[str] = set()
    for folder in folders:
        for place, below, found in os.walk(folder, followlinks=True):
            real = os.path.realpath(place)
            if real in seen:  # a link may lead back up
                below.clear()
                continue
            seen.add(real)
            below[:] = [name for name in below if not is_litter(name)]
            ours = (Path(place, name) for name in found if name.endswith(".safetensors") and not is_litter(name))
            names |= {path.relative_to(folder).as_posix() for path in ours}
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(sorted(names)[:LISTED]) + more if names else "no safetensors files"


def _verified(file: WeightsFile) -> WeightsFile:
    """A published file, fetched if need be, that is byte for byte the pinned one."""
    entry = file.published
    if entry is None:
        return file
    path = file.path or hub.download(entry)
    wrong = _unlike(path, entry)
    if wrong:
        raise EngineError(f"{entry.name} from {entry.repo} is not used: {wrong}; {_again(path)}")
    return replace(file, path=path)


def _unlike(path: Path, entry: Published) -> str | None:
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


def _again(path: Path) -> str:
    return f"delete {os.path.realpath(path)}, and the next run fetches it again"


def _judged(files: Mapping[str, WeightsFile], recipe: Recipe) -> Iterator[tuple[WeightsFile, bool, str]]:
    """Of each file that is there whether it will do, and what it is."""
    known: dict[str, Tensors] = {}
    for role, file in files.items():
        if file.path is None:
            continue
        try:
            known[role] = read_header(file.path)
            ok, what = judge(role, known[role], recipe, known)
            if ok:
                _open(file.path)
        except (EngineError, LayoutError) as error:
            ok, what = False, str(error)
        yield file, ok, what


def _open(path: Path) -> None:
    """EngineError where the library that loads the tensors does not open a file."""
    from engines.embedded.stored import opened  # brings torch; what is missing or of another kind is named without it

    with opened(path):
        pass


def _known_as(file: WeightsFile) -> str:
    if file.hub and file.published:
        entry = file.published
        return entry.sha256 or f"{entry.repo}@{entry.revision}:{entry.path}"
    if file.path is None:
        raise EngineError(f"{file.role}: {file.name} is not here yet")
    return file_sha256(file.path)


def _place(file: WeightsFile) -> str:
    return printable(str(file.path or file.name))


def _instead(file: WeightsFile, recipe: Recipe) -> str:
    """What to do about a file that will not do."""
    if file.hub and file.path:
        return _again(file.path)
    return f"take another file, such as {usual_file(file.role, recipe).origin}"


def _line(file: WeightsFile, what: str) -> Check:
    """The line of a file of the right kind."""
    path, entry = file.path, file.published
    if path is None:
        return Check(file.role, None, f"{file.name} is not here yet")
    try:
        if file.hub and entry and (wrong := _unlike(path, entry)):
            return Check(file.role, False, wrong, _again(path))
        digest = file_sha256(path)
        found = f"{_place(file)}, {amount(path.stat().st_size)}, {digest[:12]}"
    except (EngineError, OSError) as error:
        return Check(file.role, False, str(error), "make it readable")
    if entry is None:
        return Check(file.role, True, f"{found}, own file: {what}")
    if entry.sha256 is None:
        return Check(file.role, None, f"{found}, unchecked: no hash is pinned: {what}", "nothing to do")
    if entry.sha256 == digest:
        return Check(file.role, True, f"{found}, published file: {what}")
    fix = f"nothing to do if that is meant so; else take {entry.origin}"
    return Check(file.role, None, f"{found}, not the published file of that name: {what}", fix)


def _sum(files: Mapping[str, WeightsFile], waiting: list[Published]) -> Check:
    """How much there is to fetch, and whether it can be."""
    to_fetch = sum(entry.size or 0 for entry in waiting)
    total = sum((file.published.size or 0) for file in files.values() if file.published)
    found = f"{amount(total)} in all, {amount(to_fetch)} of it to fetch" if waiting else f"{amount(total)}, all there"
    found += f", in {hub.cache_folder()}"
    if not waiting:
        return Check("models", True, found)
    if hub.is_offline():
        return Check("models", False, f"{found}; HF_HUB_OFFLINE is set", "unset it, or use --models DIR")
    free = hub.free_bytes()
    if free is not None and free < to_fetch:
        return Check("models", False, f"{found}; {amount(free)} free", "make room, or name another folder by HF_HOME")
    return Check("models", None, found, "the first run fetches it; or use --models DIR")
