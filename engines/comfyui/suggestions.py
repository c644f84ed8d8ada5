"""Suggests a model file in place of one that is missing or of the wrong kind: one on the server, or where to get it."""

import difflib
import shlex
from collections.abc import Mapping
from typing import Any

from engines.comfyui.binding import Binding, file_name, slashed
from engines.comfyui.client import Client
from engines.comfyui.errors import ServerError, safe_text
from engines.comfyui.models import CHANNELS, MODELS, check_model, download_source
from engines.recipe import IC_LIGHT, Recipe

MAX_CHECKED = 12
"""Files of a server whose tensors are requested; the likeliest names come first."""
MAX_NAMED = 3


def suggest_fix(
    client: Client, binding: Binding, setting: str, recipe: Recipe, known: Mapping[str, Mapping[str, Any]]
) -> str:
    """What to do about a model file of the wrong kind.

    Args:
        client: the server.
        binding: the workflow on this server.
        setting: of the recipe.
        recipe: for the wiring.
        known: setting -> tensor shapes, for the models checked so far.
    """
    fitting = fitting_files(client, binding, setting, recipe, known)
    if fitting:
        fix = f"use one that is on the server: {set_option(setting, fitting[0])}"
        fix += (
            f" (these fit, too: {', '.join(safe_text(name, 80) for name in fitting[1:MAX_NAMED])})"
            if fitting[1:]
            else ""
        )
    else:
        fix = f"use another file: {download_source(setting, recipe)}, in ComfyUI's models/{MODELS[setting].folder}"
    other = _wiring_of(known.get(setting, {}), recipe) if setting == "ic_light" else None
    return fix + (f"; or, for the file that the recipe names, --set wiring={other}" if other else "")


def set_option(setting: str, name: str) -> str:
    """The command-line option that selects a file."""
    return f"--set {shlex.quote(f'{setting}={safe_text(name, 200)}')}"


def fitting_files(
    client: Client, binding: Binding, setting: str, recipe: Recipe, known: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Files on the server's list for a setting that are of its kind; the published name first, then likely ones."""
    place = binding.workflow.place(setting)
    options = binding.options(place[0].kind, place[1]) if place else None
    current, wanted = getattr(recipe, setting), IC_LIGHT[recipe.wiring] if setting == "ic_light" else ""
    names = [name for name in options or [] if isinstance(name, str) and name.endswith(".safetensors")]
    names = [name for name in names if slashed(name) != slashed(current)]
    likely = wanted or current
    names.sort(key=lambda name: difflib.SequenceMatcher(None, file_name(name), file_name(likely)).ratio(), reverse=True)
    found: list[str] = []
    for name in names[:MAX_CHECKED]:
        try:
            facts = client.model_facts(MODELS[setting].key, name)
        except ServerError:
            break
        shapes = facts.get("tensors") if facts else None
        if isinstance(shapes, dict) and check_model(setting, shapes, recipe, {**known, setting: shapes})[0]:
            found.append(name)
    return found


def _wiring_of(shapes: Mapping[str, Any], recipe: Recipe) -> str | None:
    """The other wiring, if an IC-Light model belongs to it."""
    for wiring in CHANNELS:
        changed = Recipe.from_dict({"wiring": wiring, "ic_light": recipe.ic_light}, recipe)
        if wiring != recipe.wiring and check_model("ic_light", shapes, changed, {})[0]:
            return wiring
    return None
