"""Positions of occluded points: those of the head in 3D, of the training part alone."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from acusim import acupoints, rig
from acusim.sample_id import SampleId
from training.data.positions import person_keys, positions_of
from training.data.records import Targets

FRAMES = (1, 4, 7, 10, 31, 34)
SIZES_MM = {"Ann": 1.0, "Bob": 1.1, "Eve": 0.9}
"""Persons: the standard head, larger and smaller."""
NEVER = 4
"""A point beside the nose, that nobody shows here."""


def heads() -> Any:
    """Three persons in six frames; a point is visible where its normal faces the camera."""
    rows = [(name, scale, frame) for name, scale in SIZES_MM.items() for frame in FRAMES]
    records = [
        SimpleNamespace(person=name.casefold(), id=SampleId.parse(f"F_{name}_N_HA_O_{frame:04d}"))
        for name, _, frame in rows
    ]
    xy = np.stack([rig.project(scale * acupoints.positions_mm(), frame, 1.0)[0] for _, scale, frame in rows])
    visible = np.stack([acupoints.normals() @ rig.camera(frame).forward < -0.2 for _, _, frame in rows])
    visible[:, NEVER] = False
    targets = Targets(
        xy=np.where(visible[..., None], xy, 0).astype(np.float32),
        visible=visible,
        trusted=np.ones_like(visible),
        depth_mm=np.full(visible.shape, np.nan, np.float32),
        frame=np.array([frame for _, _, frame in rows], np.int16),
    )
    return SimpleNamespace(records=records, targets=targets, true=xy)


def test_zero_keeps_the_labels():
    data = heads()
    found = positions_of(data, np.arange(len(data.records)), "zero")
    assert found.template is None and np.array_equal(found.known, data.targets.visible)
    assert np.array_equal(found.xy, data.targets.xy)


def test_occluded_points_are_where_the_camera_sees_the_head():
    data = heads()
    found = positions_of(data, np.arange(len(data.records)), "triangulated")
    assert found.known.all() and found.template is not None
    often = data.targets.visible.reshape(3, len(FRAMES), -1).sum(1).min(0) >= 2
    assert often.sum() > 80
    np.testing.assert_allclose(found.xy[:, often], data.true[:, often], atol=0.1 / 512)


def test_a_point_that_nobody_shows_comes_from_the_template():
    data = heads()
    found = positions_of(data, np.arange(len(data.records)), "triangulated")
    error = np.linalg.norm(found.xy[:, NEVER] - data.true[:, NEVER], axis=1) * 512
    assert 0 < error.max() < 12, "not near its place: 12 px are 7 mm"


def test_pictures_of_other_parts_teach_nothing():
    data = heads()
    part = np.arange(len(FRAMES))
    found = positions_of(data, part, "triangulated")
    others = np.arange(len(FRAMES), len(data.records))
    assert np.array_equal(found.xy[others], data.targets.xy[others])
    assert np.array_equal(found.known[others], data.targets.visible[others])
    assert found.template is not None and len(found.template.deviations_mm) == 0, "one person has no shapes"


@pytest.mark.parametrize(("stem", "same"), [("F_Ann_N_HB_0001", True), ("F_Ann_F_HA_O_0001", False)])
def test_hair_is_the_same_head_and_body_size_is_not(stem: str, same: bool):
    ids = [SampleId.parse("F_Ann_N_HA_O_0001"), SampleId.parse(stem)]
    data: Any = SimpleNamespace(records=[SimpleNamespace(person="ann", id=one) for one in ids])
    first, second = person_keys(data, np.arange(2))
    assert (first == second) == same
