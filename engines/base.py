"""The contract that every engine keeps.

A subclass defines ``open``, ``augment`` and ``close``, its ``name``, and whether it may run in several processes.
``augment`` answers each request, in order, with a Result or with the AcuSimError that concerns this one image;
it raises EngineError only when the engine as a whole cannot continue. The answer depends on the request, the recipe and
``identity`` alone: not on earlier requests, nor, beyond the rounding of sums, on the batch it came in.

An engine that runs in several processes is small and works on one image at a time. Any other one is opened once, and
``augment`` is called with up to ``batch_size`` requests of equal scene and texts from ``concurrency`` threads at once.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from acusim.errors import AcuSimError
from acusim.sample_id import PictureId, SampleId
from engines.options import ComfyUIOptions, EmbeddedOptions, RelightOptions
from engines.recipe import Recipe
from engines.scenes import Scene

T = TypeVar("T", RelightOptions, ComfyUIOptions, EmbeddedOptions)
CHANGEABLE = ("denoise", "ip_adapter_weight", "light_transfer")
"""Settings of the recipe that may differ from image to image: how far the diffusion is free."""


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One image to create."""

    sample: SampleId | PictureId
    source: Path
    """The sample's image on disk."""
    pixels: NDArray[np.uint8]
    """[H, W, 3] RGB of the sample."""
    source_data: bytes
    """The bytes of the sample's image, as they were decoded."""
    source_sha256: str
    """Hex digest of ``source_data``."""
    depth: Path | None
    """The sample's depth map on disk, None where the dataset has none."""
    depth_data: bytes | None
    """The bytes of the depth map, as they were hashed and copied."""
    scene: Scene
    """The scene picture that sets the light."""
    bald: bool
    """The head has no hair to recolour, nor to prompt for."""
    prompt_set: str
    positive: str
    negative: str
    seed: int
    """0 <= seed < 2**63; everything random in the image comes from it."""
    recipe: Recipe | None = None
    """Instead of the engine's; may differ from that in CHANGEABLE only."""
    alpha: NDArray[np.uint8] | None = None
    """[H, W] the alpha channel of the sample's image, None where it has none; ``pixels`` are composed over black."""

    @property
    def changes(self) -> dict[str, float]:
        """The settings of this image's own, by name; empty where it has none."""
        return {name: getattr(self.recipe, name) for name in CHANGEABLE} if self.recipe is not None else {}


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """One image created."""

    pixels: NDArray[np.uint8]
    """[H, W, 3] RGB, of the request's size exactly."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What the record in the image must also hold, such as where the geometry came from. JSON values."""
    doubts: tuple[str, ...] = ()
    """Why the head's mask may be wrong, each with what was measured; empty where there is no doubt."""
    server: str = ""
    """Address of the server that created it, for the manifest; it does not decide a pixel."""


WORKFLOW_FILE = "workflow.json"
"""Where OUT keeps its workflow."""


@dataclass(frozen=True, slots=True)
class Setup:
    """Where an engine works, and its options."""

    dataset: Path
    """Root of the data set that the samples come from."""
    output: Path | None = None
    """OUT; an engine may keep temporary files below ``OUT/.acusim``. None: write nothing there."""
    options: RelightOptions | ComfyUIOptions | EmbeddedOptions | None = None
    """None takes the defaults of the engine, as do the options of another engine."""

    def of(self, kind: type[T]) -> T:
        """The options of one engine."""
        return self.options if isinstance(self.options, kind) else kind()


@dataclass(frozen=True, slots=True)
class Check:
    """One line of a preflight."""

    name: str
    """What was checked."""
    ok: bool | None
    """None: a warning."""
    found: str
    fix: str = ""
    """What to do about it."""


class Engine(ABC):
    """Creates images by one recipe. Use it as a context manager."""

    name: ClassVar[str]
    processes: ClassVar[bool]
    """True if each of several worker processes may open an engine of its own (it is CPU-bound and small)."""
    exact: ClassVar[bool] = False
    """True if it cannot move a pixel, whatever it is given: each is computed in its place."""

    concurrency: int = 1
    """How many threads may be in ``augment`` at once."""
    batch_size: int = 1
    """The most requests in one call."""
    servers: tuple[str, ...] = ()
    """Addresses of the servers that work for it."""

    def __init__(self, recipe: Recipe, setup: Setup | None = None):
        self.recipe = recipe
        self.setup = setup
        self.notes: list[str] = []
        """What a user should know once the engine is open."""

    @abstractmethod
    def open(self) -> None:
        """Loads what is needed, once.

        Raises:
            EngineError: something is missing; names it, and where to get it.
        """

    @abstractmethod
    def augment(self, batch: Sequence[Request]) -> list[Result | AcuSimError]:
        """One answer for each request, in order.

        Raises:
            EngineError: the engine as a whole cannot continue.
        """

    def close(self) -> None:
        """Releases everything; may be called twice."""
        return None

    def identity(self) -> dict[str, str]:
        """What decides pixels beside the recipe, by name; known before ``open``.

        Raises:
            ConfigError: it cannot be read.
        """
        return {}

    def documents(self) -> dict[str, bytes]:
        """Files, by name, that OUT keeps beside the recipe because they decide pixels."""
        return {}

    def check(self) -> list[Check]:
        """Checks that everything is available that ``open`` and ``augment`` need; creates and changes nothing."""
        return [Check(f"engine {self.name}", True, "part of this program")]

    def work_in_progress(self) -> float:
        """Work done on the running requests, in images."""
        return 0.0

    def activity(self) -> str:
        """What it does now, for a user, such as "server samples: step 3 of 12"; "" if it does not report it."""
        return ""

    def hardware(self) -> str:
        """What it works on, where that may change the last bits of pixels; "" where it does not."""
        return ""

    def is_waiting(self) -> bool:
        """True if no image can be created at the moment, such as while no server can be reached."""
        return False

    def stop(self) -> None:
        """Makes running calls of ``augment`` end soon, by EngineError; from any thread."""
        return None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
