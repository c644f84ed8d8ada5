"""Mixed lamps: what is drawn, highlights that move with the camera, and hard shadows."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from acusim import rig
from synthetic.gloss import Finish
from synthetic.head import Head
from synthetic.lights import Lamp, Light, studio_light
from synthetic.mixed_light import BACKGROUNDS, mixed_light
from synthetic.render import render

pytestmark = pytest.mark.numeric

PLACE = np.full((4, 8, 3), 0.3, np.float32)


def _one_lamp(azimuth_deg: float) -> Light:
    """A single white lamp at eye level, and nothing else."""
    azimuth = np.radians(azimuth_deg)
    lamp = Lamp("white", np.ones(3), np.array([np.sin(azimuth), -np.cos(azimuth), 0.0]), 0.01)
    nothing = np.zeros(3)
    dark = replace(studio_light(), ambient=nothing, sky=nothing, camera=nothing)
    return replace(dark, lamps=(lamp,), finish=Finish(0.35, 0.0), background="plain")


def test_lamps_differ_in_hue_and_views_in_lamps() -> None:
    drawn = [mixed_light(1, index, frame, PLACE) for index in range(6) for frame in rig.KEPT_FRAMES]
    for light in drawn:
        names = [lamp.name for lamp in light.lamps]
        assert len(names) in (2, 3) and names[0] != names[1] and light.panorama is not None
        assert all(np.linalg.norm(lamp.direction) == pytest.approx(1) for lamp in light.lamps)
        assert not light.key.any() and not light.camera.any()
    assert {light.background for light in drawn} == set(BACKGROUNDS)
    assert Counter(len(light.lamps) for light in drawn)[3] > len(drawn) / 2
    assert len({light.lamps[0].colour.tobytes() for light in drawn}) == len(drawn)


def test_the_same_seed_person_and_frame_are_the_same_light() -> None:
    first, again = (json.dumps(mixed_light(1, 2, 40, PLACE).describe()) for _ in range(2))
    assert first == again
    for other in ((2, 2, 40), (1, 3, 40), (1, 2, 41)):
        assert json.dumps(mixed_light(*other, PLACE).describe()) != first
    assert set(json.loads(first)) == {"lamps", "roughness", "relief", "background", "ambient"}


def test_the_main_lamp_is_before_the_face_that_the_camera_sees() -> None:
    for frame in rig.KEPT_FRAMES:
        lamp = mixed_light(1, 0, frame, PLACE).lamps[0]
        assert lamp.direction[:2] @ rig.camera(frame).center_mm[:2] > 0


def test_half_of_a_head_is_in_hard_shadow(bald: Head) -> None:
    """With the lamp at the subject's left the right half of the picture is black in frame 1, the left of it not."""
    pixels = render(bald, _one_lamp(90), 1, size=128, quality="draft", seed=0)
    forehead = pixels.rgb[35:45, :, :].max(2)
    inside = pixels.mask[35:45]
    left, right = (forehead[:, half][inside[:, half]] for half in (slice(0, 60), slice(68, 128)))
    assert left.max() == 0 and np.median(right) > 60


def test_brightness_of_skin_depends_on_where_the_camera_stands(bald: Head) -> None:
    """Lambert's reflection is the same from everywhere; a mirroring one is not."""
    light, matt = _one_lamp(-20), replace(_one_lamp(-20), finish=Finish(1.0, 0.0))
    peak = {
        (kind, frame): np.percentile(render(bald, one, frame, size=128, quality="draft", seed=0).rgb.max(2), 99.5)
        for kind, one in (("glossy", light), ("dull", matt))
        for frame in (1, 33)
    }
    assert peak["glossy", 33] > peak["dull", 33] + 15
