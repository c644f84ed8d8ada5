"""From a head, a camera and a light to a picture and its true depth."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from acusim import rig
from acusim.rig import Camera
from synthetic.head import Head
from synthetic.identity import random_for
from synthetic.lights import Light, panorama_at
from synthetic.rays import camera_rays, depth_from, origins
from synthetic.settings import Quality
from synthetic.shading import Hits, shade, unit

FloatArray = NDArray[np.floating]


@dataclass(frozen=True)
class View:
    """One rendered view."""

    rgb: NDArray[np.uint8]
    """[S, S, 3] sRGB."""
    depth_mm: NDArray[np.uint16]
    """[S, S] z depth of the nearest surface at the pixel's centre, rounded; 0 where there is none."""
    mask: NDArray[np.bool_]
    """[S, S] where there is a surface."""


def depth_map(head: Head, view: int | Camera, size: int) -> FloatArray:
    """[size, size] z depth in mm at pixel centres, 0 where nothing is met. Independent of shading."""
    return depth_from(head.scene, rig.as_camera(view), size)


def render(head: Head, light: Light, view: int | Camera, *, size: int, quality: Quality, seed: int) -> View:
    """Renders one view.

    Args:
        head: the person.
        light: see lights.
        view: frame 1..144 of the rig, or a camera.
        size: side of the square picture in pixels.
        quality: draft is one ray a pixel and baked occlusion; fine is 2x2, fine occlusion, soft shadows.
        seed: of the data set, for the samples' noise.
    """
    over = 2 if quality == "fine" else 1
    width = size * over
    camera = rig.as_camera(view)
    rays = camera_rays(camera, width)
    found = head.scene.first_hit(origins(camera, len(rays)), rays)
    hits = _gather(head, camera, rays, found)
    rng = random_for("samples", seed, head.who.index, camera.frame)
    colour = shade(head, hits, light, quality, rng)
    image = np.zeros((width * width, 3), np.float32)
    if light.panorama is not None:
        missed = np.ones(len(image), bool)
        missed[hits.pixel] = False
        image[missed] = panorama_at(light.panorama, rays[missed])
    image[hits.pixel] = colour
    if over > 1:
        # Averaging after a clip keeps highlights from widening bright edges.
        image = np.clip(image, 0, 1.5).reshape(size, over, size, over, 3).mean((1, 3))
        depth = depth_map(head, camera, size)
    else:
        depth = np.zeros(width * width, np.float32)
        depth[hits.pixel] = found["tfar"][hits.pixel]
        depth = depth.reshape(size, size)
    rgb = to_srgb(image).reshape(size, size, 3)
    return View(rgb, np.rint(depth).astype(np.uint16), depth > 0)


def to_srgb(linear: NDArray[np.float32]) -> NDArray[np.uint8]:
    """sRGB bytes of linear values 0..1, cut to that range; any shape."""
    return _srgb_table()[(np.clip(linear, 0, 1) * 4095 + 0.5).astype(np.uint16)]


@lru_cache(maxsize=1)
def _srgb_table() -> NDArray[np.uint8]:
    """sRGB byte of 4096 linear levels."""
    linear = np.arange(4096) / 4095
    curve = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return (curve * 255 + 0.5).astype(np.uint8)


def _gather(head: Head, camera: Camera, rays: NDArray[np.float32], found: dict) -> Hits:
    """Interpolates what shading needs at the hits."""
    pixel = np.flatnonzero(found["primID"] >= 0)
    primitive = found["primID"][pixel]
    u, v = found["u"][pixel].astype(np.float32), found["v"][pixel].astype(np.float32)
    first, second, third = head.faces[primitive].T

    def blend(values: NDArray[np.float32]) -> NDArray[np.float32]:
        if values.ndim == 1:
            return values[first] * (1 - u - v) + values[second] * u + values[third] * v
        return values[first] * (1 - u - v)[:, None] + values[second] * u[:, None] + values[third] * v[:, None]

    ray = rays[pixel]
    position = camera.center_mm.astype(np.float32) + ray * found["tfar"][pixel][:, None]
    view = ray / np.sqrt(np.einsum("nc,nc->n", ray, ray))[:, None]
    normal = unit(blend(head.normals))
    away = np.einsum("nc,nc->n", normal, view) > 0
    normal[away] -= 2 * np.einsum("nc,nc->n", normal[away], view[away])[:, None] * view[away]
    return Hits(pixel, position, normal, view, head.material[primitive], blend(head.uv), blend(head.openness))
