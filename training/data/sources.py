"""Dataset roots to records: the folder of pictures to use, augmented outputs, bald heads.

A root is a plain AcuSim root, an augmented output of the controller, or a folder of such outputs v01, v02, ….
"""

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from acusim import acupoints, bald, layout
from acusim.dataset_root import VARIANT, check_root, check_variants
from acusim.errors import AcuSimError, ConfigError, LayoutError, shown
from acusim.files import is_inside, printable, safe_join
from acusim.folders import list_folder, os_error_reason
from acusim.layout import Dataset, Problem, Sample
from acusim.pictures import read_provenance
from acusim.sample_id import SampleId
from acusim.selection import Selection
from acusim.text_files import text_of

MANIFEST = "manifest.jsonl"
MAX_LINE = 1 << 20
MAX_MAP_BYTES = 1 << 20
_FEW = 3


@dataclass(frozen=True, slots=True)
class Record:
    """A picture to use."""

    id: SampleId
    root: int
    """Which of the given roots it is in."""
    image: str
    """Relative to that root, with forward slashes; label and depth, too."""
    label: str
    depth: str | None
    split_folder: str
    """The dataset's own split: train, test, …; not used for dividing persons."""
    person: str
    """The model's name, the same for all its hair, body sizes and pictures."""
    variant: str
    """Empty for an original, else the augmented variant: ``<root's name>`` or ``<root's name>/v01``."""
    bald: bool
    side: int = 0
    """Side of the picture in pixels, as its folder states; 0 where unknown."""


@dataclass(slots=True)
class Found:
    """The content of the roots."""

    records: list[Record] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def head_key(person: str, sample: SampleId) -> str:
    """The key of the head that a sample shows: body size moves acupoints, hair and eyes do not."""
    return f"{person}/{sample.size}"


def root_names(roots: Sequence[Path]) -> list[str]:
    """A short name for each root, all different.

    Raises:
        ConfigError: two of them are the same folder, or none is given.
    """
    if not roots:
        raise ConfigError("no dataset root is named")
    real = [os.path.realpath(root) for root in roots]
    names: list[str] = []
    for number, path in enumerate(real):
        if path in real[:number]:
            raise ConfigError(f"dataset root {str(roots[number])!r} is named twice")
        name = printable(os.path.basename(path)) or "root"
        names.append(name if name not in names else f"{name}~{number + 1}")
    return names


def find(
    roots: Sequence[Path], size: int, frames: Sequence[int], selection: Selection | None, bald_codes: str
) -> Found:
    """All pictures of some roots that have a label and a valid name.

    Args:
        roots: dataset roots.
        size: side in pixels.
        frames: cameras to use.
        selection: further conditions; None takes all.
        bald_codes: hair codes that mean bald, or auto; see acusim.bald.

    Raises:
        LayoutError: a root is not a dataset root, or has no picture with a label or of this size.
        ConfigError: the codes are malformed, or a root is named twice.
    """
    given = bald.parse_bald_codes(bald_codes)
    wanted = frozenset(frames)
    found = Found()
    for number, (root, name) in enumerate(zip(roots, root_names(roots), strict=True)):
        samples: list[tuple[Sample, str]] = []
        variants = _variants(root, name, found)
        for folder in variants:
            samples += [(sample, folder) for sample in _samples(root, folder, name, size, found)]
        real = Path(os.path.realpath(root))
        if not samples:
            reasons = "; ".join(f"{problem.path}: {problem.reason}" for problem in found.problems[-_FEW:])
            raise LayoutError(
                f"{str(root)!r} has no usable picture; expected <split>/image/img_{size}/<sample ID>.png "
                f"with <split>/label/label/<sample ID>.json{': ' if reasons else ''}{reasons}"
            )
        augmented = bool(variants[0]) or _is_augmented(real, samples[0][0].image)
        all_samples = [sample for sample, _ in samples]
        evidence = bald.gather_evidence(real, all_samples) if given is None else bald.given_evidence(all_samples, given)
        bald_hair = {entry.code for entry in evidence if entry.bald}
        lines = (f"hair code {entry}" for entry in evidence)
        found.notes += [f"{name}: {text}" for text in lines if not any(note.endswith(text) for note in found.notes)]
        taken = 0
        for sample, folder in sorted(samples, key=lambda item: item[0].image):
            if sample.id.frame not in wanted or not (selection is None or selection(sample.id, sample.split)):
                continue
            taken += 1
            found.records.append(
                Record(
                    id=sample.id,
                    root=number,
                    image=sample.image,
                    label=sample.label,
                    depth=sample.depth,
                    split_folder=sample.split,
                    person=sample.id.person,
                    variant=f"{name}/{folder}".rstrip("/") if augmented else "",
                    bald=sample.id.hair in bald_hair,
                    side=sample.size,
                )
            )
        kind = "augmented pictures" if augmented else "originals"
        found.notes.append(f"{name}: {taken} of {len(samples)} pictures are chosen; they count as {kind}")
    return found


def all_have(roots: Sequence[Path], larger: int, size: int) -> bool:
    """Whether all pictures of some roots that are used at a size are there at a larger one, too.

    Raises:
        LayoutError: a root is not a dataset root.
    """
    for root in roots:
        for folder in _variants(root, "", Found()):
            offered = layout.scan(root / folder if folder else root).sizes.values()
            if any(size <= max(sides) < larger for sides in offered):
                return False
    return True


def _variants(root: Path, name: str, found: Found) -> list[str]:
    """Folders of variants with their slash, or one empty text."""
    check_root(root)
    entries = list_folder(root)
    variants = [entry for entry in entries if VARIANT.fullmatch(entry.name) and entry.kind != "file"]
    unread = [entry for entry in variants if entry.is_link or entry.kind != "folder"]
    found.notes += [f"{name}: {entry.name} is a link and is not read" for entry in unread]
    names = [f"{entry.name}/" for entry in variants if entry not in unread]
    check_variants(root, names, entries)
    return names or [""]


def _samples(root: Path, folder: str, name: str, size: int, found: Found) -> list[Sample]:
    """The samples of one dataset, of each split in the smallest sufficient size; paths relative to the given root."""
    place = root / folder if folder else root
    shown_as = f"{name}/{folder}".rstrip("/")
    dataset = layout.scan(place)
    chosen: dict[str, int] = {}
    for split, sizes in dataset.sizes.items():
        larger = [side for side in sizes if side >= size]
        offered = ", ".join(map(str, sizes))
        if not larger:
            found.notes.append(f"{shown_as}: {split} is left out: its sizes, {offered}, are smaller than {size}")
            continue
        chosen[split] = larger[0]
        if larger[0] != size:
            found.notes.append(f"{shown_as}: {split} has no size {size}; size {larger[0]} is reduced")
    if not chosen:
        sizes = sorted({side for offered in dataset.sizes.values() for side in offered})
        raise LayoutError(
            f"{str(place)!r} has no pictures of size {size} or larger; there are {', '.join(map(str, sizes))}"
        )
    out: list[Sample] = []
    for side in sorted(set(chosen.values())):
        scanned = layout.scan(place, side)
        out += [sample for sample in scanned.samples if chosen.get(sample.split) == side]
        for problem in scanned.problems:
            if chosen.get(problem.path.split("/")[0], side) == side:
                found.problems.append(replace(problem, path=f"{shown_as}/{problem.path}"))
    found.notes += [f"{shown_as}: {note}" for note in dataset.notes]
    _check_map(dataset, shown_as, found)
    return [
        replace(
            sample,
            image=folder + sample.image,
            label=folder + sample.label,
            depth=folder + sample.depth if sample.depth else None,
        )
        for sample in out
    ]


def _check_map(dataset: Dataset, name: str, found: Found) -> None:
    """Notes a map.txt that differs from the network's names."""
    path = dataset.root / layout.MAP_FILE
    if not is_inside(str(dataset.root), path) or not os.path.isfile(path):
        found.notes.append(f"{name}: no {layout.MAP_FILE}; labels are read by name")
        return
    try:
        with open(path, "rb") as stream:
            data = stream.read(MAX_MAP_BYTES)
        names = text_of(data).split("\n")
    except (OSError, ValueError) as error:
        fault = os_error_reason(error) if isinstance(error, OSError) else error
        found.notes.append(f"{name}: {layout.MAP_FILE} cannot be read: {fault}; labels are read by name")
        return
    names = [line.strip() for line in names if line.strip()]
    unknown = [line for line in names if line not in acupoints.NAMES]
    if unknown:
        few = ", ".join(shown(line) for line in unknown[:_FEW])
        found.notes.append(
            f"{name}: {layout.MAP_FILE} has {len(unknown)} names that are not among AcuSim's {acupoints.COUNT}, such "
            f"as {few}; labels that use them are skipped"
        )
    elif names != list(acupoints.NAMES):
        counted = Counter(names)
        same = len(names) == len(counted) == acupoints.COUNT
        what = "another order" if same else f"{len(counted)} of {acupoints.COUNT} names"
        found.notes.append(f"{name}: {layout.MAP_FILE} has {what}; labels are read by name, so nothing changes")


def _is_augmented(real: Path, image: str) -> bool:
    """Whether a root is an augmented output: by its manifest, or by the provenance of its first picture."""
    try:
        with open(safe_join(real, MANIFEST), "rb") as stream:
            line = json.loads(stream.readline(MAX_LINE))
        if isinstance(line, dict) and line.get("status") in ("done", "skipped", "set aside"):
            return True
    except (OSError, ValueError, RecursionError, LayoutError):
        pass  # no manifest, or one of something else
    try:
        return isinstance(read_provenance(safe_join(real, image)).get("source_sha256"), str)
    except AcuSimError:
        return False
