"""A planned batch: the identity by which OUT is recognised is that of version 0.2.0."""

from collections.abc import Callable
from pathlib import Path

import acusim
from controller.gate_settings import GateSettings
from controller.planning import plan_batch
from controller.settings import BatchSettings
from engines.recipe import Recipe

IDENTITY = {
    "recipe.engine": "relight",
    "recipe.background": "scene",
    "recipe.wiring": "fc",
    "recipe.steps": 24,
    "recipe.cfg": 4.0,
    "recipe.sampler": "dpmpp_2m",
    "recipe.scheduler": "sgm_uniform",
    "recipe.denoise": 0.5,
    "recipe.ic_light_multiplier": 0.3,
    "recipe.ip_adapter_weight": 0.45,
    "recipe.checkpoint": "v1-5-pruned-emaonly.safetensors",
    "recipe.ic_light": "iclight_sd15_fc.safetensors",
    "recipe.ip_adapter": "ip-adapter_sd15.safetensors",
    "recipe.clip_vision": "CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors",
    "recipe.light_strength": 0.8,
    "recipe.light_contrast": 1.0,
    "recipe.light_colour": 0.7,
    "recipe.hair_shift": 0.5,
    "recipe.tone_shift": 0.3,
    "program version": acusim.__version__,
    "seed": 3,
    "scenes": "40a33007218e7fd143ad1ce24cb96b1a8079521f72618c74d9b0645d25ee42f3",
    "prompts": "0c4a2d8c91c83db6fc332d4beba132295b4db7472c8b13ed4a31e881426e94c2",
    "several variants": True,
    "gate": {
        "rerolls": 2,
        "light_transfer": True,
        "softer": 2,
        "denoise_factor": 0.75,
        "ip_adapter_factor": 0.5,
        "fallback": "relight",
        "thresholds": {
            "tolerance_mm": 5.0,
            "allowed_px": 1.0,
            "found": 5.539,
            "found_remade": 6.678,
            "faithful_texture": 0.7,
            "excluded": 8.0,
            "rests_medium": -0.02,
            "rests_band": 0.03,
            "firm_band": 0.07,
            "firm_strength": 0.1,
            "most_against": 0.1,
            "least_kept": 0.4,
            "least_alike": 0.5,
            "least_contrast": 0.92,
            "most_moved": 0.2,
            "most_doubt": 0.2,
            "most_copy": 0.09,
            "least_structure": 0.095,
            "most_outline_px": 3.882,
            "global_gain": 0.1,
            "least_trusted": 0.0,
            "black_level": 12.0,
            "flat_levels": 2.0,
        },
    },
}
"""As version 0.2.0 stored it, with the attempts and thresholds of its gate: an OUT that it created can be continued."""


def test_the_identity_is_that_of_earlier_versions(make_dataset: Callable[..., Path], tmp_path: Path):
    recipe, root = Recipe(engine="relight"), make_dataset(frames=(1,))
    settings = BatchSettings(
        dataset=root, output=tmp_path, recipe=recipe, gate=GateSettings(), seed=3, variants=2, select="frame=1"
    )
    batch = plan_batch(settings, {"weights model": "abc"})
    assert batch.identity == IDENTITY | {"weights model": "abc"}
    assert list(batch.identity) == [*IDENTITY, "weights model"]
    assert plan_batch(settings.changed(gate=None)).identity == IDENTITY | {"gate": None}
    later = plan_batch(settings.changed(recipe=recipe.changed(light_transfer=0.5))).identity
    assert later == IDENTITY | {"recipe.light_transfer": 0.5}, "a setting of later versions counts once it is used"
