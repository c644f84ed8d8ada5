"""The camera over the table, and how a hand is laid before it.

World (mm): the table is z = 0, the camera above it. Picture coordinates are continuous: (0, 0) is the upper left corner
of the upper left pixel, whose centre is (0.5, 0.5).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthetic.hands.skeleton import turn

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Placement:
    """From the right hand's frame to the world: mirrored for a left hand, turned, lifted onto the table."""

    matrix: Floats
    """[3, 3]; its determinant is negative for a left hand."""
    shift: Floats
    """[3] mm."""

    def points(self, places: NDArray[np.floating]) -> Floats:
        """[N, 3] places of the hand in the world."""
        return places @ self.matrix.T + self.shift

    def directions(self, vectors: NDArray[np.floating]) -> Floats:
        """[N, 3] normals and directions in the world."""
        return vectors @ self.matrix.T


def place_hand(
    vertices: NDArray[np.floating],
    side: str,
    face: str,
    *,
    yaw: float = 0.0,
    pitch: float = 0.0,
    roll: float = 0.0,
    lift: float = 0.0,
) -> Placement:
    """Lays a hand over the table.

    Args:
        vertices: [V, 3] of the right hand's mesh.
        side: L or R.
        face: the side turned up: back or palm.
        yaw: turn in the table's plane, degrees; 0 points away from the viewer.
        pitch: fingers up against the wrist, degrees.
        roll: about the hand's long axis, degrees.
        lift: height of the lowest place over the table, mm.
    """
    mirror = np.diag([-1.0 if side == "L" else 1.0, 1.0, 1.0])
    matrix = turn(2, yaw) @ turn(0, pitch) @ turn(1, roll + (180.0 if face == "palm" else 0.0)) @ mirror
    lowest = (vertices @ matrix[2]).min()
    return Placement(matrix, np.array([0.0, 0.0, lift - lowest]))


@dataclass(frozen=True)
class Camera:
    """A pinhole camera."""

    center: Floats
    """[3] mm, world."""
    axes: Floats
    """[3, 3] rows right, down, forward."""
    focal_px: float
    middle: tuple[float, float]
    """Where its axis meets the picture."""
    width: int
    height: int

    def project(self, places: Floats) -> Floats:
        """[N, 2] picture coordinates of [N, 3] world places."""
        local = (places - self.center) @ self.axes.T
        return local[:, :2] / local[:, 2:] * self.focal_px + np.array(self.middle)

    def rays(self, over: int = 1) -> NDArray[np.float32]:
        """[height * over * width * over, 3] unit rays through the centres of (parts of) pixels."""
        x, y = np.meshgrid(
            (np.arange(self.width * over) + 0.5) / over - self.middle[0],
            (np.arange(self.height * over) + 0.5) / over - self.middle[1],
        )
        rays = np.stack([x, y, np.full_like(x, self.focal_px)], -1).reshape(-1, 3) @ self.axes
        return (rays / np.linalg.norm(rays, axis=1, keepdims=True)).astype(np.float32)


def frame_hand(
    places: Floats,
    size: tuple[int, int],
    *,
    tilt: float = 0.0,
    azimuth: float = 0.0,
    view_deg: float = 30.0,
    fill: float = 0.8,
    shift: tuple[float, float] = (0.0, 0.0),
) -> Camera:
    """A camera that views a hand.

    Args:
        places: [N, 3] world places that shall be in the picture.
        size: of the picture, (width, height) in pixels.
        tilt: of the view from straight down, degrees.
        azimuth: from where it is tilted, degrees.
        view_deg: angle that the picture's longer side spans; small is far away.
        fill: share of the picture that the places span, across or down, whichever is more.
        shift: (right, down) from the middle, -1 to 1 of the room that is left.
    """
    width, height = size
    focal = max(size) / 2 / np.tan(np.radians(view_deg) / 2)
    t, a = np.radians(tilt), np.radians(azimuth)
    back = np.array([np.sin(t) * np.cos(a), np.sin(t) * np.sin(a), np.cos(t)])
    right = np.cross(-back, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(-back, right), -back])
    target = (places.min(0) + places.max(0)) / 2
    distance = 600.0
    for _ in range(4):
        camera = Camera(target + distance * back, axes, focal, (0.0, 0.0), width, height)
        xy = camera.project(places)
        low, high = xy.min(0), xy.max(0)
        distance *= float(((high - low) / np.array(size)).max() / fill)
    camera = Camera(target + distance * back, axes, focal, (0.0, 0.0), width, height)
    xy = camera.project(places)
    low, high = xy.min(0), xy.max(0)
    room = (np.array(size) - (high - low)) / 2
    middle = np.array(size) / 2 - (low + high) / 2 + np.array(shift) * np.maximum(room, 0)
    return Camera(camera.center, axes, focal, (float(middle[0]), float(middle[1])), width, height)
