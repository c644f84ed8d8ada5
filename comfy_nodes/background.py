"""AcuSim Background: composes the new head over the old background, black, or a scene."""

from typing import Any, ClassVar

import numpy as np

from acusim.errors import ConfigError, PictureError
from acusim.float_images import from_levels, to_levels
from acusim.foreground import composed, fitted

from . import tensors
from .samples import Floats
from .widgets import choice, heads, link

KEEP, BLACK, SCENE = KINDS = ("keep", "black", "scene")


class AcuSimBackground:
    """Composes heads and backgrounds."""

    CATEGORY = "AcuSim"
    DESCRIPTION = (
        "Puts a background behind the relit heads: the samples' own, pixel for pixel (keep), black, or the scene. The "
        "head's outline is that of the sample, so its labels stay valid."
    )
    FUNCTION = "compose"
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("images",)
    OUTPUT_TOOLTIPS: ClassVar[tuple[str, ...]] = ("The heads in front of their background.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """The widgets."""
        return {
            "required": {
                **heads(),
                "background": choice(
                    "keep: the sample's own background; black: none; scene: the image at the input scene.",
                    KINDS,
                    default=KEEP,
                ),
            },
            "optional": {
                "scene": link("IMAGE", "From AcuSim Load Scene, of any size; required if background is scene."),
            },
        }

    def compose(self, images: Any, originals: Any, mask: Any, background: str, scene: Any = None) -> tuple[Any]:
        """[B, H, W, 3] the images with their background.

        Raises:
            ConfigError: the kind is unknown, or a required scene is missing.
            PictureError: the inputs differ in batch, size or channels.
        """
        new, old, alpha = tensors.heads(images, originals, mask)
        behind = None if scene is None else tensors.to_numpy(scene, "scene", 4)
        return (tensors.to_tensor(compose(new, old, alpha, background, behind)),)


def compose(images: Floats, originals: Floats, mask: Floats, background: str, scene: Floats | None) -> Floats:
    """[B, H, W, 3] heads in front of their background.

    Args:
        images: [B, H, W, 3] in 0..1.
        originals: of the same shape.
        mask: [B, H, W] in 0..1, 1 on the head.
        background: keep, black or scene.
        scene: [1 or B, h, w, 3], None if there is none; one of another size is scaled to cover, centred and
            cropped.

    Raises:
        ConfigError: the kind is unknown, or a required scene is missing.
        PictureError: the shapes do not match.
    """
    if background not in KINDS:
        raise ConfigError(f"background {background!r} is not one of {', '.join(KINDS)}")
    if background == SCENE and scene is None:
        raise ConfigError("background is scene, but no scene is connected; connect AcuSim Load Scene or choose keep")
    tensors.check_alike(images, originals, mask)
    behind = originals if background == KEEP else np.zeros_like(images[:1])
    if background == SCENE and scene is not None:
        if scene.shape[0] not in (1, len(images)) or scene.shape[3] != 3:
            raise PictureError(
                f"scene {list(scene.shape)} does not fit images {list(images.shape)}: load it with AcuSim Load Scene"
            )
        behind = scene if scene.shape[1:] == images.shape[1:] else np.stack([_covering(s, images) for s in scene])
    pairs = zip(images, np.broadcast_to(behind, images.shape), mask, strict=True)
    return np.stack([composed(picture, back, alpha) for picture, back, alpha in pairs])


def _covering(scene: Floats, images: Floats) -> Floats:
    """[H, W, 3] a scene at the size of the images."""
    return from_levels(fitted(to_levels(scene), *images.shape[1:3]))
