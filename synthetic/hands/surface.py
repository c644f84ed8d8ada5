"""The skin of a posed hand: a signed distance field of tapered capsules that blend into each other, and its mesh.

The smooth union is the polynomial one (I. Quilez, "Smooth minimum", https://iquilezles.org/articles/smin). Fingers
blend into the palm but not into each other. The mesh comes from marching cubes; each vertex is then moved onto the
field's zero.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthetic.hands.skeleton import BONES, FOREARM, PALM, Skeleton
from synthetic.hands.subject import FINGERS, PULP_MM, HandSubject

Floats = NDArray[np.floating]

STEP_MM = 2.0
"""Side of the mesh's cells."""
_COARSE = 4
_FAR_MM = 1e3
_REACH_MM = 16.0
_FOREARM_MM = 220.0
_SLEEVE_MM = 4.5
"""How far a cuff stands off."""
_ARM_PARTS = 3

_RADII = ((11.6, 10.2, 8.4), (9.3, 8.9, 7.8, 6.5), (9.5, 9.1, 8.0, 6.7), (9.0, 8.5, 7.5, 6.3), (7.9, 7.4, 6.6, 5.6))
"""Of each finger at its joints from the knuckle to the tip, mm."""


@dataclass(frozen=True)
class _Capsule:
    start: Floats
    end: Floats
    radii: tuple[float, float]
    bone: int
    group: int
    """0 palm, 1..5 thumb to little."""
    normal: Floats
    """[3] axis along which it is flattened."""
    flatten: float
    """1 round; above, thinner along the normal."""
    blend: float
    """Width of the seam with its group, mm."""


class HandField:
    """Signed distance (mm, negative inside; near the surface within some per cent) of a posed right hand."""

    def __init__(self, who: HandSubject, bones: Skeleton) -> None:
        self.who = who
        parts = _capsules(who, bones)
        self._groups = [[part for part in parts if part.group == group] for group in range(len(FINGERS) + 1)]
        self._reach = [_reach(parts) for parts in self._groups]
        self._web = 5.0 * who.scale * who.fullness
        wrist = bones.rotation[FOREARM]
        self._cuff = (-wrist[:, 1], bones.origin[FOREARM] - wrist[:, 1] * who.cuff_mm * who.scale)

    def _capsule(self, part: _Capsule, columns: Floats) -> Floats:
        """[N] distance of points [3, N], one row for each axis: NumPy is slow at axes of length 3 that come last."""
        axis = part.end - part.start
        offset = columns - part.start.astype(np.float32)[:, None]
        along = np.clip(_dot(offset, (axis / (axis @ axis)).astype(np.float32)), 0, 1)
        offset -= axis.astype(np.float32)[:, None] * along
        square = _dot(offset, offset)
        if part.flatten != 1:
            square += np.float32(part.flatten**2 - 1) * _dot(offset, part.normal.astype(np.float32)) ** 2
        first, second = part.radii
        return np.sqrt(square) - (np.float32(first) + np.float32(second - first) * along)

    def skin(self, points: Floats) -> Floats:
        """[N] distance of points [N, 3] from the skin, forearm included, cuff not."""
        return self._evaluate(np.asarray(points, np.float32), None)

    def cuff(self, points: Floats) -> Floats:
        """[N] distance from the cuff; far where there is none."""
        if self.who.sleeve is None:
            return np.full(len(points), _FAR_MM, np.float32)
        direction, start = self._cuff
        points = np.asarray(points, np.float32)
        columns = np.ascontiguousarray(points.T)
        around = self._capsule(self._groups[0][0], columns)
        for part in self._groups[0][1:_ARM_PARTS]:
            around = _smooth_min(around, self._capsule(part, columns), part.blend)
        return np.maximum(around - _SLEEVE_MM, (start - points) @ direction).astype(np.float32)

    def nearest_bones(self, points: Floats) -> Floats:
        """[N, 17] distance from each segment's own capsules."""
        out = np.full((len(points), len(BONES)), np.float32(_FAR_MM))
        self._evaluate(np.asarray(points, np.float32), out)
        return out

    def _evaluate(self, points: Floats, bones: Floats | None) -> Floats:
        columns = np.ascontiguousarray(points.T)
        palm = self._group(0, columns, bones, slice(None))
        total = palm.copy()
        for group in range(1, len(FINGERS) + 1):
            low, high = self._reach[group]
            rows = np.flatnonzero(((columns > low[:, None]) & (columns < high[:, None])).all(0))
            if len(rows):
                finger = self._group(group, columns[:, rows], bones, rows)
                total[rows] = np.minimum(total[rows], _smooth_min(palm[rows], finger, self._web))
        return total

    def _group(self, group: int, columns: Floats, bones: Floats | None, rows: Any) -> Floats:
        """The palm's or one finger's own distance of points [3, N]; ``rows`` is where they stand in ``bones``."""
        current: Floats | None = None
        for part in self._groups[group]:
            distance = self._capsule(part, columns)
            if bones is not None:
                bones[rows, part.bone] = np.minimum(bones[rows, part.bone], distance)
            current = distance if current is None else _smooth_min(current, distance, part.blend)
        assert current is not None
        return current

    def gradient(self, points: Floats) -> Floats:
        """[N, 3] of the skin's distance, unit length: the outward normal near the surface."""
        corners = np.array([(1, -1, -1), (-1, -1, 1), (-1, 1, -1), (1, 1, 1)], np.float32)
        out = sum((corner * self.skin(points + 0.25 * corner)[:, None] for corner in corners), np.zeros(3, np.float32))
        return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)

    def meet(self, inside: Floats, direction: Floats) -> Floats:
        """[N, 3] where rays from points inside [N, 3] along unit directions [N, 3] leave the skin.

        Raises:
            ValueError: a ray does not leave the hand within 40 mm.
        """
        steps = np.arange(0.0, 40.0, 0.5)
        places = inside[:, None] + steps[None, :, None] * direction[:, None]
        outside = self.skin(places.reshape(-1, 3)).reshape(len(inside), -1) > 0
        if outside[:, 0].any() or not outside.any(1).all():
            raise ValueError("a ray does not start inside the hand, or does not leave it")
        low = steps[outside.argmax(1) - 1]
        high = low + 0.5
        for _ in range(12):
            middle = (low + high) / 2
            out = self.skin(inside + middle[:, None] * direction) > 0
            low, high = np.where(out, low, middle), np.where(out, middle, high)
        return inside + ((low + high) / 2)[:, None] * direction


def _dot(columns: Floats, other: Floats) -> Floats:
    """[N] products of vectors [3, N] with one vector [3] or with as many; no BLAS, whose rounding may differ."""
    out = columns[0] * other[0]
    out += columns[1] * other[1]
    out += columns[2] * other[2]
    return out


def _reach(parts: list[_Capsule]) -> tuple[Floats, Floats]:
    """The box beyond which a finger neither blends with the palm nor is looked for by the mesh."""
    ends = np.array([(part.start, part.end) for part in parts]).reshape(-1, 3)
    margin = max(max(part.radii) for part in parts) + _REACH_MM
    return (ends.min(0) - margin).astype(np.float32), (ends.max(0) + margin).astype(np.float32)


def _smooth_min(first: Floats, second: Floats, width: float) -> Floats:
    overlap = np.maximum(np.float32(width) - np.abs(first - second), 0)
    return np.minimum(first, second) - overlap * overlap * np.float32(0.25 / width)


def _capsules(who: HandSubject, bones: Skeleton) -> list[_Capsule]:
    """The flesh of a hand: what is not a bone (webs, balls of thumb and little finger) moves with the palm."""
    out: list[_Capsule] = []
    size, full = who.scale, who.scale * who.fullness
    stretch = np.array([size * who.breadth, size, full])
    up = np.array([0.0, 0.0, 1.0])

    def add(start, end, radii, bone, group, normal=up, flatten=1.0, blend=9.0) -> None:
        radii = (radii[0] * full, radii[1] * full)
        out.append(_Capsule(np.asarray(start), np.asarray(end), radii, bone, group, normal, flatten, blend * full))

    arm = bones.rotation[FOREARM]
    # The first _ARM_PARTS are also the cuff's.
    for x, radius, far in ((0.0, 18.5, 26.0), (-11.5, 16.2, 24.0), (11.0, 15.5, 24.0)):
        start = arm @ (np.array([x, 2.0, 0.0]) * stretch)
        end = arm @ (np.array([x * 1.5, -_FOREARM_MM, 0.0]) * stretch)
        add(start, end, (radius, far), FOREARM, 0, arm[:, 2], 1.25 if x == 0 else 1.05, 14.0)
    for x in (-11.0, 9.0):
        add(np.array([x, 0.0, -1.0]) * stretch, np.array([x * 1.1, 26.0, -1.0]) * stretch, (16.0, 14.5), PALM, 0)
    for finger, (near, far) in zip(range(1, 5), ((13.0, 11.2), (13.2, 11.6), (12.6, 11.0), (11.8, 9.8)), strict=True):
        drop = np.array([0.0, 0.0, -1.5 * full])
        add(bones.base[finger] + drop, bones.head[finger] + drop, (near, far), PALM, 0, up, 1.05, 11.0)
        knuckle = bones.head[finger] + np.array([0, -1.0, 1.2]) * size
        add(knuckle, knuckle + 0.5 * up, (10.3 - 0.5 * finger * (finger > 2),) * 2, PALM, 0, blend=5.0)
    palmar = -up
    for start, end, radii in (
        ((17.0, 22.0, -9.0), (25.0, 52.0, -8.0), (13.0, 11.0)),
        ((-20.0, 80.0, -6.5), (26.0, 70.0, -7.5), (9.5, 8.5)),
        ((-4.0, 30.0, -6.0), (0.0, 62.0, -5.0), (11.0, 11.0)),
    ):
        add(np.array(start) * stretch, np.array(end) * stretch, radii, PALM, 0, palmar)
    index = bones.head[1] - bones.base[1]
    muscle = np.array([-6.0, 0.0, -2.5]) * stretch
    add(bones.base[1] + 0.25 * index + muscle, bones.base[1] + 0.75 * index + muscle, (8.5, 7.5), PALM, 0)
    ball = np.array([-1.5, 0.0, -5.0]) * size
    add(bones.at("thumb0", ball), bones.at("thumb0", ball + [2.0, 34.0 * size, 1.0]), (14.5, 11.5), 2, 0)
    for thumb_share, index_share, radius in ((0.55, 0.35, 8.0), (0.85, 0.52, 6.0), (1.0, 0.68, 4.0)):
        web = bones.base[0] + thumb_share * (bones.head[0] - bones.base[0])
        add(web, bones.base[1] + index_share * index + [0, 0, -3.0 * full], (radius, radius), PALM, 0, blend=11.0)
    for finger in range(1, 4):
        sides = []
        for side, near in ((finger, 1.0), (finger + 1, -1.0)):
            first = BONES.index(f"{FINGERS[side]}0")
            sides.append(bones.at(BONES[first], (near * 4.0 * size, 0.22 * bones.length[first], -3.0 * full)))
        add(sides[0], sides[1], (5.0, 5.0), PALM, 0, blend=7.0)
    for finger, radii in enumerate(_RADII):
        _finger(add, bones, finger, radii, size)
    return out


def _finger(add, bones: Skeleton, finger: int, radii: tuple[float, ...], size: float) -> None:
    """Bones, joints, the pad, and a tip that is flatter than it is broad."""
    first = BONES.index("thumb0") + 3 * finger
    group = finger + 1
    rows = list(range(first, first + 3))
    if finger == 0:
        add(bones.at("thumb0", (0.0, 10.0 * size, 0.0)), bones.origin[first + 1], (13.0, 11.8), first, 0)
        rows = rows[1:]
    for k, row in enumerate(rows):
        normal, length = bones.rotation[row][:, 2], bones.length[row]
        last = k == len(rows) - 1
        far = length + (PULP_MM[finger] * size - radii[-1] * size if last else 0.0)
        end = bones.at(BONES[row], (0.0, far, -0.4 * size if last else 0.0))
        add(bones.origin[row], end, radii[k : k + 2], row, group, normal, 1.14 if last else 1.03, 4.0)
        if not last:
            joint = bones.origin[row + 1]
            across = bones.rotation[row][:, 0] * 1.3 * size
            add(joint - across, joint + across, (radii[k + 1] * 0.99,) * 2, row, group, normal, 1.0, 4.0)
            pad = (0.0, 0.5 * length, -2.2 * size)
            place = bones.at(BONES[row], pad)
            add(place, place + normal * 0.1, (radii[k + 1] * 0.92,) * 2, row, group)
    row = rows[-1]
    pad = bones.at(BONES[row], (0.0, 0.58 * bones.length[row], -2.0 * size))
    add(pad, pad + bones.rotation[row][:, 1] * 3 * size, (radii[-1] * 0.98, radii[-1] * 0.9), row, group, blend=5.0)


@dataclass(frozen=True)
class HandMesh:
    """The surface as triangles."""

    vertices: NDArray[np.float32]
    """[V, 3] mm, hand frame."""
    normals: NDArray[np.float32]
    """[V, 3] unit, outwards."""
    faces: NDArray[np.int32]
    """[F, 3] counter-clockwise from outside."""
    sleeve: NDArray[np.bool_]
    """[V] True on the cuff."""


def build_mesh(field: HandField, bones: Skeleton, step_mm: float = STEP_MM) -> HandMesh:
    """The mesh of a hand and its cuff, forearm included."""
    elbow = bones.at("forearm", (0.0, -_FOREARM_MM * field.who.scale, 0.0))
    reach = np.concatenate([bones.origin, bones.head, bones.base, elbow[None]])
    tips = [bones.at(name, (0.0, bones.length[BONES.index(name)], 0.0)) for name in BONES if name.endswith("2")]
    reach = np.concatenate([reach, tips])
    margin = 34.0 * field.who.scale * max(field.who.fullness, 1.0)
    low = reach.min(0) - margin
    cells = np.ceil((reach.max(0) + margin - low) / (step_mm * _COARSE)).astype(int)

    def both(points: Floats) -> Floats:
        return np.minimum(field.skin(points), field.cuff(points))

    values = _sampled(both, low, cells, step_mm)
    vertices, faces = isosurface(values, low, step_mm)
    on_cuff = field.cuff(vertices) < field.skin(vertices)
    skin = ~on_cuff
    normals = np.empty_like(vertices)
    moved = vertices[skin]
    for _ in range(2):
        normals[skin] = field.gradient(moved)
        moved = moved - np.clip(field.skin(moved), -step_mm, step_mm)[:, None] * normals[skin]
    vertices[skin] = moved
    if on_cuff.any():
        from synthetic.grids import vertex_normals

        normals[on_cuff] = vertex_normals(vertices, faces)[on_cuff]
    return HandMesh(vertices, normals, faces, on_cuff)


def _sampled(distance, low: Floats, cells: NDArray[np.int_], step: float) -> NDArray[np.float32]:
    """The field on a fine grid, worked out only near the surface; elsewhere it has the right sign."""
    coarse_axes = [low[k] + step * _COARSE * np.arange(cells[k] + 1) for k in range(3)]
    coarse = distance(_lattice(coarse_axes)).reshape(cells + 1)
    fine = np.repeat(np.repeat(np.repeat(coarse, _COARSE, 0), _COARSE, 1), _COARSE, 2)
    # A fine node is within three steps of its coarse one on each axis; the field may stretch a little.
    near = np.abs(fine) < step * (_COARSE - 1) * 1.75 * 1.25
    index = np.argwhere(near)
    fine[near] = distance(low.astype(np.float32) + np.float32(step) * index.astype(np.float32))
    return fine.astype(np.float32)


def _lattice(axes: list[Floats]) -> NDArray[np.float32]:
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3).astype(np.float32)


def isosurface(values: NDArray[np.float32], low: Floats, step: float) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """The zero surface of a field on a grid.

    Args:
        values: [X, Y, Z] negative inside; positive all around the border.
        low: [3] position of the first node.
        step: of the grid.

    Returns:
        Vertices [V, 3] and triangles [F, 3], counter-clockwise from outside.
    """
    from skimage.measure import marching_cubes

    vertices, faces, *_ = marching_cubes(values, 0.0, spacing=(step,) * 3)
    return (np.asarray(low) + vertices).astype(np.float32), faces.astype(np.int32)
