"""The two mean heads in the rig's frame, fitted to the real acupoints, and how well they fit.

The male head is brought to the acupoints of AcuSim's model Asher, the female head to its female template.
Every identity is a smooth deformation of one of them, on the same topology.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from acusim import acupoints
from acusim.acupoints import PointSet
from synthetic import grids
from synthetic.body import body_template
from synthetic.ears import ear_meshes
from synthetic.face import fitted_face
from synthetic.fitting import SmoothField, SurfaceLocation, closest_location, pull_through
from synthetic.grids import HEAD_CENTER_MM, smoothstep, star_grid
from synthetic.scene import Scene

FloatArray = NDArray[np.floating]
POINT_SET: dict[str, PointSet] = {"F": "female", "M": "asher"}
"""The real acupoints each gender's mean head is fitted to."""

PARTS = ("head", "ear_left", "ear_right", "body")
"""Meshes that carry acupoints, in the order of their vertices."""
_ON_BODY = frozenset(
    ("LI16", "LI17", "LI18", "ST9", "ST10", "SI14", "SI15", "SI16", "SJ15", "SJ16", "BL10", "BL11", "GB21")
    + ("EX-B1", "EX-B2", "EX-HN15", "DU13", "DU14", "DU15")
)
_ON_EAR = "EX-HN6"

_SKULL_AXES_MM = np.array([66.0, 86.0, 93.0])
_COARSE = (100, 160)
_FACE_BLEND_RAD = 0.75
_WRAPPED: Any = ("nearest", "wrap")
"""Edges of the grid for filters: elevation ends, azimuth goes round."""
_BROAD_RAD, _FINE_RAD = 0.5, 0.16
_MAX_CORRECTION = 0.10
"""Cap on the radial correction near a point, as the logarithm of a ratio: some 9 mm."""


@dataclass(frozen=True)
class MeanHead:
    """A mean head's meshes joined, and where its acupoints are."""

    gender: str
    landmarks: FloatArray
    """[468, 3] mm FaceMesh points."""
    vertices: FloatArray
    """[V, 3] mm, the parts one after the other."""
    faces: NDArray[np.int32]
    """[F, 3]."""
    spans: dict[str, slice]
    """Vertices of each part."""
    face_spans: dict[str, slice]
    """Triangles of each part."""
    places: SurfaceLocation
    """[174] where each acupoint sits on the joined mesh."""
    offsets_mm: FloatArray
    """[174, 3] from that place to the acupoint; zero for all but the inner points."""

    @property
    def residual_mm(self) -> FloatArray:
        """[174] distance from AcuSim's point to the carrying surface; inner points are off it by design."""
        return self.places.distance_mm


def carrier_of(name: str) -> str:
    """The part of the head that carries an acupoint: one of PARTS."""
    code, _, rest = name.partition("_")
    if code in _ON_BODY:
        return "body"
    if code == _ON_EAR:
        return "ear_left" if rest.endswith("left") else "ear_right"
    return "head"


def _ellipsoid_radius(direction: FloatArray, axes: FloatArray) -> FloatArray:
    return 1.0 / np.sqrt((direction**2 / axes**2).sum(-1))


def _enlarged(coarse: FloatArray) -> FloatArray:
    """A field on the coarse star grid, on the full one (bilinear in grid coordinates, ends included)."""
    rows = np.linspace(0, coarse.shape[0] - 1, grids.ROWS)
    columns = np.linspace(0, coarse.shape[1] - 1, grids.COLUMNS + 1)
    return ndimage.map_coordinates(coarse, np.meshgrid(rows, columns, indexing="ij"), order=1, mode="nearest")


def _skull_radius(points_mm: FloatArray) -> FloatArray:
    """[ROWS, COLUMNS + 1] mm: an ellipsoid pushed broadly through the head's acupoints."""
    coarse = star_grid(*_COARSE)
    azimuth, elevation, radius = grids.angles(points_mm)
    direction = grids.directions(azimuth, elevation)
    miss = np.log(radius / _ellipsoid_radius(direction, _SKULL_AXES_MM))
    field = SmoothField.through(direction, miss[:, None], sigma=_BROAD_RAD, smoothing=0.3)
    log_radius = np.log(_ellipsoid_radius(coarse.direction, _SKULL_AXES_MM))
    log_radius += field(coarse.direction.reshape(-1, 3)).reshape(log_radius.shape)
    # The underside runs inside the neck: keep it short, also where no point holds it.
    under = smoothstep(-coarse.elevation, 0.65, 1.1)
    front = smoothstep(np.cos(coarse.azimuth), -0.2, 0.6)
    log_radius = log_radius * (1 - under) + under * np.log(78.0 + 10.0 * front)
    return np.exp(_enlarged(log_radius))


def _face_radius(model: PointSet) -> tuple[FloatArray, NDArray[np.bool_], FloatArray]:
    """The fitted face as a radius on the grid, where it is defined, and its landmarks."""
    face = fitted_face(model)
    direction = star_grid().direction
    rays = -direction.reshape(-1, 3)
    hit = Scene(face.vertices, face.faces).first_hit(HEAD_CENTER_MM - 400.0 * rays, rays)
    shape = direction.shape[:2]
    radius = 400.0 - hit["tfar"].reshape(shape).astype(float)
    inside = (hit["primID"] >= 0).reshape(shape) & (direction[..., 1] < -0.05) & (radius > 30)
    eroded = np.asarray(ndimage.binary_erosion(inside, iterations=2), bool)
    return np.where(inside, radius, 0.0), eroded, face.landmarks


def _distance_inside(inside: NDArray[np.bool_]) -> FloatArray:
    """[ROWS, COLUMNS + 1] grid steps from each place inside to the nearest outside; 0 outside."""
    return np.asarray(ndimage.distance_transform_edt(inside), float)


def _blend(face: FloatArray, inside: NDArray[np.bool_], skull: FloatArray) -> FloatArray:
    """Face where it is known, fading into the skull over _FACE_BLEND_RAD, without a crease."""
    # The rim of FaceMesh is given up for a smooth passage, except along the jaw, which is its own rim.
    depth = _distance_inside(inside)
    inside = depth > 3 + 12 * smoothstep(star_grid().elevation, -0.75, -0.2)
    outside: Any = ndimage.distance_transform_edt(~inside, return_indices=True)
    distance, (row, column) = outside
    step = np.radians(180.0 / grids.ROWS)
    weight = smoothstep(distance * step, 0.0, _FACE_BLEND_RAD)
    blended = np.where(inside, face, (1 - weight) * face[row, column] + weight * skull)
    signed = distance - _distance_inside(inside)
    reach = smoothstep(star_grid().elevation, -0.75, -0.2)
    for sigma in (3, 6, 10):
        smooth = ndimage.gaussian_filter(blended, sigma, mode=_WRAPPED)
        low = -1.6 * sigma * reach
        keep = smoothstep((signed - low) / (sigma * 2.0 - low), 0.0, 1.0)
        blended = blended * (1 - keep) + smooth * keep
    # The forehead has no feature of its own; there FaceMesh's upper rim would show as a crease.
    forehead = smoothstep(star_grid().elevation, 0.26, 0.5)
    broad = ndimage.gaussian_filter(blended, (14, 12), mode=_WRAPPED)
    blended = blended * (1 - forehead) + broad * forehead
    return (blended + blended[:, ::-1]) / 2


def _head_vertices(model: PointSet, points_mm: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Vertices [ROWS * (COLUMNS + 1), 3] mm of the head and the face's landmarks [468, 3] mm."""
    face, inside, landmarks = _face_radius(model)
    radius = _blend(face, inside, _skull_radius(points_mm))
    azimuth, elevation, wanted = grids.angles(points_mm)
    direction = grids.directions(azimuth, elevation)
    coarse = star_grid(*_COARSE)
    for _ in range(2):
        here = np.log(wanted / _sample(radius, azimuth, elevation))
        here = np.clip(here, -_MAX_CORRECTION, _MAX_CORRECTION)
        field = SmoothField.through(direction, here[:, None], sigma=_FINE_RAD, smoothing=0.12)
        change = field(coarse.direction.reshape(-1, 3)).reshape(coarse.azimuth.shape)
        radius = radius * np.exp(_enlarged(change))
    radius = ((radius + radius[:, ::-1]) / 2).round(5)
    radius[-1] = radius[-1].mean()
    azimuth, elevation, at = grids.angles(landmarks)
    landmarks = landmarks + grids.directions(azimuth, elevation) * (_sample(radius, azimuth, elevation) - at)[:, None]
    return HEAD_CENTER_MM + star_grid().direction.reshape(-1, 3) * radius.reshape(-1, 1), landmarks


def _grid_position(azimuth: FloatArray, elevation: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Fractional row and column of the star grid for angles in radians."""
    low, high = grids.ELEVATION_LOW, grids.ELEVATION_HIGH
    return (
        np.clip((elevation - low) / (high - low), 0, 1) * (grids.ROWS - 1),
        (grids.warp(azimuth) + np.pi) / (2 * np.pi) * grids.COLUMNS,
    )


def _sample(grid: FloatArray, azimuth: FloatArray, elevation: FloatArray) -> FloatArray:
    return ndimage.map_coordinates(grid, np.stack(_grid_position(azimuth, elevation)), order=1, mode="nearest")


@cache
def mean_head(gender: str, held_out: tuple[int, ...] = ()) -> MeanHead:
    """Builds (once) the mean head of a gender.

    Args:
        gender: F or M.
        held_out: acupoints that the surfaces are not pulled to, for measuring the fit between points.
    """
    cv2.setNumThreads(1)
    model = POINT_SET[gender]
    table = acupoints.positions_mm(model)
    carriers = [carrier_of(name) for name in acupoints.NAMES]
    outer = ~acupoints.INNER
    outer[list(held_out)] = False
    on = {part: np.array([carrier == part for carrier in carriers]) & outer for part in PARTS}

    head, landmarks = _head_vertices(model, table[on["head"]])
    ears = ear_meshes(table[acupoints.index_of("EX-HN6_耳尖_left")])
    shoulder = table[acupoints.index_of("LI16_巨骨_left")]
    seventh = table[acupoints.index_of("DU14_大椎")]
    body, body_faces = body_template(abs(shoulder[0]), seventh[2] + 145.4)
    body = pull_through(body, body_faces, table[on["body"]], sigma_mm=24.0, smoothing=0.05, rounds=4).round(5)

    meshes = [(head, star_grid().faces), *ears, (body, body_faces)]
    spans, face_spans, faces, start, face_start = {}, {}, [], 0, 0
    for part, (part_vertices, part_faces) in zip(PARTS, meshes, strict=True):
        spans[part] = slice(start, start + len(part_vertices))
        face_spans[part] = slice(face_start, face_start + len(part_faces))
        faces.append(part_faces + start)
        start, face_start = start + len(part_vertices), face_start + len(part_faces)
    vertices, joined = np.vstack([mesh[0] for mesh in meshes]), np.vstack(faces).astype(np.int32)

    corner, weight, distance = np.zeros((174, 3), np.int64), np.zeros((174, 3)), np.zeros(174)
    for part in PARTS:
        chosen = np.flatnonzero([carrier == part for carrier in carriers])
        place = closest_location(table[chosen], vertices, joined[face_spans[part]])
        corner[chosen], weight[chosen], distance[chosen] = place.vertices, place.weights, place.distance_mm
    places = SurfaceLocation(corner, weight.round(9), distance)
    offsets = np.where(acupoints.INNER[:, None], table - places.of(vertices), 0.0)
    return MeanHead(gender, landmarks, vertices, joined, spans, face_spans, places, offsets)


def residuals_mm(gender: str) -> FloatArray:
    """[174] distance in mm between AcuSim's acupoints and the mean head's surface, NaN for inner points."""
    return np.where(acupoints.INNER, np.nan, mean_head(gender).residual_mm)
