"""The recipe: every setting that decides a pixel, frozen, checked, hashed, and written as TOML.

What differs from image to image (seed, scene, prompt) is not in it; the plan derives that from the sample.
Defaults lie inside the ranges of the paper this implements (diffusion-based augmentation of AcuSim).

A setting that names a model file may name one for each wiring, as ``ic_light = { fc = "A", fbc = "B" }`` in TOML or
``--set ic_light.fbc=B``. The recipe is then what it would be with the file of its wiring alone: settings and hash are
the same.
"""

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from acusim.errors import ConfigError, shown
from acusim.files import sha256
from acusim.settings import assignment, check_fields, choice, number, parsed_of, spec_of
from acusim.settings_file import read_settings

EngineName = Literal["comfyui", "embedded", "relight"]
Background = Literal["keep", "black", "scene"]
Wiring = Literal["fc", "fbc"]
WIRINGS: tuple[Wiring, ...] = get_args(Wiring)
IC_LIGHT: Mapping[str, str] = {wiring: f"iclight_sd15_{wiring}.safetensors" for wiring in WIRINGS}
"""Wiring -> the published IC-Light model for it, which is the default."""
ENGINES: tuple[EngineName, ...] = get_args(EngineName)

DIFFUSION: tuple[EngineName, ...] = ("comfyui", "embedded")


def _number(default: float, low: float, high: float, *engines: EngineName) -> Any:
    return number(default, low, high, engines=engines or ENGINES)


def _choice(default: str, *allowed: str, engines: tuple[EngineName, ...] = ENGINES) -> Any:
    return choice(default, *allowed, engines=engines)


def _file(default: str) -> Any:
    return field(default=default, metadata={"file": True, "engines": DIFFUSION})


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All settings of an augmentation. Unknown names and values out of range raise ConfigError."""

    engine: EngineName = _choice("comfyui", *ENGINES)
    """Who makes the pixels."""
    background: Background = _choice("scene", *get_args(Background))
    """What lies behind the head: the sample's own, black, or the scene picture."""

    wiring: Wiring = _choice("fc", *WIRINGS, engines=DIFFUSION)
    """IC-Light model: fc takes the scene through the IP-Adapter, fbc as background latent."""
    steps: int = _number(24, 1, 200, *DIFFUSION)
    """Sampler steps (paper: 20-32)."""
    cfg: float = _number(4.0, 1.0, 30.0, *DIFFUSION)
    """Classifier-free guidance scale; 1 skips the unconditional half (paper: 2.5-7)."""
    sampler: str = _choice("dpmpp_2m", "dpmpp_2m", "euler", engines=DIFFUSION)
    """k-sampler."""
    scheduler: str = _choice("sgm_uniform", "sgm_uniform", "karras", "normal", engines=DIFFUSION)
    """Sigma schedule."""
    denoise: float = _number(0.5, 0.01, 1.0, *DIFFUSION)
    """Splice ratio t0: the share of the noise schedule that is run, 1 keeps nothing of the sample."""
    ic_light_multiplier: float = _number(0.3, 0.0, 1.0, *DIFFUSION)
    """Weight of IC-Light's concatenated latents (paper: 0.3; trained with 0.18215)."""
    ip_adapter_weight: float = _number(0.45, 0.0, 1.0, *DIFFUSION)
    """Weight of the IP-Adapter's attention (paper: 0.3-0.6); 0 disables it."""
    checkpoint: str = _file("v1-5-pruned-emaonly.safetensors")
    """Stable Diffusion 1.5, single file."""
    ic_light: str = _file(IC_LIGHT["fc"])
    """IC-Light model; must belong to the wiring. Each wiring makes its own one the default."""
    ip_adapter: str = _file("ip-adapter_sd15.safetensors")
    """IP-Adapter model."""
    clip_vision: str = _file("CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors")
    """Image encoder of the IP-Adapter."""

    light_strength: float = _number(0.8, 0.0, 1.0, "relight")
    """How much of the sample's own shading gives way to the new light; 0 leaves it as it is."""
    light_contrast: float = _number(1.0, 0.0, 2.0, "relight")
    """Directional against ambient part of the scene's light; 0 is flat, 1 as measured from the scene."""
    light_colour: float = _number(0.7, 0.0, 1.0, "relight")
    """How much of the scene light's colour is taken over; 0 is white light."""
    hair_shift: float = _number(0.5, 0.0, 1.0, "relight")
    """Largest change of the hair's colour, drawn by the image's seed; 0 keeps it."""
    tone_shift: float = _number(0.3, 0.0, 1.0, "relight")
    """Largest change of skin tone and exposure, drawn by the image's seed; 0 keeps them."""

    # Setting -> wiring -> file, where files were named for each wiring. Without an annotation it is no field.
    _by_wiring = dict[str, Mapping[str, str]]()

    def __post_init__(self) -> None:
        check_fields(self)
        for spec in dataclasses.fields(self):
            if spec.metadata.get("file"):
                _check_weights_name(spec.name, getattr(self, spec.name))
        if self.wiring == "fbc" and self.ic_light == IC_LIGHT["fc"]:
            object.__setattr__(self, "ic_light", IC_LIGHT["fbc"])

    def as_dict(self) -> dict[str, Any]:
        """All settings by name."""
        return dataclasses.asdict(self)

    @property
    def hash(self) -> str:
        """SHA-256 over all settings: equal for equal recipes, on every machine."""
        return sha256(json.dumps(self.as_dict(), sort_keys=True, separators=(",", ":")).encode())

    def to_toml(self) -> str:
        """The whole recipe as TOML, which from_toml reads back to an equal one."""
        # JSON's strings, integers and floats are all valid TOML.
        return "".join(f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in self.as_dict().items())

    @classmethod
    def from_dict(cls, settings: dict[str, Any], base: "Recipe | None" = None) -> "Recipe":
        """A recipe from the settings that differ from ``base`` (or from the defaults).

        A model file may be a text, or a dictionary of wirings and texts. Files that ``base`` has for each wiring follow
        a new wiring; so does the default IC-Light model.

        Raises:
            ConfigError: an unknown name or a value out of its range.
        """
        base = base or cls()
        changes, by_wiring = dict(settings), dict(base._by_wiring)
        for name, value in settings.items():
            if _spec(name).metadata.get("file"):
                by_wiring.pop(name, None)
                if isinstance(value, dict):
                    by_wiring[name] = base._file_by_wiring(name) | _checked_files(name, value)
        wiring = changes.get("wiring", base.wiring)
        if wiring in WIRINGS:
            changes |= {name: files.get(wiring, _usual_file(name, wiring)) for name, files in by_wiring.items()}
            if "ic_light" not in changes and base.ic_light == IC_LIGHT[base.wiring]:
                changes["ic_light"] = IC_LIGHT[wiring]
        made = dataclasses.replace(base, **changes)
        object.__setattr__(made, "_by_wiring", by_wiring)
        return made

    def _file_by_wiring(self, name: str) -> dict[str, str]:
        """What a model setting names for each wiring; a wiring that is not there has its usual file."""
        value: str = getattr(self, name)
        plain = {} if value == _usual_file(name, self.wiring) else {wiring: value for wiring in WIRINGS}
        return dict(self._by_wiring.get(name, plain))

    @classmethod
    def from_toml(cls, path: Path, base: "Recipe | None" = None) -> "Recipe":
        """A recipe from a TOML file of differences.

        Raises:
            ConfigError: unreadable, not TOML, an unknown name or a value out of its range.
        """
        return read_settings(path, "recipe", lambda settings: cls.from_dict(settings, base))

    def with_settings(self, assignments: list[str]) -> "Recipe":
        """A copy changed by ``name=value`` texts, as the command line's --set takes them, one after the other.

        ``name.wiring=value`` names a model file for one wiring.

        Raises:
            ConfigError: no '=', an unknown name, or a value out of its range.
        """
        recipe = self
        for text in assignments:
            name, value = assignment(text)
            setting, dot, wiring = name.partition(".")
            change = {wiring: value} if dot and _spec(setting).metadata.get("file") else parsed_of(_spec(name), value)
            recipe = self.from_dict({setting: change}, recipe)
        return recipe


def unused_settings(recipe: Recipe) -> tuple[str, ...]:
    """Settings that differ from their defaults although the recipe's engine does not read them."""
    return tuple(
        spec.name
        for spec in dataclasses.fields(recipe)
        if recipe.engine not in spec.metadata["engines"] and getattr(recipe, spec.name) != spec.default
    )


def _spec(name: str) -> "dataclasses.Field[Any]":
    return spec_of(Recipe, name, "recipe setting")


def _usual_file(name: str, wiring: str) -> str:
    """The default of a setting that names a model file."""
    return IC_LIGHT[wiring] if name == "ic_light" else str(_spec(name).default)


def _checked_files(name: str, files: Mapping[Any, Any]) -> dict[str, str]:
    """Files named for some wirings.

    Raises:
        ConfigError: an unknown wiring, or something that is no name of a file.
    """
    for wiring, file in files.items():
        if wiring not in WIRINGS:
            raise ConfigError(f"{name}: {shown(wiring)} is not a wiring; name files for {', '.join(WIRINGS)}")
        _check_weights_name(f"{name}.{wiring}", file)
    return dict(files)


def _check_weights_name(name: str, file: object) -> None:
    """A relative name with either separator: it may be a server's that runs on Windows.

    Raises:
        ConfigError: it is something else, or leads upwards.
    """
    text = file if isinstance(file, str) else ""
    absolute = text.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", text)
    if not text.endswith(".safetensors") or absolute or ".." in re.split(r"[/\\]", text):
        raise ConfigError(f"{name} = {shown(file)} is not the relative name of a .safetensors file")
