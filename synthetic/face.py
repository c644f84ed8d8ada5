"""The face: MediaPipe's point numbers, and the cartoon's prior brought to the acupoints of a real head."""

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from acusim import acupoints
from acusim.acupoints import PointSet
from synthetic.fitting import SmoothField, similarity

FloatArray = NDArray[np.floating]

EYE_RIGHT = (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7)
EYE_LEFT = (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249)
"""Rings from the outer canthus over the upper lid to the inner canthus and back; sides are the subject's."""
LIPS_OUTER = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
LIPS_INNER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
BROW_RIGHT = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
BROW_LEFT = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)

_MOUTH_CORNER_BELOW_LIP_MM = -11.2
# Where points of the face are on a real head: an acupoint plus an offset in mm (x: subject's left, y: back,
# z: up). The acupoints are AcuSim's; offsets were read off its published frame 1 (canthi, lids, brows, alae,
# lips, chin, in pixels at the depth of the neighbouring acupoint). Rows of left points also hold mirrored.
_ANCHORS: tuple[tuple[int, str, tuple[float, float, float]], ...] = (
    (4, "DU25_素髎", (0, 0, 1)),
    (1, "DU25_素髎", (0, 0.4, -3)),
    (2, "DU26_水沟", (0, 0.5, 3.5)),
    (164, "DU26_水沟", (0, 0, -3)),
    (0, "DU27_兑端", (0, -1, -3)),
    (13, "DU27_兑端", (0, 1.5, -11)),
    (14, "DU27_兑端", (0, 1.5, -11.6)),
    (17, "RN24_承浆", (0, -4, 3.5)),
    (18, "RN24_承浆", (0, 0, -0.5)),
    (199, "RN24_承浆", (0, -2, -17)),
    (152, "RN23_廉泉", (0, -18, 1)),
    (9, "DU29_印堂", (0, 0, 1)),
    (168, "DU29_印堂", (0, 6, -11.5)),
    (151, "DU24_神庭", (0, -16, -35)),
    (10, "DU24_神庭", (0, -12, -16)),
    (263, "GB1_瞳子髎_left", (-7.8, -3, 0)),
    (362, "BL1_睛明_left", (3.1, -0.5, 3.8)),
    (386, "ST1_承泣_left", (0, -2.5, 18)),
    (374, "ST1_承泣_left", (0, -0.8, 5.6)),
    (300, "SJ23_丝竹空_left", (4, 4, -1.5)),
    (336, "BL2_攒竹_left", (0, -4.5, 10)),
    (285, "BL2_攒竹_left", (1, -3.5, 4.5)),
    (334, "EX-HN4_鱼腰_left", (9, 5.5, -0.8)),
    (282, "EX-HN4_鱼腰_left", (9, 5.5, -6)),
    (358, "LI120_迎香_left", (-3.8, -2, -4)),
    (291, "ST4_地仓_left", (0, 0, _MOUTH_CORNER_BELOW_LIP_MM)),
    (454, "SI19_听宫_left", (0, -7, 3)),
    (288, "ST6_颊车_left", (3, 14, -3)),
    (365, "ST5_大迎_left", (0, 1, -4)),
    (356, "SJ22_耳和髎_left", (0, -3, 3)),
    (389, "GB5_悬颅_left", (-2, -10, 0)),
    (332, "GB13_本神_left", (0, -14, -16)),
)


ANCHOR_ACUPOINTS = frozenset(name for _, name, _ in _ANCHORS)
"""Acupoints (left and middle ones) from which the face's landmarks were placed."""


@dataclass(frozen=True)
class Face:
    """A symmetric face surface in the rig's frame, mm."""

    landmarks: FloatArray
    """[468, 3] FaceMesh's points."""
    vertices: FloatArray
    """[V, 3] the subdivided surface, eyes and mouth closed by fans."""
    faces: NDArray[np.int64]
    """[F, 3]."""


@cache
def prior() -> tuple[FloatArray, NDArray[np.int64], NDArray[np.int64]]:
    """The cartoon's face: points [468, 3] (rig's axes, width 1), triangles [T, 3], mirror partner [468]."""
    text = resources.files("synthetic").joinpath("data/face_prior.json").read_text(encoding="utf-8")
    document = json.loads(text)
    raw = np.array(document["landmarks"])
    points = np.stack([raw[:, 0], raw[:, 2], -raw[:, 1]], 1)
    points /= np.linalg.norm(points[234] - points[454])
    points[:, 0] -= (points[234, 0] + points[454, 0]) / 2
    mirrored = points * [-1, 1, 1]
    cost = np.linalg.norm(points[:, None] - mirrored[None], axis=2)
    partner = linear_sum_assignment(cost)[1]
    return (points + mirrored[partner]) / 2, np.array(document["triangles"]), partner


def _anchor_targets(model: PointSet) -> tuple[NDArray[np.int64], FloatArray]:
    """FaceMesh indices [K] and where they belong [K, 3] mm on the named head, both sides."""
    table = acupoints.positions_mm(model)
    _, _, partner = prior()
    indices, targets = [], []
    for index, name, offset in _ANCHORS:
        place = table[acupoints.index_of(name)] + offset
        if offset[2] == _MOUTH_CORNER_BELOW_LIP_MM:
            # The height of ST4 beside the mouth differs from head to head: the lip's point gives it.
            place[2] = table[acupoints.index_of("DU27_兑端"), 2] + offset[2]
        if not name.endswith("_left"):
            place = place * [0, 1, 1]
        indices.append(index)
        targets.append(place)
        if name.endswith("_left"):
            indices.append(int(partner[index]))
            targets.append(place * [-1, 1, 1])
    return np.array(indices), np.array(targets)


def fitted_face(model: PointSet) -> Face:
    """The prior on a head's acupoints: similarity, thin-plate warp, fans, two rounds of subdivision."""
    points, triangles, partner = prior()
    indices, targets = _anchor_targets(model)
    scale, rotation, shift = similarity(points[indices], targets)
    moved = scale * np.einsum("nc,dc->nd", points, rotation) + shift
    here = moved[indices]
    moved = moved + SmoothField.through(here, targets - here, smoothing=2.0)(moved)
    moved = (moved + (moved * [-1, 1, 1])[partner]) / 2

    vertices, fans = moved, []
    for ring, bulge_mm in ((EYE_RIGHT, 3.0), (EYE_LEFT, 3.0), (LIPS_INNER, 0.0)):
        center = moved[list(ring)].mean(0) + [0.0, -bulge_mm, 0.0]
        vertices = np.vstack([vertices, center])
        fans += [(ring[k], ring[(k + 1) % len(ring)], len(vertices) - 1) for k in range(len(ring))]
    faces = np.vstack([triangles, fans])
    vertices, faces = trimesh.remesh.subdivide_loop(vertices, faces, iterations=2)
    return Face(moved, vertices, faces)
