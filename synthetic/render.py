"""From a head, a camera and a light to a picture and its true depth."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from acusim import rig
from synthetic.canvas import sample_image
from synthetic.head import HAIR, SHIRT, SKIN, Head
from synthetic.identity import random_for
from synthetic.lights import Light, panorama_at
from synthetic.settings import Quality

FloatArray = NDArray[np.floating]

SKIN_SCATTER = np.array([0.30, 0.17, 0.12], np.float32)
"""How far, per channel, light wraps round skin; stands in for scattering below it."""
_SHADOW_LIFT_MM = 1.2
_FINE_AO_RAYS, _FINE_SHADOW_RAYS, _AO_RANGE_MM = 4, 4, 40.0


@dataclass(frozen=True)
class View:
    """One rendered view."""

    rgb: NDArray[np.uint8]
    """[S, S, 3] sRGB."""
    depth_mm: NDArray[np.uint16]
    """[S, S] z depth of the nearest surface at the pixel's centre, rounded; 0 where there is none."""
    mask: NDArray[np.bool_]
    """[S, S] where there is a surface."""


@dataclass
class _Hits:
    """Surface points met by rays, K of them."""

    pixel: NDArray[np.intp]
    """[K] index of the ray."""
    position: NDArray[np.float32]
    """[K, 3] mm."""
    normal: NDArray[np.float32]
    """[K, 3] unit, towards the camera."""
    view: NDArray[np.float32]
    """[K, 3] unit, from the camera."""
    material: NDArray[np.uint8]
    """[K]."""
    uv: NDArray[np.float32]
    """[K, 2] texels."""
    openness: NDArray[np.float32]
    """[K] baked."""


@lru_cache(maxsize=4)
def _camera_rays(frame: int, width: int) -> NDArray[np.float32]:
    """[width * width, 3] rays through pixel centres, scaled to length 1 along the camera's axis."""
    camera = rig.camera(frame)
    across = ((np.arange(width) + 0.5) / width - 0.5) / rig.FOCAL
    x, y = np.meshgrid(across, across)
    rays = x[..., None] * camera.R[0] + y[..., None] * camera.R[1] + camera.R[2]
    return rays.reshape(-1, 3).astype(np.float32)


def depth_map(head: Head, frame: int, size: int) -> FloatArray:
    """[size, size] z depth in mm at pixel centres, 0 where nothing is met. Independent of shading."""
    rays = _camera_rays(frame, size)
    distance = head.scene.distance(_origins(frame, len(rays)), rays)
    return np.where(distance < 1e6, distance, 0.0).reshape(size, size)


def _origins(frame: int, count: int) -> NDArray[np.float32]:
    return np.tile(rig.camera(frame).center_mm.astype(np.float32), (count, 1))


def render(head: Head, light: Light, frame: int, *, size: int, quality: Quality, seed: int) -> View:
    """Renders one view.

    Args:
        head: the person.
        light: see lights.
        frame: camera 1..144.
        size: side of the square picture in pixels.
        quality: draft is one ray a pixel and baked occlusion; fine is 2x2, fine occlusion, soft shadows.
        seed: of the data set, for the samples' noise.
    """
    over = 2 if quality == "fine" else 1
    width = size * over
    rays = _camera_rays(frame, width)
    found = head.scene.first_hit(_origins(frame, len(rays)), rays)
    hits = _gather(head, frame, rays, found)
    rng = random_for("samples", seed, head.who.index, frame)
    colour = _shade(head, hits, light, frame, quality, rng)
    image = np.zeros((width * width, 3), np.float32)
    if light.panorama is not None:
        missed = np.ones(len(image), bool)
        missed[hits.pixel] = False
        image[missed] = panorama_at(light.panorama, rays[missed])
    image[hits.pixel] = colour
    if over > 1:
        # Averaging after a clip keeps highlights from widening bright edges.
        image = np.clip(image, 0, 1.5).reshape(size, over, size, over, 3).mean((1, 3))
        depth = depth_map(head, frame, size)
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


def _gather(head: Head, frame: int, rays: NDArray[np.float32], found: dict) -> _Hits:
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
    position = rig.camera(frame).center_mm.astype(np.float32) + ray * found["tfar"][pixel][:, None]
    view = ray / np.sqrt(np.einsum("nc,nc->n", ray, ray))[:, None]
    normal = unit(blend(head.normals))
    away = np.einsum("nc,nc->n", normal, view) > 0
    normal[away] -= 2 * np.einsum("nc,nc->n", normal[away], view[away])[:, None] * view[away]
    return _Hits(pixel, position, normal, view, head.material[primitive], blend(head.uv), blend(head.openness))


def unit(vectors: FloatArray) -> NDArray[np.float32]:
    """[N, 3] vectors of length 1."""
    return vectors / (np.sqrt(np.einsum("nc,nc->n", vectors, vectors))[:, None] + 1e-9)


def _albedo(head: Head, hits: _Hits) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """[K, 3] colour of the surface, and the strand noise [K] (zero off the hair)."""
    colour = np.empty((len(hits.pixel), 3), np.float32)
    colour[:] = head.plain_skin
    skin, shirt, hair = (np.flatnonzero(hits.material == kind) for kind in (SKIN, SHIRT, HAIR))
    colour[skin] = sample_image(head.texture, hits.uv[skin, 0] - 0.5, hits.uv[skin, 1] - 0.5)
    colour[shirt] = head.who.shirt_rgb
    strand = np.zeros(len(hits.pixel), np.float32)
    if len(hair):
        place = hits.position[hair]
        azimuth = np.arctan2(place[:, 0], -(place[:, 1] - 8.0))
        fall = np.arctan2(place[:, 2], np.hypot(place[:, 0], place[:, 1]))
        rows, columns = head.strands.shape
        x = (azimuth / (2 * np.pi) + 0.5) * (columns - 1)
        y = (fall / np.pi + 0.5) * (rows - 1)
        strand[hair] = sample_image(head.strands, x.astype(np.float32), y.astype(np.float32), wrap=True)[:, 0]
        # Dark hair lives by its strands; on light hair the same contrast looks like wood.
        contrast = 0.6 if max(head.who.hair_rgb) < 0.12 else 0.33
        colour[hair] = np.asarray(head.who.hair_rgb, np.float32) * np.exp(contrast * strand[hair])[:, None]
    return colour, strand


def _shade(
    head: Head, hits: _Hits, light: Light, frame: int, quality: Quality, rng: np.random.Generator
) -> NDArray[np.float32]:
    """[K, 3] linear RGB."""
    albedo, strand = _albedo(head, hits)
    normal = hits.normal
    is_skin = (hits.material != SHIRT) & (hits.material != HAIR)
    is_hair = np.flatnonzero(hits.material == HAIR)
    open_sky = hits.openness
    origin = hits.position + normal * _SHADOW_LIFT_MM
    if quality == "fine":
        open_sky = open_sky * _near_openness(head, origin, normal, rng)

    facing = np.clip(-np.einsum("nc,nc->n", normal, hits.view), 0, 1)
    ambient = light.ambient.astype(np.float32) + light.sky.astype(np.float32) * normal[:, 2:3]
    # Skin lets light through where it is hollow: its shade is warm, not grey.
    tinted = np.where(is_skin[:, None], open_sky[:, None] ** np.array([0.75, 1.0, 1.1], np.float32), open_sky[:, None])
    total = albedo * (ambient * tinted + light.camera.astype(np.float32) * (facing * open_sky)[:, None])
    if light.camera.any() and len(is_hair):
        total[is_hair] += _hair_gleam(hits, is_hair, strand, -hits.view[is_hair]) * light.camera.mean() * 0.5
    if light.key.any():
        total += _key_light(head, hits, albedo, strand, is_skin, is_hair, origin, light, quality, rng)
    sheen = 0.035 * (1 - facing) ** 4 * open_sky
    gloss = np.where(is_skin, 0.02 * facing**24, 0.0) * open_sky
    return total + ((sheen + gloss)[:, None] * (light.ambient + light.camera)).astype(np.float32)


def _near_openness(head: Head, origin: FloatArray, normal: NDArray[np.float32], rng: np.random.Generator) -> FloatArray:
    """[K] fine ambient occlusion over _AO_RANGE_MM; the baked one knows the wider surroundings."""
    blocked = np.zeros(len(origin), np.float32)
    for _ in range(_FINE_AO_RAYS):
        ray = unit(unit(rng.standard_normal(normal.shape, np.float32)) + normal)
        blocked += np.clip(1 - head.scene.distance(origin, ray) / _AO_RANGE_MM, 0, 1)
    return 1 - 0.6 * blocked / _FINE_AO_RAYS


def _hair_gleam(hits: _Hits, rows: NDArray[np.intp], strand: FloatArray, to_light: FloatArray) -> NDArray[np.float32]:
    """[H, 1] highlight of hair whose strands fall downwards (Kajiya and Kay 1989)."""
    normal = hits.normal[rows]
    tangent = np.array([0, 0, 1], np.float32) - normal * normal[:, 2:3]
    half = unit((to_light - hits.view[rows]).astype(np.float32))
    along = np.einsum("nc,nc->n", unit(tangent), half)
    shine = np.clip(1 - along**2, 0, 1) ** 20 * np.clip(0.45 + 0.7 * strand[rows], 0, 1.6)
    return (0.10 * shine)[:, None].astype(np.float32)


def _key_light(
    head: Head,
    hits: _Hits,
    albedo: FloatArray,
    strand: FloatArray,
    is_skin: NDArray[np.bool_],
    is_hair: NDArray[np.intp],
    origin: FloatArray,
    light: Light,
    quality: Quality,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """[K, 3] what the directional light adds, with cast shadows."""
    direction = light.key_direction.astype(np.float32)
    cosine = np.einsum("nc,c->n", hits.normal, direction)
    lit = np.flatnonzero(cosine > -0.3)
    visible = np.zeros(len(lit), np.float32)
    rays = _FINE_SHADOW_RAYS if quality == "fine" else 1
    spread = light.key_size if quality == "fine" else 0.0
    for _ in range(rays):
        ray = unit(direction + spread * rng.standard_normal((len(lit), 3), np.float32))
        visible += ~head.scene.occluded(origin[lit], ray)
    shadow = np.zeros(len(cosine), np.float32)
    shadow[lit] = visible / rays
    wrapped = np.clip((cosine[:, None] + SKIN_SCATTER) / (1 + SKIN_SCATTER), 0, None) ** 1.2
    diffuse = np.where(is_skin[:, None], wrapped, np.clip(cosine, 0, 1)[:, None])
    half = unit(direction - hits.view)
    gloss = np.clip(np.einsum("nc,nc->n", hits.normal, half), 0, 1) ** 26 * np.where(is_skin, 0.10, 0.01)
    out = albedo * diffuse + gloss[:, None]
    if len(is_hair):
        out[is_hair] += _hair_gleam(hits, is_hair, strand, np.broadcast_to(direction, (len(is_hair), 3)))
    return (out * shadow[:, None] * light.key).astype(np.float32)
