"""From what a user asks for to a plan; writes nothing."""

from acusim import bald
from acusim.errors import ConfigError
from acusim.layout import Sample, scan
from acusim.prompt_sets import load_prompt_sets
from acusim.selection import parse_selection
from controller.plan import Plan, make_plan
from controller.settings import Settings
from engines.scenes import Scene, load_scenes


def plan_batch(settings: Settings) -> tuple[Plan, tuple[Scene, ...], list[str]]:
    """Reads the dataset, prompts and scenes and lays out what would be made; writes nothing.

    Returns:
        The plan, the scenes, and warnings about scene files that cannot be used.

    Raises:
        ConfigError, LayoutError: a setting or the dataset root is wrong.
    """
    if settings.variants < 1 or settings.variants > 99:
        raise ConfigError(f"--variants {settings.variants} is outside 1..99")
    if settings.limit is not None and settings.limit < 1:
        raise ConfigError(f"--limit {settings.limit} is below 1")
    prompts = load_prompt_sets(settings.prompts)
    codes = bald.parse_bald_codes(settings.bald_codes)
    selection = parse_selection(None if settings.repair else settings.select)
    scenes, warnings = load_scenes(settings.scenes)
    dataset = scan(settings.dataset, settings.size)

    def judge(samples: list[Sample]) -> list[bald.Evidence]:
        return bald.gather(dataset.root, samples) if codes is None else bald.given(samples, codes)

    plan = make_plan(dataset, prompts, judge, selection, None if settings.repair else settings.limit, settings.variants)
    if not plan.items and not plan.aside:
        what = (
            f"--select {settings.select!r} matches none of" if settings.select else "there is no usable picture among"
        )
        raise ConfigError(f"{what} the {len(dataset.samples)} samples of {str(settings.dataset)!r}")
    return plan, scenes, list(warnings)
