"""The engine that makes the pictures in this process, equal to a ComfyUI server with the shipped workflows.

Several lanes may call ``augment`` at once: reading and composing overlap with the models, which serve one batch at a
time, on a CPU two.
"""

import dataclasses
import json
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from acusim import unit
from acusim.errors import AcuSimError, EngineError, PictureError
from acusim.files import sha256
from acusim.foreground import composed, find_foreground, fitted
from engines.base import Check, Engine, Request, Result, Setup
from engines.embedded import weights
from engines.embedded.worker import Workers
from engines.options import MAX_BATCH, EmbeddedOptions
from engines.recipe import Recipe
from engines.scenes import Scene, scene_pixels

if TYPE_CHECKING:
    from torch import Tensor

    from engines.embedded.models import Placement
    from engines.embedded.pipeline import Named, Pipeline

LANES = 3
"""On a GPU one batch with the models, one being read, one being composed and written; on a CPU two with the models."""
GPU_BATCH, CPU_BATCH = 8, 4
CPU_WORKERS = 2
CPU_PIXELS = 2 * 256**2
"""A CPU is kept busy by this much; more at once only takes more memory."""
SCENES_KEPT = 16
MODELS_FILE = "models.json"


@dataclass(frozen=True, slots=True, eq=False)
class _Ready:
    """A request that was read and checked."""

    request: Request
    picture: unit.Floats
    """[H, W, 3] in 0..1, padded."""
    alpha: unit.Floats
    """[H, W] share of the head, 0 in the padding."""
    foreground: str
    doubts: tuple[str, ...]

    @property
    def shared(self) -> tuple[object, ...]:
        """Equal for requests that can go through the models together."""
        request = self.request
        texts = request.positive, request.negative
        return self.picture.shape, request.scene.sha256, *texts, *request.changes.values()


class EmbeddedEngine(Engine):
    """Relights by diffusion in this process: Stable Diffusion 1.5, IC-Light and IP-Adapter, on a GPU or the CPU."""

    name = "embedded"
    processes = False

    def __init__(self, recipe: Recipe, setup: Setup | None = None):
        """Takes models, device, precision and batch size from the setup; loads nothing yet.

        Raises:
            ConfigError: the batch size is out of range.
        """
        super().__init__(recipe, setup)
        self.lanes = LANES
        self.options = setup.of(EmbeddedOptions) if setup else EmbeddedOptions()
        wanted = self.options.batch_size
        self.batch_size = wanted or GPU_BATCH
        self._wanted = wanted
        self._placement: Placement | None = None
        self._identity: dict[str, str] | None = None
        self._pipeline: Pipeline | None = None
        self._workers: Workers | None = None
        self._stopped = threading.Event()
        self._scenes: OrderedDict[str, Tensor] = OrderedDict()
        self._scenes_lock = threading.Lock()
        self._most: dict[tuple[int, int], int] = {}
        """Pictures of a size that fit into memory together, where more were tried."""
        self._progress: dict[int, float] = {}
        """Of each thread's batch, in pictures."""

    @property
    def placement(self) -> "Placement":
        """Where the models run.

        Raises:
            EngineError: the device is not there.
        """
        if self._placement is None:
            from engines.embedded.hardware import place

            self._placement = place(self.options)
        return self._placement

    def identity(self) -> dict[str, str]:
        """The hashes of the model files, and the numbers they are computed in.

        Raises:
            EngineError: files are missing, or the device is not there.
        """
        if self._identity is None:
            weights.find_weights(self.recipe, self._models)  # tells what is missing before torch is loaded
            precision = self.placement.precision
            self._identity = {**weights.identity(self.recipe, self._models), "precision": precision}
        return self._identity

    def documents(self) -> dict[str, bytes]:
        """The identity as a file."""
        return {MODELS_FILE: (json.dumps(self.identity(), indent=2) + "\n").encode()}

    @property
    def _models(self) -> Path | None:
        return self.options.models

    def check(self) -> list[Check]:
        """The device and each model file; nothing is loaded or fetched."""
        from engines.embedded.hardware import told

        try:
            device = Check("device", True, told(self.placement))
        except EngineError as error:
            device = Check("device", False, str(error), "see there")
        return [device, *weights.checks(self.recipe, self._models)]

    def open(self) -> None:
        """Fetches what is missing, and loads the models.

        Raises:
            EngineError: a file is missing or of the wrong kind, or the device is not there or too small.
        """
        placement = self.placement
        self.identity()
        found, notes = weights.ready_weights(self.recipe, self._models)
        self.notes += notes
        paths = {role: file.path for role, file in found.items() if file.path is not None}
        self._workers = self._start()
        self._workers.ask(lambda: self._load(paths)).result()
        if self._wanted is None:
            self.batch_size = GPU_BATCH if placement.device.type == "cuda" else CPU_BATCH

    def _start(self) -> Workers:
        """The threads for the models."""
        import torch

        if self.placement.device.type == "cuda":
            return Workers(1)
        threads = torch.get_num_threads()
        count = min(CPU_WORKERS, threads)
        return Workers(count, lambda: torch.set_num_threads(threads // count))

    def _load(self, paths: dict[str, Path]) -> None:
        from engines.embedded.hardware import is_out_of_memory, let_go
        from engines.embedded.models import Files, Models
        from engines.embedded.pipeline import Pipeline

        try:
            self._pipeline = Pipeline(Models(Files(**paths), self.placement), self.recipe)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            let_go()
            raise EngineError("the models do not fit into memory; take --low-memory, or a larger device") from None

    def close(self) -> None:
        """Lets go of the models."""
        if self._workers is not None:
            self._workers.ask(self._let_go).result()
            self._workers.end()
            self._workers = None
        self._scenes.clear()

    def _let_go(self) -> None:
        from engines.embedded.hardware import let_go

        self._pipeline = None
        let_go()

    def stop(self) -> None:
        """Ends running calls before their next step."""
        self._stopped.set()

    def work_in_progress(self) -> float:
        """Pictures' worth of sampler steps done in the batch at work."""
        return sum(list(self._progress.values()))

    def augment(self, batch: Sequence[Request]) -> list[Result | AcuSimError]:
        """Splits by size, scene and texts, and makes each part together."""
        answers: dict[int, Result | AcuSimError] = {}
        parts: dict[tuple[object, ...], list[tuple[int, _Ready]]] = {}
        for position, request in enumerate(batch):
            try:
                ready = _read(request)
            except AcuSimError as error:
                answers[position] = error
                continue
            parts.setdefault(ready.shared, []).append((position, ready))
        for part in parts.values():
            places = [position for position, _ in part]
            answers.update(zip(places, self._part([ready for _, ready in part]), strict=True))
        return [answers[position] for position in range(len(batch))]

    def _part(self, part: list[_Ready]) -> list[Result | AcuSimError]:
        """Requests of equal size, scene and texts."""
        height, width = part[0].picture.shape[:2]
        try:
            scene = self._scene(part[0].request.scene)
            workers = self._workers
            if workers is None:
                raise EngineError("engine embedded is not open")
            size = self._fitting(height, width)
            pieces = [part[first : first + size] for first in range(0, len(part), size)]
            futures = [workers.ask(lambda piece=piece: self._with_less(piece, scene)) for piece in pieces]
            made = [answer for future in futures for answer in future.result()]
        except PictureError as error:
            return [error for _ in part]
        behind = None
        if self.recipe.background == "scene":
            behind = self._backdrop(part[0], scene)
        return [
            answer if isinstance(answer, AcuSimError) else self._result(ready, *answer, behind)
            for ready, answer in zip(part, made, strict=True)
        ]

    def _fitting(self, height: int, width: int) -> int:
        """How many pictures of a size go through the models together."""
        most = self._most.get((height, width), MAX_BATCH)
        if self.placement.device.type == "cpu":
            most = min(most, max(1, CPU_PIXELS // (height * width)))
        return most

    def _with_less(self, some: list[_Ready], scene: "Named") -> list[tuple[unit.Floats, bool] | AcuSimError]:
        """Makes pictures; where memory does not suffice, half as many at once, now and from now on."""
        from engines.embedded.hardware import is_out_of_memory, let_go

        height, width = some[0].picture.shape[:2]
        try:
            return self._make(some, scene)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        let_go()
        if len(some) == 1:
            help = "take smaller pictures" if self.placement.low_memory else "take --low-memory, or smaller pictures"
            return [PictureError(f"{width} x {height} pixels do not fit into memory, even alone; {help}")]
        half = len(some) // 2
        self._most[height, width] = min(half, self._most.get((height, width), half))
        self.notes.append(f"memory does not suffice for {len(some)} pictures of {width} x {height}: going on by {half}")
        made: list[tuple[unit.Floats, bool] | AcuSimError] = []
        while len(made) < len(some):
            made += self._with_less(some[len(made) : len(made) + min(half, self._most[height, width])], scene)
        return made

    def _make(self, some: list[_Ready], scene: "Named") -> list[tuple[unit.Floats, bool] | AcuSimError]:
        """The models' work: [H, W, 3] pictures in 0..1, and whether each was decoded a second time."""
        import torch

        from engines.embedded.pipeline import Named, noise_of

        if self._pipeline is None:
            raise EngineError("engine embedded is not open")
        pipeline, device = self._pipeline, self.placement.device
        request = some[0].request
        height, width = some[0].picture.shape[:2]
        done = 0

        def step() -> None:
            nonlocal done
            if self._stopped.is_set():
                raise EngineError("engine embedded was stopped")
            self._progress[threading.get_ident()] = len(some) * done / self.recipe.steps
            done += 1

        pictures = torch.from_numpy(np.stack([ready.picture for ready in some])).permute(0, 3, 1, 2).to(device)
        noise = noise_of([ready.request.seed for ready in some], height, width).to(device)
        reference: Named | None = scene
        backdrop = None
        if self.recipe.wiring == "fbc":
            key = (request.scene.sha256, *request.pixels.shape)
            reference, backdrop = None, Named(key, _tensor(self._backdrop(some[0], scene)).to(device))
        try:
            recipe = dataclasses.replace(self.recipe, **request.changes)
            texts = request.positive, request.negative
            latents = pipeline.latents(pictures, noise, *texts, reference, backdrop, step, recipe)
        finally:
            self._progress.pop(threading.get_ident(), None)
        numbers = [bool(torch.isfinite(latent).all()) for latent in latents]
        decoded, again = pipeline.decode(torch.nan_to_num(latents))
        pixels = decoded.permute(0, 2, 3, 1).cpu().numpy()
        failed = PictureError(
            f"the models gave no numbers in {self.placement.precision}; take --precision bf16 or fp32, or other weights"
        )
        return [
            (np.ascontiguousarray(picture), second) if sound else failed
            for picture, second, sound in zip(pixels, again, numbers, strict=True)
        ]

    def _result(self, ready: _Ready, picture: unit.Floats, again: bool, behind: unit.Floats | None) -> Result:
        """The picture before its background, without padding."""
        height, width = ready.request.pixels.shape[:2]
        if behind is None:
            behind = ready.picture if self.recipe.background == "keep" else np.zeros_like(picture)
        whole = unit.to_levels(composed(picture, behind, ready.alpha))
        identity = self.identity()
        facts = {
            "weights": sha256(json.dumps(identity, sort_keys=True).encode())[:12],
            "precision": identity["precision"],
            "foreground": ready.foreground,
        }
        if again:
            facts["vae"] = "decoded again in fp32"
        return Result(np.ascontiguousarray(whole[:height, :width]), facts, ready.doubts)

    def _scene(self, scene: Scene) -> "Named":
        """A scene picture at its natural size.

        Raises:
            PictureError: it cannot be read, or was changed.
        """
        from engines.embedded.pipeline import Named

        with self._scenes_lock:
            if scene.sha256 not in self._scenes:
                pixels = scene_pixels(scene)
                self._scenes[scene.sha256] = _tensor(unit.from_levels(pixels)).to(self.placement.device)
                if len(self._scenes) > SCENES_KEPT:
                    self._scenes.popitem(last=False)
            self._scenes.move_to_end(scene.sha256)
            return Named(scene.sha256, self._scenes[scene.sha256])

    def _backdrop(self, ready: _Ready, scene: "Named") -> unit.Floats:
        """[H, W, 3] the scene at a sample's padded size, fitted as the workflow of the wiring does it."""
        levels = unit.to_levels(scene.pixels[0].permute(1, 2, 0).cpu().numpy())
        height, width = ready.picture.shape[:2]
        if self.recipe.wiring == "fc":
            return unit.from_levels(fitted(levels, height, width))
        true = ready.request.pixels.shape
        return unit.pad_picture(unit.from_levels(fitted(levels, true[0], true[1])), height, width)


def _tensor(picture: unit.Floats) -> "Tensor":
    """[1, 3, H, W] of a picture [H, W, 3]."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None]


def _read(request: Request) -> _Ready:
    """Finds the head and pads the picture.

    Raises:
        PictureError: there is no foreground to be found.
    """
    height, width = (unit.padded(side) for side in request.pixels.shape[:2])
    head = find_foreground(request.pixels, request.depth_data, request.alpha)
    picture = unit.pad_picture(unit.from_levels(request.pixels), height, width)
    return _Ready(request, picture, unit.pad_mask(head.alpha, height, width), head.source, head.doubts)
