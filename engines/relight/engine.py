"""The relight engine: new light on the same pixels."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from acusim.errors import AcuSimError, PictureError
from acusim.foreground import fitted, rim_from_inside
from acusim.sample_id import SampleId
from acusim.seeds import generator_of
from engines.base import Engine, Request, Result
from engines.relight import light, tones
from engines.relight.geometry import Surface, surface_of
from engines.relight.grids import pick, three
from engines.scenes import Scene, scene_pixels

Floats = NDArray[np.float32]

SCENES_KEPT = 32
"""Decoded scenes in memory, each at most SCENE_SIDE wide and high: 3 MB each."""
SCENE_SIDE = 1024
BACKDROPS_KEPT = 16
"""Scenes as background, blurred and linear: 3 MB each at 512², 12 MB at 1024²."""
DARKEST_LEVEL = 8
"""A head without any level above this is rejected."""
GAIN_LIMITS = (0.15, 5.0)
"""New over old light at any pixel."""
SCENE_BLUR = 0.012
"""Blur of a scene as background, as a share of the image's width: the head is in focus, the room is not."""


class RelightEngine(Engine):
    """Depth -> normals -> shading divided out, a scene's light applied. No weights; geometry is exact."""

    name = "relight"
    processes = True
    exact = True

    def open(self) -> None:
        """Sets OpenCV to one thread: worker processes run in parallel, and the order of sums stays fixed."""
        cv2.setNumThreads(1)
        self.close()

    def close(self) -> None:
        """Releases the scenes."""
        self._scene = lru_cache(SCENES_KEPT)(_reduced_scene)
        self._radiance = lru_cache(SCENES_KEPT)(lambda scene: light.reduced(tones.to_linear(self._scene(scene))))
        self._backdrop = lru_cache(BACKDROPS_KEPT)(self._blurred_scene)

    def augment(self, batch: Sequence[Request]) -> list[Result | AcuSimError]:
        """Each image by itself."""
        answers: list[Result | AcuSimError] = []
        for request in batch:
            try:
                answers.append(self._relight(request))
            except AcuSimError as error:
                answers.append(error)
        return answers

    def _relight(self, request: Request) -> Result:
        recipe, pixels = self.recipe, request.pixels
        surface = surface_of(pixels, request.depth_data, request.alpha, recipe.geometry)
        random = generator_of(f"relight\n{request.seed}")  # independent of what the plan draws from the seed
        turn, mirrored = random.uniform(-0.4, 0.4), bool(random.integers(2))
        linear = tones.to_linear(pixels)
        mask, inside = surface.mask, np.flatnonzero(surface.mask)
        if pick(pixels, inside).max() < DARKEST_LEVEL:
            raise PictureError(f"the head is black: no level above {DARKEST_LEVEL}, too dark to be relit")

        values = np.ones((len(inside), 3), np.float32)
        if recipe.light_strength > 0:
            new = light.light_of_scene(self._radiance(request.scene), turn, mirrored)
            new = light.adjusted(new, recipe.light_contrast, recipe.light_colour)
            own, normals = pick(linear, inside), pick(surface.normals, inside)
            values = _light_gain(own, normals, new, recipe.light_strength)
        gain = np.ones((*mask.shape, 3), np.float32)
        gain.reshape(-1, 3)[inside] = values * tones.tone_gain(random, recipe.tone_shift)
        coloured = linear
        if recipe.hair_shift > 0 and isinstance(request.sample, SampleId) and not request.bald:
            hair = tones.hair_mask(linear, surface.depth_mm, mask, request.sample.frame)
            coloured = tones.recolour_hair(linear, hair, random, recipe.hair_shift)
        out = self._compose(pixels, linear, coloured, gain, surface, request.scene, mirrored)
        facts: dict[str, Any] = {"geometry": surface.source}
        if surface.found.source == "alpha":
            facts["foreground"] = "alpha"
        return Result(out, facts, surface.found.doubts)

    def _compose(
        self,
        pixels: NDArray[np.uint8],
        original: Floats,
        coloured: Floats,
        gain: Floats,
        surface: Surface,
        scene: Scene,
        mirrored: bool,
    ) -> NDArray[np.uint8]:
        """The head in its new light over the background, without traces of the old one.

        With a matte, the rim takes the colours beside it; where depth alone gives the mask, edge pixels are unmixed.

        Args:
            pixels: [H, W, 3] the sample.
            original: the same, linear.
            coloured: linear, with the hair's new colour.
            gain: [H, W, 3] new over old light.
            surface: the head.
            scene: for the background.
            mirrored: the scene is flipped left to right.
        """
        mask, matte = surface.mask, surface.found.matte
        gain = _spread(gain, mask)
        if matte is None:
            alpha, head, behind = _unmixed(coloured, original, mask)
            share = three(alpha)
            lit = tones.shoulder(head * gain) * share
        else:
            alpha, behind, share = matte, None, three(matte)
            lit = rim_from_inside(tones.shoulder(coloured * gain), matte) * share
        kind = self.recipe.background
        if kind == "keep":
            rest = original - share * rim_from_inside(original, alpha) if behind is None else behind * (1 - share)
            untouched = (gain == 1).all(2) & (coloured == original).all(2)
            return np.where((untouched | ~(alpha > 0))[..., None], pixels, tones.to_srgb(lit + rest))
        if kind == "black":
            return tones.to_srgb(lit)
        backdrop = self._backdrop(scene, mask.shape)
        return tones.to_srgb(lit + (backdrop[:, ::-1] if mirrored else backdrop) * (1 - share))

    def _blurred_scene(self, scene: Scene, shape: tuple[int, ...]) -> Floats:
        """[H, W, 3] linear: the scene scaled to cover an image of this shape, centred, and out of focus."""
        blur = max(0.6, SCENE_BLUR * shape[1])
        backdrop = cv2.GaussianBlur(fitted(self._scene(scene), *shape[:2]), (0, 0), blur)
        return tones.to_linear(np.asarray(backdrop, np.uint8))


def _reduced_scene(scene: Scene) -> NDArray[np.uint8]:
    """[H, W, 3] a scene, at most SCENE_SIDE wide and high."""
    pixels = scene_pixels(scene)
    side = max(pixels.shape[:2])
    if side <= SCENE_SIDE:
        return pixels
    size = (round(pixels.shape[1] * SCENE_SIDE / side) or 1, round(pixels.shape[0] * SCENE_SIDE / side) or 1)
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _light_gain(linear: Floats, normals: Floats, new_light: NDArray[np.float64], strength: float) -> Floats:
    """[N, 3] new over old light on the head's N pixels; its median luminance is 1, so that exposure stays."""
    new = np.maximum(light.irradiance(new_light, normals), 0.04)
    old = light.own_shading(linear, normals)
    ratio = new / old[:, None]
    ratio /= max(float(np.median(tones.luminance(ratio))), 1e-4)
    return np.clip(np.power(ratio, np.float32(strength)), *GAIN_LIMITS)


def _spread(gain: Floats, mask: NDArray[np.bool_]) -> Floats:
    """Extends the gain some pixels beyond the mask, over the head's antialiased edge; 1 farther out."""
    if (gain == 1).all():
        return gain
    sigma = max(1.0, mask.shape[1] / 400)
    weight = mask.astype(np.float32)
    near = cv2.GaussianBlur(weight, (0, 0), sigma)
    out = gain.copy()
    rim = np.flatnonzero(~mask & (near > 1e-3))
    blurred = np.asarray(cv2.GaussianBlur(gain * three(weight), (0, 0), sigma))
    out.reshape(-1, 3)[rim] = pick(blurred, rim) / near.take(rim)[:, None]
    return out


def _unmixed(linear: Floats, original: Floats, mask: NDArray[np.bool_]) -> tuple[Floats, Floats, Floats]:
    """Separates the head's edge from the old background.

    Returns:
        alpha [H, W], the head's own linear colour [H, W, 3] and what was behind it [H, W, 3]; where alpha is
        neither 0 nor 1, ``alpha * head + (1 - alpha) * behind`` is the original.
    """
    solid = mask.astype(np.uint8)
    kernel = np.ones((3, 3), np.uint8)
    inner = cv2.erode(solid, kernel, borderType=cv2.BORDER_REPLICATE) > 0
    outer = cv2.dilate(solid, kernel) > 0
    band = np.flatnonzero(outer & ~inner)
    alpha = mask.astype(np.float32, order="C")  # written to by places of its flat grid
    head, behind = linear, original
    if not len(band):
        return alpha, head, behind
    colour, near = _mean_nearby(linear, inner, band)
    old, beyond = _mean_nearby(original, ~outer, band)
    # Where the pixel is between background and head, by colour; where the two are alike, by the mask.
    way = colour - old
    length = 3 * tones.luminance(way**2)
    by_colour = 3 * tones.luminance((pick(original, band) - old) * way) / np.maximum(length, 1e-8)
    by_mask = np.asarray(cv2.GaussianBlur(alpha, (0, 0), 0.6)).take(band)
    sure = np.clip(length / 0.01, 0, 1) * (near > 0.02) * (beyond > 0.02)
    mixed = np.clip(sure * by_colour + (1 - sure) * by_mask, 0, 1)
    # The mask is exact to a pixel: its pixels are at least half head.
    mixed = np.where(mask.take(band), np.maximum(mixed, 0.5), np.minimum(mixed, 0.5))
    alpha.reshape(-1)[band] = mixed
    head, behind = linear.copy(), original.copy()
    ratio = np.maximum(mixed, 0.05)[:, None]
    head.reshape(-1, 3)[band] = np.clip((pick(linear, band) - (1 - mixed)[:, None] * old) / ratio, 0, 1)
    behind.reshape(-1, 3)[band] = old
    return alpha, head, behind


def _mean_nearby(image: Floats, among: NDArray[np.bool_], places: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """[N, 3] the mean colour, around some places of the flat grid, of the pixels ``among``, and [N] their share."""
    weight = among.astype(np.float32)
    share = np.asarray(cv2.GaussianBlur(weight, (0, 0), 1.5), np.float32).take(places)
    total = pick(np.asarray(cv2.GaussianBlur(image * three(weight), (0, 0), 1.5)), places)
    return (total / np.maximum(share, 1e-4)[:, None]).astype(np.float32), share
