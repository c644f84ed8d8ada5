"""The certificate of one image: what may have moved, what cannot have moved, and whether the image is valid.

    judge = Judge(Thresholds())
    certificate = judge.judge(original, augmented, depth_mm, coords_px, visible, frame=1)

Where several attempts are judged against one original, call ``make_reference`` once and ``compare`` for each.
Everything here is a pure function of its arguments, safe in threads, and needs NumPy, SciPy and OpenCV only. OpenCV's
own threads are left as the caller set them; results do not depend on their number.
"""

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from acusim import acupoints
from evaluation.copies import second_witness
from evaluation.deciding import Figures, faults, median_contrast, share_moved, strengths, trusted
from evaluation.matching import Match, bounds, global_shift, match
from evaluation.outline import NEAR_PX, OutlineScore, compare, moved_beside, offsets
from evaluation.reference import Reference, make_reference, nearest, scaled
from evaluation.structure import Bytes, Floats, Mask, agreement, maps_of, squeezed
from evaluation.thresholds import Thresholds

_NAN = float("nan")


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What was measured on an image, before any threshold; lengths at work size."""

    figures: Figures
    outline: OutlineScore
    depth_agreement: float | None
    match: Match


@dataclass(frozen=True, slots=True, eq=False)
class Certificate:
    """Whether an augmented image is valid and which labels are still true in it.

    Arrays have one row for each of the N points of the label, NaN where the point is not visible. Pixels are those of
    the original unless stated otherwise.
    """

    valid: bool
    """The image is accepted: it shows the same head, and nothing in it moved."""
    reason: str
    """Why it is rejected; empty if it is valid."""
    structure: float = _NAN
    """Agreement of creases, lids, lips, strands inside the head, whatever the light, -1..1; 1 for the same image."""
    texture: float = _NAN
    """Agreement of the finest texture, -1..1; low where it was regenerated, so that less can be excluded."""
    shift_px: tuple[float, float] = (_NAN, _NAN)
    """(dx, dy) of the whole image by its coarse structure, in steps of 4 pixels at a width of 512."""
    outline: OutlineScore = OutlineScore(_NAN, _NAN, 0.0)
    """The silhouette; its distance in pixels of an image 512 wide."""
    depth_agreement: float | None = None
    """Share of the outlines inside the head, known from depth, that stayed, 0..1; None without depth or outlines."""
    found_px: float = 0.0
    """Largest displacement found, in pixels, 0 if there is none."""
    found_strength: float = 0.0
    """Largest log-likelihood ratio of a displacement, over its threshold: above 1 something moved."""
    displacement_px: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    """[N, 2] likeliest (dx, dy) of each visible point, in pixels."""
    excluded_px: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    """[N] no larger displacement is possible, in pixels; inf where the image shows no bound."""
    excluded_mm: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    """[N] the same in millimetres on the head."""
    trusted: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    """[N] the label is still true: the image is accepted, excluded_mm is within the tolerance, and the second witness
    agrees."""
    copy: float = _NAN
    """Evidence that a second, displaced copy of the head shows through; near 0 without one."""
    contrast: float = _NAN
    """What is left of the contrast of lids and creases, in the median of the visible points: 1 for the same image."""

    @property
    def visible(self) -> NDArray[np.bool_]:
        """[N] the visible points, which were examined."""
        return ~np.isnan(self.excluded_px)

    def summary(self) -> dict[str, Any]:
        """The figures without the points, as JSON values; what is unknown is None.

        ``excluded_px`` and ``excluded_mm`` hold for every trusted point of the image.
        """
        pixels, millimetres = self.excluded_px[self.trusted], self.excluded_mm[self.trusted]
        return {
            "accept": self.valid,
            "reason": self.reason,
            "structure": _json(self.structure),
            "texture": _json(self.texture),
            "shift_px": [_json(self.shift_px[0]), _json(self.shift_px[1])],
            "outline_iou": _json(self.outline.iou),
            "outline_px": _json(self.outline.distance_px),
            "outline_seen": _json(self.outline.seen),
            "depth_agreement": _json(self.depth_agreement),
            "copy": _json(self.copy),
            "contrast": _json(self.contrast),
            "found_px": _json(self.found_px),
            "found_strength": _json(self.found_strength),
            "visible": int(self.visible.sum()),
            "trusted": int(self.trusted.sum()),
            "excluded_px": _json(float(pixels.max())) if pixels.size else None,
            "excluded_mm": _json(float(millimetres.max())) if millimetres.size else None,
        }


class Judge:
    """Certifies augmented images by one set of thresholds."""

    def __init__(self, thresholds: Thresholds | None = None):
        self.thresholds = thresholds or Thresholds()

    def judge(
        self,
        original: Bytes,
        augmented: NDArray[Any],
        depth_mm: NDArray[np.floating] | None = None,
        coords_px: ArrayLike | None = None,
        visible: ArrayLike | None = None,
        *,
        mask: Mask | None = None,
        frame: int | None = None,
    ) -> Certificate:
        """The certificate of one image: ``compare`` with ``make_reference`` of its original.

        Args:
            original: [H, W, 3] RGB.
            augmented: [H, W, 3] RGB.
            depth_mm: [H, W] millimetres along the camera's axis, 0 in the background; None if there is none.
            coords_px: [N, 2] the labels, in pixels from the left and top edge; None for an image without labels.
            visible: [N] which of them are; None takes all whose coordinates are finite.
            mask: [H, W] the head; None takes it from the depth, else from a uniform background.
            frame: camera 1..144, for millimetres where there is no depth.

        Raises:
            ValueError: the original or what belongs to it has a wrong shape or type.
        """
        reference = make_reference(original, depth_mm, coords_px, visible, mask=mask, frame=frame)
        return self.compare(reference, augmented)

    def compare(self, reference: Reference, augmented: NDArray[Any]) -> Certificate:
        """The certificate of an augmented image.

        Args:
            reference: its original.
            augmented: [H, W, 3] RGB uint8. Anything else is not an error, but a reason to reject it.
        """
        if fault := _unusable(augmented, reference, self.thresholds):
            return _rejected(reference, fault)
        return self.decide(reference, self.measure(reference, augmented))

    def quick_check(self, reference: Reference, augmented: NDArray[Any]) -> Certificate:
        """The certificate without registration, for images of an engine that cannot move a pixel.

        It rejects an image that is black, flat, of another size or of another head; the points are not examined.
        """
        if fault := _unusable(augmented, reference, self.thresholds):
            return _rejected(reference, fault)
        maps = maps_of(scaled(augmented, reference.scale), reference.inside)
        texture, structure = agreement(reference.maps, maps, reference.inside)
        reason = _structure_fault(self.thresholds, structure)
        return Certificate(not reason, reason, structure, texture)

    def measure(self, reference: Reference, augmented: Bytes) -> Evidence:
        """All figures of a usable image, before any threshold but ``allowed_px``."""
        pixels = scaled(augmented, reference.scale)
        maps = maps_of(pixels, reference.inside)
        texture, structure = agreement(reference.maps, maps, reference.inside)
        one, other = squeezed(reference.maps, maps, reference.inside)
        shift, gain = global_shift(one, other)
        found = match(one, other, reference.points, self.thresholds.allowed_px)
        halves = one.medium, other.medium
        second = second_witness(reference.witnessed, maps, halves, reference.inside, reference.points)
        score, beside, inner = _outlines(reference, pixels)
        figures = Figures(structure, texture, shift, gain, found.strength, beside, second, len(reference.rows))
        return Evidence(figures, score, inner, found)

    def decide(self, reference: Reference, evidence: Evidence) -> Certificate:
        """The certificate that the thresholds give for what was measured."""
        limits, found, figures = self.thresholds, evidence.match, evidence.figures
        strength = strengths(limits, figures)
        lengths = np.hypot(*found.displacement_px.T) / np.float32(reference.scale)
        seen, scale = len(reference.rows), np.float32(reference.scale)
        by_texture = bounds(found.local[:seen], limits.excluded)
        chosen, excluded = trusted(limits, figures, by_texture, reference.mm_per_px / scale)
        reason = _reason(limits, evidence, reference, lengths, chosen)
        every = np.zeros(reference.count, bool)
        every[reference.rows] = chosen & (not reason)
        return Certificate(
            valid=not reason,
            reason=reason,
            structure=figures.structure,
            texture=figures.texture,
            shift_px=(figures.shift_px[0] / reference.scale, figures.shift_px[1] / reference.scale),
            outline=evidence.outline,
            depth_agreement=evidence.depth_agreement,
            found_px=float(lengths[strength > 1].max()) if (strength > 1).any() else 0.0,
            found_strength=float(strength.max()) if strength.size else 0.0,
            displacement_px=_spread(found.displacement_px[:seen] / scale, reference),
            excluded_px=_spread(excluded / scale, reference),
            excluded_mm=_spread(excluded / scale * reference.mm_per_px, reference),
            trusted=every,
            copy=figures.second.copy,
            contrast=float(median_contrast(figures)),
        )


def _structure_fault(limits: Thresholds, structure: float) -> str:
    if structure >= limits.least_structure:
        return ""
    return (  # also for NaN
        f"not the same head: structure agrees by {structure:.2f}, at least {limits.least_structure:.2f} is needed"
    )


def _reason(
    limits: Thresholds, evidence: Evidence, reference: Reference, lengths: Floats, chosen: NDArray[np.bool_]
) -> str:
    """Why an image is rejected; empty if it is not."""
    figures = evidence.figures
    fault = next((name for name, holds in faults(limits, figures).items() if holds), None)
    if fault == "structure":
        return _structure_fault(limits, figures.structure)
    if fault == "shift":
        return "the whole picture was shifted by about {:+.0f}, {:+.0f} px".format(*figures.shift_px)
    if fault == "found":
        strength = strengths(limits, figures)
        worst = int(strength.argmax())
        return (
            f"{_name(reference, worst)} moved by {lengths[worst]:.1f} px ({strength[worst]:.1f} times the evidence "
            f"needed); {limits.allowed_px:g} px are allowed"
        )
    if fault == "copy":
        return (
            f"a second, displaced copy of the head shows through: evidence {figures.second.copy:.2f}, "
            f"{limits.most_copy:g} is allowed"
        )
    if fault == "moved":
        share = 100 * share_moved(limits, figures)
        return f"structure of 5 to 40 px moved at {share:.0f} % of the points, {100 * limits.most_moved:g} % allowed"
    share = chosen.mean() if len(chosen) else 1.0
    if share < limits.least_trusted:
        return (
            f"only {100 * share:.0f} % of the visible acupoints are trusted, {100 * limits.least_trusted:.0f} % needed"
        )
    return ""


def _name(reference: Reference, index: int) -> str:
    if index >= len(reference.rows):
        x, y = reference.points[index] / reference.scale
        return f"the head at {x:.0f}, {y:.0f}"
    row = int(reference.rows[index])
    return f"acupoint {acupoints.NAMES[row]}" if reference.count == acupoints.COUNT else f"point {row}"


def _json(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), 4)


def _rejected(reference: Reference, reason: str) -> Certificate:
    nothing = np.full((len(reference.rows), 2), np.nan, np.float32)
    unknown = _spread(np.full(len(reference.rows), np.inf, np.float32), reference)
    return Certificate(
        False,
        reason,
        displacement_px=_spread(nothing, reference),
        excluded_px=unknown,
        excluded_mm=unknown,
        trusted=np.zeros(reference.count, bool),
    )


def _unusable(augmented: NDArray[Any], reference: Reference, limits: Thresholds) -> str:
    """What is wrong with an image whatever it shows."""
    if augmented.ndim != 3 or augmented.shape[2] != 3:
        return f"not a colour picture: its shape is {augmented.shape}"
    if augmented.shape[:2] != reference.shape:
        height, width = augmented.shape[:2]
        return f"its size is {width} x {height}, the original's {reference.shape[1]} x {reference.shape[0]}"
    if augmented.dtype != np.uint8:
        if np.issubdtype(augmented.dtype, np.floating) and not np.isfinite(augmented).all():
            return "it holds values that are not numbers (NaN or infinity)"
        return f"its values are {augmented.dtype}, not uint8"
    step = max(1, round(2 / reference.scale))
    sample = np.ascontiguousarray(augmented[::step, ::step])
    levels = cv2.cvtColor(sample, cv2.COLOR_RGB2GRAY)[nearest(reference.inside.full, sample.shape) > 0]
    if not levels.size or levels.max() < limits.black_level:
        return f"black: no level of the head reaches {limits.black_level:g}"
    if levels.std() < limits.flat_levels:
        return f"flat: the head's levels spread by {levels.std():.1f}, at least {limits.flat_levels:g} are needed"
    return ""


def _outlines(reference: Reference, pixels: Bytes) -> tuple[OutlineScore, Floats, float | None]:
    """The silhouette as a whole and beside each point, and the outlines inside the head."""
    before, known = reference.outline_offsets
    after, seen = offsets(pixels, reference.outline)
    score = compare(after - before, seen & known, reference.outline, reference.mask)
    beside = moved_beside(after - before, seen & known, reference.outline, reference.points)
    before, known = reference.inner_offsets
    known = known & (np.abs(before) <= NEAR_PX)
    if not known.any():
        return score, beside, None
    after, _ = offsets(pixels, reference.inner)
    return score, beside, float((np.abs(after - before)[known] <= NEAR_PX).mean())


def _spread(values: Floats, reference: Reference) -> NDArray[np.float32]:
    """[N, ...] values of the visible points at their rows, NaN elsewhere."""
    out = np.full((reference.count, *values.shape[1:]), np.nan, np.float32)
    out[reference.rows] = values
    return out
