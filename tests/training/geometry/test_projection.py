"""Projection of many pictures, rotations, and the angles of a head's pose."""

import cv2
import numpy as np
import pytest

from acusim import acupoints, rig
from acusim.errors import ConfigError
from training.geometry.projection import cameras_of, head_pose_deg, project, rotations


def test_the_rig_projects_as_one_by_one():
    frames = [1, 40, 80, 141, 40]
    xy, depth = project(acupoints.positions_mm(), *cameras_of(frames))
    for row, frame in enumerate(frames):
        alone, alone_depth = rig.project(acupoints.positions_mm(), frame, 1.0)
        np.testing.assert_allclose(xy[row], alone, atol=1e-12)
        np.testing.assert_allclose(depth[row], alone_depth, atol=1e-9)


def test_each_picture_may_have_points_and_a_focal_length_of_its_own():
    rotation, translation, focal = cameras_of([1, 5])
    points = np.stack([acupoints.positions_mm(), acupoints.positions_mm() + 3])
    xy, _ = project(points, rotation, translation, focal * [1, 2])
    one, _ = project(points[1], rotation[1:], translation[1:], 2 * focal[1:])
    np.testing.assert_allclose(xy[1], one[0])
    with pytest.raises(ConfigError, match=r"expected \[P, 3\]"):
        project(points[..., :2], rotation, translation)


def test_a_point_in_the_plane_of_the_camera_stays_finite():
    xy, depth = project(np.zeros((1, 3)), np.eye(3)[None], np.zeros((1, 3)))
    assert depth[0, 0] == 0
    assert np.isfinite(xy).all()


def test_rotations_are_those_of_opencv():
    vectors = np.random.default_rng(0).normal(0, 1, (5, 3))
    for vector, matrix in zip(vectors, rotations(vectors), strict=True):
        np.testing.assert_allclose(matrix, cv2.Rodrigues(vector)[0], atol=1e-12)
    np.testing.assert_array_equal(rotations(np.zeros((1, 3)))[0], np.eye(3))


def test_the_face_that_looks_into_the_camera_has_angles_of_zero():
    np.testing.assert_allclose(head_pose_deg(cameras_of([1])[0]), 0, atol=1e-9)


@pytest.mark.parametrize(
    ("frame", "yaw", "pitch"),
    [(4, -30, 0), (34, 30, 0), (37, 0, -30), (109, 0, 30), (46, -90, -30), (28, 90, 0)],
)
def test_cameras_of_the_rig_see_their_azimuth_and_elevation(frame: int, yaw: float, pitch: float):
    np.testing.assert_allclose(head_pose_deg(cameras_of([frame])[0])[0], [yaw, pitch, 0], atol=1e-9)


def test_angles_have_the_signs_of_the_text():
    rotation, translation, _ = cameras_of([1])
    for vector, axis, sign, index in (
        ((0, np.radians(-20), 0), 0, 1, 0),  # yaw: the nose moves to the right edge
        ((np.radians(-20), 0, 0), 1, -1, 1),  # pitch: it moves up
        ((0, 0, np.radians(20)), 0, 1, 2),  # roll: the top of the head moves to the right
    ):
        turned = rotations(np.array([vector], float)) @ rotation
        np.testing.assert_allclose(np.abs(head_pose_deg(turned)[0]).round(6), np.eye(3)[index] * 20, atol=1e-6)
        assert head_pose_deg(turned)[0, index] == pytest.approx(20)
        place = np.array([[0, 0, 100.0]]) if index == 2 else np.array([[0, -100.0, 0]])
        moved = project(place, turned, translation)[0] - project(place, rotation, translation)[0]
        assert moved[0, 0, axis] * sign > 0
