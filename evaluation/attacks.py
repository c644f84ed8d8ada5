"""Images whose labels are known to be false, made as diffusion and compositing make them, and harmless ones.

A *move* displaces features of an augmented image. A *carrier* hides it behind what the original shows: its finest
detail over the moved image, a cross-fade, one whose contrast was raised again, the same grain in both. A *harmless
edit* moves nothing.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from acusim import acupoints, rig
from evaluation.edits import blurred, gamma, jpeg, levels, noise
from evaluation.subjects import Subject
from evaluation.warps import Warp

Pixels = NDArray[np.uint8]
Random = np.random.Generator
Displacement = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""[..., 2] pixels from the left and top edge -> [..., 2] by how much they are moved."""

LIGHT = 24.0
"""Blur in pixels that leaves light alone of a head."""
_ROUNDS = 12
"""Steps of the fixed-point iteration that inverts a displacement; its slope is below 0.62, so 0.06 px are left."""
FEATURES: Mapping[str, tuple[str, ...]] = {
    "eyes": ("BL1", "ST1", "GB1", "EX-HN7", "EX-HN4"),
    "mouth": ("ST4", "DU26", "DU27", "DU28", "RN24"),
    "ears": ("SI19", "SJ21", "GB2", "SJ17", "SJ20"),
    "hairline": ("DU24", "DU23", "GB15", "BL3", "BL4", "GB13", "ST8"),
}
"""Acupoints around a feature, on both sides of the head."""


@dataclass(frozen=True, slots=True, eq=False)
class Attack:
    """A pair of images, and how far each visible acupoint was moved between them."""

    move: str
    """What moved; "nothing" for a harmless edit."""
    carrier: str
    """How the image was finished: of the original's detail, or the harmless edit."""
    original: Pixels
    """[H, W, 3]; the given one, but for grain in both."""
    pixels: Pixels
    """[H, W, 3] the augmented image."""
    moved_px: NDArray[np.float64]
    """[V] of each visible acupoint; infinite where what was there is gone, NaN where nobody knows."""


def displaced(pixels: Pixels, displacement: Displacement) -> Pixels:
    """An image whose content was moved; its edges are repeated."""
    height, width = pixels.shape[:2]
    # The field is smooth: every fourth pixel is enough.
    rows, columns = np.mgrid[0 : height + 4 : 4, 0 : width + 4 : 4]
    there = np.stack([columns, rows], axis=-1).astype(np.float64)
    source = there.copy()
    for _ in range(_ROUNDS):
        source = there - displacement(source)
    step = (source - there).astype(np.float32)
    places = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
    at = (places + np.float32(0.5)) / np.float32(4)
    grid = places + cv2.remap(step, at[..., 0], at[..., 1], cv2.INTER_LINEAR)
    moved = cv2.remap(pixels, grid[..., 0], grid[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)


def _affine(matrix: ArrayLike, centre: ArrayLike, step: ArrayLike = (0, 0)) -> Displacement:
    """``matrix`` about a centre, then a step."""
    linear = np.asarray(matrix, np.float64) - np.eye(2)
    return lambda points: (points - np.asarray(centre)) @ linear.T + np.asarray(step, np.float64)


def _turn(subject: Subject, degrees: float) -> Displacement:
    """A turn of the head about its vertical axis: what is nearer moves farther."""
    assert subject.depth_mm is not None
    depth = np.asarray(subject.depth_mm, np.float32)
    known = depth > 0
    middle = float(np.median(depth[known]))
    # Smooth, so that it can be inverted; without its own background.
    weight = cv2.GaussianBlur(known.astype(np.float32), (0, 0), 12) + np.float32(1e-3)
    near = cv2.GaussianBlur(np.where(known, middle - depth, 0).astype(np.float32), (0, 0), 12) / weight
    gain = rig.FOCAL * depth.shape[1] / middle * np.sin(np.radians(degrees))

    def displacement(points: NDArray[np.float64]) -> NDArray[np.float64]:
        at = (points[None] - 0.5).astype(np.float32) if points.ndim == 2 else (points - 0.5).astype(np.float32)
        relief = cv2.remap(near, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        out = np.zeros_like(points)
        out[..., 0] = gain * relief.reshape(points.shape[:-1])
        return out

    return displacement


def _feature(subject: Subject, random: Random, names: tuple[str, ...]) -> Displacement | None:
    """The features around some acupoints, moved by 10 to 18 pixels each; None where they are hidden."""
    warps: list[Warp] = []
    for side in ("left", "right"):
        wanted = [row for row in range(acupoints.COUNT) if _belongs(acupoints.NAMES[row], names, side)]
        places = subject.points[np.isin(subject.rows, wanted)]
        if not len(places):
            continue
        centre = places.mean(0)
        if any(np.hypot(*(centre - other.centre)) < 1.2 * other.radius for other in warps):
            continue  # two that overlap would fold
        size, angle = random.uniform(10, 18), random.uniform(0, 2 * np.pi)
        radius = random.uniform(45, 70)
        warps.append(Warp((centre[0], centre[1]), radius, size * np.cos(angle), size * np.sin(angle)))
    if not warps:
        return None
    return lambda points: np.sum([warp.displacement(points) for warp in warps], axis=0)


def _belongs(name: str, names: tuple[str, ...], side: str) -> bool:
    code, *rest = name.split("_")
    return code in names and (rest[-1] == side or rest[-1] not in ("left", "right"))


def _whole(subject: Subject, random: Random, move: str) -> Displacement:
    """All of the head: shifted, tilted, scaled or turned."""
    rows, columns = np.nonzero(subject.mask)
    centre = (columns.mean(), rows.mean())
    sign = random.choice([-1, 1])
    if move == "shift":
        size, angle = random.uniform(10, 16), random.uniform(0, 2 * np.pi)
        return _affine(np.eye(2), centre, (size * np.cos(angle), size * np.sin(angle)))
    if move == "scale":
        return _affine(np.eye(2) * (1 + sign * random.uniform(0.06, 0.12)), centre)
    if move == "turn" and subject.depth_mm is not None:
        return _turn(subject, sign * random.uniform(8, 14))
    angle = np.radians(sign * random.uniform(5, 9))
    return _affine([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], centre)


def _covered(subject: Subject, pixels: Pixels, random: Random) -> tuple[Pixels, NDArray[np.float64]]:
    """A smooth patch over some acupoints."""
    height, width = pixels.shape[:2]
    centre = subject.points[random.integers(len(subject.points))]
    radii, angle = random.uniform(25, 50, 2), random.uniform(0, np.pi)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])

    def distance(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.linalg.norm((points - centre) @ turn.T / radii, axis=-1)

    grid = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), axis=-1)
    weight = np.clip((1.05 - distance(grid)) / 0.1, 0, 1)[..., None]
    colour = cv2.GaussianBlur(pixels, (0, 0), 20) * random.uniform(0.5, 1.2)
    away = distance(subject.points)
    moved = np.where(away < 0.7, np.inf, np.where(away < 1.3, np.nan, 0.0))
    return levels(pixels * (1 - weight) + colour * weight), moved


MOVES = (*FEATURES, "shift", "tilt", "scale", "turn", "cover", "stranger")


def _moved(subject: Subject, pixels: Pixels, move: str, random: Random) -> tuple[Pixels, NDArray[np.float64]] | None:
    """An image after a move and how far each visible point was moved; None where this view does not show it."""
    if move == "cover":
        return _covered(subject, pixels, random)
    if move == "stranger":
        if subject.stranger is None:
            return None
        other, places = subject.stranger
        return other, np.linalg.norm(places[subject.rows] - subject.points, axis=1)
    displacement = _feature(subject, random, FEATURES[move]) if move in FEATURES else _whole(subject, random, move)
    if displacement is None:
        return None
    return displaced(pixels, displacement), np.linalg.norm(displacement(subject.points), axis=1)


def transferred(original: Pixels, moved: Pixels, sigma: float) -> Pixels:
    """The moved image with the original's detail finer than ``sigma`` instead of its own."""
    smooth, light = (cv2.GaussianBlur(image.astype(np.float32), (0, 0), sigma) for image in (original, moved))
    return levels(light + original - smooth)


def cross_faded(original: Pixels, moved: Pixels, share: float) -> Pixels:
    """``share`` of the original, the rest of the moved image."""
    return levels(share * original.astype(np.float32) + (1 - share) * moved)


def restored(original: Pixels, moved: Pixels, share: float) -> Pixels:
    """A cross-fade whose detail was raised as far as the fade took the original's away; light stays."""
    faded = cross_faded(original, moved, share).astype(np.float32)
    smooth = cv2.GaussianBlur(faded, (0, 0), LIGHT)
    return levels(smooth + (faded - smooth) / share)


def _grained(original: Pixels, moved: Pixels, sigma: float, random: Random) -> tuple[Pixels, Pixels]:
    grain = random.normal(0, sigma, original.shape)
    return levels(original + grain), levels(moved + grain)


CARRIERS = (
    "alone",
    *(f"detail {sigma:g}" for sigma in (1.0, 1.5, 2.0)),
    *(f"{share} % original" for share in (20, 30, 50, 70, 80)),
    *(f"grain {sigma:g}" for sigma in (3.0, 5.0, 10.0)),
)
"""How a moved image is finished, by name."""
FAINT = ("70 % original", "80 % original", "grain 10")
"""Of these, those under which one sees the original's features, and what moved as a faint ghost if at all."""
RESTORED = tuple(f"{share} % restored" for share in (50, 70, 80))
"""More of them, on which no threshold is fitted: none but those of the second copy finds these blends."""


def carried(original: Pixels, moved: Pixels, carrier: str, random: Random) -> tuple[Pixels, Pixels]:
    """The original and the augmented image of an attack.

    Raises:
        ValueError: there is no such carrier.
    """
    kind, _, amount = carrier.partition(" ")
    if carrier == "alone":
        return original, moved
    if kind == "detail":
        return original, transferred(original, moved, float(amount))
    if kind == "grain":
        return _grained(original, moved, float(amount), random)
    if amount == "% original":
        return original, cross_faded(original, moved, float(kind) / 100)
    if amount == "% restored":
        return original, restored(original, moved, float(kind) / 100)
    raise ValueError(f"{carrier!r} is not one of {', '.join((*CARRIERS, *RESTORED))}")


def _clahe(pixels: Pixels) -> Pixels:
    lab = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)
    lab[..., 0] = cv2.createCLAHE(2.0, (8, 8)).apply(lab[..., 0])
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), np.uint8)


def _cartoon(pixels: Pixels) -> Pixels:
    smooth = pixels
    for _ in range(3):
        smooth = cv2.bilateralFilter(smooth, 9, 40, 7)
    return np.asarray(smooth // 24 * 24 + 12, np.uint8)


def _speckled(pixels: Pixels, random: Random) -> Pixels:
    return levels(pixels * (1 + random.normal(0, 0.08, (*pixels.shape[:2], 1))))


def _bled(pixels: Pixels, mask: NDArray[np.bool_], reach: int) -> Pixels:
    """The background's colours, ``reach`` pixels over the outline."""
    background = np.where(mask[..., None], 0, pixels).astype(np.float32)
    weight = cv2.GaussianBlur((~mask).astype(np.float32), (0, 0), 3)[..., None] + np.float32(1e-3)
    beyond = cv2.GaussianBlur(background, (0, 0), 3) / weight
    inner = cv2.erode(mask.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2))
    share = cv2.GaussianBlur((mask & (inner == 0)).astype(np.float32), (0, 0), 1)[..., None]
    return levels(pixels * (1 - share) + beyond * share)


HARMLESS: Mapping[str, Callable[[Subject, Random], Pixels]] = {
    "as it is": lambda subject, random: subject.augmented,
    "noise 10": lambda subject, random: noise(subject.augmented, random, 10),
    "speckle": lambda subject, random: _speckled(subject.augmented, random),
    "JPEG 30": lambda subject, random: jpeg(subject.augmented, 30),
    "blur 1.5": lambda subject, random: blurred(subject.augmented, 1.5),
    "local contrast": lambda subject, random: _clahe(subject.augmented),
    "tone": lambda subject, random: gamma(subject.augmented, float(np.exp(random.choice([-0.5, 0.5])))),
    "cartoon": lambda subject, random: _cartoon(subject.augmented),
    "background over the outline": lambda subject, random: _bled(subject.augmented, subject.mask, 6),
    "another's light": lambda subject, random: (
        subject.augmented if subject.stranger is None else transferred(subject.augmented, subject.stranger[0], LIGHT)
    ),
}
"""Edits of an augmented image that move nothing, by name."""


def harmless(subject: Subject, random: Random) -> Iterator[Attack]:
    """Every harmless edit of an image."""
    still = np.zeros(len(subject.points))
    for name, edit in HARMLESS.items():
        yield Attack("nothing", name, subject.original, edit(subject, random), still)


def _base(subject: Subject, random: Random) -> Pixels:
    """What is moved: the original or the augmented image, by chance."""
    return subject.original if random.random() < 0.5 else subject.augmented


def _hides_nothing(move: str, carrier: str) -> bool:
    return move == "cover" and "%" in carrier


def attacks(
    subject: Subject,
    random: Random,
    carriers: tuple[str, ...] = CARRIERS,
    moves: tuple[str, ...] = MOVES,
    base: Pixels | None = None,
) -> Iterator[Attack]:
    """Moves with carriers, by default all. ``base`` is moved; None: the original or the augmented image, by chance."""
    for move in moves:
        if made := _moved(subject, _base(subject, random) if base is None else base, move, random):
            pixels, moved_px = made
            for carrier in carriers:
                if _hides_nothing(move, carrier):
                    continue
                yield Attack(move, carrier, *carried(subject.original, pixels, carrier, random), moved_px)


def sampled(subject: Subject, random: Random) -> Iterator[Attack]:
    """One attack for each carrier, its move drawn from those that this view shows."""
    for carrier in CARRIERS:
        for move in random.permutation(MOVES):
            if _hides_nothing(move, carrier):
                continue
            if made := _moved(subject, _base(subject, random), str(move), random):
                pixels, moved_px = made
                yield Attack(str(move), carrier, *carried(subject.original, pixels, carrier, random), moved_px)
                break
