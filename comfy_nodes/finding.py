"""Finds the files of a batch in a dataset: by sample IDs, image paths, or selection and index."""

import os
import re
import threading
import time
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from acusim import layout
from acusim.errors import ConfigError, LayoutError, shown
from acusim.files import printable, safe_join
from acusim.folders import list_folder
from acusim.pictures import EXTENSIONS
from acusim.sample_id import SampleId
from acusim.selection import Selection, parse_selection

MAX_COUNT = 64
_SCANS_KEPT = 8
_SETTLED_S = 2.0
"""A folder changed less than this before it was listed may change again within one tick of its time stamp."""
_PICTURE = re.compile(r"([^/.][^/]*)/image/img_([1-9][0-9]{0,4})/([^/]+)")


@dataclass(frozen=True, slots=True)
class Found:
    """The files of one sample, relative to the dataset root."""

    id: SampleId
    image: str
    label: str | None
    depth: str | None
    unused_depth: str | None = None
    """Why an existing depth map is not used."""


@dataclass(frozen=True, slots=True)
class _Scan:
    stamp: tuple[tuple[str, int], ...]
    dataset: layout.Dataset
    by_id: dict[str, list[layout.Sample]]


_scans: dict[tuple[str, int], _Scan] = {}
_lock = threading.Lock()


def find_samples(root: Path, samples: str, selection: str, index: int, count: int, size: int) -> list[Found]:
    """The samples of a batch, in order.

    Args:
        root: of the dataset.
        samples: one sample ID or image path per line; if not blank, the next three are ignored.
        selection: conditions as in ``--select``; "" for all.
        index: which batch of ``count`` among the selected samples, from 0.
        count: samples in a batch; the last batch may be smaller.
        size: nominal image size; 0 takes 512 where a split has it, else its largest.

    Raises:
        ConfigError: a line or the selection is invalid, or there is no such batch.
        LayoutError: the folder is not a dataset, or an image is missing.
        SampleIdError: a line is neither a path nor a sample ID.
    """
    if not os.path.isdir(root):
        raise LayoutError(f"dataset folder {root.name!r} is not on the machine that runs ComfyUI; correct folder")
    for name, value, least in (("index", index, 0), ("count", count, 1)):
        if not isinstance(value, int) or value < least:
            raise ConfigError(f"{name} = {shown(value)} is not a whole number from {least} on")
    if lines := _lines(samples):
        return _named_samples(root, lines, size)
    chosen = selected(selection)
    known = scanned(root, size).dataset.samples
    matching = [sample for sample in known if chosen(sample.id, sample.split)]
    if not matching:
        reason = f"selection {selection!r} matches none of the {len(known)} samples" if known else "no sample"
        raise ConfigError(f"{reason} in {root.name!r}; images without a label do not count")
    if index * count >= len(matching):
        last = (len(matching) - 1) // count
        raise ConfigError(
            f"index {index}: there is no such batch; {len(matching)} samples in batches of {count} are 0..{last}"
        )
    return [_of(sample) for sample in matching[index * count : (index + 1) * count]]


def _lines(samples: str) -> list[str]:
    """The lines of a samples widget that are not blank."""
    lines = [line.strip() for line in samples.splitlines() if line.strip()]
    if len(lines) > MAX_COUNT:
        raise ConfigError(f"samples has {len(lines)} lines; allowed are {MAX_COUNT}")
    return lines


def _named_samples(root: Path, lines: list[str], size: int) -> list[Found]:
    """The samples named by lines; paths are looked up one by one, only IDs need a listing of the whole dataset."""
    found = [_by_path(root, line) if "/" in line else _by_id(root, line, size) for line in lines]
    seen: set[str] = set()
    for entry in found:
        if entry.image in seen:
            raise ConfigError(f"samples names {entry.image!r} twice")
        seen.add(entry.image)
    return found


def selected(selection: str) -> Selection:
    """The selection widget.

    Raises:
        ConfigError: an unknown key or value; names it and what is allowed.
    """
    try:
        return parse_selection(selection)
    except ConfigError as error:
        raise ConfigError(str(error).replace("--select", "selection")) from None


def check_lines(samples: str) -> None:
    """Checks a samples widget as far as possible without the dataset.

    Raises:
        ConfigError, LayoutError, SampleIdError: as find_samples.
    """
    for line in _lines(samples):
        if "/" in line:
            _parse_path(line)
        else:
            SampleId.parse(line)


def scanned(root: Path, size: int) -> _Scan:
    """The dataset's listing, repeated only when one of its folders has changed.

    Raises:
        LayoutError: as acusim.layout.scan.
    """
    key = (str(root), size)
    stamp = _stamp(root)
    with _lock:
        known = _scans.get(key)
        if known is not None and known.stamp == stamp:
            return known
        started = time.time_ns()
        dataset = layout.scan(root, size or None)
        by_id: dict[str, list[layout.Sample]] = {}
        for sample in dataset.samples:
            by_id.setdefault(str(sample.id), []).append(sample)
        fresh = _Scan(stamp, dataset, by_id)
        _scans.pop(key, None)
        if all(started - changed > _SETTLED_S * 1e9 for _, changed in stamp):
            _scans[key] = fresh
            while len(_scans) > _SCANS_KEPT:
                del _scans[next(iter(_scans))]
        return fresh


def _stamp(root: Path) -> tuple[tuple[str, int], ...]:
    """Every folder that a listing reads, with the time of its last change."""
    folders = [root]
    try:
        for split in _below(root):
            folders += [split / kind for kind in ("image", "label/label", "depth")]
            for kind in ("image", "depth"):
                folders += _below(split / kind) if os.path.isdir(split / kind) else []
        return tuple((str(path), path.stat().st_mtime_ns) for path in sorted(set(folders)) if os.path.isdir(path))
    except OSError as error:
        raise LayoutError(f"dataset {root.name!r} cannot be listed: {error.strerror}") from None


def _below(folder: Path) -> list[Path]:
    return [Path(entry.path) for entry in list_folder(folder) if entry.kind == "folder"]


def _by_id(root: Path, line: str, size: int) -> Found:
    sample_id = str(SampleId.parse(unicodedata.normalize("NFC", line)))
    known = scanned(root, size)
    matches = known.by_id.get(sample_id, [])
    if not matches:
        problem = next((p for p in known.dataset.problems if str(p.id) == sample_id), None)
        reason = (
            f": {problem.path}: {problem.reason}" if problem else f" among its {len(known.dataset.samples)} samples"
        )
        raise LayoutError(f"sample {sample_id!r} is not in dataset {root.name!r}{reason}")
    if len(matches) > 1:
        places = ", ".join(sample.image for sample in matches)
        raise ConfigError(f"sample {sample_id!r} exists {len(matches)} times: {places}; write one of these paths")
    return _of(matches[0])


def _of(sample: layout.Sample) -> Found:
    return Found(sample.id, sample.image, sample.label, sample.depth, sample.unused_depth)


def _parse_path(line: str) -> tuple[str, int, str, SampleId]:
    """Split, size, stem and sample ID of an image path."""
    match = _PICTURE.fullmatch(line)
    stem, extension = os.path.splitext(match[3]) if match else ("", "")
    if match is None or extension.lower() not in EXTENSIONS or printable(line) != line or "\\" in line:
        raise LayoutError(
            f"image {shown(line)} is not of the form train/image/img_512/<sample ID>.png (or .jpg, and test/ or temp/ "
            "for train/), relative to the dataset root"
        )
    return match[1], int(match[2]), stem, SampleId.parse(unicodedata.normalize("NFC", stem))


def _by_path(root: Path, line: str) -> Found:
    split, size, stem, sample_id = _parse_path(line)
    if not os.path.isfile(safe_join(root, line)):
        raise LayoutError(f"image {line!r} is not in dataset {root.name!r}")
    label = _beside(root, layout.label_folder(split), stem, ".json")
    depth, unused = None, None
    try:
        depth = _beside(root, layout.depth_folder(split, size), stem, ".png")
        place = f"{layout.depth_folder(split, size)}/{stem}.png"
        if depth is None and os.path.lexists(root / place):
            unused = f"{place}: not a regular file"
    except LayoutError as error:
        unused = str(error)
    return Found(sample_id, line, label, depth, unused)


def _beside(root: Path, folder: str, stem: str, extension: str) -> str | None:
    """A companion file of the same stem, in any Unicode composition."""
    for form in dict.fromkeys((stem, unicodedata.normalize("NFC", stem), unicodedata.normalize("NFD", stem))):
        relative = f"{folder}/{form}{extension}"
        if os.path.isfile(safe_join(root, relative)):
            return relative
    return None
