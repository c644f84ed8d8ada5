"""The gate: every image is certified before it is written; what fails is regenerated in other ways, or skipped.

An item has a fixed list of attempts, so that the same command creates the same images whatever was interrupted: the
image as planned, some with new seeds, one whose light alone is taken (on the sample's own pixels), some with less
freedom (a lower splice ratio and IP-Adapter weight), and last the relight engine, whose geometry is exact. Scene and
texts stay those of the item.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from acusim.errors import AcuSimError
from acusim.keypoints import Keypoints
from acusim.labels import Label
from acusim.sample_id import PictureId, SampleId
from acusim.seeds import derive_seed
from controller.gate_settings import GateSettings
from engines.base import Engine, Request, Result
from engines.factory import make_engine
from engines.recipe import DIFFUSION, Recipe

if TYPE_CHECKING:
    from evaluation.certificate import Judge
    from evaluation.reference import Reference

Way = Literal["planned", "re-rolled", "light transferred", "softened", "fallen back"]
WAYS: tuple[Way, ...] = get_args(Way)
SHOWN = ("structure", "texture", "outline_px", "found_px", "found_strength", "visible", "trusted")
"""What ledger and manifest keep of the verdict on every attempt."""
SHOWN_EXACT = ("structure", "texture")
"""The same of an image whose engine cannot move a pixel."""
LEAST_DENOISE = 0.01
"""The recipe allows no less."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one attempt differs from the others."""

    way: Way
    recipe: Recipe


def attempts(settings: GateSettings, recipe: Recipe) -> tuple[Attempt, ...]:
    """All attempts at an item; their number decides the seed."""
    found = [Attempt("planned", recipe)] + [Attempt("re-rolled", recipe)] * settings.rerolls
    if recipe.engine not in DIFFUSION:
        return tuple(found)
    if settings.light_transfer and recipe.light_transfer < 1:
        found.append(Attempt("light transferred", recipe.changed(light_transfer=1.0)))
    for step in range(1, settings.softer + 1):
        denoise = max(LEAST_DENOISE, round(recipe.denoise * settings.denoise_factor**step, 6))
        weight = round(recipe.ip_adapter_weight * settings.ip_adapter_factor**step, 6)
        found.append(Attempt("softened", recipe.changed(denoise=denoise, ip_adapter_weight=weight)))
    if settings.fallback == "relight":
        found.append(Attempt("fallen back", recipe.changed(engine="relight")))
    return tuple(found)


class Gate:
    """Judges images, and decides what is tried next. May be used from several threads."""

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

    def seed(self, sample: SampleId | PictureId, variant: int, number: int) -> int:
        """The seed of an attempt."""
        return derive_seed(self._seed, sample, variant, number)

    def verdict(
        self,
        request: Request,
        label: Label | Keypoints,
        pixels: NDArray[np.uint8],
        kept: dict[str, Any],
        exact: bool = False,
    ) -> dict[str, Any]:
        """Whether an image is accepted ("accept"), else why not ("reason"), and figures.

        Args:
            request: what was asked for.
            label: of the sample.
            pixels: [H, W, 3] the engine's answer.
            kept: keeps what is known of the sample from one attempt to the next; empty at first.
            exact: the engine cannot move a pixel, so that there is nothing to register.
        """
        from evaluation.masks import record_of

        if "reference" not in kept:
            kept["reference"] = _reference(request, label)
        judge, reference = self._get_judge(), kept["reference"]
        verdict = judge.quick_check(reference, pixels) if exact else judge.compare(reference, pixels)
        record = record_of(verdict)
        kept["record"] = None if exact else record
        shown = SHOWN_EXACT if exact else SHOWN
        return {"accept": record["accept"], "reason": record["reason"], **{name: record[name] for name in shown}}

    def mask(self, kept: dict[str, Any], label: Label | Keypoints, image: str, image_sha256: str) -> bytes | None:
        """The point mask of the image that was judged last, None where the engine cannot move a pixel.

        Args:
            kept: as for ``verdict``.
            label: of the sample.
            image: the image, relative to its data set root.
            image_sha256: of its file.
        """
        from evaluation.masks import mask_bytes

        if kept.get("record") is None:
            return None
        return mask_bytes(kept["record"], label, image, image_sha256, self._settings.thresholds.tolerance_mm)

    def _get_judge(self) -> "Judge":
        with self._lock:
            if self._judge is None:
                from evaluation.certificate import Judge

                self._judge = Judge(self._settings.thresholds)
            return self._judge

    def engine(self, engine: Engine, number: int) -> Engine:
        """The engine of an attempt: the batch's, or the one it falls back to.

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

    def augment(self, engine: Engine, batch: Sequence[Request]) -> list[Result | AcuSimError]:
        """An engine's answers to some requests; the fallback takes them one at a time, on one core.

        Raises:
            EngineError: the engine broke down.
        """
        if engine is not self._fallback:
            return engine.augment(batch)
        with self._lock:
            return [answer for request in batch for answer in engine.augment([request])]


def _reference(request: Request, label: Label | Keypoints) -> "Reference":
    """The original of a request for the judge."""
    from evaluation.reference import keypoint_reference, sample_reference

    if isinstance(label, Keypoints):
        assert request.alpha is not None
        return keypoint_reference(request.pixels, request.alpha, label)
    assert isinstance(request.sample, SampleId)
    return sample_reference(request.pixels, request.depth_data, label, request.sample.frame)[0]
