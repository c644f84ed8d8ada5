"""The arrays that are compared: what is true of pictures, and what a model predicts for them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from acusim import acupoints
from acusim.errors import LayoutError
from acusim.files import write_atomic
from acusim.tensor_files import Tensor, read_header

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


class Targets(Protocol):
    """The truth about N pictures: training.data's Targets, or anything with these arrays."""

    @property
    def xy(self) -> NDArray[np.float32]:
        """[N, 174, 2] 0..1, (0, 0) where occluded."""
        ...

    @property
    def visible(self) -> Bools:
        """[N, 174]."""
        ...

    @property
    def trusted(self) -> Bools:
        """[N, 174] False where the coordinate may not be true."""
        ...

    @property
    def depth_mm(self) -> NDArray[np.float32]:
        """[N, 174] along the camera's axis, NaN where unknown."""
        ...

    @property
    def frame(self) -> NDArray[np.int16]:
        """[N] camera 1..144 of the rig, the picture's or nearest to its own."""
        ...

    @property
    def rotation(self) -> Floats:
        """[N, 3, 3] world to camera."""
        ...

    @property
    def translation_mm(self) -> Floats:
        """[N, 3]."""
        ...

    @property
    def focal(self) -> Floats:
        """[N] focal length as a multiple of the picture's width."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """A model's output for N pictures."""

    probability: NDArray[np.float32]
    """[N, 174] that the point is visible."""
    xy: NDArray[np.float32]
    """[N, 174, 2] 0..1 of the picture; also of points that are predicted occluded."""

    def __post_init__(self) -> None:
        shape = self.probability.shape
        if len(shape) != 2 or shape[1] != acupoints.COUNT or self.xy.shape != (*shape, 2):
            raise ValueError(f"probability {shape} and xy {self.xy.shape}; expected [N,174] and [N,174,2]")
        if self.probability.dtype != np.float32 or self.xy.dtype != np.float32:
            raise ValueError(f"probability {self.probability.dtype} and xy {self.xy.dtype}; expected float32")
        if not ((self.probability >= 0) & (self.probability <= 1)).all():  # also refuses NaN
            raise ValueError("a probability is not within 0..1")
        if not np.isfinite(self.xy).all():
            raise ValueError("a coordinate is not a finite number")

    def __len__(self) -> int:
        return len(self.probability)

    def save(self, path: Path) -> None:
        """Writes a safetensors file.

        Raises:
            OSError: it cannot be written.
        """
        from safetensors.numpy import save

        arrays = {"probability": self.probability, "xy": self.xy}
        write_atomic(path, save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))

    @classmethod
    def load(cls, path: Path) -> "Predictions":
        """Reads a file that save wrote.

        Raises:
            LayoutError: no such file, or other tensors in it, or values out of their range.
        """
        from safetensors.numpy import load_file

        header = read_header(path)
        count = header["probability"].shape[0] if "probability" in header and header["probability"].shape else 0
        points = acupoints.COUNT
        wanted = {"probability": Tensor("F32", (count, points)), "xy": Tensor("F32", (count, points, 2))}
        if header != wanted:
            raise LayoutError(f"{path.name!r} holds no predictions: expected probability [N,174] and xy [N,174,2], F32")
        try:
            return cls(**load_file(path))
        except ValueError as error:
            raise LayoutError(f"{path.name!r} holds no predictions: {error}") from None
