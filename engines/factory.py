"""From a recipe to the engine that it names: the only module that knows all engines."""

from engines.base import Engine, Setup
from engines.recipe import Recipe


def make_engine(recipe: Recipe, setup: Setup | None = None) -> Engine:
    """The engine that a recipe names, not yet opened.

    Raises:
        ConfigError: the setup lacks what the engine needs.
    """
    if recipe.engine == "relight":
        from engines.relight.engine import RelightEngine

        return RelightEngine(recipe, setup)
    if recipe.engine == "comfyui":
        from engines.comfyui.engine import ComfyUIEngine

        return ComfyUIEngine(recipe, setup)
    from engines.embedded.engine import EmbeddedEngine

    return EmbeddedEngine(recipe, setup)
