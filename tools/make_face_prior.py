"""Writes synthetic/data/face_prior.json: a plausible 3D face, from a drawn cartoon and no foreign data.

A cartoon face drawn here with OpenCV is shown to MediaPipe FaceMesh; its result, 468 points in three
dimensions, is the prior from which every synthetic head starts. Run once; the result is part of the package:

    python -m tools.make_face_prior

Needs mediapipe; with 0.10.21 it writes the same file again, bit for bit.
"""

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

CANVAS_PX = 1024
LANDMARK_COUNT = 468
PRIOR_FILE = Path(__file__).parents[1] / "synthetic" / "data" / "face_prior.json"

# One row an ellipse: centre, half axes, blur, colour. In the paired rows x is an offset to either side.
_BACK = (
    (512, 900, 110, 200, 2, (200, 150, 125)),
    (512, 440, 232, 300, 2, (60, 40, 30)),
    (512, 520, 205, 290, 2, (224, 178, 152)),
)
_PAIRED = (
    (85, 455, 42, 16, 2, (245, 245, 245)),
    (85, 455, 17, 17, 2, (70, 45, 30)),
    (85, 455, 8, 8, 1, (5, 5, 5)),
    (88, 405, 52, 9, 3, (60, 40, 30)),
    (85, 440, 46, 4, 2, (120, 80, 70)),
    (22, 592, 12, 7, 3, (130, 80, 70)),
    (40, 575, 6, 18, 6, (190, 140, 120)),
)
_FRONT = (
    (512, 540, 20, 70, 14, (240, 200, 175)),
    (512, 605, 40, 8, 6, (180, 130, 110)),
    (512, 680, 72, 12, 3, (180, 85, 85)),
    (512, 697, 60, 14, 3, (195, 95, 95)),
    (512, 686, 70, 3, 1.5, (110, 50, 50)),
)


def draw_cartoon() -> NDArray[np.uint8]:
    """[1024, 1024, 3] RGB cartoon of a face."""
    image = np.full((CANVAS_PX, CANVAS_PX, 3), 255, np.uint8)
    paired = [(512 + side * row[0], *row[1:]) for side in (-1, 1) for row in _PAIRED]
    for x, y, half_x, half_y, blur, colour in (*_BACK, *paired, *_FRONT):
        mask = np.zeros((CANVAS_PX, CANVAS_PX), np.float32)
        cv2.ellipse(mask, (int(x), int(y)), (int(half_x), int(half_y)), 0, 0, 360, (1.0,), -1)
        soft = np.asarray(cv2.GaussianBlur(mask, (0, 0), blur))[..., None]
        image = (image * (1 - soft) + np.array(colour) * soft).astype(np.uint8)
    return image


def triangles_of(edges: set[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Triangles of FaceMesh's tesselation, which mediapipe publishes as a set of edges.

    All 3-cycles of the graph, less those that would give an edge more than two triangles.
    """
    neighbours: dict[int, set[int]] = defaultdict(set)
    for a, b in edges:
        neighbours[a].add(b)
        neighbours[b].add(a)
    triangles = {
        (min(a, b, c), sorted((a, b, c))[1], max(a, b, c)) for a, b in edges for c in neighbours[a] & neighbours[b]
    }

    def sides(triangle: tuple[int, int, int]) -> tuple[tuple[int, int], ...]:
        a, b, c = triangle
        return (a, b), (a, c), (b, c)

    while True:
        uses = Counter(side for triangle in triangles for side in sides(triangle))
        crowded = {triangle: sum(uses[side] > 2 for side in sides(triangle)) for triangle in sorted(triangles)}
        surplus = [triangle for triangle, count in crowded.items() if count == 3]
        surplus += [triangle for triangle, count in crowded.items() if count == 2]
        if not surplus:
            return sorted(triangles)
        triangles.discard(surplus[0])


def detect_prior() -> dict[str, Any]:
    """The prior's document: landmarks in the picture's units (x right, y down, z away) and triangles."""
    from mediapipe.python.solutions.face_mesh import FaceMesh  # type: ignore[import-untyped]
    from mediapipe.python.solutions.face_mesh_connections import FACEMESH_TESSELATION  # type: ignore

    with FaceMesh(static_image_mode=True, refine_landmarks=True, min_detection_confidence=0.5) as detector:
        result: Any = detector.process(draw_cartoon())
    found = result.multi_face_landmarks
    assert found, "MediaPipe does not see the cartoon: is this version 0.10.21?"
    landmarks = [[round(p.x, 6), round(p.y, 6), round(p.z, 6)] for p in found[0].landmark[:LANDMARK_COUNT]]
    return {
        "made_by": "python -m tools.make_face_prior (mediapipe 0.10.21 FaceMesh on a drawn cartoon)",
        "landmarks": landmarks,
        "triangles": triangles_of({(min(edge), max(edge)) for edge in FACEMESH_TESSELATION}),
    }


if __name__ == "__main__":
    PRIOR_FILE.write_text(json.dumps(detect_prior(), separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"wrote {PRIOR_FILE}")
