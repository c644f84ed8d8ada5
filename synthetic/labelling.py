"""Labels of one view: where each carried acupoint falls, and, ray-exact, whether it can be seen.

A point is listed if it is not an inner point, is inside the image, faces the camera, and nothing is on
the line from just above the skin to the camera: not the head itself, not an ear, not hair, not clothes.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from acusim import acupoints, rig
from acusim.labels import Label, empty_label
from acusim.rig import Camera
from synthetic.head import Head

LIFT_MM = 0.3
"""Rays start this far above the skin, so that the point's own triangle does not hide it."""


def visible_points(head: Head, view: int | Camera) -> NDArray[np.bool_]:
    """[174] True where an acupoint can be seen from a camera, or from the rig's camera of a frame."""
    camera = rig.as_camera(view)
    towards = camera.center_mm - head.acupoints_mm
    faces = (np.einsum("nc,nc->n", head.acupoint_normals, towards) > 0) & (_cosine(head, camera) < 0)
    start = head.acupoints_mm + LIFT_MM * head.acupoint_normals
    blocked = head.scene.occluded(start, camera.center_mm - start)
    xy, _ = rig.project(head.acupoints_mm, camera, 1.0)
    inside = ((xy >= 0) & (xy <= 1)).all(1)
    return faces & inside & ~blocked & ~acupoints.INNER


def _cosine(head: Head, camera: Camera) -> NDArray[np.float64]:
    return np.einsum("nc,c->n", head.acupoint_normals, camera.forward)


def make_label(head: Head, view: int | Camera) -> Label:
    """The label of a view in AcuSim's schema, with the true camera depth in h (metres).

    Args:
        head: the person.
        view: frame 1..144 of the rig, or a camera; one off the rig is stated in the label.
    """
    camera = rig.as_camera(view)
    label = replace(empty_label(), camera=camera if camera.ring is None else None)
    seen = visible_points(head, camera)
    xy, depth_mm = rig.project(head.acupoints_mm, camera, 1.0)
    # Six digits are 0.001 px and 0.001 mm: enough, and the same text on every machine.
    label.listed[:] = seen
    label.xy[seen] = xy[seen].round(7)
    label.n[seen] = _cosine(head, camera)[seen].round(6)
    label.h_m[seen] = (depth_mm[seen] / 1000.0).round(6)
    return label
