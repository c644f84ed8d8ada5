"""A person's head with and without hair, and its depth in a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from acusim import rig
from synthetic.fit.hair import ON_HEAD, cover_of, with_hair
from synthetic.fit.joining import joined_depth
from synthetic.fit.shape import FittedHead, LabelledView, fit_head
from synthetic.fit.skin import skin_in
from synthetic.rays import depth_from
from synthetic.scene import Scene

Mask = NDArray[np.bool_]

HAIR_VIEWS = 6
"""Pictures by which the hair's thickness is measured."""
_EVEN_PX, _EVEN_SHARE = 13, 0.7
"""A pixel is skin if so much is of its colour in a square of this side, in an image 512 wide."""
_HAIR_MM = 0.5
"""Hair is thicker than this."""


@dataclass(frozen=True)
class PersonFit:
    """What is known of a person's head."""

    head: FittedHead
    """Without hair."""
    bare: Scene
    hairy: Scene
    """With hair wherever there may be some: which pixel is hair, each picture decides by its colours."""
    hair_mm: float
    """The hair's thickness; 0 for none."""

    @classmethod
    def of(cls, gender: str, views: Sequence[LabelledView], masks: Sequence[tuple[rig.Camera, Mask]]) -> "PersonFit":
        """The head fitted to labels, and the hair to some pictures' mattes.

        Args:
            gender: F or M.
            views: the person's labels.
            masks: camera and matte [H, H] of some pictures; without any there is no hair.

        Raises:
            LabelError: as fit_head.
        """
        head = fit_head(gender, views)
        used = [view for view in views if view.name in head.views]
        grown, thickness = with_hair(head, cover_of(head, used), masks[:HAIR_VIEWS])
        bare = Scene(head.vertices, head.faces)
        return cls(head, bare, Scene(grown.vertices, grown.faces) if thickness else bare, thickness)

    def depth_in(
        self, view: LabelledView, pixels: NDArray[np.uint8], mask: Mask, bare: NDArray[np.floating]
    ) -> NDArray[np.uint16]:
        """[H, H] whole millimetres along the camera's axis, 0 outside the mask.

        Args:
            view: the picture's camera and label.
            pixels: [H, H, 3] RGB.
            mask: [H, H] the head in it, with hair and clothes.
            bare: [H, H] as of ``head_in``.
        """
        size, depth = len(pixels), bare
        if self.hair_mm:
            hairy = depth_from(self.hairy, view.camera, size)
            skin = skin_in(pixels, view.label.xy[view.label.listed & ON_HEAD] * size)
            depth = np.where((hairy > 0) & ~_joined_to_face(skin, depth, hairy), hairy, depth)
        middle = float(np.median(depth[depth > 0])) if depth.any() else rig.ORBIT_RADIUS_MM
        return joined_depth(depth, mask, float(rig.mm_per_px(middle, size, view.camera.focal)))

    def head_in(self, camera: rig.Camera, size: int) -> NDArray[np.floating]:
        """[size, size] depth of the bare head, 0 where it is not."""
        return depth_from(self.bare, camera, size)


def _joined_to_face(skin: Mask, bare: NDArray[np.floating], hairy: NDArray[np.floating]) -> Mask:
    """[H, H] the skin that goes on from where no hair can be; hair may have skin's colour, in strands and patches."""
    side = max(1, round(_EVEN_PX * len(skin) / 512))
    even = ndimage.uniform_filter(skin.astype(np.float32), side) > _EVEN_SHARE
    face = (bare > 0) & (bare - hairy < _HAIR_MM)
    parts: Any = ndimage.label(face | (even & (hairy > 0)))
    kept = np.zeros(parts[1] + 1, bool)
    kept[np.unique(parts[0][face])] = True
    kept[0] = False
    return kept[parts[0]]
