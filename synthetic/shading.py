"""What the surface points of a view look like under a light."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthetic.canvas import sample_image
from synthetic.gloss import SKIN_F0, Finish, fresnel, ggx, rough_normals
from synthetic.head import HAIR, SHIRT, SKIN, Head
from synthetic.identity import random_for
from synthetic.lights import Light
from synthetic.settings import Quality

FloatArray = NDArray[np.floating]

SKIN_SCATTER = np.array([0.30, 0.17, 0.12], np.float32)
"""How far, per channel, light wraps round skin; stands in for scattering below it."""
_SHADOW_LIFT_MM = 1.2
_CLOTH_ALPHA, _CLOTH_F0 = 0.5, 0.02
_FINE_AO_RAYS, _FINE_SHADOW_RAYS, _AO_RANGE_MM = 4, 4, 40.0


@dataclass
class Hits:
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


def unit(vectors: FloatArray) -> NDArray[np.float32]:
    """[N, 3] vectors of length 1."""
    return vectors / (np.sqrt(np.einsum("nc,nc->n", vectors, vectors))[:, None] + 1e-9)


def _albedo(head: Head, hits: Hits) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
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


@dataclass(frozen=True, slots=True)
class _Surface:
    """The points of a view, and what every light needs to know of them."""

    head: Head
    hits: Hits
    albedo: NDArray[np.float32]
    """[K, 3]."""
    strand: NDArray[np.float32]
    """[K] noise of hair."""
    is_skin: NDArray[np.bool_]
    """[K]."""
    hair: NDArray[np.intp]
    """Which points are hair."""
    origin: FloatArray
    """[K, 3] mm, where rays towards lights start."""
    quality: Quality
    rng: np.random.Generator

    @classmethod
    def of(cls, head: Head, hits: Hits, quality: Quality, rng: np.random.Generator) -> "_Surface":
        """The surface of a head's points."""
        is_skin = (hits.material != SHIRT) & (hits.material != HAIR)
        hair = np.flatnonzero(hits.material == HAIR)
        return cls(head, hits, *_albedo(head, hits), is_skin, hair, hits.position + hits.normal * _SHADOW_LIFT_MM,
                   quality, rng)  # fmt: skip

    def gleam(self, to_light: FloatArray) -> NDArray[np.float32]:
        """[H, 1] highlight of hair whose strands fall downwards (Kajiya and Kay 1989).

        Args:
            to_light: [H, 3] unit, for each point of hair.
        """
        normal = self.hits.normal[self.hair]
        tangent = np.array([0, 0, 1], np.float32) - normal * normal[:, 2:3]
        half = unit((to_light - self.hits.view[self.hair]).astype(np.float32))
        along = np.einsum("nc,nc->n", unit(tangent), half)
        shine = np.clip(1 - along**2, 0, 1) ** 20 * np.clip(0.45 + 0.7 * self.strand[self.hair], 0, 1.6)
        return (0.10 * shine)[:, None].astype(np.float32)

    def unshadowed(self, lit: NDArray[np.intp], direction: NDArray[np.float32], size: float) -> NDArray[np.float32]:
        """[K] share of a light that reaches the points; 0 for those that are not lit.

        Args:
            lit: which points may be.
            direction: [3] unit, towards the light.
            size: spread of its rays, which softens shadows in fine quality.
        """
        visible = np.zeros(len(lit), np.float32)
        fine = self.quality == "fine"
        rays, spread = (_FINE_SHADOW_RAYS, size) if fine else (1, 0.0)
        for _ in range(rays):
            ray = unit(direction + spread * self.rng.standard_normal((len(lit), 3), np.float32))
            visible += ~self.head.scene.occluded(self.origin[lit], ray)
        out = np.zeros(len(self.origin), np.float32)
        out[lit] = visible / rays
        return out


def shade(head: Head, hits: Hits, light: Light, quality: Quality, rng: np.random.Generator) -> NDArray[np.float32]:
    """[K, 3] linear RGB."""
    surface = _Surface.of(head, hits, quality, rng)
    normal, is_skin = hits.normal, surface.is_skin
    open_sky = hits.openness
    if quality == "fine":
        open_sky = open_sky * _near_openness(head, surface.origin, normal, rng)

    facing = np.clip(-np.einsum("nc,nc->n", normal, hits.view), 0, 1)
    ambient = light.ambient.astype(np.float32) + light.sky.astype(np.float32) * normal[:, 2:3]
    # Skin lets light through where it is hollow: its shade is warm, not grey.
    tinted = np.where(is_skin[:, None], open_sky[:, None] ** np.array([0.75, 1.0, 1.1], np.float32), open_sky[:, None])
    total = surface.albedo * (ambient * tinted + light.camera.astype(np.float32) * (facing * open_sky)[:, None])
    if light.camera.any() and len(surface.hair):
        total[surface.hair] += surface.gleam(-hits.view[surface.hair]) * light.camera.mean() * 0.5
    if light.key.any():
        total += _key_light(surface, light)
    if light.finish is not None:
        total += _lamp_light(surface, light, light.finish)
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


def _lamp_light(surface: _Surface, light: Light, finish: Finish) -> NDArray[np.float32]:
    """[K, 3] what the lamps add: skin mirrors them, and scatters below its surface what it does not reflect."""
    hits, is_skin, hair = surface.hits, surface.is_skin, surface.hair
    relief = rough_normals(hits.normal, hits.position, finish.relief, random_for("relief", surface.head.who.index))
    glossy = np.where(is_skin[:, None], relief, hits.normal)
    out = np.zeros_like(surface.albedo, np.float32)
    for lamp in light.lamps:
        direction = lamp.direction.astype(np.float32)
        to_light = np.broadcast_to(direction, hits.normal.shape)
        cosine = np.clip(np.einsum("nc,c->n", hits.normal, direction), 0, 1)
        mirrored = _mirrored(glossy, -hits.view, to_light, is_skin, finish)
        below = np.where(is_skin, 1 - fresnel(cosine, SKIN_F0), 1.0)
        part = surface.albedo * (below * cosine)[:, None] + (np.pi * mirrored * cosine)[:, None]
        if len(hair):
            part[hair] += 1.4 * surface.gleam(to_light[hair])
        shadow = surface.unshadowed(np.flatnonzero(cosine > 0), direction, lamp.size)
        out += (part * shadow[:, None] * lamp.colour).astype(np.float32)
    return out


def _mirrored(
    normal: FloatArray, to_view: FloatArray, to_light: FloatArray, is_skin: NDArray[np.bool_], finish: Finish
) -> FloatArray:
    """[K] reflectance at the surface: skin has a sharp film of sebum over a duller layer; cloth is dull."""
    film = ggx(normal, to_view, to_light, finish.roughness**2, SKIN_F0)
    layer = ggx(normal, to_view, to_light, (1.6 * finish.roughness) ** 2, SKIN_F0)
    return np.where(is_skin, 0.65 * film + 0.35 * layer, ggx(normal, to_view, to_light, _CLOTH_ALPHA, _CLOTH_F0))


def _key_light(surface: _Surface, light: Light) -> NDArray[np.float32]:
    """[K, 3] what the directional light adds, with cast shadows."""
    hits, is_skin, hair = surface.hits, surface.is_skin, surface.hair
    direction = light.key_direction.astype(np.float32)
    cosine = np.einsum("nc,c->n", hits.normal, direction)
    shadow = surface.unshadowed(np.flatnonzero(cosine > -0.3), direction, light.key_size)
    wrapped = np.clip((cosine[:, None] + SKIN_SCATTER) / (1 + SKIN_SCATTER), 0, None) ** 1.2
    diffuse = np.where(is_skin[:, None], wrapped, np.clip(cosine, 0, 1)[:, None])
    half = unit(direction - hits.view)
    gloss = np.clip(np.einsum("nc,nc->n", hits.normal, half), 0, 1) ** 26 * np.where(is_skin, 0.10, 0.01)
    out = surface.albedo * diffuse + gloss[:, None]
    if len(hair):
        out[hair] += surface.gleam(np.broadcast_to(direction, (len(hair), 3)))
    return (out * shadow[:, None] * light.key).astype(np.float32)
