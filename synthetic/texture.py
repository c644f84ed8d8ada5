"""Skin: a painted map over azimuth and elevation, in linear RGB, guided by the face's landmarks."""

import numpy as np
from numpy.typing import NDArray

from synthetic import canvas, grids
from synthetic.face import BROW_LEFT, BROW_RIGHT, EYE_LEFT, EYE_RIGHT, LIPS_INNER, LIPS_OUTER
from synthetic.hair import scalp_cover
from synthetic.identity import Identity, random_for

FloatArray = NDArray[np.floating]
Colour = FloatArray | tuple[float, float, float] | list[float]

WIDTH, HEIGHT = 1536, 1024
"""Half the size one would paint at for close-ups: 0.3 mm a texel at the face, 19 MB."""

_TEXELS_PER_MM = 3.4
"""Near the face's middle; widths of lines and blurs are given in mm."""

_TONES = np.array(
    [(0.66, 0.46, 0.36), (0.56, 0.36, 0.26), (0.43, 0.26, 0.17), (0.27, 0.145, 0.085), (0.15, 0.075, 0.042)]
)
"""Linear RGB of skin from light to dark."""


def skin_rgb(tone: float) -> FloatArray:
    """[3] linear RGB for a tone 0..1."""
    at = np.linspace(0, 1, len(_TONES))
    return np.array([np.interp(tone, at, channel) for channel in _TONES.T])


def texture_coordinates(azimuth: FloatArray, elevation: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Texel (u right, v down) of angles in radians."""
    span = grids.ELEVATION_HIGH - grids.ELEVATION_LOW
    return (grids.warp(azimuth) + np.pi) / (2 * np.pi) * WIDTH, (grids.ELEVATION_HIGH - elevation) / span * HEIGHT


class SkinPainter:
    """Paints one person's skin. Distances are in mm at the face's surface."""

    def __init__(self, who: Identity, seed: int, landmarks: FloatArray) -> None:
        """Lays down the skin colour.

        Args:
            who: the person.
            seed: of the data set.
            landmarks: [468, 3] mm, in the space of the grid the texture is glued to.
        """
        self.who = who
        self.rng = random_for("skin", seed, who.index)
        self.skin = skin_rgb(who.tone)
        azimuth, elevation, radius = grids.angles(landmarks)
        self.uv = np.stack(texture_coordinates(azimuth, elevation), 1)
        span = grids.ELEVATION_HIGH - grids.ELEVATION_LOW
        across = WIDTH / (2 * np.pi) * (1 + 0.5 * np.cos(azimuth)) / (radius * np.cos(elevation))
        self.texels_per_mm = np.stack([across, HEIGHT / span / radius], 1)
        size = (HEIGHT, WIDTH)
        self.grain = 0.5 * canvas.smooth_noise(self.rng, size, (12, 24)) + 0.4 * canvas.smooth_noise(
            self.rng, size, (45, 90)
        )
        self.grain += 0.3 * canvas.smooth_noise(self.rng, size, (180, 360)) + 0.25 * canvas.smooth_noise(
            self.rng, size, (500, 900)
        )
        # Columns meet at the crown: noise there would show as a star.
        crown = grids.smoothstep(self._row_elevation(), 1.1, 1.45)[:, None]
        self.grain = (self.grain * (1 - crown)).astype(np.float32)
        self.map = np.exp(0.035 * self.grain)[..., None] * self.skin.astype(np.float32)

    # -- brushes ---------------------------------------------------------------------------------------------

    def polygon(self, points: FloatArray, blur_mm: float) -> FloatArray:
        """[H, W] mask of a polygon [K, 2] in texels."""
        window, place = self._window(points, blur_mm)
        canvas.fill_polygon(window, points - place)
        return self._placed(window, place, blur_mm)

    def line(self, points: FloatArray, width_mm: float, blur_mm: float) -> FloatArray:
        """[H, W] mask of a polyline [K, 2] in texels."""
        window, place = self._window(points, blur_mm)
        canvas.stroke(window, points - place, 1.0, max(1, round(width_mm * _TEXELS_PER_MM)))
        return self._placed(window, place, blur_mm)

    def _window(self, points: FloatArray, blur_mm: float) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """An empty piece of the map around the points, and the place of its corner (u, v)."""
        margin = 16 + round(blur_mm * 12)
        low = np.maximum(np.floor(points.min(0)).astype(np.int64) - margin, 0)
        high = np.minimum(np.ceil(points.max(0)).astype(np.int64) + margin, (WIDTH, HEIGHT))
        return np.zeros((high[1] - low[1], high[0] - low[0]), np.float32), low

    def _placed(self, window: NDArray[np.float32], place: NDArray[np.int64], blur_mm: float) -> FloatArray:
        mask = np.zeros((HEIGHT, WIDTH), np.float32)
        soft = canvas.blurred(window, blur_mm * _TEXELS_PER_MM) if blur_mm > 0 else window
        mask[place[1] : place[1] + len(window), place[0] : place[0] + window.shape[1]] = soft
        return mask

    def blob(
        self, landmark: int | tuple[int, ...], half_mm: tuple[float, float], shift_mm: tuple[float, float] = (0.0, 0.0)
    ) -> FloatArray:
        """[H, W] Gaussian spot at a landmark or the middle of several; shift is (right, down)."""
        scale = self.scale(landmark)
        center = self.at(landmark) + np.array(shift_mm) * scale
        u = (np.arange(WIDTH) - center[0]) / (half_mm[0] * scale[0])
        v = (np.arange(HEIGHT) - center[1]) / (half_mm[1] * scale[1])
        return (np.exp(-0.5 * v**2)[:, None] * np.exp(-0.5 * u**2)[None]).astype(np.float32)

    def at(self, landmark: int | tuple[int, ...]) -> FloatArray:
        """[2] texel of a landmark, or the mean of several."""
        return self.uv[[landmark] if isinstance(landmark, int) else list(landmark)].mean(0)

    def scale(self, landmark: int | tuple[int, ...]) -> FloatArray:
        """[2] texels per mm there."""
        return self.texels_per_mm[[landmark] if isinstance(landmark, int) else list(landmark)].mean(0)

    def mix(self, mask: FloatArray, colour: Colour, *, multiply: bool = False) -> None:
        """Lays a colour over the map where the mask is set, or multiplies by it."""
        touched = mask > 1e-3
        rows, columns = np.flatnonzero(touched.any(1)), np.flatnonzero(touched.any(0))
        if not len(rows):
            return
        window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        weight = mask[window][..., None]
        paint = np.asarray(colour, np.float32)
        here = self.map[window]
        self.map[window] = here * (1 - weight) + (here * paint if multiply else paint) * weight

    # -- features --------------------------------------------------------------------------------------------

    def paint(self) -> NDArray[np.float32]:
        """[HEIGHT, WIDTH, 3] linear RGB 0..1 of the whole head."""
        self._complexion()
        if self.who.gender == "M" and self.who.beard > 0.35:
            self._beard()
        self._nose()
        self._lips()
        for ring, brow in ((EYE_RIGHT, BROW_RIGHT), (EYE_LEFT, BROW_LEFT)):
            self._brow(brow)
            if self.who.eye == "O":
                self._open_eye(ring)
            else:
                self._closed_eye(ring)
        self._scalp()
        return np.clip(self.map, 0, 1).astype(np.float32)

    def _complexion(self) -> None:
        redness = np.array([1.06, 0.86, 0.84])
        for cheek in (50, 280):
            self.mix(0.5 * self.blob(cheek, (18, 13)), redness, multiply=True)
        self.mix(0.4 * self.blob(4, (9, 7)), redness, multiply=True)
        for ring in (EYE_RIGHT, EYE_LEFT):
            self.mix(0.4 * self.blob(ring, (17, 8), (0, 3)), [0.84, 0.77, 0.77], multiply=True)

    def _beard(self) -> None:
        outline = [58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288]
        outline += [435, 432, 410, 287, 322, 391, 326, 2, 97, 165, 92, 57, 186, 212, 215]
        mask = self.polygon(self.uv[outline], 6.0) * np.clip(1 + 0.5 * self.grain, 0.2, 2)
        self.mix(np.clip(mask * (self.who.beard - 0.25) * 0.6, 0, 1), [0.52, 0.52, 0.55], multiply=True)

    def _nose(self) -> None:
        for fold in ((129, 203, 206, 216), (358, 423, 426, 436)):
            self.mix(0.22 * self.line(self.uv[list(fold)], 2.0, 2.0), [0.66, 0.56, 0.54], multiply=True)
        for crease in ((129, 98), (358, 327)):
            self.mix(0.35 * self.line(self.uv[list(crease)], 1.5, 1.2), [0.5, 0.4, 0.37], multiply=True)
        for nostril in ((20, 238, 79, 60), (250, 458, 309, 290)):
            self.mix(0.9 * np.minimum(1.2 * self.blob(nostril, (2.9, 1.3)), 1), self.skin * 0.07)

    def _lips(self) -> None:
        woman = np.array([0.36, 0.075, 0.085]) * (0.45 + 0.8 * self.skin[0])
        natural = self.skin * np.array([0.80, 0.50, 0.52])
        share = self.who.lips if self.who.gender == "F" else 0.0
        mask = self.polygon(self.uv[list(LIPS_OUTER)], 0.9)
        self.mix(mask * 0.85 * np.clip(1 + 0.12 * self.grain, 0, 1.1), natural * (1 - share) + woman * share)
        upper, lower = list(LIPS_INNER[:11]), [LIPS_INNER[0], *LIPS_INNER[:9:-1]]
        parting = (self.uv[upper] + self.uv[lower[:11]]) / 2
        self.mix(0.9 * self.line(parting, 1.0, 0.5), self.skin * 0.10)
        # The parting continues a little beyond the lips' red.
        for corner in (LIPS_OUTER[0], LIPS_OUTER[10]):
            self.mix(0.3 * self.blob(corner, (1.8, 0.8)), self.skin * 0.25)

    def _brow(self, brow: tuple[int, ...]) -> None:
        points = self.uv[list(brow)]
        scale = self.scale(brow)
        colour = np.array(self.who.hair_rgb) * 0.8 if self.who.hair_colour != "grey" else np.array([0.06] * 3)
        upper, lower = points[:5], points[:4:-1]
        slender = 1.0 if self.who.gender == "M" else 0.66
        middle = (upper + lower) / 2
        upper, lower = middle + (upper - middle) * slender, middle + (lower - middle) * slender
        self.mix(0.6 * self.polygon(np.vstack([upper, lower[::-1]]), 1.0), colour + 0.06 * self.skin)
        outward = np.sign(middle[0, 0] - middle[-1, 0])
        strokes = np.zeros((HEIGHT, WIDTH), np.float32)
        for _ in range(150):
            along, height = self.rng.uniform(0, 4), self.rng.uniform(-0.1, 1.0)
            k = min(int(along), 3)
            root = [edge[k] + (edge[k + 1] - edge[k]) * (along - k) for edge in (lower, upper)]
            start = root[0] + (root[1] - root[0]) * height
            # Counted from the tail (0) to the nose (4): hairs rise at the nose and point down at the temple.
            step = np.array([outward * (4.2 - 0.5 * along), 0.9 - 0.75 * along]) * scale
            end = start + step * self.rng.uniform(0.7, 1.2)
            canvas.stroke(strokes, np.stack([start, end]), float(self.rng.uniform(0.45, 0.9)))
        self.mix(canvas.blurred(strokes, 0.7), colour)

    def _disc(self, center: FloatArray, scale: FloatArray, radius_mm: float, soft_mm: float = 0.5) -> FloatArray:
        u = (np.arange(WIDTH)[None] - center[0]) / scale[0]
        v = (np.arange(HEIGHT)[:, None] - center[1]) / scale[1]
        return np.clip((radius_mm - np.hypot(u, v)) / soft_mm + 0.5, 0, 1).astype(np.float32)

    def _open_eye(self, ring: tuple[int, ...]) -> None:
        points, scale = self.uv[list(ring)], self.scale(ring)
        upper, lower = points[:9], np.vstack([points[8:], points[:1]])[::-1]
        center = (upper.mean(0) + lower.mean(0)) / 2 + np.array([0.0, -0.5]) * scale
        opening = self.polygon(points, 0.25)
        iris, dark = np.array(self.who.iris_rgb), np.array([0.004, 0.004, 0.004])
        self.mix(opening, [0.60, 0.57, 0.55])
        self.mix(0.5 * opening * (1 - self._disc(center, scale, 9.5, 6.0)), [0.45, 0.36, 0.35])
        self.mix(opening * self._disc(center, scale, 5.8), iris * 0.45)
        self.mix(opening * self._disc(center, scale, 5.0, 0.9), iris)
        self.mix(opening * self._disc(center, scale, 2.3), dark)
        self.mix(opening * self._disc(center + np.array([1.5, -1.7]) * scale, scale, 0.8), [0.95, 0.95, 0.95])
        self.mix(0.55 * opening * self.line(upper, 3.4, 1.1), [0.35, 0.3, 0.3], multiply=True)
        made_up = self.who.gender == "F"
        self.mix(0.92 * self.line(upper, 1.7 if made_up else 1.1, 0.35), [0.012, 0.009, 0.008])
        self.mix(0.45 * self.line(lower, 0.6, 0.4), self.skin * 0.25)
        self.mix(0.45 * self.line(upper + np.array([0, -3.4]) * scale, 0.8, 0.7), [0.5, 0.42, 0.4], multiply=True)
        self.mix(0.6 * self.blob(ring[8], (1.3, 0.9)), np.array([0.36, 0.13, 0.11]))
        if made_up:
            self._lashes(upper, scale)

    def _lashes(self, upper: FloatArray, scale: FloatArray) -> None:
        mask = np.zeros((HEIGHT, WIDTH), np.float32)
        center = upper.mean(0)
        for share in np.linspace(0.3, 7.6, 26):
            k = int(share)
            start = upper[k] + (upper[k + 1] - upper[k]) * (share - k)
            end = start + np.array([(start - center)[0] * 0.10, -2.0 * scale[1]])
            canvas.stroke(mask, np.stack([start, end]), 0.55)
        self.mix(mask, [0.012, 0.009, 0.008])

    def _closed_eye(self, ring: tuple[int, ...]) -> None:
        points, scale = self.uv[list(ring)], self.scale(ring)
        upper, lower = points[:9], np.vstack([points[8:], points[:1]])[::-1]
        self.mix(0.3 * self.polygon(points, 0.6), [0.88, 0.80, 0.79], multiply=True)
        seam = lower + (upper - lower) * 0.12
        self.mix(0.95 * self.line(seam, 1.3, 0.45), [0.014, 0.01, 0.009])
        self.mix(0.35 * self.line(upper + np.array([0, -2.5]) * scale, 0.9, 0.9), [0.55, 0.46, 0.44], multiply=True)

    def _row_elevation(self) -> FloatArray:
        """[HEIGHT] radians."""
        span = grids.ELEVATION_HIGH - grids.ELEVATION_LOW
        return grids.ELEVATION_HIGH - (np.arange(HEIGHT) + 0.5) / HEIGHT * span

    def _scalp(self) -> None:
        azimuth = grids.unwarp((np.arange(WIDTH) + 0.5) / WIDTH * 2 * np.pi - np.pi)[None]
        cover = scalp_cover(azimuth, self._row_elevation()[:, None], self.who.hair)
        self.mix(cover * 0.8, np.array(self.who.hair_rgb) * 0.9 + self.skin * 0.06)
