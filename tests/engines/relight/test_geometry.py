"""What the relight engine must reject: a wrong head would be cut out silently."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from acusim import rig
from acusim.errors import PictureError
from acusim.foreground import silhouette
from engines.relight.geometry import normals_from_depth, surface_of

SIDE = 128


def _disc(side: int = SIDE) -> np.ndarray:
    rows, columns = np.mgrid[:side, :side]
    return np.hypot(rows - side / 2, columns - side / 2) < 0.3 * side


@pytest.mark.parametrize(
    ("inside", "outside", "message"),
    [
        (60_000, 0, "allowed are 100..10000"),  # 16 bits, but not millimetres
        (870, 65_535, "allowed are 100..10000"),  # background marked by the largest value
        (870, 900, "no background found"),  # background at a wall's depth
    ],
)
def test_depth_that_is_no_head_before_a_background_is_refused(tmp_path: Path, inside: int, outside: int, message: str):
    path = tmp_path / "depth.png"
    Image.fromarray(np.where(_disc(), inside, outside).astype(np.uint16)).save(path)
    with pytest.raises(PictureError, match=message):
        surface_of(np.full((SIDE, SIDE, 3), 90, np.uint8), path.read_bytes())


def test_a_picture_of_a_few_pixels_is_refused():
    with pytest.raises(PictureError, match="the picture is 4 x 9; to be relit, it needs 8 x 8"):
        surface_of(np.zeros((9, 4, 3), np.uint8), None)


def test_labels_as_the_source_say_which_depth_there_is(tmp_path: Path):
    pixels = np.full((SIDE, SIDE, 3), 200, np.uint8)
    pixels[_disc()] = 90
    with pytest.raises(PictureError, match="geometry = labels: no depth map was fitted to the labels; run"):
        surface_of(pixels, None, geometry="labels")
    path = tmp_path / "depth.png"
    Image.fromarray(np.where(_disc(), 870, 0).astype(np.uint16)).save(path)
    with pytest.raises(PictureError, match="a depth map of its own, and none that was fitted to the labels; take"):
        surface_of(pixels, path.read_bytes(), geometry="labels")


def test_a_background_that_fades_is_not_taken_for_a_head():
    ramp = np.clip(130 + 15 * (np.mgrid[:SIDE, :SIDE][0] / SIDE - 0.3).clip(0), 0, 255)
    pixels = np.where(_disc()[..., None], 40, ramp[..., None].repeat(3, 2)).astype(np.uint8)
    pixels[: SIDE // 2, 0] += 9  # the side fades too, up to where it counts as head
    pixels[: SIDE // 2, -1] += np.linspace(0, 11, SIDE // 2).astype(np.uint8)[:, None]
    with pytest.raises(PictureError, match="no foreground found"):
        silhouette(pixels)


def test_whole_millimetres_leave_no_rings():
    width, radius, distance = 512, 95.0, 870.0
    slope = (np.arange(width) + 0.5 - width / 2) / (rig.FOCAL * width)
    a, b = np.meshgrid(slope, slope)
    square = a * a + b * b + 1
    root = distance**2 - square * (distance**2 - radius**2)
    mask = root > 0
    z = (distance - np.sqrt(np.maximum(root, 0))) / square
    true = (np.dstack([a * z, b * z, z]) - [0, 0, distance]) / radius
    found = normals_from_depth(np.where(mask, np.rint(z), 0).astype(np.float32), mask)
    inner = cv2.erode(mask.astype(np.uint8), np.ones((25, 25), np.uint8)) > 0
    error = np.degrees(np.arccos(np.clip((found * true).sum(2), -1, 1)))[inner]
    assert np.percentile(error, 95) < 1.0
