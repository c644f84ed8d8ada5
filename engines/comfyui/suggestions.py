"""Which model file to use instead of one that is missing, or of the wrong kind: one that the server has, or where the
right one comes from."""

import difflib
import shlex
from collections.abc import Mapping
from typing import Any

from engines.comfyui.binding import Binding
from engines.comfyui.client import Client
from engines.comfyui.errors import ServerError, words
from engines.comfyui.models import CHANNELS, MODELS, judge, origin
from engines.recipe import IC_LIGHT, Recipe

LOOKED_INTO = 12
"""Files of a server that are asked about; the likeliest names come first."""
NAMED = 3


def instead(
    client: Client, binding: Binding, setting: str, recipe: Recipe, known: Mapping[str, Mapping[str, Any]]
) -> str:
    """What to do about a model file of the wrong kind.

    Args:
        client: the server.
        binding: the workflow, for this server.
        setting: of the recipe.
        recipe: for the wiring.
        known: tensor shapes of the models looked at so far, by setting.
    """
    there = fitting(client, binding, setting, recipe, known)
    if there:
        fix = f"use one that is on the server: {choice(setting, there[0])}"
        fix += f" (these fit, too: {', '.join(words(name, 80) for name in there[1:NAMED])})" if there[1:] else ""
    else:
        fix = f"use another file: {origin(setting, recipe)}, in ComfyUI's models/{MODELS[setting].folder}"
    other = _wiring_of(known.get(setting, {}), recipe) if setting == "ic_light" else None
    return fix + (f"; or, for the file that the recipe names, --set wiring={other}" if other else "")


def choice(setting: str, name: str) -> str:
    """The option that takes a file."""
    return f"--set {shlex.quote(f'{setting}={words(name, 200)}')}"


def fitting(
    client: Client, binding: Binding, setting: str, recipe: Recipe, known: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Files on the server's list for a setting that are of its kind; the published name first, then likely ones."""
    place = binding.workflow.place(setting)
    options = binding.options(place[0].kind, place[1]) if place else None
    now, wanted = getattr(recipe, setting), IC_LIGHT[recipe.wiring] if setting == "ic_light" else ""
    names = [name for name in options or [] if isinstance(name, str) and name.endswith(".safetensors")]
    names = [name for name in names if name.replace("\\", "/") != now.replace("\\", "/")]
    likely = wanted or now
    names.sort(
        key=lambda name: difflib.SequenceMatcher(None, _file_name(name), _file_name(likely)).ratio(), reverse=True
    )
    found: list[str] = []
    for name in names[:LOOKED_INTO]:
        try:
            facts = client.model_facts(MODELS[setting].key, name)
        except ServerError:
            break
        shapes = facts.get("tensors") if facts else None
        if isinstance(shapes, dict) and judge(setting, shapes, recipe, {**known, setting: shapes})[0]:
            found.append(name)
    return found


def _file_name(name: str) -> str:
    return name.replace("\\", "/").rsplit("/", 1)[-1].casefold()


def _wiring_of(shapes: Mapping[str, Any], recipe: Recipe) -> str | None:
    """The other wiring, if an IC-Light model belongs to it."""
    for wiring in CHANNELS:
        changed = Recipe.from_dict({"wiring": wiring, "ic_light": recipe.ic_light}, recipe)
        if wiring != recipe.wiring and judge("ic_light", shapes, changed, {})[0]:
            return wiring
    return None
