"""The recipe: checked, hashed, TOML there and back."""

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from acusim.errors import ConfigError, EngineError
from engines.base import Setup
from engines.factory import make_engine
from engines.options import EmbeddedOptions
from engines.recipe import Recipe, unused_settings


def test_defaults_lie_in_the_papers_ranges():
    recipe = Recipe()
    assert (recipe.sampler, recipe.scheduler, recipe.wiring) == ("dpmpp_2m", "sgm_uniform", "fc")
    assert 20 <= recipe.steps <= 32 and 2.5 <= recipe.cfg <= 7 and 0.3 <= recipe.ip_adapter_weight <= 0.6
    assert (recipe.ic_light_multiplier, recipe.denoise) == (0.3, 0.5)


def test_hash_is_sha256_of_the_settings():
    recipe = Recipe(engine="relight", steps=28)
    later = {
        **{"light_transfer": 0.5, "geometry": "labels", "reference": "both"},
        **{"control_strength": 0.5, "control_start": 0.1, "control_end": 0.9, "control_net": "own.safetensors"},
    }
    used = recipe.changed(**later)
    settings = {name: getattr(used, name) for name in Recipe.model_fields}
    # Settings that came later do not count at their defaults.
    earlier = {name: value for name, value in settings.items() if name not in later}
    for one, those in ((used, settings), (recipe, earlier)):
        text = json.dumps(those, sort_keys=True, separators=(",", ":"))
        assert one.hash == hashlib.sha256(text.encode()).hexdigest()
    assert recipe.hash == Recipe(steps=28, engine="relight").hash != Recipe(engine="relight").hash
    assert Recipe(cfg=4).hash == Recipe(cfg=4.0).hash  # one type, one hash
    with pytest.raises(ValidationError):
        recipe.steps = 3  # type: ignore[misc]


def test_what_the_ip_adapter_looks_at():
    assert (Recipe().references, Recipe(wiring="fbc").references) == (("scene",), ("sample",))
    assert Recipe(reference="sample").references == ("sample",)
    assert Recipe(wiring="fbc", reference="both").references == ("scene", "sample")


def test_a_control_net_ends_after_it_starts():
    with pytest.raises(ConfigError, match=r"control_start = 0.5 is not below control_end = 0.5"):
        Recipe(control_start=0.5, control_end=0.5)


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
        ({"checkpoint": "\\\\host\\abs.safetensors"}, "relative"),
        ({"checkpoint": "C:\\abs.safetensors"}, "relative"),
        ({"checkpoint": "a\\..\\up.safetensors"}, "relative"),
        ({"checkpoint": ["a.safetensors"]}, "type str"),
        ({"steps": {"fc": 20, "fbc": 24}}, "type int"),
        ({"ic_light": {"fbx": "a.safetensors"}}, "'fbx' is not a wiring; name files for fc, fbc"),
        ({"ic_light": {"fc": 3}}, "ic_light.fc = 3"),
        ({"ic_light": {"fc": "a.safetensors", "fbc": "../b.safetensors"}}, "ic_light.fbc = '../b.safetensors'"),
        ({"wiring": ["fc"], "ic_light": {"fc": "a.safetensors"}}, "not one of fc, fbc"),
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


def test_unused_settings_are_reported():
    assert unused_settings(Recipe(engine="relight", steps=28, hair_shift=0.1)) == ("steps",)
    assert unused_settings(Recipe(engine="comfyui", steps=28, hair_shift=0.1)) == ("hair_shift",)


def test_the_embedded_engine_says_which_file_is_missing(tmp_path: Path):
    setup = Setup(tmp_path, options=EmbeddedOptions(models=tmp_path, device="cpu"))
    engine = make_engine(Recipe(engine="embedded"), setup)
    assert engine.name == "embedded" and not engine.processes and engine.concurrency == 3
    with pytest.raises(EngineError, match="v1-5-pruned-emaonly.safetensors"):
        engine.identity()


def test_the_wiring_brings_its_own_ic_light_model_unless_one_is_named():
    assert Recipe().ic_light == "iclight_sd15_fc.safetensors"
    assert Recipe(wiring="fbc").ic_light == "iclight_sd15_fbc.safetensors"
    assert Recipe(wiring="fbc", ic_light="mine.safetensors").ic_light == "mine.safetensors"


KNOWN_HASHES = {
    "facd54caaf53db7952eebc74bc2c651f2e8ab66e2d58c2e50201080e003dce2f": Recipe(),
    "874463cefa66531b40ec3036129a4a760d8c367a13912c2c6bb0a8dd749ddfb3": Recipe(wiring="fbc"),
    "1c69a097c341278a8a75e5735af7cef6c7585a1fc05f905cb573d06d0b6df178": Recipe(
        wiring="fbc", checkpoint="a/b.safetensors", ic_light="mine.safetensors"
    ),
}
"""As the first program version with these settings gave them: an OUT created with it can be continued."""


@pytest.mark.parametrize("known", KNOWN_HASHES)
def test_unchanged_recipes_keep_their_hash(known: str):
    assert KNOWN_HASHES[known].hash == known
    assert Recipe.from_dict(KNOWN_HASHES[known].as_dict()).hash == known


def test_a_recipe_names_one_file_for_each_wiring(tmp_path: Path):
    path = tmp_path / "recipe.toml"
    for_both = 'ic_light = { fc = "a.safetensors", fbc = "sub/b.safetensors" }'
    path.write_text(f'{for_both}\ncheckpoint.fbc = "c.safetensors"\n')
    recipe = Recipe.from_toml(path)
    assert recipe == Recipe(ic_light="a.safetensors")
    assert recipe.hash == Recipe(ic_light="a.safetensors").hash, "only the file of the wiring counts"
    assert recipe.to_toml() == Recipe(ic_light="a.safetensors").to_toml()
    travelled = pickle.loads(pickle.dumps(recipe))
    other = Recipe.from_dict({"engine": "embedded"}, travelled).with_settings(["steps=28", "wiring=fbc"])
    assert (
        other.as_dict()
        == Recipe(
            engine="embedded", steps=28, wiring="fbc", ic_light="sub/b.safetensors", checkpoint="c.safetensors"
        ).as_dict()
    )
    assert (
        other.with_settings(["wiring=fc"]).as_dict()
        == Recipe(engine="embedded", steps=28, ic_light="a.safetensors").as_dict()
    )
    single = recipe.with_settings(["ic_light=only.safetensors", "wiring=fbc"])
    assert (single.ic_light, single.checkpoint) == ("only.safetensors", "c.safetensors"), "one name is for both"


def test_a_file_for_one_wiring_leaves_that_of_the_other():
    mine = Recipe().with_settings(["ic_light.fbc=mine.safetensors"])
    assert mine == Recipe() and mine.with_settings(["wiring=fbc"]).ic_light == "mine.safetensors"
    both = Recipe(ic_light="a.safetensors").with_settings(["ic_light.fbc=b.safetensors"])
    assert both.ic_light == "a.safetensors" and both.with_settings(["wiring=fbc"]).ic_light == "b.safetensors"
    more = both.with_settings(["wiring=fbc", "ic_light.fc=c.safetensors"])
    assert more.ic_light == "b.safetensors" and more.with_settings(["wiring=fc"]).ic_light == "c.safetensors"
    for bad in ("steps.fc=3", "ic_light.=a.safetensors", "x.fc=a.safetensors"):
        with pytest.raises(ConfigError):
            Recipe().with_settings([bad])


def test_a_new_wiring_brings_its_own_default_back_and_forth():
    fbc = Recipe(wiring="fbc")
    assert fbc.with_settings(["wiring=fc"]) == Recipe()
    assert fbc.with_settings(["wiring=fc", "wiring=fbc"]) == fbc
    mine = Recipe(wiring="fbc", ic_light="mine.safetensors")
    assert mine.with_settings(["wiring=fc"]).ic_light == "mine.safetensors"
