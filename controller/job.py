"""What decides the pixels of one picture."""

from dataclasses import dataclass

from acusim.layout import Sample
from acusim.seeds import derive_seed
from controller.plan import Item, Plan
from engines.scenes import Scene, pick_scene


@dataclass(frozen=True, slots=True)
class Job:
    """An item with everything that decides its pixels; travels to a worker process."""

    key: str
    """Output picture relative to OUT; its data set starts at ``folder``."""
    folder: str
    sample: Sample
    variant: int
    attempt: int
    seed: int
    scene: Scene
    bald: bool
    prompt_set: str
    positive: str
    negative: str


def job_of(item: Item, plan: Plan, scenes: tuple[Scene, ...], seed: int) -> Job:
    """What decides the pixels of an item's first attempt.

    Args:
        item: of the plan.
        plan: its prompts and bald heads.
        scenes: of the batch.
        seed: of the batch.
    """
    sample = item.sample
    own = derive_seed(seed, sample.id, item.variant, attempt=0)
    bald = sample.id.hair in plan.bald
    prompt_set = plan.prompts.choose(sample.id, bald)
    positive, negative = plan.prompts.texts(prompt_set, sample.id, own)
    return Job(
        key=item.key,
        folder=item.folder,
        sample=sample,
        variant=item.variant,
        attempt=0,
        seed=own,
        scene=pick_scene(scenes, own),
        bald=bald,
        prompt_set=prompt_set.name,
        positive=positive,
        negative=negative,
    )
