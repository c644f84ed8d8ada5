"""What a teacher says of pictures, in the form that a student with heatmaps learns it in."""

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional as F


class Taught(NamedTuple):
    """A teacher's answers for B pictures and N points."""

    probability: Tensor
    """[B, N] of being visible."""
    marginals: tuple[Tensor, Tensor]
    """[B, N, C] each: where the point is in x and in y; sums of 1."""


def resampled(marginal: Tensor, count: int) -> Tensor:
    """[B, N, C] shares of C equal parts of the picture's side as shares of ``count`` parts, which add up to 1."""
    if marginal.shape[-1] == count:
        return marginal
    mode = "area" if count < marginal.shape[-1] else "linear"
    shares = F.interpolate(marginal, size=count, mode=mode)
    return shares / shares.sum(-1, keepdim=True)
