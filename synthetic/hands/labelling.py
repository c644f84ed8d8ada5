"""The labelme file of a picture: seen points as shapes, and the whole truth beside them.

labelme (https://github.com/wkentaro/labelme) keeps keys that it does not know when it saves, so the truth about all
seven points is stored under the key ``synthetic``; ``flags`` holds what a hand classifier learns.
"""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthetic.hands.camera import Camera
from synthetic.hands.hand_points import LABELS, NAMES
from synthetic.labelling import LIFT_MM
from synthetic.scene import Scene

Floats = NDArray[np.float64]

LABELME_VERSION = "5.5.0"
TRUTH_KEY = "synthetic"


@dataclass(frozen=True)
class PointTruth:
    """The seven points of one picture."""

    xy: Floats
    """[7, 2] pixels; (0, 0) is the picture's upper left corner."""
    depth_mm: Floats
    """[7] along the camera's axis."""
    visible: NDArray[np.bool_]
    """[7] in the picture, turned to the camera, with nothing in between."""


def seen_points(scene: Scene, camera: Camera, places: Floats, normals: Floats) -> PointTruth:
    """Where points [7, 3] (world, mm) with outward normals [7, 3] fall, and, ray-exact, whether they can be seen."""
    towards = camera.center - places
    start = places + LIFT_MM * normals
    blocked = scene.occluded(start, camera.center - start)
    xy = camera.project(places)
    inside = ((xy >= 0) & (xy < (camera.width, camera.height))).all(1)
    facing = np.einsum("nc,nc->n", normals, towards) > 0
    return PointTruth(xy, -towards @ camera.axes[2], inside & facing & ~blocked)


def labelme_file(truth: PointTruth, camera: Camera, image: str, facts: dict[str, Any]) -> bytes:
    """The JSON file.

    Args:
        truth: of the picture.
        camera: for the picture's size.
        image: the picture's file name, in the same folder.
        facts: subject, side (left, right), face (back, palm) and more, for the truth.
    """
    shapes = [
        {
            "label": LABELS[k],
            "points": [[round(float(v), 3) for v in truth.xy[k]]],
            "group_id": None,
            "description": "",
            "shape_type": "point",
            "flags": {},
        }
        for k in np.flatnonzero(truth.visible)
    ]
    points = [
        {
            "label": label,
            "name": name,
            "x": round(float(xy[0]), 3),
            "y": round(float(xy[1]), 3),
            "depth_mm": round(float(depth), 2),
            "visible": bool(seen),
        }
        for label, name, xy, depth, seen in zip(LABELS, NAMES, truth.xy, truth.depth_mm, truth.visible, strict=True)
    ]
    document = {
        "version": LABELME_VERSION,
        "flags": {"left hand": facts["side"] == "left", "palm": facts["face"] == "palm"},
        "shapes": shapes,
        "imagePath": image,
        "imageData": None,
        "imageHeight": camera.height,
        "imageWidth": camera.width,
        TRUTH_KEY: {**facts, "points": points},
    }
    return (json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode()
