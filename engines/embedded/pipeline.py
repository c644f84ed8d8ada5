"""The recipe on tensors: samples, scene, texts and noise to relit images; what batches share is computed once."""

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import torch
from torch import Tensor

from engines.embedded import sampling
from engines.embedded.attention import Half
from engines.embedded.models import FACTOR, LATENT_CHANNELS, LATENT_SCALE, Control, Models
from engines.recipe import Recipe

KEPT = 256
"""Texts, references and encoded backdrops in memory, this many of each: at most 240, 4 and 64 kB apiece at 512²."""


@dataclass(frozen=True, slots=True, eq=False)
class NamedImage:
    """An image that several batches may share."""

    key: object
    """Equal for equal images."""
    pixels: Tensor
    """[1, 3, H, W] in 0..1."""


class Pipeline:
    """Stable Diffusion 1.5 with IC-Light, IP-Adapter and ControlNet by one recipe."""

    def __init__(self, models: Models, recipe: Recipe):
        self.models, self.recipe = models, recipe
        self._texts = _Cache()
        self._references = _Cache()
        self._backdrops = _Cache()

    @torch.inference_mode()
    def latents(
        self,
        images: Tensor,
        noise: Tensor,
        positive: str,
        negative: str,
        scene: NamedImage | None = None,
        backdrop: NamedImage | None = None,
        step: Callable[[], None] = lambda: None,
        recipe: Recipe | None = None,
        hints: Tensor | None = None,
    ) -> Tensor:
        """[B, 4, H/8, W/8] scaled latents of the relit images.

        Args:
            images: [B, 3, H, W] the samples in 0..1, sides multiples of 8.
            noise: [B, 4, H/8, W/8] standard normal.
            positive: prompt.
            negative: prompt.
            scene: what the IP-Adapter sees, if the recipe's references have it.
            backdrop: of the samples' size; IC-Light sees it behind them. None for models without a backdrop.
            step: called before each step; may raise to end the run.
            recipe: replaces the pipeline's, for the same models.
            hints: [B, 3, H, W] in 0..1, what the ControlNet sees; for recipes with one.

        Raises:
            PictureError: a prompt is invalid.
        """
        recipe, models = recipe or self.recipe, self.models
        self._compute_shared(recipe, positive, negative, scene)
        encoded = models.encode(images)
        halves = self._halves(recipe, images, positive, negative, scene)
        concat = None
        if models.in_channels > LATENT_CHANNELS:
            behind = [] if backdrop is None else [self._backdrop(backdrop).expand(len(images), -1, -1, -1)]
            concat = recipe.ic_light_multiplier * torch.cat([encoded, *behind], dim=1)
        sigmas = sampling.schedule(recipe.scheduler, recipe.steps, recipe.denoise)
        x = sampling.start(noise, LATENT_SCALE * encoded, sigmas)
        control = None if hints is None else self._control(recipe, hints, positive, negative)
        return sampling.sample(recipe.sampler, models.denoiser(halves, concat, recipe.cfg, step, control), x, sigmas)

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> tuple[Tensor, list[bool]]:
        """As Models.decode."""
        return self.models.decode(latents)

    def _compute_shared(self, recipe: Recipe, positive: str, negative: str, scene: NamedImage | None) -> None:
        """Computes what is cached and nobody computes yet, so that two first batches share that work."""
        if scene is not None and "scene" in recipe.references and recipe.ip_adapter_weight > 0:
            self._references.compute(scene.key, lambda: self.models.embed(scene.pixels))
        for text in (positive, negative) if _guided(recipe) else (positive,):
            self._texts.compute(text, lambda text=text: self.models.encode_text(text))

    def _halves(
        self, recipe: Recipe, images: Tensor, positive: str, negative: str, scene: NamedImage | None
    ) -> list[Half]:
        """Without the prompt and with it; with it only where there is no guidance."""
        weight = recipe.ip_adapter_weight
        kinds = recipe.references if weight > 0 else ()
        seen = [self._seen(kind, images, scene) for kind in kinds]
        halves = [self.models.half(self._text(positive), seen, weight)]
        if _guided(recipe):
            nothing = [torch.zeros_like(each[:1]) for each in seen]
            halves.insert(0, self.models.half(self._text(negative), nothing, weight))
        return halves

    def _seen(self, kind: str, images: Tensor, scene: NamedImage | None) -> Tensor:
        """[1 or B, E] the embedding of a reference: the scene, or the samples."""
        if kind == "sample" or scene is None:
            return self.models.embed(images)
        return self._references.get(scene.key, lambda: self.models.embed(scene.pixels))

    def _control(self, recipe: Recipe, hints: Tensor, positive: str, negative: str) -> Control:
        texts = (negative, positive) if _guided(recipe) else (positive,)
        return Control(
            hints,
            [self.models.control_half(self._text(text)) for text in texts],
            recipe.control_strength,
            (sampling.sigma_at(recipe.control_start), sampling.sigma_at(recipe.control_end)),
        )

    def _text(self, text: str) -> Tensor:
        return self._texts.get(text, lambda: self.models.encode_text(text))

    def _backdrop(self, backdrop: NamedImage) -> Tensor:
        key = (backdrop.key, backdrop.pixels.shape)
        return self._backdrops.get(key, lambda: self.models.encode(backdrop.pixels))


class _Cache:
    """The KEPT latest tensors, by key."""

    def __init__(self) -> None:
        self._entries: OrderedDict[object, Future[Tensor]] = OrderedDict()
        self._lock = threading.Lock()

    def compute(self, key: object, make: Callable[[], Tensor]) -> "Future[Tensor]":
        """Computes it, unless it is cached or another thread is computing it."""
        with self._lock:
            future = self._entries.get(key)
            if future is not None:
                self._entries.move_to_end(key)
                return future
            future = self._entries[key] = Future()
            if len(self._entries) > KEPT:
                self._entries.popitem(last=False)
        try:
            future.set_result(make())
        except BaseException as error:  # raised by get
            with self._lock:
                self._entries.pop(key, None)
            future.set_exception(error)
        return future

    def get(self, key: object, make: Callable[[], Tensor]) -> Tensor:
        """Computes it, or waits for the thread that does; raises what ``make`` raises."""
        return self.compute(key, make).result()


def _guided(recipe: Recipe) -> bool:
    return not math.isclose(recipe.cfg, 1)


def noise_of(seeds: Sequence[int], height: int, width: int) -> Tensor:
    """[B, 4, height / 8, width / 8] noise, each image's from its own seed as on a CPU."""
    shape = 1, 4, height // FACTOR, width // FACTOR
    return torch.cat([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
