"""What is to be created: sample -> prompt set and output path, one item for each image."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acusim.bald import Evidence
from acusim.errors import AcuSimError
from acusim.files import portable_name
from acusim.keypoints import AnySample
from acusim.layout import MAP_FILE, Dataset, Sample
from acusim.prompt_sets import PromptSets
from acusim.sample_id import KNOWN_HAIR_CODES, SampleId
from acusim.seeds import seed_of
from acusim.selection import Selection

SHARED = "shared files"
"""Name, in an identity, of the list of files that belong to all images; absent for AcuSim, where it is map.txt."""


@dataclass(frozen=True, slots=True)
class Item:
    """One image to create."""

    sample: AnySample
    variant: int
    """0-based."""
    folder: str
    """Where in OUT this variant's data set is: "" or "v01/"."""

    @property
    def key(self) -> str:
        """The output image's path relative to OUT."""
        return self.folder + self.sample.image


@dataclass(slots=True)
class Plan:
    """All items of a run, and what was left out."""

    root: Path
    items: list[Item]
    skipped: list[tuple[str, str]]
    """(path, reason) of images that cannot be used."""
    notes: list[str]
    """What else a user should know: orphans, unknown hair codes."""
    bald: frozenset[str]
    evidence: list[Evidence]
    prompts: PromptSets
    complete: bool
    """True if nothing of the dataset was left out by a selection or a limit."""
    shared: tuple[str, ...] = (MAP_FILE,)
    """Files of the dataset that belong to all images, and are copied to each variant."""

    @property
    def prompt_sets(self) -> dict[str, int]:
        """Images for each prompt set."""
        samples = (item.sample for item in self.items)
        counts = Counter(self.prompts.choose(sample.id, self.is_bald(sample)).name for sample in samples)
        return dict(sorted(counts.items()))

    def is_bald(self, sample: AnySample) -> bool:
        """Whether a sample shows no hair; what is not a head has none."""
        return not isinstance(sample.id, SampleId) or sample.id.hair in self.bald


@dataclass(frozen=True, slots=True)
class Extent:
    """Which samples of a dataset a batch uses."""

    selection: Selection
    persons: int | None = None
    """At most so many persons, drawn by the seed: more persons are these and others."""
    seed: int = 0
    limit: int | None = None
    """At most so many samples, in the dataset's order."""

    def of(self, selected: Sequence[Sample]) -> list[Sample]:
        """Those of the selected samples that are used."""
        if self.persons is None:
            return list(selected[: self.limit])
        names = {portable_name(sample.id.name) for sample in selected}
        drawn = set(sorted(names, key=lambda name: (seed_of("person", self.seed, name), name))[: self.persons])
        return [sample for sample in selected if portable_name(sample.id.name) in drawn][: self.limit]


def variant_folders(variants: int) -> tuple[str, ...]:
    """The folder of each variant below OUT: OUT itself for a single one, else v01/, v02/, …"""
    return ("",) if variants == 1 else tuple(f"v{number:02d}/" for number in range(1, variants + 1))


def shared_files(identity: Mapping[str, Any]) -> list[str]:
    """Files of the dataset that belong to all images of an OUT, by its identity."""
    found = identity.get(SHARED)
    return [MAP_FILE] if found is None else [str(name) for name in found]


def used_folders(keys: Iterable[str], variants: int) -> list[str]:
    """Those variant folders that some of the keys are in: a budget may leave others empty."""
    found = set(keys)
    return [folder for folder in variant_folders(variants) if any(key.startswith(folder) for key in found)]


def make_plan(
    dataset: Dataset,
    prompts: PromptSets,
    judge: Callable[[list[Sample]], list[Evidence]],
    extent: Extent,
    variants: int,
) -> Plan:
    """Turns a dataset into items.

    Args:
        dataset: what scan() found.
        prompts: the prompt sets.
        judge: decides for each hair code among the samples whether it means bald.
        extent: which samples are used.
        variants: images per sample.
    """
    selection, whole = extent.selection, extent.limit is None and extent.persons is None
    evidence = judge(dataset.samples)
    bald = frozenset(entry.code for entry in evidence if entry.bald)
    chosen = extent.of([sample for sample in dataset.samples if selection(sample.id, sample.split)])
    folders = variant_folders(variants)
    everything = not selection.values and selection.frames is None
    plan = Plan(dataset.root, [], [], dataset.notes, bald, evidence, prompts, everything and whole)
    for problem in dataset.problems:
        split = problem.path.split("/", 1)[0]
        selected = selection(problem.id, split) if problem.id else everything
        if problem.is_image and selected and whole:
            plan.skipped += [(folder + problem.path, problem.reason) for folder in folders]
        else:
            plan.notes.append(f"{problem.path}: {problem.reason}")
    for sample in chosen:
        try:
            prompts.choose(sample.id, sample.id.hair in bald)
        except AcuSimError as error:
            plan.skipped += [(folder + sample.image, str(error)) for folder in folders]
            continue
        plan.items += [Item(sample, variant, folder) for variant, folder in enumerate(folders)]
    strange = Counter(s.id.hair for s in chosen if s.id.hair not in KNOWN_HAIR_CODES)
    for code, count in sorted(strange.items()):
        kind = "bald" if code in bald else "haired"
        plan.notes.append(
            f"hair code {code} is not among the known {', '.join(KNOWN_HAIR_CODES)}: {count} samples, {kind}"
        )
    return plan


def split_colliding(items: Iterable[Item]) -> Iterator[tuple[Item, str | None]]:
    """Items with the reason why one cannot be written to a file system that folds names, None if it can."""
    first: dict[str, str] = {}
    for item in items:
        name = portable_name(item.key)
        if name in first:
            yield item, f"on this file system its name is the same as that of {first[name]!r}; rename one"
        else:
            first[name] = item.key
            yield item, None
