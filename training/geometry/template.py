"""A mean head and its main shapes, from triangulated persons; positions of points that no view of a person shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acusim import acupoints
from acusim.errors import ConfigError, LayoutError
from acusim.files import write_atomic
from acusim.tensor_files import Tensor, read_header

Floats = NDArray[np.float64]

MAX_SHAPES = 12
"""Shapes that are kept by default."""
PREFIX = "template."
"""Of the tensors' names."""
_ROUNDS = 3
_NEAR_MM = 25.0
"""Width of the Gaussian by which the residual of a seen point spreads to its neighbours."""
_FAR_WEIGHT = 0.05
"""Weight of no residual at all, against the seen points' Gaussians."""
_NOISE_MM = 1.5
"""What the shapes cannot describe, per coordinate: keeps the fit of shapes from following single points."""
_LEAST_DEVIATION_MM = 1e-3
"""Shapes that move all points together by less than this, as a root of the sum of squares, are rounding errors."""
_SPAN_MM = 1000.0


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """What heads look like: mean + sum of coefficient * shape, coefficients about normal with the deviations."""

    mean_mm: Floats
    """[174, 3] in the world frame of acusim.rig."""
    shapes: Floats
    """[K, 174, 3], orthonormal over all 522 coordinates; K may be 0."""
    deviations_mm: Floats
    """[K] standard deviations of the coefficients, largest first."""

    def __post_init__(self) -> None:
        count, kept = acupoints.COUNT, len(self.deviations_mm)
        shapes = {"mean_mm": (count, 3), "shapes": (kept, count, 3), "deviations_mm": (kept,)}
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array.shape != shape:
                raise ConfigError(f"template: {name} is {array.shape}, not {shape}")
            if not np.isfinite(array).all():
                raise ConfigError(f"template: {name} contains a value that is not finite")
        if np.abs(self.mean_mm).max() > _SPAN_MM:
            raise ConfigError(f"template: a point is more than {_SPAN_MM:g} mm from the rig's pivot; units are mm")
        if not self.mean_mm.std(0).any():
            raise ConfigError("template: all points of the mean head are one")
        if kept and not (self.deviations_mm > 0).all():
            raise ConfigError("template: a standard deviation is not positive")
        if kept and np.abs(np.linalg.norm(self.shapes.reshape(kept, -1), axis=1) - 1).max() > 1e-3:
            raise ConfigError("template: a shape does not have length 1")

    def head(self, coefficients: NDArray[np.floating]) -> Floats:
        """[..., 174, 3] points in mm of heads with coefficients [..., k], k up to K."""
        used = np.asarray(coefficients, np.float64)
        return self.mean_mm + np.tensordot(used, self.shapes[: used.shape[-1]], 1)

    def to_tensors(self) -> dict[str, NDArray[np.float32]]:
        """Named float32 arrays, for a checkpoint or a file."""
        arrays = {"mean_mm": self.mean_mm, "shapes": self.shapes, "deviations_mm": self.deviations_mm}
        return {PREFIX + name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[np.generic]]) -> "Template":
        """The template among named arrays; others are ignored.

        Raises:
            ConfigError: an array is missing, of another type or shape, or its values are not valid.
        """
        values: dict[str, Floats] = {}
        for name in ("mean_mm", "shapes", "deviations_mm"):
            array = tensors.get(PREFIX + name)
            if array is None:
                raise ConfigError(
                    f"no tensor {PREFIX + name}: the file holds no template of heads; train the model anew"
                )
            if not np.issubdtype(array.dtype, np.floating):
                raise ConfigError(f"tensor {PREFIX + name} is of type {array.dtype}; expected floating-point numbers")
            values[name] = np.asarray(array, np.float64)
        return cls(**values)

    def to_bytes(self) -> bytes:
        """A safetensors file."""
        from safetensors.numpy import save

        return save(self.to_tensors())

    def save(self, path: Path) -> None:
        """Writes a safetensors file.

        Raises:
            OSError: it cannot be written.
        """
        write_atomic(path, self.to_bytes())

    @classmethod
    def load(cls, path: Path) -> "Template":
        """Reads a file that save wrote.

        Raises:
            LayoutError: no such file, damaged, or it holds no template.
        """
        from safetensors.numpy import load_file

        header = read_header(path)
        kept = header.get(PREFIX + "deviations_mm", Tensor("", ())).shape[:1] or (0,)
        count = acupoints.COUNT
        shapes = {"mean_mm": (count, 3), "shapes": (*kept, count, 3), "deviations_mm": kept}
        if header != {PREFIX + name: Tensor("F32", shape) for name, shape in shapes.items()}:
            raise LayoutError(
                f"{path.name!r} holds no template: expected {PREFIX}mean_mm, shapes and deviations_mm, F32"
            )
        try:
            return cls.from_tensors(load_file(path))
        except ConfigError as error:
            raise LayoutError(f"{path.name!r}: {error}") from None


def build_template(points_mm: Sequence[NDArray[np.floating]], shapes: int = MAX_SHAPES) -> Template:
    """The template of some persons, by principal components over all their points.

    Points that a person lacks are filled from the shapes of the others, in a few rounds. Points that all of them lack
    are those of the data set's own figure, moved as their neighbours.

    Args:
        points_mm: [174, 3] for each person, NaN where unknown; of training persons only. At least one person.
        shapes: most shapes to keep; at most one less than persons.

    Raises:
        ConfigError: no person, or an array of another shape.
    """
    if not len(points_mm):
        raise ConfigError("a template needs at least one person")
    heads = np.stack([np.asarray(points, np.float64) for points in points_mm])
    if heads.shape[1:] != (acupoints.COUNT, 3):
        raise ConfigError(f"heads are {heads.shape[1:]}, not {(acupoints.COUNT, 3)}")
    known = np.isfinite(heads).all(-1)
    share = known.sum(0)[:, None]
    mean = np.where(known[..., None], heads, 0).sum(0) / np.maximum(share, 1)
    generic = acupoints.positions_mm()
    mean = np.where(share > 0, mean, generic + _spread(generic, mean - generic, share[:, 0] > 0))
    template = Template(mean, np.zeros((0, acupoints.COUNT, 3)), np.zeros(0))
    for _ in range(_ROUNDS):
        full = np.stack([fill(head, template) for head in heads])
        template = _components(full, min(shapes, len(full) - 1))
    return template


def fill(points_mm: NDArray[np.floating], template: Template) -> Floats:
    """A person's head without gaps.

    The template's shapes are fitted to the points that are known; what remains of their residuals moves the unknown
    points near them. Known points stay.

    Args:
        points_mm: [174, 3], NaN where unknown.
        template: of the training persons.

    Returns:
        [174, 3].

    Raises:
        ConfigError: the array has another shape.
    """
    points = np.asarray(points_mm, np.float64)
    if points.shape != template.mean_mm.shape:
        raise ConfigError(f"a head is {points.shape}, not {template.mean_mm.shape}")
    known = np.isfinite(points).all(1)
    guess = template.head(_coefficients(points, known, template))
    filled = guess + _spread(guess, points - guess, known)
    filled[known] = points[known]
    return filled


def _coefficients(points: Floats, known: NDArray[np.bool_], template: Template) -> Floats:
    """[K] ridge fit of the shapes to the known points."""
    kept = len(template.deviations_mm)
    if not kept or not known.any():
        return np.zeros(kept)
    design = template.shapes[:, known].reshape(kept, -1)
    offset = (points[known] - template.mean_mm[known]).ravel()
    prior = np.diag((_NOISE_MM / template.deviations_mm) ** 2)
    return np.linalg.solve(design @ design.T + prior, design @ offset)


def _spread(places: Floats, residual: Floats, known: NDArray[np.bool_]) -> Floats:
    """[N, 3] for each place the mean residual of the known points near it, less with their distance."""
    squared = ((places[:, None] - places[known]) ** 2).sum(-1)
    weight = np.exp(-squared / _NEAR_MM**2)
    return weight @ residual[known] / (weight.sum(1, keepdims=True) + _FAR_WEIGHT)


def _components(heads: Floats, kept: int) -> Template:
    """Mean, principal components and deviations of complete heads [P, N, 3]."""
    mean = heads.mean(0)
    flat = (heads - mean).reshape(len(heads), -1)
    _, singular, axes = np.linalg.svd(flat, full_matrices=False)
    deviations = singular / np.sqrt(max(len(heads) - 1, 1))
    kept = min(kept, int((deviations > _LEAST_DEVIATION_MM).sum()))
    axes = axes[:kept]
    largest = np.abs(axes).round(9).argmax(1)  # rounded: equal entries of symmetric shapes count as equal everywhere
    axes = axes * np.where(axes[np.arange(kept), largest] < 0, -1.0, 1.0)[:, None]
    return Template(mean, axes.reshape(kept, *mean.shape), deviations[:kept])
