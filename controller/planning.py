"""From what a user asks for to a planned batch; writes nothing."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import acusim
from acusim import bald
from acusim.errors import ConfigError
from acusim.layout import Sample, scan
from acusim.prompt_sets import load_prompt_sets
from acusim.seeds import derive_seed
from acusim.selection import parse_selection
from controller.job import Job
from controller.plan import Item, Plan, make_plan
from controller.settings import BatchSettings
from engines.scenes import Scene, load_scenes, pick_scene, scenes_digest


@dataclass(frozen=True)
class PlannedBatch:
    """The settings of a batch with everything that follows from them."""

    settings: BatchSettings
    plan: Plan
    scenes: tuple[Scene, ...]
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
            **self.engine_identity,
        }

    def job(self, item: Item) -> Job:
        """What decides the pixels of an item's first attempt."""
        sample, prompts = item.sample, self.plan.prompts
        seed = derive_seed(self.settings.seed, sample.id, item.variant, attempt=0)
        bald = sample.id.hair in self.plan.bald
        prompt_set = prompts.choose(sample.id, bald)
        positive, negative = prompts.texts(prompt_set, sample.id, seed)
        return Job(
            key=item.key,
            folder=item.folder,
            sample=sample,
            variant=item.variant,
            attempt=0,
            seed=seed,
            scene=pick_scene(self.scenes, seed),
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
    prompts = load_prompt_sets(settings.prompts)
    codes = bald.parse_bald_codes(settings.bald_codes)
    selection = parse_selection(None if settings.repair else settings.select)
    scenes, warnings = load_scenes(settings.scenes)
    dataset = scan(settings.dataset, settings.size)

    def judge(samples: list[Sample]) -> list[bald.Evidence]:
        return bald.gather_evidence(dataset.root, samples) if codes is None else bald.given_evidence(samples, codes)

    plan = make_plan(dataset, prompts, judge, selection, None if settings.repair else settings.limit, settings.variants)
    if not plan.items and not plan.skipped:
        what = f"--select {settings.select!r} matches none of" if settings.select else "there is no usable image among"
        raise ConfigError(f"{what} the {len(dataset.samples)} samples of {str(settings.dataset)!r}")
    return PlannedBatch(settings, plan, scenes, engine_identity or {}, warnings)
