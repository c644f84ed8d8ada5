"""The recipe: checked, hashed, TOML there and back."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from acusim.errors import ConfigError, EngineError
from engines.engine import Setup, make_engine
from engines.recipe import Recipe, unused_settings


def test_defaults_lie_in_the_papers_ranges():
    recipe = Recipe()
    assert (recipe.sampler, recipe.scheduler, recipe.wiring) == ("dpmpp_2m", "sgm_uniform", "fc")
    assert 20 <= recipe.steps <= 32 and 2.5 <= recipe.cfg <= 7 and 0.3 <= recipe.ip_adapter_weight <= 0.6
    assert (recipe.ic_light_multiplier, recipe.denoise) == (0.3, 0.5)


def test_hash_is_sha256_of_the_settings():
    recipe = Recipe(engine="relight", steps=28)
    settings = {name: getattr(recipe, name) for name in Recipe.__dataclass_fields__}
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    assert recipe.hash == hashlib.sha256(text.encode()).hexdigest()
    assert recipe.hash == Recipe(steps=28, engine="relight").hash != Recipe(engine="relight").hash
    assert Recipe(cfg=4).hash == Recipe(cfg=4.0).hash  # one type, one hash
    with pytest.raises(AttributeError):
        recipe.steps = 3  # type: ignore[misc]


def test_toml_round_trip(tmp_path: Path):
    recipe = Recipe(engine="relight", background="black", cfg=3, hair_shift=0, checkpoint='a "b" ü.safetensors')
    path = tmp_path / "recipe.toml"
    path.write_text(recipe.to_toml(), encoding="utf-8")
    assert Recipe.from_toml(path) == recipe
    path.write_text("steps = 28\n")
    assert Recipe.from_toml(path, Recipe(cfg=2.5)) == Recipe(cfg=2.5, steps=28)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"stepz": 3}, "stepz"),
        ({"steps": 0}, "steps = 0"),
        ({"steps": 2.5}, "type int"),
        ({"steps": True}, "type int"),
        ({"cfg": "4"}, "type float"),
        ({"cfg": True}, "type float"),
        ({"cfg": float("nan")}, "outside"),
        ({"denoise": 1.5}, "denoise = 1.5"),
        ({"sampler": "ddim"}, "dpmpp_2m"),
        ({"engine": "warp"}, "relight"),
        ({"checkpoint": "model.ckpt"}, ".safetensors"),
        ({"checkpoint": "../up.safetensors"}, "relative"),
        ({"checkpoint": "/abs.safetensors"}, "relative"),
    ],
)
def test_refusals_name_value_and_range(settings: dict[str, Any], named: str):
    with pytest.raises(ConfigError) as error:
        Recipe.from_dict(settings)
    assert named in str(error.value)


def test_set_assignments():
    assert Recipe().with_settings(["steps=28", " cfg = 5", "background=black"]) == Recipe(
        steps=28, cfg=5.0, background="black"
    )
    for bad, named in (("steps", "name=value"), ("steps=2.5", "int"), ("steps=", "int"), ("x=1", "'x'")):
        with pytest.raises(ConfigError, match=named):
            Recipe().with_settings([bad])


def test_unused_settings_are_told():
    assert unused_settings(Recipe(engine="relight", steps=28, hair_shift=0.1)) == ("steps",)
    assert unused_settings(Recipe(engine="comfyui", steps=28, hair_shift=0.1)) == ("hair_shift",)


@pytest.mark.parametrize("gpus", [1, 2])
def test_the_embedded_engine_runs_here_or_in_a_process_for_each_gpu(tmp_path: Path, gpus: int):
    engine = make_engine(Recipe(engine="embedded"), Setup(tmp_path, models=tmp_path, device="cpu", gpus=gpus))
    assert engine.name == "embedded" and not engine.processes
    assert type(engine).__name__ == ("EmbeddedEngine" if gpus == 1 else "Processes")
    assert engine.lanes == 3 * gpus
    with pytest.raises(EngineError, match="v1-5-pruned-emaonly.safetensors"):
        engine.identity()


def test_the_wiring_brings_its_own_ic_light_model_unless_one_is_named():
    assert Recipe().ic_light == "iclight_sd15_fc.safetensors"
    assert Recipe(wiring="fbc").ic_light == "iclight_sd15_fbc.safetensors"
    assert Recipe(wiring="fbc", ic_light="mine.safetensors").ic_light == "mine.safetensors"
