"""The persons of a data set, their labels, and which of their depth maps are made."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from acusim import layout, rig
from acusim.dataset import Dataset, Sample
from acusim.errors import AcuSimError, PictureError, ProvenanceError
from acusim.files import safe_join
from acusim.labels import parse_label_file
from acusim.pictures import FITTED, decode_provenance, read_file
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
    """Whether a sample's depth map is "missing", "fitted" to these labels, "outdated", or the data set's "own"."""
    if sample.unused_depth is not None:
        return "own"
    path = safe_join(root, depth_path(sample))
    if not os.path.lexists(path):
        return "missing"
    try:
        record = decode_provenance(read_file(path, "depth"), path.name)
    except (ProvenanceError, PictureError):
        return "own"
    if record.get("geometry") != FITTED["geometry"]:
        return "own"
    return "fitted" if record.get("labels_sha256") == labels_sha256 else "outdated"
