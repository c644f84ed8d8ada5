"""From what a user asks for to a planned batch; writes nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import acusim
from acusim import bald
from acusim.errors import ConfigError
from acusim.keypoints import KeypointSet, open_any
from acusim.layout import MAP_FILE, Sample
from acusim.prompt_sets import KEYPOINT_PROMPTS, load_prompt_sets
from acusim.seeds import derive_seed
from acusim.selection import parse_selection
from controller.budget import Focus, affordable, focus_of, light_digest, scene_picker, spending
from controller.job import Job
from controller.keypoint_plan import keypoint_plan
from controller.plan import SHARED, Extent, Item, Plan, make_plan
from controller.settings import BatchSettings
from engines.scenes import Scene, load_scenes, scenes_digest


@dataclass(frozen=True)
class PlannedBatch:
    """The settings of a batch with everything that follows from them."""

    settings: BatchSettings
    plan: Plan
    scenes: tuple[Scene, ...]
    focus: Focus | None
    """Where more is spent; None: everywhere alike."""
    engine_identity: dict[str, str]
    """What the engine adds to the identity."""
    warnings: tuple[str, ...]
    """About scene files that cannot be used."""

    @property
    def output(self) -> Path:
        """OUT."""
        return self.settings.out

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything that decides a pixel or a path, by name; JSON values."""
        settings = self.settings
        return {
            **{f"recipe.{name}": value for name, value in settings.recipe.deciding().items()},
            "program version": acusim.__version__,
            "seed": settings.seed,
            "scenes": scenes_digest(self.scenes),
            "prompts": self.plan.prompts.digest,
            "several variants": settings.variants > 1,
            "gate": settings.gate.as_dict() if settings.gate else None,
            **({"focused scenes": self._light} if self._light else {}),
            **({} if self.plan.shared == (MAP_FILE,) else {SHARED: list(self.plan.shared)}),
            **self.engine_identity,
        }

    @cached_property
    def _light(self) -> str | None:
        return light_digest(self.scenes, self.focus)

    @cached_property
    def _scene_of(self) -> Callable[[int], Scene]:
        return scene_picker(self.scenes, self.focus)

    def job(self, item: Item) -> Job:
        """What decides the pixels of an item's first attempt."""
        sample, prompts = item.sample, self.plan.prompts
        seed = derive_seed(self.settings.seed, sample.id, item.variant, attempt=0)
        bald = self.plan.is_bald(sample)
        prompt_set = prompts.choose(sample.id, bald)
        positive, negative = prompts.texts(prompt_set, sample.id, seed)
        return Job(
            key=item.key,
            folder=item.folder,
            sample=sample,
            variant=item.variant,
            attempt=0,
            seed=seed,
            scene=self._scene_of(seed),
            bald=bald,
            prompt_set=prompt_set.name,
            positive=positive,
            negative=negative,
        )


def plan_batch(settings: BatchSettings, engine_identity: dict[str, str] | None = None) -> PlannedBatch:
    """Reads the dataset, prompts and scenes and plans every image; writes nothing.

    Raises:
        ConfigError, LayoutError: a setting or the dataset root is wrong.
    """
    codes = bald.parse_bald_codes(settings.bald_codes)
    selection = parse_selection(None if settings.repair else settings.select)
    scenes, warnings = load_scenes(settings.scenes)
    dataset = open_any(settings.dataset, settings.size)
    if isinstance(dataset, KeypointSet):
        plan, focus = keypoint_plan(dataset, load_prompt_sets(settings.prompts, KEYPOINT_PROMPTS), settings), None
        if not plan.items and not plan.skipped:
            why = "; ".join(plan.notes)[:500]
            raise ConfigError(f"there is no usable picture in {str(settings.dataset)!r}: {why}")
        if settings.budget is not None:
            focus = _spend(plan, settings)
        return PlannedBatch(settings, plan, scenes, focus, engine_identity or {}, warnings)
    prompts = load_prompt_sets(settings.prompts)

    def judge(samples: list[Sample]) -> list[bald.Evidence]:
        return bald.gather_evidence(dataset.root, samples) if codes is None else bald.given_evidence(samples, codes)

    asked = settings.changed(limit=None, persons=None) if settings.repair else settings
    extent = Extent(selection, asked.persons, settings.seed, asked.limit)
    plan = make_plan(dataset, prompts, judge, extent, settings.variants)
    if not plan.items and not plan.skipped:
        what = f"--select {settings.select!r} matches none of" if settings.select else "there is no usable image among"
        raise ConfigError(f"{what} the {len(dataset.samples)} samples of {str(settings.dataset)!r}")
    focus = _spend(plan, settings) if settings.budget is not None else None
    return PlannedBatch(settings, plan, scenes, focus, engine_identity or {}, warnings)


def _spend(plan: Plan, settings: BatchSettings) -> Focus | None:
    """Leaves those items in a plan that the budget is spent on; a repair leaves all. Returns what it is focused on."""
    assert settings.budget is not None
    focus, notes = None, []
    if settings.focus is not None:
        focus, notes = focus_of(settings.focus, [item.sample for item in plan.items], plan.bald)
    if settings.repair:
        return focus
    possible = plan.items
    if settings.budget > len(possible):
        plan.notes.append(
            f"--budget {settings.budget} is more than the {len(possible)} images that there can be: see --variants"
        )
    plan.items = affordable(possible, settings.budget, settings.seed, focus)
    plan.complete = False
    plan.notes += [*notes, *(spending(possible, plan.items, focus) if focus else [])]
    return focus
