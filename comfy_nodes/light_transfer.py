"""AcuSim Light Transfer: the samples' own pixels under the light of the relit images."""

from typing import Any, ClassVar

import numpy as np

from acusim.errors import PictureError
from acusim.light_transfer import transferred_light

from . import tensors
from .samples import Floats
from .widgets import heads, share


class AcuSimLightTransfer:
    """Takes the light from the relit images and the geometry from the samples."""

    CATEGORY = "AcuSim"
    DESCRIPTION = (
        "Takes only the light from the relit images, smoothed so that no edge of theirs is left, and puts it on the "
        "samples' own pixels: at 1 no acupoint can have moved. At 0 images pass through unchanged."
    )
    FUNCTION = "transfer"
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("images",)
    OUTPUT_TOOLTIPS: ClassVar[tuple[str, ...]] = ("The samples under the new light; outside the heads, the images.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """The widgets."""
        return {
            "required": {
                **heads(),
                "amount": share("0: the relit images; 1: the samples under their light; between: a mixture.", 0.0),
            }
        }

    def transfer(self, images: Any, originals: Any, mask: Any, amount: float) -> tuple[Any]:
        """[B, H, W, 3] the images with their light on the originals' geometry.

        Raises:
            PictureError: the inputs differ in batch, size or channels, or an image is black or flat.
        """
        if amount <= 0:
            return (images,)
        return (tensors.to_tensor(transfer(*tensors.heads(images, originals, mask), amount)),)


def transfer(images: Floats, originals: Floats, mask: Floats, amount: float) -> Floats:
    """[B, H, W, 3] a batch's ``transferred_light``.

    Args:
        images: [B, H, W, 3] in 0..1.
        originals: of the same shape.
        mask: [B, H, W] in 0..1, 1 on the head.
        amount: 0..1.

    Raises:
        PictureError: the shapes do not match, or an image of the batch shows no light; says which.
    """
    tensors.check_alike(images, originals, mask)
    out: list[Floats] = []
    for number, each in enumerate(zip(images, originals, mask, strict=True), start=1):
        try:
            out.append(transferred_light(*each, amount))
        except PictureError as error:
            raise PictureError(f"image {number} of {len(images)}: {error}") from None
    return np.stack(out)
