"""From a posed hand on a table to a picture: rays by embree, light baked at the mesh's vertices.

Relief is shown by bending the normals in the picture's plane (M. Mikkelsen, "Bump mapping unparametrized surfaces on
the GPU", 2010).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthetic import canvas
from synthetic.hands.camera import Camera, Placement
from synthetic.hands.places import table_at
from synthetic.hands.skin import SkinMaps
from synthetic.hands.subject import HandSubject
from synthetic.hands.surface import HandMesh
from synthetic.lights import Light
from synthetic.render import to_srgb
from synthetic.scene import Scene
from synthetic.settings import Quality
from synthetic.shading import SKIN_SCATTER, unit

Floats = NDArray[np.floating]

_LIFT_MM = 0.4
_OPEN_RAYS, _KEY_RAYS = 20, 10
_OPEN_REACH_MM = 90.0
_FLOOR_STEP_MM = 4.0
_RELIEF_SHARE = 0.75


@dataclass(frozen=True)
class PosedHand:
    """A hand in the world, ready for rays."""

    who: HandSubject
    mesh: HandMesh
    """In the right hand's frame."""
    vertices: NDArray[np.float32]
    """[V, 3] mm, world."""
    normals: NDArray[np.float32]
    """[V, 3] world, outwards."""
    chart: NDArray[np.float32]
    """[V, 3] places on the flat hand."""
    scene: Scene


def posed_hand(who: HandSubject, mesh: HandMesh, chart: NDArray[np.float32], placement: Placement) -> PosedHand:
    """Puts a mesh into the world."""
    vertices = placement.points(mesh.vertices).astype(np.float32)
    normals = placement.directions(mesh.normals).astype(np.float32)
    return PosedHand(who, mesh, vertices, normals, chart, Scene(vertices, mesh.faces))


@dataclass(frozen=True)
class _Bake:
    """Light that reaches places."""

    open: NDArray[np.float32]
    """[N] share of the sky that is free."""
    key: NDArray[np.float32]
    """[N] share of the key light that is free."""


def _bake(scene: Scene, places: Floats, normals: Floats, light: Light, rng: np.random.Generator) -> _Bake:
    start = (places + _LIFT_MM * normals).astype(np.float32)
    blocked, lit = np.zeros(len(places), np.float32), np.zeros(len(places), np.float32)
    for _ in range(_OPEN_RAYS):
        ray = unit(unit(rng.standard_normal(start.shape, np.float32)) + normals)
        distance = scene.distance(start, ray)
        # The table blocks too; what it sends back is added as a share of the open sky.
        down = np.where(ray[:, 2] < -1e-3, start[:, 2] / np.maximum(-ray[:, 2], 1e-3), np.float32(1e9))
        blocked += np.clip(1 - distance / _OPEN_REACH_MM, 0, 1) ** 0.5
        blocked += 0.5 * np.clip(1 - down / _OPEN_REACH_MM, 0, 1) * (distance > down)
    towards = light.key_direction.astype(np.float32)
    facing = np.flatnonzero(normals @ towards > -0.3)
    for _ in range(_KEY_RAYS):
        ray = unit(towards + light.key_size * rng.standard_normal((len(facing), 3), np.float32))
        lit[facing] += ~scene.occluded(start[facing], ray)
    return _Bake(np.clip(1 - blocked / _OPEN_RAYS, 0, 1), lit / _KEY_RAYS)


def render_hand(
    hand: PosedHand,
    skin: SkinMaps,
    table: NDArray[np.float32],
    light: Light,
    camera: Camera,
    *,
    quality: Quality,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """[height, width, 3] sRGB picture.

    Args:
        hand: in the world.
        skin: the person's.
        table: see places.draw_table.
        light: see places.table_light.
        camera: above the table.
        quality: draft is one ray a pixel, fine is 2x2.
        rng: for the samples' noise and the camera's.
    """
    over = 2 if quality == "fine" else 1
    rays = camera.rays(over)
    found = hand.scene.first_hit(np.tile(camera.center.astype(np.float32), (len(rays), 1)), rays)
    height, width = camera.height * over, camera.width * over
    baked = _bake(hand.scene, hand.vertices, hand.normals, light, rng)
    image = np.empty((len(rays), 3), np.float32)
    hit = found["primID"] >= 0
    image[~hit] = _table(hand, table, light, camera, rays[~hit], rng)
    image[hit] = _hand(hand, skin, light, baked, rays, found, (height, width))
    picture = np.clip(image, 0, 1.5).reshape(height, width, 3)
    if over > 1:
        picture = picture.reshape(camera.height, over, camera.width, over, 3).mean((1, 3))
    return _developed(picture, rng)


def hand_mask(hand: PosedHand, camera: Camera) -> NDArray[np.uint8]:
    """[height, width] 255 where at least half of a pixel's four rays meet the hand, else 0."""
    rays = camera.rays(2)
    found = hand.scene.first_hit(np.tile(camera.center.astype(np.float32), (len(rays), 1)), rays)
    hit = (found["primID"] >= 0).reshape(camera.height, 2, camera.width, 2)
    return np.where(hit.mean((1, 3)) >= 0.5, 255, 0).astype(np.uint8)


def _developed(picture: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """What the camera adds: a little blur and noise."""
    soft = float(rng.uniform(0.3, 0.8))
    picture = canvas.blurred(np.ascontiguousarray(picture), soft)
    grain = rng.uniform(0.0, 2.2) * rng.standard_normal(picture.shape, np.float32)
    return np.clip(to_srgb(picture) + grain + 0.5, 0, 255).astype(np.uint8)


def _table(
    hand: PosedHand, table: NDArray[np.float32], light: Light, camera: Camera, rays: Floats, rng: np.random.Generator
) -> NDArray[np.float32]:
    """[K, 3] the table along rays; light on it is worked out on a coarse grid around the hand."""
    down = np.minimum(rays[:, 2], -1e-3)
    places = camera.center[:2].astype(np.float32) - rays[:, :2] * (np.float32(camera.center[2]) / down)[:, None]
    low = hand.vertices[:, :2].min(0) - 90.0
    count = np.ceil((hand.vertices[:, :2].max(0) + 90.0 - low) / _FLOOR_STEP_MM).astype(int) + 1
    x, y = np.meshgrid(low[0] + _FLOOR_STEP_MM * np.arange(count[0]), low[1] + _FLOOR_STEP_MM * np.arange(count[1]))
    grid = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], 1).astype(np.float32)
    up = np.broadcast_to(np.array([0, 0, 1], np.float32), grid.shape)
    baked = _bake(hand.scene, grid, up, light, rng)
    maps = np.dstack([baked.open.reshape(x.shape), baked.key.reshape(x.shape)])
    texel = ((places - low) / _FLOOR_STEP_MM).astype(np.float32)
    free = canvas.sample_image(canvas.blurred(maps, 0.7), texel[:, 0], texel[:, 1])
    cosine = float(light.key_direction[2])
    lit = (light.ambient + light.sky) * free[:, :1] ** 1.3 + light.key * cosine * free[:, 1:]
    return (table_at(table, places) * (lit + light.camera)).astype(np.float32)


def _hand(
    hand: PosedHand,
    skin: SkinMaps,
    light: Light,
    baked: _Bake,
    rays: Floats,
    found: dict[str, NDArray[Any]],
    shape: tuple[int, int],
) -> NDArray[np.float32]:
    """[K, 3] linear RGB of the rays that meet the hand."""
    pixel = np.flatnonzero(found["primID"] >= 0)
    corners = hand.mesh.faces[found["primID"][pixel]]
    u, v = (found[name][pixel].astype(np.float32)[:, None] for name in "uv")

    def blend(values: NDArray[np.float32]) -> NDArray[np.float32]:
        first, second, third = (values[corners[:, k]] for k in range(3))
        return first * (1 - u - v) + second * u + third * v

    cloth = hand.mesh.sleeve.astype(np.float32)[:, None]
    packed = blend(np.hstack([hand.vertices, hand.normals, hand.chart, baked.open[:, None], baked.key[:, None], cloth]))
    place, normal, chart = packed[:, :3], unit(packed[:, 3:6]), packed[:, 6:9]
    free, key, cloth = packed[:, 9:10], packed[:, 10:11], packed[:, 11] > 0.5
    look = skin.at(chart)
    albedo, gloss = look[:, :3].copy(), look[:, 4:5] * ~cloth[:, None]
    normal = _bent(normal, place, look[:, 3] * ~cloth, pixel, shape)
    if hand.who.sleeve is not None:
        thread = 1 + 0.12 * np.sin(place[:, 0] * 2.4) * np.sin(place[:, 1] * 2.4 + place[:, 2])
        albedo[cloth] = np.asarray(hand.who.sleeve, np.float32) * thread[cloth, None]
    view = -rays[pixel]
    facing = np.clip(np.einsum("nc,nc->n", normal, view), 0, 1)[:, None]
    ambient = light.ambient.astype(np.float32) + light.sky.astype(np.float32) * normal[:, 2:3]
    # Skin lets light through where it is hollow: its shade is warm, not grey.
    warm = np.where(cloth[:, None], free, free ** np.array([0.75, 1.0, 1.08], np.float32))
    total = albedo * (ambient * warm + light.camera.astype(np.float32) * facing)
    towards = light.key_direction.astype(np.float32)
    cosine = (normal @ towards)[:, None]
    wrapped = np.clip((cosine + SKIN_SCATTER) / (1 + SKIN_SCATTER), 0, None) ** 1.2
    diffuse = np.where(cloth[:, None], np.clip(cosine, 0, 1), wrapped)
    half = unit(towards + view)
    shine = np.clip(np.einsum("nc,nc->n", normal, half), 0, 1)[:, None]
    gleam = np.where(cloth[:, None], 0.0, 0.055 * shine**18 + gloss * 0.35 * shine**70)
    total += (albedo * diffuse + gleam) * key * light.key.astype(np.float32)
    sheen = 0.03 * (1 - facing) ** 4 + 0.05 * gloss * facing**2
    return (total + sheen * free * light.ambient).astype(np.float32)


def _bent(
    normal: NDArray[np.float32], place: Floats, relief: Floats, pixel: NDArray[np.intp], shape: tuple[int, int]
) -> NDArray[np.float32]:
    """[K, 3] normals as the relief (mm) turns them."""
    place_map = np.zeros((shape[0] * shape[1], 3), np.float32)
    relief_map, there = np.zeros(len(place_map), np.float32), np.zeros(len(place_map), bool)
    place_map[pixel], relief_map[pixel], there[pixel] = place, relief, True
    place_map, relief_map, there = place_map.reshape(*shape, 3), relief_map.reshape(shape), there.reshape(shape)
    sides, slopes = [], []
    for axis in (1, 0):
        before, after = np.roll(there, 1, axis), np.roll(there, -1, axis)
        inner = (there & before & after)[..., None]
        sides.append(np.where(inner, np.roll(place_map, -1, axis) - np.roll(place_map, 1, axis), 0))
        slopes.append(np.where(inner[..., 0], np.roll(relief_map, -1, axis) - np.roll(relief_map, 1, axis), 0))
    across, down = (side.reshape(-1, 3)[pixel] for side in sides)
    slope_x, slope_y = (slope.reshape(-1)[pixel] for slope in slopes)
    first, second = np.cross(down, normal), np.cross(normal, across)
    area = np.einsum("nc,nc->n", across, first)
    turned = np.sign(area)[:, None] * (slope_x[:, None] * first + slope_y[:, None] * second)
    bend = _RELIEF_SHARE * turned / np.maximum(np.abs(area), 1e-4)[:, None]
    # At grazing angles neighbouring pixels are far apart: no more than some 45 degrees.
    bend /= np.maximum(np.linalg.norm(bend, axis=1, keepdims=True), 1.0)
    return unit(normal - bend)
