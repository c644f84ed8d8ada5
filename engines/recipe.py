"""The recipe: every setting that decides a pixel, frozen, checked, hashed, and written as TOML.

What differs from image to image (seed, scene, prompt) is not in it; the plan derives that from the sample.
Defaults are inside the ranges of the paper this implements (diffusion-based augmentation of AcuSim).

A setting that names a model file may name one for each wiring, as ``ic_light = { fc = "A", fbc = "B" }`` in TOML or
``--set ic_light.fbc=B``. The recipe is then what it would be with the file of its wiring alone: settings and hash are
the same.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import Field, PrivateAttr, model_validator

from acusim.errors import ConfigError, shown
from acusim.files import sha256
from acusim.settings import Settings, assignment, extra_of, field_of, parsed
from acusim.settings_file import read_settings

EngineName = Literal["comfyui", "embedded", "relight"]
Background = Literal["keep", "black", "scene"]
Wiring = Literal["fc", "fbc"]
Reference = Literal["auto", "scene", "sample", "both"]
Geometry = Literal["auto", "depth", "labels", "silhouette"]
WIRINGS: tuple[Wiring, ...] = get_args(Wiring)
USUAL_REFERENCE: Mapping[Wiring, Reference] = {"fc": "scene", "fbc": "sample"}
"""What the IP-Adapter looks at with reference = auto: fbc sees the scene already."""
IC_LIGHT: Mapping[str, str] = {wiring: f"iclight_sd15_{wiring}.safetensors" for wiring in WIRINGS}
"""Wiring -> the published IC-Light model for it, which is the default."""
ENGINES: tuple[EngineName, ...] = get_args(EngineName)
DIFFUSION: tuple[EngineName, ...] = ("comfyui", "embedded")

_DIFFUSION: dict[str, Any] = {"engines": DIFFUSION}
_FILE: dict[str, Any] = {"engines": DIFFUSION, "file": True}
_RELIGHT: dict[str, Any] = {"engines": ("relight",)}


class Recipe(Settings):
    """All settings of an augmentation. Unknown names and values out of range raise ConfigError."""

    WHAT = "recipe setting"

    engine: EngineName = "comfyui"
    """What computes the images."""
    background: Background = "scene"
    """What is behind the head: the sample's own background, black, or the scene picture."""

    wiring: Wiring = Field(default="fc", json_schema_extra=_DIFFUSION)
    """IC-Light model: fc takes the scene through the IP-Adapter, fbc as background latent."""
    steps: int = Field(default=24, ge=1, le=200, json_schema_extra=_DIFFUSION)
    """Sampler steps (paper: 20-32)."""
    cfg: float = Field(default=4.0, ge=1.0, le=30.0, json_schema_extra=_DIFFUSION)
    """Classifier-free guidance scale; 1 skips the unconditional half (paper: 2.5-7)."""
    sampler: Literal["dpmpp_2m", "euler"] = Field(default="dpmpp_2m", json_schema_extra=_DIFFUSION)
    """k-sampler."""
    scheduler: Literal["sgm_uniform", "karras", "normal"] = Field(default="sgm_uniform", json_schema_extra=_DIFFUSION)
    """Sigma schedule."""
    denoise: float = Field(default=0.5, ge=0.01, le=1.0, json_schema_extra=_DIFFUSION)
    """Splice ratio t0: the share of the noise schedule that is run, 1 keeps nothing of the sample."""
    ic_light_multiplier: float = Field(default=0.3, ge=0.0, le=1.0, json_schema_extra=_DIFFUSION)
    """Weight of IC-Light's concatenated latents (paper: 0.3; trained with 0.18215)."""
    ip_adapter_weight: float = Field(default=0.45, ge=0.0, le=1.0, json_schema_extra=_DIFFUSION)
    """Weight of the IP-Adapter's attention (paper: 0.3-0.6); 0 disables it."""
    reference: Reference = Field(default="auto", json_schema_extra={**_DIFFUSION, "added": True})
    """What the IP-Adapter looks at: the scene, the sample, or both at half the weight each; auto is the scene for
    wiring fc and the sample for fbc, where IC-Light sees the scene already."""
    control_strength: float = Field(default=0.0, ge=0.0, le=2.0, json_schema_extra={**_DIFFUSION, "added": True})
    """Weight of the ControlNet that holds the head's depth; 0 leaves it out. Samples without depth are skipped then."""
    control_start: float = Field(default=0.0, ge=0.0, le=1.0, json_schema_extra={**_DIFFUSION, "added": True})
    """Where in the whole noise schedule the ControlNet starts, 0 at pure noise; denoise = 0.5 starts near 0.5."""
    control_end: float = Field(default=1.0, ge=0.0, le=1.0, json_schema_extra={**_DIFFUSION, "added": True})
    """Where in the whole noise schedule the ControlNet ends."""
    light_transfer: float = Field(default=0.0, ge=0.0, le=1.0, json_schema_extra={**_DIFFUSION, "added": True})
    """How much of the diffused head gives way to the sample's own pixels under its light; at 1 no edge can move."""
    checkpoint: str = Field(default="v1-5-pruned-emaonly.safetensors", json_schema_extra=_FILE)
    """Stable Diffusion 1.5, single file."""
    ic_light: str = Field(default=IC_LIGHT["fc"], json_schema_extra=_FILE)
    """IC-Light model; must belong to the wiring. The default is the published model of the wiring."""
    ip_adapter: str = Field(default="ip-adapter_sd15.safetensors", json_schema_extra=_FILE)
    """IP-Adapter model."""
    clip_vision: str = Field(default="CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors", json_schema_extra=_FILE)
    """Image encoder of the IP-Adapter."""
    control_net: str = Field(
        default="control_v11f1p_sd15_depth_fp16.safetensors", json_schema_extra={**_FILE, "added": True}
    )
    """ControlNet for depth, used where control_strength is above 0."""

    geometry: Geometry = Field(default="auto", json_schema_extra={**_RELIGHT, "added": True})
    """Where the head's surface comes from: the data set's depth map, depth that ``synthetic fit`` made from the labels,
    or the inflated silhouette; auto takes the first of these that there is."""
    light_strength: float = Field(default=0.8, ge=0.0, le=1.0, json_schema_extra=_RELIGHT)
    """How much of the sample's own shading gives way to the new light; 0 leaves it as it is."""
    light_contrast: float = Field(default=1.0, ge=0.0, le=2.0, json_schema_extra=_RELIGHT)
    """Directional against ambient part of the scene's light; 0 is flat, 1 as measured from the scene."""
    light_colour: float = Field(default=0.7, ge=0.0, le=1.0, json_schema_extra=_RELIGHT)
    """How much of the scene light's colour is taken over; 0 is white light."""
    hair_shift: float = Field(default=0.5, ge=0.0, le=1.0, json_schema_extra=_RELIGHT)
    """Largest change of the hair's colour, drawn by the image's seed; 0 keeps it."""
    tone_shift: float = Field(default=0.3, ge=0.0, le=1.0, json_schema_extra=_RELIGHT)
    """Largest change of skin tone and exposure, drawn by the image's seed; 0 keeps them."""

    _by_wiring: dict[str, dict[str, str]] = PrivateAttr(default_factory=dict)
    """Setting -> wiring -> file, where files were named for each wiring."""

    @model_validator(mode="after")
    def _check_control(self) -> Self:
        if self.control_start >= self.control_end:
            raise ConfigError(f"control_start = {self.control_start:g} is not below control_end = {self.control_end:g}")
        return self

    @model_validator(mode="after")
    def _check_files(self) -> Self:
        for name in type(self).model_fields:
            if _names_file(name):
                _check_weights_name(name, getattr(self, name))
        if self.wiring == "fbc" and self.ic_light == IC_LIGHT["fc"]:
            object.__setattr__(self, "ic_light", IC_LIGHT["fbc"])
        return self

    def __eq__(self, other: object) -> bool:
        """Equal settings; files that are named for another wiring do not count."""
        return isinstance(other, Recipe) and self.as_dict() == other.as_dict()

    @property
    def references(self) -> tuple[Reference, ...]:
        """What the IP-Adapter looks at: scene, sample, or both; each has an equal share of the weight."""
        if self.reference == "both":
            return "scene", "sample"
        return (USUAL_REFERENCE[self.wiring] if self.reference == "auto" else self.reference,)

    @property
    def hash(self) -> str:
        """SHA-256 over what decides pixels: equal for equal recipes, on every machine."""
        return sha256(json.dumps(self.deciding(), sort_keys=True, separators=(",", ":")).encode())

    def deciding(self) -> dict[str, Any]:
        """All settings, but for those that earlier versions did not have and that are at their defaults.

        So what an earlier version created can be continued.
        """
        fields = type(self).model_fields
        return {
            name: value
            for name, value in self.as_dict().items()
            if not extra_of(fields[name], "added") or value != fields[name].default
        }

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
            if _names_file(name):
                by_wiring.pop(name, None)
                if isinstance(value, dict):
                    by_wiring[name] = base._file_by_wiring(name) | _checked_files(name, value)
        wiring = changes.get("wiring", base.wiring)
        if wiring in WIRINGS:
            changes |= {name: files.get(wiring, _default_file(name, wiring)) for name, files in by_wiring.items()}
            if "ic_light" not in changes and base.ic_light == IC_LIGHT[base.wiring]:
                changes["ic_light"] = IC_LIGHT[wiring]
        recipe = base.changed(**changes)
        recipe._by_wiring = by_wiring
        return recipe

    def _file_by_wiring(self, name: str) -> dict[str, str]:
        """What a model setting names for each wiring; a wiring without an entry has its default file."""
        value: str = getattr(self, name)
        plain = {} if value == _default_file(name, self.wiring) else {wiring: value for wiring in WIRINGS}
        return dict(self._by_wiring.get(name, plain))

    @classmethod
    def from_toml(cls, path: Path | None, base: "Recipe | None" = None) -> "Recipe":
        """A recipe from a TOML file of settings that differ from ``base`` (or from the defaults).

        Raises:
            ConfigError: unreadable, not TOML, an unknown name or a value out of its range.
        """
        if path is None:
            return base or cls()
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
            change = {wiring: value} if dot and _names_file(setting) else parsed(Recipe, name, value)
            recipe = self.from_dict({setting: change}, recipe)
        return recipe


def unused_settings(recipe: Recipe) -> tuple[str, ...]:
    """Settings that differ from their defaults although the recipe's engine does not read them."""
    return tuple(
        name
        for name, field in Recipe.model_fields.items()
        if recipe.engine not in (extra_of(field, "engines") or ENGINES) and getattr(recipe, name) != field.default
    )


def _names_file(name: str) -> bool:
    """Whether a setting names a model file.

    Raises:
        ConfigError: there is no such setting.
    """
    return bool(extra_of(field_of(Recipe, name), "file"))


def _default_file(name: str, wiring: str) -> str:
    """The default of a setting that names a model file."""
    return IC_LIGHT[wiring] if name == "ic_light" else str(Recipe.model_fields[name].default)


def _checked_files(name: str, files: Mapping[Any, Any]) -> dict[str, str]:
    """Files named for some wirings.

    Raises:
        ConfigError: an unknown wiring, or a value that is not the name of a file.
    """
    for wiring, file in files.items():
        if wiring not in WIRINGS:
            raise ConfigError(f"{name}: {shown(wiring)} is not a wiring; name files for {', '.join(WIRINGS)}")
        _check_weights_name(f"{name}.{wiring}", file)
    return dict(files)


def _check_weights_name(name: str, file: object) -> None:
    """A relative name with either separator: it may be a server's that runs on Windows.

    Raises:
        ConfigError: it is not one, or leads upwards.
    """
    text = file if isinstance(file, str) else ""
    absolute = text.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", text)
    if not text.endswith(".safetensors") or absolute or ".." in re.split(r"[/\\]", text):
        raise ConfigError(f"{name} = {shown(file)} is not the relative name of a .safetensors file")
