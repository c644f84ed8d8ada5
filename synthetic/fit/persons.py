"""The persons of a data set, their labels, and which of their depth maps are made."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acusim import layout, rig
from acusim.dataset import Dataset, Sample
from acusim.errors import AcuSimError, PictureError, ProvenanceError
from acusim.files import safe_join
from acusim.labels import parse_label_file
from acusim.pictures import FITTED, check_sums, decode_depth, decode_provenance, read_file
from synthetic.fit import __version__
from synthetic.fit.shape import LabelledView


@dataclass(frozen=True)
class Person:
    """One person's views: the work of one worker at a time."""

    name: str
    """The sample ID without its frame."""
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class Labels:
    """What a person's labels say."""

    views: dict[str, LabelledView]
    """Image -> view; images whose label cannot be used are missing."""
    problems: tuple[tuple[str, str], ...]
    """Image and why its label cannot be used."""
    sha256: str
    """Of all labels and this program's version: other labels make another head."""


def persons_of(dataset: Dataset) -> list[Person]:
    """The persons of a data set, by name."""
    found: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample in dataset:
        found[str(sample.id).rpartition("_")[0]].append(sample)
    return [Person(name, tuple(samples)) for name, samples in sorted(found.items())]


def read_labels(samples: Iterable[Sample], root: Path) -> Labels:
    """Reads the labels of one person's views."""
    views: dict[str, LabelledView] = {}
    problems: list[tuple[str, str]] = []
    digest = hashlib.sha256(f"fit {__version__}".encode())
    for sample in samples:
        try:
            label, data = parse_label_file(safe_join(root, sample.label))
        except AcuSimError as error:
            problems.append((sample.image, str(error)))
            continue
        digest.update(f"\n{sample.id} {len(data)}\n".encode() + data)
        views[sample.image] = LabelledView(sample.image, label, label.camera or rig.camera(sample.id.frame))
    return Labels(views, tuple(problems), digest.hexdigest())


def depth_path(sample: Sample) -> str:
    """Where a sample's depth map belongs, relative to the root."""
    return f"{layout.depth_folder(sample.split, sample.size)}/{sample.stem}.png"


def state_of(sample: Sample, root: Path, labels_sha256: str) -> str:
    """Whether a sample's depth map is "missing", "fitted" to these labels, "outdated", or the data set's "own".

    One that was fitted and is damaged is outdated, and so is an empty file: nothing is lost with it.

    Raises:
        PictureError: it was not fitted, and cannot be used.
    """
    remedy = "remove it to have one fitted to the labels"
    if sample.unused_depth is not None:
        raise PictureError(f"{sample.unused_depth}; {remedy}")
    path = safe_join(root, depth_path(sample))
    if not os.path.lexists(path):
        return "missing"
    if path.is_file() and not path.stat().st_size:
        return "outdated"
    try:
        data = read_file(path, "depth")
        record = _record_in(data, path.name)
        if record.get("geometry") != FITTED["geometry"]:
            height, width = decode_depth(data, path.name)[0].shape
            if (width, height) != (sample.size, sample.size):
                raise PictureError(f"depth map is {width} x {height}, its picture {sample.size} x {sample.size}")
            return "own"
    except PictureError as error:
        raise PictureError(f"{error}; {remedy}") from None
    try:
        check_sums(data, path.name, "depth")
    except PictureError:
        return "outdated"
    return "fitted" if record.get("labels_sha256") == labels_sha256 else "outdated"


def _record_in(data: bytes, name: str) -> dict[str, Any]:
    try:
        return decode_provenance(data, name)
    except ProvenanceError:
        return {}
