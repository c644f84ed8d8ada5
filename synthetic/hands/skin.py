"""Skin painted on the hand laid out flat: colour, relief and gloss of its back and its palm.

The chart is a map in millimetres of the flat hand (skeleton.chart_skeleton); a posed hand finds its place in it through
the segments it hangs on. Everything is drawn: creases at the joints, tendons, veins, nails, lines of the palm.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthetic import canvas
from synthetic.grids import smoothstep
from synthetic.hands.hand_points import nail_base_mm
from synthetic.hands.skeleton import BONES, Skeleton, chart_skeleton
from synthetic.hands.subject import FINGERS, PULP_MM, HandSubject
from synthetic.hands.surface import HandField, HandMesh
from synthetic.identity import random_for
from synthetic.texture import skin_rgb

Floats = NDArray[np.floating]

TEXELS_PER_MM = 3.5
LEFT_MM, RIGHT_MM, BOTTOM_MM, TOP_MM = -125.0, 95.0, -120.0, 220.0
WIDTH, HEIGHT = round((RIGHT_MM - LEFT_MM) * TEXELS_PER_MM), round((TOP_MM - BOTTOM_MM) * TEXELS_PER_MM)


@dataclass(frozen=True)
class SkinMaps:
    """One person's skin, back and palm."""

    back: NDArray[np.float32]
    """[HEIGHT, WIDTH, 5] linear RGB, relief in mm, gloss 0..1."""
    palm: NDArray[np.float32]
    """[HEIGHT, WIDTH, 5]."""

    def at(self, chart: NDArray[np.float32]) -> NDArray[np.float32]:
        """[N, 5] colour, relief and gloss at places [N, 3] of the flat hand; z distinguishes back and palm."""
        u = (chart[:, 0] - LEFT_MM) * TEXELS_PER_MM - 0.5
        v = (TOP_MM - chart[:, 1]) * TEXELS_PER_MM - 0.5
        back = smoothstep(chart[:, 2], -3.5, 1.0)[:, None]
        return canvas.sample_image(self.back, u, v) * back + canvas.sample_image(self.palm, u, v) * (1 - back)


def chart_places(mesh: HandMesh, field: HandField, bones: Skeleton) -> NDArray[np.float32]:
    """[V, 3] where each vertex is on the flat hand: carried by the segments near it."""
    flat = chart_skeleton(field.who)
    distance = field.nearest_bones(mesh.vertices)
    weight = np.exp(-(distance - distance.min(1, keepdims=True)) / 1.6).astype(np.float32)
    weight /= weight.sum(1, keepdims=True)
    out = np.zeros_like(mesh.vertices)
    for k in range(len(BONES)):
        rows = np.flatnonzero(weight[:, k] > 1e-4)
        turn = (flat.rotation[k] @ bones.rotation[k].T).astype(np.float32)
        moved = (mesh.vertices[rows] - bones.origin[k].astype(np.float32)) @ turn.T + flat.origin[k].astype(np.float32)
        out[rows] += weight[rows, k, None] * moved
    return out


class _Sheet:
    """One side of the hand while it is painted. Masks are [HEIGHT, WIDTH]; lengths in mm."""

    def __init__(self, colour: Floats, rng: np.random.Generator) -> None:
        size = (HEIGHT, WIDTH)
        broad = sum(canvas.smooth_noise(rng, size, (round(c * 1.55), c)) for c in (9, 22, 48)) / 1.7
        fine = canvas.smooth_noise(rng, size, (HEIGHT // 4, WIDTH // 4))
        self.colour = np.exp(0.055 * broad + 0.03 * fine)[..., None] * np.asarray(colour, np.float32)
        self.relief = (0.02 * fine + 0.014 * canvas.smooth_noise(rng, size, (HEIGHT // 2, WIDTH // 2))).astype(
            np.float32
        )
        self.gloss = np.zeros(size, np.float32)
        self.broad = broad

    def line(self, points: Floats, width_mm: float, blur_mm: float) -> tuple[tuple[slice, slice], NDArray[np.float32]]:
        """A soft polyline: the window of the sheet that contains it, and its mask there."""
        return self._drawn(points, blur_mm, max(1, round(width_mm * TEXELS_PER_MM)))

    def area(self, points: Floats, blur_mm: float) -> tuple[tuple[slice, slice], NDArray[np.float32]]:
        """A soft polygon."""
        return self._drawn(points, blur_mm, None)

    def _drawn(self, points: Floats, blur_mm: float, width_px: int | None):
        texel = np.stack([(points[:, 0] - LEFT_MM), (TOP_MM - points[:, 1])], 1) * TEXELS_PER_MM - 0.5
        margin = 6 + round(blur_mm * TEXELS_PER_MM * 3) + (width_px or 0)
        low = np.clip(np.floor(texel.min(0)).astype(int) - margin, 0, (WIDTH - 2, HEIGHT - 2))
        high = np.clip(np.ceil(texel.max(0)).astype(int) + margin, low + 2, (WIDTH, HEIGHT))
        window = np.zeros((high[1] - low[1], high[0] - low[0]), np.float32)
        if width_px is None:
            canvas.fill_polygon(window, texel - low)
        else:
            canvas.stroke(window, texel - low, 1.0, width_px)
        soft = canvas.blurred(window, blur_mm * TEXELS_PER_MM) if blur_mm > 0 else window
        return (slice(low[1], high[1]), slice(low[0], high[0])), soft

    def tint(self, mask, factor: Floats | list[float], strength: float = 1.0) -> None:
        """Multiplies the colour by a factor where the mask is 1."""
        window, values = mask
        self.colour[window] *= 1 + strength * values[..., None] * (np.asarray(factor, np.float32) - 1)

    def cover(self, mask, colour: Floats | list[float], strength: float = 1.0) -> None:
        """Lays a colour over."""
        window, values = mask
        weight = np.clip(strength * values, 0, 1)[..., None]
        self.colour[window] = self.colour[window] * (1 - weight) + np.asarray(colour, np.float32) * weight

    def raise_by(self, mask, height_mm: float) -> None:
        """Adds to the relief."""
        window, values = mask
        self.relief[window] += height_mm * values

    def spot(self, center: Floats, half_mm: float, factor: list[float], strength: float) -> None:
        """Tints a round spot."""
        turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        ring = center[:2] + half_mm * np.stack([np.cos(turn), np.sin(turn)], 1)
        self.tint(self.area(ring, 0.6 * half_mm), factor, strength)

    def crease(self, points: Floats, strength: float, width_mm: float = 0.5) -> None:
        """A fold of the skin: darker, redder, and lower than its sides."""
        broad = self.line(points, width_mm, 1.3)
        sharp = self.line(points, max(width_mm * 0.5, 0.3), 0.3)
        self.tint(broad, [0.80, 0.68, 0.66], 0.7 * strength)
        self.tint(sharp, [0.50, 0.36, 0.34], 0.9 * strength)
        self.raise_by(sharp, -0.6 * strength)
        self.raise_by(broad, -0.25 * strength)

    def stack(self) -> NDArray[np.float32]:
        """[HEIGHT, WIDTH, 5]."""
        return np.dstack([np.clip(self.colour, 0, 1), self.relief, self.gloss]).astype(np.float32)


def paint_skin(who: HandSubject, seed: int) -> SkinMaps:
    """Both sides of a person's hand."""
    rng = random_for("hand skin", seed, who.index)
    flat = chart_skeleton(who)
    tone = skin_rgb(who.tone)
    # Palms have little pigment: the darker the skin, the more they differ from the back.
    pale = tone * (1 - 0.35 * who.tone) + skin_rgb(0.2) * np.array([1.0, 0.86, 0.84]) * 0.35 * who.tone + 0.01
    return SkinMaps(_back(who, flat, tone, rng).stack(), _palm(who, flat, pale * [1.06, 0.95, 0.94], rng).stack())


def _across(bones: Skeleton, bone: str, y: float, half: float, sag: float, rng: np.random.Generator) -> Floats:
    """[9, 2] an uneven line across a segment at a distance y from its near joint."""
    x = np.linspace(-half, half, 9)
    wave = y + sag * (1 - (x / half) ** 2) + 0.25 * rng.standard_normal(9)
    return np.array([bones.at(bone, (a, b, 0.0))[:2] for a, b in zip(x, wave, strict=True)])


def _joints(bones: Skeleton) -> list[tuple[int, str, float, bool]]:
    """Finger, its segment beyond the joint, half breadth, whether it is the last joint; knuckles left out."""
    out = []
    for finger, name in enumerate(FINGERS):
        half = 9.5 if finger == 0 else 8.2 - 0.9 * (finger == 4)
        if finger:
            out.append((finger, f"{name}1", half, False))
        out.append((finger, f"{name}2", half - 1.0, True))
    return out


def _back(who: HandSubject, flat: Skeleton, tone: Floats, rng: np.random.Generator) -> _Sheet:
    sheet = _Sheet(tone, rng)
    size, deep = who.scale, 0.6 + 0.5 * who.age
    red = [1.10, 0.84, 0.80] if who.tone < 0.6 else [0.82, 0.74, 0.72]
    for finger, bone, half, last in _joints(flat):
        joint = flat.at(bone, (0.0, 0.0, 0.0))
        sheet.spot(joint, half * 0.95, red, (0.3 + 0.5 * who.redness) * (0.6 if last else 1.0))
        for offset in np.linspace(-3.4, 3.4, 4 if last else 7) * size:
            arc = _across(flat, bone, offset + rng.normal(0, 0.3), half * rng.uniform(0.5, 0.85), -0.35 * offset, rng)
            sheet.crease(arc, deep * rng.uniform(0.4, 0.85), 0.5)
        if last:
            tip = flat.length[BONES.index(bone)] + PULP_MM[finger] * size
            sheet.spot(flat.at(bone, (0.0, 0.7 * tip, 0.0)), half, red, 0.4 + 0.4 * who.redness)
    for finger in range(1, 5):
        sheet.spot(flat.head[finger], 8.5, red, 0.25 + 0.5 * who.redness)
        for _ in range(5):
            offset = rng.uniform(-5, 5)
            arc = _across(flat, f"{FINGERS[finger]}0", offset, 7.0 * rng.uniform(0.4, 0.8), -0.3 * offset, rng)
            sheet.crease(arc, 0.3 * deep * rng.uniform(0.4, 1.0), 0.5)
        start = np.array([flat.base[finger][0] * 0.35 + 1.0, 6.0])
        tendon = np.linspace(start, flat.head[finger][:2] - [0, 3.0], 8)
        ridge = sheet.line(tendon, 2.2, 1.5)
        sheet.raise_by(ridge, 1.6 * who.age)
        sheet.tint(ridge, [1.04, 1.04, 1.05], who.age)
    _veins(sheet, who, rng)
    for offset in (-2.5, 0.5, 3.0):
        line = np.stack([np.linspace(-24, 24, 12), offset + 0.4 * rng.standard_normal(12)], 1) * size
        sheet.crease(line, 0.3 * deep, 0.6)
    for finger in range(5):
        _nail(sheet, who, flat, finger, tone)
    return sheet


def _veins(sheet: _Sheet, who: HandSubject, rng: np.random.Generator) -> None:
    """Branching lines that run from between the knuckles towards the wrist and into the forearm."""
    for x in (-14.0, 3.0, 20.0, 28.0):
        place = np.array([x + rng.normal(0, 2.0), 80.0 - 0.02 * x * x]) * who.scale
        heading, path = rng.uniform(-0.3, 0.3), [place]
        for _ in range(34):
            heading = 0.8 * heading + rng.normal(0, 0.22) - 0.003 * place[0]
            place = place + 4.6 * np.array([np.sin(heading), -np.cos(heading)])
            path.append(place)
        vein = sheet.line(np.array(path), 1.6, 1.1)
        sheet.raise_by(vein, 0.9 * who.age)
        sheet.tint(vein, [0.74, 0.92, 0.96], (0.45 + 0.55 * who.age) * (1 - 0.7 * who.tone))


def _nail(sheet: _Sheet, who: HandSubject, flat: Skeleton, finger: int, tone: Floats) -> None:
    """Plate, half-moon, free edge and the fold around."""
    size, bone = who.scale, f"{FINGERS[finger]}2"
    tip = flat.length[BONES.index(bone)] + PULP_MM[finger] * size
    low = nail_base_mm(flat, finger, size)
    high = tip - (1.6 - 1.4 * who.nail_length) * size
    half = (7.0, 5.3, 5.5, 5.2, 4.4)[finger] * size * who.fullness

    def outline(low: float, high: float, half: float) -> Floats:
        turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        c, s = np.cos(turn), np.sin(turn)
        # A superellipse: corners are round, sides nearly straight.
        x, y = half * np.sign(c) * np.abs(c) ** 0.55, np.sign(s) * np.abs(s) ** 0.62
        y = (low + high) / 2 + y * (high - low) / 2
        return np.array([flat.at(bone, (a, b, 0.0))[:2] for a, b in zip(x, y, strict=True)])

    plate = sheet.area(outline(low, high, half), 0.2)
    fold = sheet.area(outline(low - 0.9, high + 0.2, half + 0.9), 0.5)
    sheet.tint(fold, [0.86, 0.72, 0.69], 0.8)
    sheet.raise_by(fold, 0.35)
    sheet.raise_by(plate, -0.3)
    pink = np.clip(tone * 0.55 + np.array([0.40, 0.22, 0.185]) * 0.75, 0, 0.85)
    sheet.cover(plate, pink)
    if who.polish is None:
        sheet.cover(sheet.area(outline(low, low + 0.28 * (high - low), half * 0.62), 0.7), pink * 1.15 + 0.04, 0.6)
        edge = 0.7 + 1.6 * who.nail_length
        sheet.cover(sheet.area(outline(high - edge, high, half * 0.9), 0.3), np.array([0.74, 0.69, 0.60]), 0.8)
    else:
        sheet.cover(plate, np.asarray(who.polish))
    window, values = plate
    sheet.gloss[window] = np.maximum(sheet.gloss[window], values)
    # The relief above wanted a smooth rim; the plate itself has no grain.
    sheet.colour[window] *= 1 - 0.35 * (values * (1 - values) * 4)[..., None]


def _palm(who: HandSubject, flat: Skeleton, tone: Floats, rng: np.random.Generator) -> _Sheet:
    sheet = _Sheet(tone, rng)
    size = who.scale
    stretch = np.array([size * who.breadth, size])
    red = [1.07, 0.80, 0.78]
    sheet.colour *= np.exp(0.05 * sheet.broad)[..., None] ** np.array([0.2, 1.2, 1.2], np.float32)
    for finger, bone, half, last in _joints(flat):
        tip = flat.length[BONES.index(bone)] + PULP_MM[finger] * size
        sheet.crease(_across(flat, bone, -0.5, half, 0.4, rng), 0.9, 0.6)
        if not last:
            sheet.crease(_across(flat, bone, 2.2, half * 0.9, 0.4, rng), 0.7, 0.5)
            base = 0.42 * flat.length[BONES.index(bone) - 1]
            for shift, strength in ((0.0, 0.9), (2.4, 0.5)):
                sheet.crease(_across(flat, f"{FINGERS[finger]}0", base + shift, half + 0.5, 0.6, rng), strength, 0.6)
        else:
            sheet.spot(flat.at(bone, (0.0, 0.62 * tip, 0.0)), half, red, 0.35 + 0.5 * who.redness)
    for center, reach in (((-20.0, 38.0), 14.0), ((22.0, 38.0), 13.0), ((0.0, 78.0), 10.0), ((-22.0, 80.0), 9.0)):
        sheet.spot(stretch * np.array(center, np.float64), reach, red, 0.3 + 0.4 * who.redness)
    lines = (
        ((-33.0, 74.0), (-16.0, 66.0), (-4.0, 50.0), (-3.0, 30.0), (-8.0, 12.0)),
        ((-33.0, 76.0), (-14.0, 72.0), (8.0, 60.0), (25.0, 46.0)),
        ((35.0, 68.0), (20.0, 68.5), (3.0, 74.0), (-9.0, 88.0)),
    )
    for line in lines:
        knots = (np.array(line) + rng.normal(0, 1.2, (len(line), 2))) * stretch
        sheet.crease(_curve(knots), rng.uniform(0.7, 1.0), 0.7)
    for _ in range(round(10 + 14 * who.age)):
        start = np.array([rng.uniform(-26, 28), rng.uniform(16, 76)]) * stretch
        way = rng.normal(0, 1, 2)
        knots = start + np.linspace(0, 1, 4)[:, None] * way / np.hypot(*way) * rng.uniform(6, 18)
        knots = knots + rng.normal(0, 1, (4, 2))
        sheet.crease(_curve(knots), 0.22 * rng.uniform(0.4, 1.0), 0.4)
    for offset in (-1.0, 3.0):
        line = np.stack([np.linspace(-25, 24, 12), offset + 0.5 * rng.standard_normal(12)], 1) * stretch
        sheet.crease(line, 0.7, 0.6)
    return sheet


def _curve(knots: Floats, count: int = 40) -> Floats:
    """[count, 2] a smooth line through knots [K, 2]."""
    from scipy.interpolate import CubicSpline

    return np.asarray(CubicSpline(np.linspace(0, 1, len(knots)), knots)(np.linspace(0, 1, count)))
