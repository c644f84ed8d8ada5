"""Labels of one view: where each carried acupoint falls, and, ray-exact, whether it can be seen.

A point is listed if it is not an inner point, is inside the image, faces the camera, and nothing is on
the line from just above the skin to the camera: not the head itself, not an ear, not hair, not clothes.
"""

import numpy as np
from numpy.typing import NDArray

from acusim import acupoints, rig
from acusim.labels import Label, empty_label
from synthetic.head import Head

LIFT_MM = 0.3
"""Rays start this far above the skin, so that the point's own triangle does not hide it."""


def visible_points(head: Head, frame: int) -> NDArray[np.bool_]:
    """[174] True where an acupoint can be seen from a camera."""
    camera = rig.camera(frame)
    towards = camera.center_mm - head.acupoints_mm
    faces = (np.einsum("nc,nc->n", head.acupoint_normals, towards) > 0) & (_cosine(head, frame) < 0)
    start = head.acupoints_mm + LIFT_MM * head.acupoint_normals
    blocked = head.scene.occluded(start, camera.center_mm - start)
    xy, _ = rig.project(head.acupoints_mm, frame, 1.0)
    inside = ((xy >= 0) & (xy <= 1)).all(1)
    return faces & inside & ~blocked & ~acupoints.INNER


def _cosine(head: Head, frame: int) -> NDArray[np.float64]:
    return np.einsum("nc,c->n", head.acupoint_normals, rig.camera(frame).forward)


def make_label(head: Head, frame: int) -> Label:
    """The label of a view in AcuSim's schema, with the true camera depth in h (metres)."""
    label = empty_label()
    seen = visible_points(head, frame)
    xy, depth_mm = rig.project(head.acupoints_mm, frame, 1.0)
    # Six digits are 0.001 px and 0.001 mm: enough, and the same text on every machine.
    label.listed[:] = seen
    label.xy[seen] = xy[seen].round(7)
    label.n[seen] = _cosine(head, frame)[seen].round(6)
    label.h_m[seen] = (depth_mm[seen] / 1000.0).round(6)
    return label
