"""Hair of a fitted head: where the labels say that it covers the skin, as thick as it stands out in the pictures.

A label lists an acupoint only where it can be seen. One that the bare head would show in many views, and that hardly
any label lists, is under hair.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from acusim import acupoints, rig
from synthetic import grids
from synthetic.anatomy import carrier_of
from synthetic.fit.shape import FittedHead, LabelledView
from synthetic.grids import smoothstep, vertex_normals
from synthetic.labelling import LIFT_MM
from synthetic.rays import depth_from
from synthetic.scene import Scene

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

ON_HEAD = np.array([carrier_of(name) == "head" for name in acupoints.NAMES])
"""[174] acupoints of the head itself, not of ears or body."""
FACING = -0.4
"""Cosine below which an acupoint would be seen well."""
COVERED_SHARE = 0.5
"""Acupoints that a smaller share of these views lists are covered."""
REACH_MM = 14.0
"""Width by which an acupoint speaks for the skin around it."""
RISE = (0.2, 0.6)
"""Share of covered acupoints, by this weight, from which hair begins and at which it is as thick as anywhere."""
THICKNESSES_MM = (0.0, 6.0, 12.0, 18.0, 24.0, 32.0, 42.0)
_NEIGHBOURS = 5
_SIDE = 128
_STEP = 4


def cover_of(fit: FittedHead, views: Sequence[LabelledView]) -> Floats:
    """[V] 0..1 how much each vertex of the head is covered by hair."""
    normals = vertex_normals(fit.vertices, fit.faces)
    point_normals = fit.places.of(normals)
    scene = Scene(fit.vertices, fit.faces)
    shown, listed = np.zeros(acupoints.COUNT), np.zeros(acupoints.COUNT)
    start = fit.acupoints_mm + LIFT_MM * point_normals
    for view in views:
        towards = view.camera.center_mm - start
        cosine = -np.einsum("nc,nc->n", point_normals, towards) / np.linalg.norm(towards, axis=1)
        xy, _ = rig.project(fit.acupoints_mm, view.camera, 1.0)
        seen = (cosine < FACING) & ((xy > 0) & (xy < 1)).all(1) & ~scene.occluded(start, towards)
        shown += seen
        listed += seen & view.label.listed
    asked = (shown > 0) & ~acupoints.INNER & ON_HEAD
    if not asked.any():
        return np.zeros(len(fit.vertices))
    hidden = _of_the_majority((listed < COVERED_SHARE * shown)[asked], fit.acupoints_mm[asked])
    head = fit.head
    square = np.zeros((head.stop - head.start, int(asked.sum())), np.float32)
    for axis in range(3):
        square += (fit.vertices[head, None, axis] - fit.acupoints_mm[None, asked, axis].astype(np.float32)) ** 2
    # The nearest decides, softly.
    nearest = square.min(1, keepdims=True)
    weight = np.exp(-(square - nearest) / (2 * REACH_MM**2))
    out = np.zeros(len(fit.vertices))
    out[head] = smoothstep(np.einsum("nm,m->n", weight, hidden) / weight.sum(1), *RISE)
    return out


def _of_the_majority(hidden: NDArray[np.bool_], points_mm: Floats) -> Floats:
    """[K] 1 where most of an acupoint's neighbours, itself among them, are hidden; labels lack some at random."""
    square = ((points_mm[:, None] - points_mm[None]) ** 2).sum(-1)
    near = np.argsort(square, axis=1, kind="stable")[:, :_NEIGHBOURS]
    return (hidden[near].mean(1) > 0.5).astype(float)


def with_hair(fit: FittedHead, cover: Floats, masks: Sequence[tuple[rig.Camera, Mask]]) -> tuple[FittedHead, float]:
    """The head with its hair, and the hair's thickness in mm: that with which it fills the pictures' mattes best.

    Args:
        fit: the bare head.
        cover: as of ``cover_of``.
        masks: camera and [H, W] matte of some pictures.
    """
    if not cover.any() or not masks:
        return fit, 0.0
    normals = vertex_normals(fit.vertices, fit.faces)
    small = [(camera, _reduced(mask)) for camera, mask in masks]
    vertices, faces = _coarse(fit)
    wrong = []
    for thickness in THICKNESSES_MM:
        scene = Scene(fit.vertices[vertices] + (thickness * cover[vertices])[:, None] * normals[vertices], faces)
        wrong.append(sum(int(((depth_from(scene, camera, len(mask)) > 0) ^ mask).sum()) for camera, mask in small))
    best = THICKNESSES_MM[int(np.argmin(wrong))]
    return replace(fit, vertices=(fit.vertices + (best * cover)[:, None] * normals).astype(np.float32)), best


def _coarse(fit: FittedHead) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Some vertices [N] of the head itself and the faces [F, 3] between them: enough for an outline."""
    grid = np.arange(fit.head.start, fit.head.stop).reshape(grids.ROWS, grids.COLUMNS + 1)
    some = grid[np.unique(np.r_[0 : grids.ROWS : _STEP, grids.ROWS - 1])]
    some = some[:, np.unique(np.r_[0 : grids.COLUMNS : _STEP, grids.COLUMNS])]
    return some.ravel(), grids.grid_faces(*some.shape)


def _reduced(mask: Mask) -> Mask:
    """[_SIDE, _SIDE] at most, by the nearest pixels."""
    at = ((np.arange(_SIDE) + 0.5) * len(mask) / _SIDE).astype(int) if len(mask) > _SIDE else np.arange(len(mask))
    return mask[np.ix_(at, at)]
