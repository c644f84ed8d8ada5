"""Cameras about the rig: within their ranges, and true for labels and depth maps."""

from dataclasses import replace

import numpy as np
import pytest

from acusim import acupoints, rig
from acusim.labels import dump_label, parse_label
from acusim.rig import Camera
from synthetic import cameras
from synthetic.cameras import camera_of
from synthetic.head import Head, build_head
from synthetic.identity import BALD, identity
from synthetic.labelling import make_label, visible_points
from synthetic.lights import studio_light
from synthetic.render import depth_map, render

pytestmark = pytest.mark.numeric

DRAWN = [(index, frame) for index in range(5) for frame in rig.KEPT_FRAMES]


def _drawn() -> list[tuple[Camera, Camera]]:
    return [(camera_of("around", 3, index, frame), rig.camera(frame)) for index, frame in DRAWN]


def _roll_deg(camera: Camera) -> float:
    """Angle of the head's upright axis in the picture."""
    up = camera.R @ np.array([0.0, 0.0, 1.0])
    return float(np.degrees(np.arctan2(up[0], -up[1])))


def test_the_rig_is_the_rig() -> None:
    assert camera_of("rig", 3, 1, 40) is rig.camera(40)
    assert cameras.describe(rig.camera(40)) == {}


def test_cameras_around_fill_their_ranges() -> None:
    pairs = _drawn()
    offsets = {
        "azimuth": [(a.azimuth_deg - b.azimuth_deg + 180) % 360 - 180 for a, b in pairs],
        "elevation": [a.elevation_deg - b.elevation_deg for a, b in pairs],
        "roll": [_roll_deg(a) for a, _ in pairs],
        "right": [a.t_mm[0] for a, _ in pairs],
        "down": [a.t_mm[1] - b.t_mm[1] for a, b in pairs],
    }
    limits = {"azimuth": 10, "elevation": 12, "roll": 20, "right": 18, "down": 18}
    for name, values in offsets.items():
        assert np.abs(values).max() <= limits[name] + 1e-6, name
        assert max(values) > 0.85 * limits[name] and min(values) < -0.85 * limits[name], name
    factor = np.array([a.focal / rig.FOCAL for a, _ in pairs])
    assert 0.8 <= factor.min() < 0.84 and 1.26 < factor.max() <= 1.3
    # The head's size in the picture follows the distance factor alone: the focal length is compensated.
    smaller = np.array([a.t_mm[2] for a, _ in pairs]) / rig.ORBIT_RADIUS_MM / factor
    assert 0.85 - 1e-6 <= smaller.min() < 0.88 and 1.22 < smaller.max() <= 1.25 + 1e-6


def test_cameras_depend_on_seed_person_and_frame() -> None:
    one = camera_of("around", 3, 1, 40)
    assert np.array_equal(one.R, camera_of("around", 3, 1, 40).R)
    for other in ((4, 1, 40), (3, 2, 40), (3, 1, 41)):
        assert not np.allclose(one.t_mm, camera_of("around", *other).t_mm)


def test_the_label_holds_the_camera_exactly(person: Head) -> None:
    camera = camera_of("around", 0, 4, 5)
    label = parse_label(dump_label(make_label(person, camera)))
    assert label.camera is not None
    assert np.array_equal(label.camera.R, camera.R) and np.array_equal(label.camera.t_mm, camera.t_mm)
    assert label.camera.focal == camera.focal
    xy, depth_mm = rig.project(person.acupoints_mm, label.camera, 1.0)
    np.testing.assert_allclose(label.xy[label.listed], xy[label.listed], atol=1e-7)
    np.testing.assert_allclose(label.h_m[label.listed] * 1000, depth_mm[label.listed], atol=1e-3)
    assert make_label(person, 5).camera is None


@pytest.mark.parametrize("frame", [1, 10, 40, 112])
def test_visible_points_lie_on_the_depth_map(person: Head, frame: int) -> None:
    """The depth map is of the picture's rays, the label's h of the projection."""
    size, camera = 1024, camera_of("around", 0, 4, frame)
    label, buffer = make_label(person, camera), depth_map(person, camera, size)
    seen = label.listed & (label.n < -0.2)
    assert seen.sum() > 10
    column, row = np.clip(np.floor(label.xy[seen] * size).astype(int), 1, size - 2).T
    patch = np.stack([buffer[row + dy, column + dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1)])
    h = label.h_m[seen] * 1000
    assert (patch.min(0) - 1.5 <= h).all() and (patch.max(0) + 1.5 >= h).all()


def test_the_rendered_picture_is_of_that_camera(person: Head) -> None:
    camera = camera_of("around", 0, 4, 3)
    view = render(person, studio_light(), camera, size=128, quality="draft", seed=0)
    assert np.abs(view.depth_mm - depth_map(person, camera, 128)).max() <= 0.51
    assert (view.mask != render(person, studio_light(), 3, size=128, quality="draft", seed=0).mask).mean() > 0.02


def test_the_body_goes_on_below_the_shoulders() -> None:
    """A low camera looks up along the trunk; without it, there is nothing in the lower edge of the picture."""
    who = replace(identity(0, 1), hair=BALD)
    low = rig.camera_at(rig.rotation_of(80, -40, 15), [0, -40, 1250], rig.FOCAL)
    short, whole = (build_head(who, 0, trunk=trunk) for trunk in (False, True))
    with_trunk, without = (depth_map(head, low, 64) for head in (whole, short))
    assert (with_trunk[-8:] > 0).sum() > (without[-8:] > 0).sum()
    # The rig's cameras see the same points of both.
    for frame in (1, 40, 112):
        assert np.array_equal(visible_points(whole, frame), visible_points(short, frame))


def test_points_triangulated_from_labels_reproject(person: Head) -> None:
    """Each label gives two linear equations per visible point; the solution is the carried acupoint."""
    labels = [make_label(person, camera_of("around", 0, 4, frame)) for frame in (1, 2, 4, 36, 37, 38, 110)]
    seen = np.array([label.listed for label in labels])
    points = np.flatnonzero(seen.sum(0) >= 3)
    assert len(points) > 40
    for point in points:
        rows, right = [], []
        for label in (label for label in labels if label.listed[point]):
            camera = label.camera
            assert camera is not None
            for axis in (0, 1):
                slope = (label.xy[point, axis] - 0.5) / camera.focal
                rows.append(camera.R[axis] - slope * camera.R[2])
                right.append(slope * camera.t_mm[2] - camera.t_mm[axis])
        place = np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)[0]
        assert np.linalg.norm(place - person.acupoints_mm[point]) < 0.02, acupoints.NAMES[point]
