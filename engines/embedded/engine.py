"""The engine that relights in this process, equal to a ComfyUI server with the shipped workflows.

Several threads may call ``augment`` at once: reading and composing overlap with the models, which process one batch at
a time, on a CPU two.
"""

import json
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from acusim import float_images
from acusim.errors import AcuSimError, EngineError, PictureError
from acusim.files import sha256
from acusim.light_transfer import transferred_light
from engines.base import Check, Engine, Request, Result, Setup
from engines.embedded import weight_files
from engines.embedded.model_threads import ModelThreads
from engines.embedded.prepared import PreparedRequest, image_tensor, prepare
from engines.embedded.weight_lookup import find_weights
from engines.options import MAX_BATCH, EmbeddedOptions
from engines.recipe import Recipe
from engines.scenes import Scene, scene_pixels

if TYPE_CHECKING:
    from torch import Tensor

    from engines.embedded.models import Placement
    from engines.embedded.pipeline import NamedImage, Pipeline

CONCURRENCY = 3
"""On a GPU one batch in the models, one being read, one being composed and written; on a CPU two in the models."""
GPU_BATCH, CPU_BATCH = 8, 4
CPU_THREADS = 2
CPU_PIXELS = 2 * 256**2
"""This many keep a CPU busy; more at once only take more memory."""
SCENES_KEPT = 16
MODELS_FILE = "models.json"

Relit = tuple[float_images.Floats, bool]
"""[H, W, 3] in 0..1, and whether it was decoded a second time."""


class EmbeddedEngine(Engine):
    """Relights by diffusion in this process: Stable Diffusion 1.5, IC-Light and IP-Adapter, on a GPU or the CPU."""

    name = "embedded"
    processes = False

    def __init__(self, recipe: Recipe, setup: Setup | None = None):
        """Takes models, device, precision and batch size from the setup; loads nothing yet."""
        super().__init__(recipe, setup)
        self.concurrency = CONCURRENCY
        self.options = setup.of(EmbeddedOptions) if setup else EmbeddedOptions()
        self.batch_size = self.options.batch_size or GPU_BATCH
        self._placement: Placement | None = None
        self._identity: dict[str, str] | None = None
        self._pipeline: Pipeline | None = None
        self._threads: ModelThreads | None = None
        self._stopped = threading.Event()
        self._scenes: OrderedDict[str, Tensor] = OrderedDict()
        self._scenes_lock = threading.Lock()
        self._batch_limits: dict[tuple[int, int], int] = {}
        """Images of a size that fit into memory together, where more were tried."""
        self._progress: dict[int, float] = {}
        """Of each thread's batch, in images."""

    @property
    def placement(self) -> "Placement":
        """Where the models run.

        Raises:
            EngineError: the device is not available.
        """
        if self._placement is None:
            from engines.embedded.hardware import place

            self._placement = place(self.options)
        return self._placement

    def identity(self) -> dict[str, str]:
        """The hashes of the model files, and the precision.

        Raises:
            EngineError: files are missing, or the device is not available.
        """
        if self._identity is None:
            find_weights(self.recipe, self.options.models)  # reports missing files before torch is imported
            # The controller of a cluster may have no GPU itself.
            elsewhere = self.options.cluster is not None and self.options.precision != "auto"
            precision = self.options.precision if elsewhere else self.placement.precision
            self._identity = {**weight_files.identity(self.recipe, self.options.models), "precision": precision}
        return self._identity

    def documents(self) -> dict[str, bytes]:
        """The identity as a file."""
        return {MODELS_FILE: (json.dumps(self.identity(), indent=2) + "\n").encode()}

    def check(self) -> list[Check]:
        """The device and each model file; nothing is loaded or downloaded."""
        from engines.embedded.hardware import describe

        try:
            device = Check("device", True, describe(self.placement))
        except EngineError as error:
            device = Check("device", False, str(error), "see there")
        return [device, *weight_files.checks(self.recipe, self.options.models)]

    def hardware(self) -> str:
        """The GPU's name."""
        from engines.embedded.hardware import gpu_name

        return gpu_name(self.placement)

    def open(self) -> None:
        """Downloads what is missing, and loads the models.

        Raises:
            EngineError: a file is missing or of the wrong kind, or the device is not available or too small.
        """
        placement = self.placement
        self.identity()
        found, notes = weight_files.ready_weights(self.recipe, self.options.models)
        self.notes += notes
        paths = {role: file.path for role, file in found.items() if file.path is not None}
        self._threads = self._start_threads()
        self._threads.submit(lambda: self._load(paths)).result()
        if self.options.batch_size is None:
            self.batch_size = GPU_BATCH if placement.device.type == "cuda" else CPU_BATCH

    def _start_threads(self) -> ModelThreads:
        import torch

        if self.placement.device.type == "cuda":
            return ModelThreads(1)
        cores = torch.get_num_threads()
        count = min(CPU_THREADS, cores)
        return ModelThreads(count, lambda: torch.set_num_threads(cores // count))

    def _load(self, paths: dict[str, Path]) -> None:
        from engines.embedded.hardware import is_out_of_memory, release_memory
        from engines.embedded.models import Files, Models
        from engines.embedded.pipeline import Pipeline

        try:
            self._pipeline = Pipeline(Models(Files(**paths), self.placement), self.recipe)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            release_memory()
            raise EngineError("the models do not fit into memory; use --low-memory, or a larger device") from None

    def close(self) -> None:
        """Releases the models."""
        if self._threads is not None:
            self._threads.submit(self._unload).result()
            self._threads.close()
            self._threads = None
        self._scenes.clear()

    def _unload(self) -> None:
        from engines.embedded.hardware import release_memory

        self._pipeline = None
        release_memory()

    def stop(self) -> None:
        """Ends running calls before their next step."""
        self._stopped.set()

    def work_in_progress(self) -> float:
        """Sampler steps done in the current batches, in images."""
        return sum(list(self._progress.values()))

    def augment(self, batch: Sequence[Request]) -> list[Result | AcuSimError]:
        """Groups by size, scene and texts, and relights each group together."""
        answers: dict[int, Result | AcuSimError] = {}
        groups: dict[tuple[object, ...], list[tuple[int, PreparedRequest]]] = {}
        for position, request in enumerate(batch):
            try:
                prepared = prepare(request, with_hint=self.recipe.control_strength > 0)
            except AcuSimError as error:
                answers[position] = error
            else:
                groups.setdefault(prepared.batch_key, []).append((position, prepared))
        for group in groups.values():
            positions = [position for position, _ in group]
            answers.update(zip(positions, self._relight_group([prepared for _, prepared in group]), strict=True))
        return [answers[position] for position in range(len(batch))]

    def _relight_group(self, group: list[PreparedRequest]) -> list[Result | AcuSimError]:
        """Requests of equal size, scene and texts."""
        try:
            scene = self._scene(group[0].request.scene)
            threads = self._threads
            if threads is None:
                raise EngineError("engine embedded is not open")
            size = self._batch_limit(*group[0].size)
            chunks = [group[first : first + size] for first in range(0, len(group), size)]
            futures = [threads.submit(lambda chunk=chunk: self._relight_in_memory(chunk, scene)) for chunk in chunks]
            results = [result for future in futures for result in future.result()]
        except PictureError as error:
            return [error for _ in group]
        behind = group[0].backdrop(scene.pixels, self.recipe.wiring) if self.recipe.background == "scene" else None
        return [
            result if isinstance(result, AcuSimError) else self._compose(prepared, *result, behind)
            for prepared, result in zip(group, results, strict=True)
        ]

    def _batch_limit(self, height: int, width: int) -> int:
        """How many images of a size go through the models together."""
        limit = self._batch_limits.get((height, width), MAX_BATCH)
        if self.placement.device.type == "cpu":
            limit = min(limit, max(1, CPU_PIXELS // (height * width)))
        return limit

    def _relight_in_memory(self, chunk: list[PreparedRequest], scene: "NamedImage") -> list[Relit | AcuSimError]:
        """Relights; where memory does not suffice, half as many at once, now and from now on."""
        from engines.embedded.hardware import is_out_of_memory, release_memory

        height, width = chunk[0].size
        try:
            return self._relight(chunk, scene)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        release_memory()
        if len(chunk) == 1:
            fix = "use smaller images" if self.placement.low_memory else "use --low-memory, or smaller images"
            return [PictureError(f"{width} x {height} pixels do not fit into memory, even alone; {fix}")]
        half = len(chunk) // 2
        self._batch_limits[height, width] = min(half, self._batch_limits.get((height, width), half))
        self.notes.append(f"too little memory for {len(chunk)} images of {width} x {height}: continuing with {half}")
        results: list[Relit | AcuSimError] = []
        while len(results) < len(chunk):
            size = min(half, self._batch_limits[height, width])
            results += self._relight_in_memory(chunk[len(results) : len(results) + size], scene)
        return results

    def _relight(self, chunk: list[PreparedRequest], scene: "NamedImage") -> list[Relit | AcuSimError]:
        """Runs the models."""
        import torch

        from engines.embedded.pipeline import NamedImage, noise_of

        if self._pipeline is None:
            raise EngineError("engine embedded is not open")
        pipeline, device = self._pipeline, self.placement.device
        request = chunk[0].request
        noise = noise_of([prepared.request.seed for prepared in chunk], *chunk[0].size).to(device)
        images = torch.from_numpy(np.stack([prepared.image for prepared in chunk])).permute(0, 3, 1, 2).to(device)
        backdrop = hints = None
        if self.recipe.wiring == "fbc":
            pixels = image_tensor(chunk[0].backdrop(scene.pixels, "fbc")).to(device)
            # The graph has one scene: IC-Light and IP-Adapter see it fitted to the samples.
            scene = backdrop = NamedImage((request.scene.sha256, *request.pixels.shape), pixels)
        if self.recipe.control_strength > 0:
            seen = np.stack([prepared.hint for prepared in chunk if prepared.hint is not None])
            hints = torch.from_numpy(seen)[:, None].expand(-1, 3, -1, -1).to(device)
        recipe = self.recipe.changed(**request.changes)
        done = 0

        def report_step() -> None:
            nonlocal done
            if self._stopped.is_set():
                raise EngineError("engine embedded was stopped")
            self._progress[threading.get_ident()] = len(chunk) * done / self.recipe.steps
            done += 1

        try:
            texts = request.positive, request.negative
            latents = pipeline.latents(images, noise, *texts, scene, backdrop, report_step, recipe, hints)
        finally:
            self._progress.pop(threading.get_ident(), None)
        finite = [bool(torch.isfinite(latent).all()) for latent in latents]
        decoded, again = pipeline.decode(torch.nan_to_num(latents))
        pixels = decoded.permute(0, 2, 3, 1).cpu().numpy()
        precision = self.placement.precision
        failed = PictureError(
            f"the models gave NaN or infinity in {precision}; use --precision bf16 or fp32, or other models"
        )
        return [
            (np.ascontiguousarray(image), second) if valid else failed
            for image, second, valid in zip(pixels, again, finite, strict=True)
        ]

    def _compose(
        self, prepared: PreparedRequest, image: float_images.Floats, again: bool, behind: float_images.Floats | None
    ) -> Result | AcuSimError:
        """The result; ``behind`` None takes the sample itself or black, as the recipe has it."""
        amount = prepared.request.changes.get("light_transfer", self.recipe.light_transfer)
        try:
            image = transferred_light(image, prepared.image, prepared.alpha, amount)
        except PictureError as error:
            return error
        if behind is None:
            behind = prepared.image if self.recipe.background == "keep" else np.zeros_like(image)
        identity = self.identity()
        facts = {
            "weights": sha256(json.dumps(identity, sort_keys=True).encode())[:12],
            "precision": identity["precision"],
            "foreground": prepared.foreground,
        }
        if again:
            facts["vae"] = "decoded again in fp32"
        return Result(prepared.compose(image, behind), facts, prepared.doubts)

    def _scene(self, scene: Scene) -> "NamedImage":
        """A scene picture at its natural size.

        Raises:
            PictureError: it cannot be read, or was changed.
        """
        from engines.embedded.pipeline import NamedImage

        with self._scenes_lock:
            if scene.sha256 not in self._scenes:
                pixels = float_images.from_levels(scene_pixels(scene))
                self._scenes[scene.sha256] = image_tensor(pixels).to(self.placement.device)
                if len(self._scenes) > SCENES_KEPT:
                    self._scenes.popitem(last=False)
            self._scenes.move_to_end(scene.sha256)
            return NamedImage(scene.sha256, self._scenes[scene.sha256])
