"""What the thresholds say of the figures of an image: whether it is rejected, and which of its points are trusted."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.copies import FAR, Second
from evaluation.structure import Floats
from evaluation.thresholds import Thresholds

LEAST_MOVED = 3
"""Fewer points are not evidence against an image."""
LEAST_BLENDED = 20
"""Fewer visible acupoints do not show a blend: seen from behind, strands of hair resemble each other."""


@dataclass(frozen=True, slots=True, eq=False)
class Figures:
    """What was measured on an image with P points, the first V of them visible acupoints; lengths at work size."""

    structure: float
    texture: float
    shift_px: tuple[float, float]
    shift_gain: float
    strength: Floats
    """[P] log-likelihood ratio of a displacement."""
    outline_moved_px: Floats
    """[P] how far the silhouette moved beside each point; 0 where it is far away or not seen."""
    second: Second
    visible: int
    """V"""


def strengths(limits: Thresholds, figures: Figures) -> Floats:
    """[P] evidence that each point moved, over what is needed: above 1 it did. 0 beside a silhouette that moved or was
    painted over: such points are not trusted, but nothing more is known of them."""
    least = limits.found if figures.texture >= limits.faithful_texture else limits.found_remade
    known = figures.outline_moved_px <= limits.most_outline_px
    return np.where(known, figures.strength / np.float32(max(least, 1e-6)), 0).astype(np.float32)


def share_moved(limits: Thresholds, figures: Figures) -> float:
    """Share of the points at which structure of 5 to 40 pixels moved; 0 if they are fewer than LEAST_MOVED."""
    known = figures.outline_moved_px <= limits.most_outline_px
    moved = figures.second.band[known] < -limits.most_against
    return float(moved.mean()) if moved.sum() >= LEAST_MOVED else 0.0


def faults(limits: Thresholds, figures: Figures) -> dict[str, bool]:
    """Each reason to reject an image, and whether it holds; the first one that does is given."""
    return {
        "structure": not figures.structure >= limits.least_structure,  # also for NaN
        "shift": figures.shift_gain > limits.global_gain and any(figures.shift_px),
        "found": bool((strengths(limits, figures) > 1).any()),
        "copy": figures.visible >= LEAST_BLENDED and figures.second.copy > limits.most_copy,
        "moved": share_moved(limits, figures) > limits.most_moved,
    }


def median_contrast(figures: Figures) -> np.float32:
    """What is left of the contrast, in the median of the visible acupoints; NaN without any.

    All of a blend of two images has less, but for what both have in common.
    """
    each = figures.second.contrast[: figures.visible]
    return np.median(each) if len(each) else np.float32(np.nan)


def trusted(
    limits: Thresholds, figures: Figures, bounds_px: Floats, mm_per_px: Floats
) -> tuple[NDArray[np.bool_], Floats]:
    """[V] whether each visible acupoint is trusted, and [V] the bound on its displacement, pixels.

    Args:
        limits: thresholds.
        figures: of the image.
        bounds_px: [V] by fine texture.
        mm_per_px: [V] millimetres that a pixel at work size spans.
    """
    second, seen = figures.second, len(bounds_px)
    medium, band, doubt = second.medium[:seen], second.band[:seen], second.doubt[:seen]
    agreed = (medium >= limits.rests_medium) & (band >= limits.rests_band) & (doubt <= limits.most_doubt)
    agreed &= second.against[:seen] <= limits.most_against
    agreed &= (second.kept[:seen] >= limits.least_kept) & (second.alike[:seen] >= limits.least_alike)
    agreed &= np.minimum(second.contrast[:seen], median_contrast(figures)) >= limits.least_contrast
    agreed &= figures.outline_moved_px[:seen] <= limits.most_outline_px
    firm = (band >= limits.firm_band) & (strengths(limits, figures)[:seen] <= limits.firm_strength)
    bound = np.where(firm, np.minimum(bounds_px, FAR), bounds_px).astype(np.float32)
    return agreed & (bound * mm_per_px <= limits.tolerance_mm), bound
