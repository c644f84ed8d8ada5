"""One image in, one relit image of the same geometry out.

import engines

pixels = engines.relight("head.png", depth="depth.png", scene="golden_street", seed=7)
"""

from os import PathLike
from typing import TYPE_CHECKING

# The package of the engine has the function's name: loaded first, it does not replace the function later.
import engines.relight  # noqa: F401

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from engines.recipe import Recipe

__all__ = ["relight"]


def relight(  # noqa: F811
    image: "str | PathLike[str] | NDArray[np.uint8]",
    depth: "str | PathLike[str] | NDArray[np.uint16] | NDArray[np.uint8] | None" = None,
    scene: "str | PathLike[str] | None" = None,
    recipe: "Recipe | None" = None,
    seed: int = 0,
    *,
    frame: int | None = None,
    bald: bool = False,
) -> "NDArray[np.uint8]":
    """Relights one image of a head in this process, by engine relight: no pixel moves, so that every label stays true.

    Args:
        image: [H, W, 3] RGB levels 0..255, or the path of a PNG or JPEG. The background is uniform, or has alpha 0.
        depth: of the same size: [H, W] uint16 millimetres from the camera with 0 for background, [H, W] uint8 relative
            depth, or the path of a PNG of either. None estimates the surface from the head's outline.
        scene: the path of a photograph that sets the light and the background, or the name of a shipped scene, such as
            "golden_street". None takes a shipped one that depends on the seed.
        recipe: strength of the light, background, changes of hair and skin; its engine must be "relight". None takes
            the defaults.
        seed: 0 <= seed < 2**63; all random changes depend on it.
        frame: 1..144, the camera of AcuSim's rig, which says where hair may be. None takes it from a file that is named
            by a sample ID, else 1 (from the front).
        bald: whether the head has no hair that may change its colour.

    Returns:
        [H, W, 3] uint8 RGB; the pixels that a batch with this seed and scene would write.

    Raises:
        ConfigError: the recipe is for another engine, an array has another shape or type, or the scene is unknown.
        PictureError: a file is unreadable, or there is no head in the image.
    """
    from engines.one_image import relit

    return relit(image, depth, scene, recipe, seed, frame, bald)
