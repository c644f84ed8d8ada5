"""The contract that every engine keeps.

A subclass owes ``open``, ``augment`` and ``close``, its ``name``, and whether it may run in several processes.
``augment`` answers each request, in order, with a Result or with the AcuSimError that concerns this one picture;
it raises EngineError only when the engine as a whole is done for. The answer depends on the request and the
recipe alone: not on the batch it came in, nor on what was made before.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from acusim.errors import AcuSimError, EngineError
from acusim.sample_id import SampleId
from engines.recipe import Recipe
from engines.scenes import Scene


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One picture to make."""

    sample: SampleId
    source: Path
    """The sample's picture on disk."""
    pixels: NDArray[np.uint8]
    """[H, W, 3] RGB of the sample."""
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
    """0 <= seed < 2**63; everything random in the picture comes from it."""


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """One picture made."""

    pixels: NDArray[np.uint8]
    """[H, W, 3] RGB, of the request's size exactly."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What the record in the picture must also say, such as where the geometry came from. JSON values."""


class Engine(ABC):
    """Makes pictures by one recipe. Use it as a context manager."""

    name: ClassVar[str]
    processes: ClassVar[bool]
    """True if each of several worker processes may open an engine of its own (it is CPU-bound and small)."""

    def __init__(self, recipe: Recipe):
        self.recipe = recipe

    @abstractmethod
    def open(self) -> None:
        """Loads what is needed, once.

        Raises:
            EngineError: something is missing; says what, and where to get it.
        """

    @abstractmethod
    def augment(self, batch: Sequence[Request]) -> list[Result | AcuSimError]:
        """One answer for each request, in order.

        Raises:
            EngineError: the engine as a whole broke down.
        """

    def close(self) -> None:
        """Lets go of everything; may be called twice."""
        return None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def make_engine(recipe: Recipe) -> Engine:
    """The engine that a recipe names, not yet opened.

    Raises:
        EngineError: the engine is not part of this version.
    """
    if recipe.engine == "relight":
        from engines.relight.engine import RelightEngine

        return RelightEngine(recipe)
    raise EngineError(
        f"engine {recipe.engine!r} is not part of this version yet; "
        "use --engine relight, which needs neither a server nor weights"
    )
