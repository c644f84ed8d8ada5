"""What is to be created of a data set of keypoints that is not AcuSim's: one item for each picture and variant."""

from acusim.errors import ConfigError
from acusim.keypoints import KeypointSet
from acusim.prompt_sets import PromptSets
from controller.plan import Item, Plan, variant_folders
from controller.settings import BatchSettings

_OF_SAMPLE_IDS = ("size", "select", "persons", "focus")
"""Settings that speak of AcuSim's sample IDs or folders."""


def check_settings(settings: BatchSettings, found: KeypointSet) -> None:
    """Refuses settings that mean nothing here.

    Raises:
        ConfigError: names the option.
    """
    given = [f"--{name}" for name in _OF_SAMPLE_IDS if getattr(settings, name) is not None]
    given += ["--bald-codes"] if settings.bald_codes != "auto" else []
    if settings.recipe.geometry == "labels":
        given.append("--geometry labels")
    if given:
        raise ConfigError(
            f"{', '.join(given)}: only for data sets in AcuSim's layout, but {str(settings.dataset)!r} holds "
            f"{found.format} files; leave that out (--limit N takes the first N pictures)"
        )


def keypoint_plan(found: KeypointSet, prompts: PromptSets, settings: BatchSettings) -> Plan:
    """Turns a data set into items.

    Args:
        found: the data set.
        prompts: the prompt sets, one of which has no conditions.
        settings: of the batch.

    Raises:
        ConfigError: a setting is only for AcuSim.
    """
    check_settings(settings, found)
    limit = None if settings.repair else settings.limit
    folders = variant_folders(settings.variants)
    notes = [f"{len(found.pictures)} pictures of {found.format}", *found.notes]
    plan = Plan(found.root, [], [], notes, frozenset(), [], prompts, complete=limit is None, shared=found.documents)
    for problem in found.problems:
        if problem.is_image and limit is None:
            plan.skipped += [(folder + problem.path, problem.reason) for folder in folders]
        else:
            plan.notes.append(f"{problem.path}: {problem.reason}")
    for picture in found.pictures[:limit]:
        plan.items += [Item(picture, variant, folder) for variant, folder in enumerate(folders)]
    return plan
