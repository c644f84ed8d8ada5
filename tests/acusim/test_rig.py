"""Cameras against the authors' numbers and real labels."""

import math
from pathlib import Path

import numpy as np
import pytest

from acusim import acupoints, labels, rig
from acusim.errors import ConfigError
from acusim.sample_id import SampleId

REAL_LABELS = sorted((Path(__file__).parents[1] / "data" / "acusim").glob("*.json"))
TRUE_DEPTH_FRAMES = (1, 19, 55, 91, 127)


@pytest.mark.parametrize("path", REAL_LABELS, ids=lambda path: path.stem)
def test_table_and_rig_reproduce_a_real_label(path: Path):
    """Real x, y are cut down to a grid of 1/2048, so each axis is up to 1.5 px too small and never too large."""
    label = labels.read_label(path)
    frame = SampleId.parse(path.stem).frame
    xy, depth = rig.project(acupoints.positions_mm(), frame, 2048)
    error = (label.xy * 2048 - xy)[label.listed]
    assert label.listed.sum() > 3
    assert np.abs(error).max() < 1.5
    assert np.abs(error + 0.75).max() < 0.77
    cosine = acupoints.normals() @ rig.camera(frame).forward
    assert np.abs(label.n - cosine)[label.listed].max() < 1e-5
    if frame in TRUE_DEPTH_FRAMES:
        assert np.abs(label.h_m * 1000 - depth)[label.listed].max() < 0.01
    else:
        assert np.abs(label.h_m * 1000 - depth)[label.listed].max() > 5  # the released files' wrong column


def test_rig_known_answers():
    assert len(rig.KEPT_FRAMES) == 45
    assert rig.KEPT_FRAMES[:12] == (*range(1, 12), 30)
    # The authors' camera of frame 38, as they place it in Blender.
    assert np.allclose(rig.camera(38).center_mm, [131.178612, -743.950879, 431.71542], atol=1e-5)
    assert np.allclose(rig.camera(109).center_mm, [0, -751.590281, -438.361713], atol=1e-5)
    for frame in rig.FRAMES:
        rotation = rig.camera(frame).R
        assert np.allclose(rotation @ rotation.T, np.eye(3)) and math.isclose(np.linalg.det(rotation), 1)
    # A pixel at the nose tip (DU25) of frame 1 spans 0.5405 mm at 512.
    _, depth = rig.project(acupoints.positions_mm()[[acupoints.index_of("DU25_素髎")]], 1, 512)
    assert math.isclose(rig.mm_per_px(depth, 512)[0], 0.5405, abs_tol=5e-5)


def test_parse_frames():
    assert rig.parse_frames("1,2,5-7") == (1, 2, 5, 6, 7)
    assert rig.parse_frames("7-7, 3") == (3, 7)
    assert rig.parse_frames("kept") == rig.KEPT_FRAMES
    assert rig.parse_frames("all") == tuple(range(1, 145))
    assert len(rig.parse_frames("kept44")) == 44 and {*rig.KEPT_FRAMES} - {*rig.parse_frames("kept44")} == {108}
    for bad in ("", "0", "145", "9-5", "a", "1-", "-3", "1,,2", "²"):
        with pytest.raises(ConfigError):
            rig.parse_frames(bad)


def test_a_rolled_camera_turns_the_picture_clockwise_about_its_centre():
    cosine, sine = math.cos(math.radians(20)), math.sin(math.radians(20))
    move = np.array([0.0, 0.0, 900.0])
    upright = rig.camera_at(rig.rotation_of(30, 10), move)
    rolled = rig.camera_at(rig.rotation_of(30, 10, 20), move)
    before, depth = rig.project(acupoints.positions_mm(), upright, 1.0)
    after, same_depth = rig.project(acupoints.positions_mm(), rolled, 1.0)
    x, y = (before - 0.5).T
    assert np.allclose(after - 0.5, np.stack([cosine * x - sine * y, sine * x + cosine * y], 1), atol=1e-12)
    assert np.allclose(depth, same_depth)


def test_focal_length_scales_the_picture_about_its_centre_and_the_millimetres_of_a_pixel():
    nominal = rig.camera(5)
    longer = rig.camera_at(nominal.R, nominal.t_mm, 1.25 * rig.FOCAL)
    before, depth = rig.project(acupoints.positions_mm(), nominal, 256)
    after, _ = rig.project(acupoints.positions_mm(), longer, 256)
    assert np.allclose(after - 128, 1.25 * (before - 128))
    assert np.allclose(rig.mm_per_px(depth, 256, longer.focal) * 1.25, rig.mm_per_px(depth, 256))


@pytest.mark.parametrize("frame", [1, 5, 46, 90, 120])
def test_a_frame_and_its_numbers_are_the_same_camera(frame: int):
    nominal = rig.camera(frame)
    camera = rig.camera_at(nominal.R, nominal.t_mm)
    assert camera.frame is None and camera.ring is None and camera.focal == rig.FOCAL
    assert math.isclose(camera.elevation_deg, nominal.elevation_deg, abs_tol=1e-9)
    assert math.isclose((camera.azimuth_deg - nominal.azimuth_deg + 180) % 360, 180, abs_tol=1e-9)
    points = acupoints.positions_mm()
    for by_camera, by_frame in zip(
        rig.project(points, camera, 1.0),
        rig.project(points, frame, 1.0),
        strict=True,
    ):
        assert np.array_equal(by_camera, by_frame)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"rotation": np.eye(2)}, "(2, 2)"),
        ({"rotation": np.diag([1.0, 1.0, 1.001])}, "not orthonormal"),
        ({"rotation": np.diag([1.0, 1.0, -1.0])}, "determinant -1"),
        ({"rotation": np.diag([1.0, 1.0, np.nan])}, "finite"),
        ({"translation_mm": [0, 0, np.inf]}, "finite"),
        ({"translation_mm": [0, 0, 20.0]}, "20 mm"),
        ({"focal": 0.2}, "focal = 0.2"),
        ({"focal": math.nan}, "focal = nan"),
    ],
)
def test_what_cannot_be_a_camera_is_refused(change: dict, named: str):
    values = {"rotation": np.eye(3), "translation_mm": [0.0, 0.0, 870.0], **change}
    with pytest.raises(ConfigError) as error:
        rig.camera_at(**values)
    assert named in str(error.value)
