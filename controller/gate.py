"""The gate: every picture is certified before it is written; what fails is made again, otherwise, or set aside.

An item has a fixed list of attempts, so that the same command makes the same pictures whatever was interrupted: the
picture as planned, some with new seeds, some with less freedom (a lower splice ratio and IP-Adapter weight), and last
the relight engine, whose geometry is exact. Scene and texts stay those of the item.
"""

import dataclasses
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from acusim.errors import AcuSimError, ConfigError
from acusim.labels import Label
from acusim.sample_id import SampleId
from acusim.seeds import derive_seed
from acusim.settings_file import read_settings
from engines.base import Engine, Request, Result
from engines.factory import make_engine
from engines.recipe import DIFFUSION, Recipe
from evaluation.thresholds import Thresholds

if TYPE_CHECKING:
    from evaluation.certificate import Judge

Fallback = Literal["relight", "none"]
Way = Literal["planned", "re-rolled", "softened", "fallen back"]
WAYS: tuple[Way, ...] = get_args(Way)
SHOWN = ("structure", "texture", "outline_px", "found_px", "found_strength", "visible", "trusted")
"""Figures of a verdict that ledger and manifest keep of every attempt."""
SEEN_AT_A_GLANCE = ("structure", "texture")
"""Of a picture whose engine cannot move a pixel."""
LEAST_DENOISE = 0.01
"""The recipe allows no less."""


def _number(default: float, low: float, high: float) -> Any:
    return field(default=default, metadata={"low": low, "high": high})


@dataclass(frozen=True, kw_only=True)
class GateSettings:
    """What is tried, and by which thresholds a picture is judged."""

    rerolls: int = _number(2, 0, 20)
    """Attempts with a new seed, after the first."""
    softer: int = _number(2, 0, 10)
    """Attempts after those with less freedom; engine relight has none."""
    denoise_factor: float = _number(0.75, 0.1, 1.0)
    """Each of those multiplies the splice ratio t0 (the recipe's denoise) by this …"""
    ip_adapter_factor: float = _number(0.5, 0.0, 1.0)
    """… and the IP-Adapter's weight by this."""
    fallback: Fallback = "relight"
    """What comes last: the relight engine, or none: the item is set aside at once."""
    thresholds: Thresholds = field(default_factory=Thresholds)
    """Of the certificate."""

    def __post_init__(self) -> None:
        for spec in dataclasses.fields(self):
            if not spec.metadata:
                continue
            value, kind = getattr(self, spec.name), type(spec.default)
            if isinstance(value, bool) or not isinstance(value, int | float) or (kind is int and value != int(value)):
                raise ConfigError(f"{spec.name} = {value!r} is not {'a whole' if kind is int else 'a'} number")
            low, high = spec.metadata["low"], spec.metadata["high"]
            if not low <= value <= high:  # also true of NaN
                raise ConfigError(f"{spec.name} = {value!r} is outside {low:g}..{high:g}")
            object.__setattr__(self, spec.name, kind(value))
        if self.fallback not in get_args(Fallback):
            raise ConfigError(f"fallback = {self.fallback!r}; there are {', '.join(get_args(Fallback))}")

    def as_dict(self) -> dict[str, Any]:
        """All settings, as from_dict takes them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> "GateSettings":
        """Settings from the ones that differ from the defaults; thresholds in a table of that name.

        Raises:
            ConfigError: an unknown name or a value out of its range.
        """
        names = [spec.name for spec in dataclasses.fields(cls)]
        for name in settings:
            if name not in names:
                raise ConfigError(f"{name!r} is not a setting; there are {', '.join(names)}")
        thresholds = settings.get("thresholds", {})
        if not isinstance(thresholds, dict):
            raise ConfigError(f"thresholds = {thresholds!r} is not a table")
        whole: dict[str, Any] = settings | {"thresholds": Thresholds.from_dict(thresholds)}
        return cls(**whole)

    @classmethod
    def from_toml(cls, path: Path | None) -> "GateSettings":
        """Settings from a TOML file of differences; None gives the defaults.

        Raises:
            ConfigError: unreadable, not TOML, an unknown name or a value out of its range.
        """
        return cls() if path is None else read_settings(path, "gate", cls.from_dict)


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one attempt is made."""

    way: Way
    recipe: Recipe


def attempts(settings: GateSettings, recipe: Recipe) -> tuple[Attempt, ...]:
    """All attempts at an item; their number decides the seed."""
    found = [Attempt("planned", recipe)] + [Attempt("re-rolled", recipe)] * settings.rerolls
    if recipe.engine not in DIFFUSION:
        return tuple(found)
    for step in range(1, settings.softer + 1):
        denoise = max(LEAST_DENOISE, round(recipe.denoise * settings.denoise_factor**step, 6))
        weight = round(recipe.ip_adapter_weight * settings.ip_adapter_factor**step, 6)
        found.append(Attempt("softened", dataclasses.replace(recipe, denoise=denoise, ip_adapter_weight=weight)))
    if settings.fallback == "relight":
        found.append(Attempt("fallen back", dataclasses.replace(recipe, engine="relight")))
    return tuple(found)


class Gate:
    """Judges pictures, and knows what is tried next. May be used from several threads."""

    def __init__(self, settings: GateSettings, recipe: Recipe, seed: int):
        """Loads nothing yet.

        Args:
            settings: what is tried and how it is judged.
            recipe: of the batch.
            seed: of the batch.
        """
        self.attempts = attempts(settings, recipe)
        self._settings, self._seed = settings, seed
        self._recipe = recipe
        self._lock = threading.Lock()
        self._judge: Judge | None = None
        self._fallback: Engine | None = None

    def seed(self, sample: SampleId, variant: int, number: int) -> int:
        """The seed of an attempt."""
        return derive_seed(self._seed, sample, variant, number)

    def verdict(
        self, request: Request, label: Label, pixels: NDArray[np.uint8], kept: dict[str, Any], exact: bool = False
    ) -> dict[str, Any]:
        """Whether a picture is accepted ("accept"), else why not ("reason"), and figures.

        Args:
            request: what was asked for.
            label: of the sample.
            pixels: [H, W, 3] what was made.
            kept: holds what is known of the sample from one attempt to the next; empty at first.
            exact: the engine cannot move a pixel, so that there is nothing to register.
        """
        from evaluation.masks import record_of
        from evaluation.reference import sample_reference

        if "reference" not in kept:
            kept["reference"], _ = sample_reference(request.pixels, request.depth_data, label, request.sample.frame)
        judge, reference = self._judging(), kept["reference"]
        verdict = judge.glance(reference, pixels) if exact else judge.compare(reference, pixels)
        record = record_of(verdict)
        kept["record"] = None if exact else record
        shown = SEEN_AT_A_GLANCE if exact else SHOWN
        return {"accept": record["accept"], "reason": record["reason"], **{name: record[name] for name in shown}}

    def mask(self, kept: dict[str, Any], label: Label, image: str, image_sha256: str) -> bytes | None:
        """The point mask of the picture that was judged last, None where the engine cannot move a pixel.

        Args:
            kept: as for ``verdict``.
            label: of the sample.
            image: the picture, relative to its data set root.
            image_sha256: of its file.
        """
        from evaluation.masks import mask_bytes

        if kept.get("record") is None:
            return None
        return mask_bytes(kept["record"], label, image, image_sha256, self._settings.thresholds.tolerance_mm)

    def _judging(self) -> "Judge":
        with self._lock:
            if self._judge is None:
                from evaluation.certificate import Judge

                self._judge = Judge(self._settings.thresholds)
            return self._judge

    def engine(self, engine: Engine, number: int) -> Engine:
        """Who makes an attempt: the batch's engine, or the one it falls back to.

        Raises:
            EngineError: that one cannot be opened.
        """
        if self.attempts[number].recipe.engine == self._recipe.engine:
            return engine
        with self._lock:
            if self._fallback is None:
                self._fallback = make_engine(self.attempts[number].recipe)
                self._fallback.open()
            return self._fallback

    def augment(self, maker: Engine, batch: Sequence[Request]) -> list[Result | AcuSimError]:
        """What an engine makes of some requests; the one fallen back to takes them one at a time, on one core.

        Raises:
            EngineError: the engine broke down.
        """
        if maker is not self._fallback:
            return maker.augment(batch)
        with self._lock:
            return [answer for request in batch for answer in maker.augment([request])]
