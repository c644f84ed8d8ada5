"""Which original belongs to which augmented image: by stem, never by position; and what has no partner.

The augmented root is a dataset of the same layout, or a folder of such datasets v01, v02, …. A manifest, if it exists,
lists the prompt sets; a root that another program created has none.
"""

import json
import os
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acusim import bald, layout
from acusim.dataset_root import VARIANT, check_root, check_variants
from acusim.errors import ConfigError, LayoutError
from acusim.folders import list_folder
from acusim.prompt_sets import load_prompt_sets
from acusim.sample_id import SampleId

MANIFEST = "manifest.jsonl"
MAX_LINE = 1 << 20
"""Bytes of a manifest's line; longer ones are not read."""
SKIPPED = ("skipped", "set aside")
"""Status of a skipped image in a manifest; the controller stores "set aside"."""


@dataclass(frozen=True, slots=True)
class Pair:
    """An original and its augmented image; paths are relative to the roots."""

    id: SampleId
    split: str
    original: str
    augmented: str
    """With the variant's folder, if there are several."""
    variant: str
    """Folder of the variant with its slash, or empty."""
    label: str | None
    depth: str | None
    augmented_label: str | None
    augmented_depth: str | None
    prompt_set: str
    bald: bool


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with an item."""

    path: str
    reason: str


@dataclass(slots=True)
class Pairs:
    """All pairs in a fixed order, and what is wrong with the rest."""

    pairs: list[Pair] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Found:
    """An image of a root with the files that belong to it."""

    id: SampleId
    split: str
    image: str
    label: str | None
    depth: str | None
    why_no_label: str = ""

    @property
    def key(self) -> tuple[str, str]:
        return self.split, unicodedata.normalize("NFC", Path(self.image).stem)


def pair_up(
    original: Path,
    augmented: Path,
    size: int | None = None,
    selected: Callable[[SampleId, str], bool] = lambda sample_id, split: True,
    bald_codes: str = "auto",
) -> Pairs:
    """Pairs the images of two dataset roots.

    Args:
        original: root of the originals.
        augmented: root of the augmented images, or a folder with v01, v02, … that are such roots.
        size: image size to use in both; None takes 512 where it exists.
        selected: which samples are evaluated.
        bald_codes: hair codes that mean bald, as the controller's option.

    Raises:
        LayoutError: one of them is not a dataset root.
        ConfigError: both are the same folder, or the codes are malformed.
    """
    if os.path.realpath(original) == os.path.realpath(augmented):
        raise ConfigError(f"--original and --augmented are the same folder, {str(original)!r}; name two")
    out = Pairs()
    dataset = layout.scan(original, size)
    originals = {found.key: found for found in _images(dataset, "", out) if selected(found.id, found.split)}
    given = bald.parse_bald_codes(bald_codes)
    evidence = (
        bald.gather_evidence(dataset.root, dataset.samples)
        if given is None
        else bald.given_evidence(dataset.samples, given)
    )
    bald_hair = {entry.code for entry in evidence if entry.bald}
    manifest = _read_manifest(augmented, out)
    choose = load_prompt_sets().choose
    for variant, root in _roots(augmented, out):
        partners = {found.key: found for found in _images(layout.scan(root, size), variant, out, True)}
        for key, found in originals.items():
            partner = partners.pop(key, None)
            if partner is None:
                out.problems.append(Problem(variant + found.image, manifest.why_missing(variant + found.image)))
                continue
            if found.why_no_label:
                out.problems.append(Problem(found.image, f"{found.why_no_label}: its acupoints are not examined"))
            is_bald = found.id.hair in bald_hair
            prompt_set = manifest.prompt_sets.get(variant + partner.image) or choose(found.id, is_bald).name
            out.pairs.append(_pair(found, partner, variant, is_bald, prompt_set))
        for found in partners.values():
            if selected(found.id, found.split):
                out.problems.append(Problem(variant + found.image, "no original of this stem"))
    out.pairs.sort(key=lambda pair: pair.augmented)
    return out


def _pair(original: _Found, augmented: _Found, variant: str, is_bald: bool, prompt_set: str) -> Pair:
    return Pair(
        id=original.id,
        split=original.split,
        original=original.image,
        augmented=variant + augmented.image,
        variant=variant,
        label=original.label,
        depth=original.depth,
        augmented_label=variant + augmented.label if augmented.label else None,
        augmented_depth=variant + augmented.depth if augmented.depth else None,
        prompt_set=prompt_set,
        bald=is_bald,
    )


def _roots(augmented: Path, out: Pairs) -> list[tuple[str, Path]]:
    """(folder with its slash, dataset root) of each variant.

    Raises:
        LayoutError: the root has variants and pictures of its own.
    """
    check_root(augmented)
    variants: list[tuple[str, Path]] = []
    entries = list_folder(augmented)
    for entry in entries:
        if not VARIANT.fullmatch(entry.name):
            continue
        if entry.kind == "folder" and not entry.is_link:
            variants.append((f"{entry.name}/", augmented / entry.name))
        else:
            what = entry.fault or ("a link" if entry.is_link else "a file")
            out.problems.append(Problem(entry.name, f"{what}; it is not read as a variant"))
    check_variants(augmented, [folder for folder, _ in variants], entries)
    return variants or [("", augmented)]


def _images(dataset: layout.Dataset, variant: str, out: Pairs, orphans_expected: bool = False) -> list[_Found]:
    """The images of a root, those without a label too; everything else becomes a problem.

    A missing image is reported once: not again for the label that is left without it.
    """
    out.notes += [f"{dataset.root.name}: {note}" for note in dataset.notes]
    found = [_Found(s.id, s.split, s.image, s.label, s.depth) for s in dataset.samples]
    for problem in dataset.problems:
        if problem.is_image and problem.id is not None:  # a good name and no usable label
            found.append(_Found(problem.id, problem.path.split("/")[0], problem.path, None, None, problem.reason))
        elif problem.is_image or not orphans_expected or "/label/" not in problem.path:
            out.problems.append(Problem(variant + problem.path, problem.reason))
    return found


@dataclass(slots=True)
class _Manifest:
    """What a manifest records of each image; empty where there is no manifest."""

    prompt_sets: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    """Reason of each skipped image."""

    def why_missing(self, image: str) -> str:
        """Why an image does not exist."""
        reason = self.skipped.get(image)
        return f"no augmented picture: it was skipped ({reason})" if reason else "no augmented picture of this stem"


def _read_manifest(root: Path, out: Pairs) -> _Manifest:
    manifest, damaged = _Manifest(), 0
    path = root / MANIFEST
    if not os.path.isfile(path):
        out.notes.append(f"{MANIFEST} is missing: prompt sets are derived from the sample IDs")
        return manifest
    try:
        with open(path, "rb") as stream:
            while line := stream.readline(MAX_LINE):
                record = _record(line)
                image = record.get("image") if record else None
                if record is None or not isinstance(image, str):
                    damaged += 1
                elif record.get("status") in SKIPPED:
                    manifest.skipped[image] = str(record.get("reason", ""))[:200]
                elif isinstance(record.get("prompt_set"), str):
                    manifest.prompt_sets[image] = record["prompt_set"][:80]
    except OSError as error:
        out.notes.append(f"{MANIFEST} cannot be read: {error.strerror}")
    if damaged:
        out.notes.append(f"{MANIFEST}: {damaged} lines are damaged and were left out")
    return manifest


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def ensure_pairs(pairs: Pairs, original: Path, augmented: Path) -> None:
    """Raises LayoutError if there is nothing to measure."""
    if not pairs.pairs:
        raise LayoutError(
            f"no picture of {str(augmented)!r} has the stem of one in {str(original)!r}; "
            "both must follow AcuSim's layout, with the same sample IDs"
        )
