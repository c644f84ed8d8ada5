"""The relight engine: new light on the same pixels."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from acusim.errors import AcuSimError, PictureError
from acusim.foreground import fitted
from acusim.sample_id import SampleId
from acusim.seeds import generator_of
from engines.base import Engine, Request, Result
from engines.relight import hair, light, tones
from engines.relight.composition import Head, over
from engines.relight.geometry import surface_of
from engines.relight.grids import pick
from engines.scenes import Scene, scene_pixels

Floats = NDArray[np.float32]

ALGORITHM = "3"
"""Another one for each change of this engine that changes pixels: no OUT is finished by two."""
SCENES_KEPT = 32
"""Decoded scenes in memory, each at most SCENE_SIDE wide and high: 3 MB each."""
SCENE_SIDE = 1024
BACKDROPS_KEPT = 16
"""Scenes as background, blurred: 0.8 MB each at 512², 3 MB at 1024²."""
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

    def identity(self) -> dict[str, str]:
        """Which pixels this version creates."""
        return {"relight": ALGORITHM}

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
        mask, inside = surface.mask, np.flatnonzero(surface.mask)
        original = tones.to_linear(pixels)
        own = pick(original, inside)
        if own.max() < tones.TO_LINEAR[DARKEST_LEVEL]:
            raise PictureError(f"the head is black: no level above {DARKEST_LEVEL}, too dark to be relit")

        gain = tone = tones.tone_gain(random, recipe.tone_shift)
        if recipe.light_strength > 0:
            new = light.light_of_scene(self._radiance(request.scene), turn, mirrored)
            new = light.adjusted(new, recipe.light_contrast, recipe.light_colour)
            gain = _gain(own, pick(surface.normals, inside), new, recipe.light_strength, tone)
        coloured = own
        if recipe.hair_shift > 0 and isinstance(request.sample, SampleId) and not request.bald:
            sure = hair.hair_mask(original, surface.depth_mm, mask, request.sample.frame)
            coloured = hair.recoloured(own, sure.take(inside), random, recipe.hair_shift)
        gain = np.broadcast_to(gain, own.shape)
        head = Head(pixels, original, mask, surface.found.matte, inside, own, coloured, gain)
        out = over(head, self._behind(request.scene, mask.shape, mirrored))
        facts: dict[str, Any] = {"geometry": surface.source}
        if surface.found.source == "alpha":
            facts["foreground"] = "alpha"
        return Result(out, facts, surface.found.doubts)

    def _behind(self, scene: Scene, shape: tuple[int, ...], mirrored: bool) -> NDArray[np.uint8] | None:
        """[H, W, 3] the background; None: as it was."""
        if self.recipe.background == "keep":
            return None
        if self.recipe.background == "black":
            return np.zeros((*shape, 3), np.uint8)
        return self._backdrop(scene, shape, mirrored)

    def _blurred_scene(self, scene: Scene, shape: tuple[int, ...], mirrored: bool) -> NDArray[np.uint8]:
        """[H, W, 3] the scene scaled to cover an image of this shape, centred, and out of focus."""
        blur = max(0.6, SCENE_BLUR * shape[1])
        backdrop = np.asarray(cv2.GaussianBlur(fitted(self._scene(scene), *shape[:2]), (0, 0), blur), np.uint8)
        return np.ascontiguousarray(backdrop[:, ::-1]) if mirrored else backdrop


def _reduced_scene(scene: Scene) -> NDArray[np.uint8]:
    """[H, W, 3] a scene, at most SCENE_SIDE wide and high."""
    pixels = scene_pixels(scene)
    side = max(pixels.shape[:2])
    if side <= SCENE_SIDE:
        return pixels
    size = (round(pixels.shape[1] * SCENE_SIDE / side) or 1, round(pixels.shape[0] * SCENE_SIDE / side) or 1)
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _gain(linear: Floats, normals: Floats, new_light: NDArray[np.float64], strength: float, tone: Floats) -> Floats:
    """[N, 3] new over old light on the head's N pixels, times a tone.

    The light's median luminance is 1, so that exposure stays.
    """
    some = light.chosen(len(linear))
    at = normals.take(some, 0)
    own = light.own_light(linear.take(some, 0), at)

    def ratio(directions: Floats) -> Floats:
        return np.maximum(light.irradiance(new_light, directions), 0.04) / light.shading(own, directions)[:, None]

    level = max(float(np.median(tones.luminance(ratio(at)))), 1e-4)

    def gain(directions: Floats) -> Floats:
        return tone * np.clip(np.power(ratio(directions) / level, np.float32(strength)), *GAIN_LIMITS)

    return light.tabulated(gain, normals)
