"""Draws the scene pictures that ship with the project: ``python -m tools.make_scenes [FOLDER]``.

Each is an out-of-focus environment with a light of its own, drawn from rectangles, discs, gradients and noise with
a fixed seed; the same Pillow and OpenCV give the same bytes. No picture from elsewhere is used.
"""

import math
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from acusim.files import write_atomic
from acusim.pictures import encode
from engines.scenes import SHIPPED

SIDE = 768
Canvas = NDArray[np.float32]
Colour = tuple[float, float, float]
Area = tuple[slice, slice]
"""Rows and columns."""


def _near(left: float, top: float, right: float, bottom: float, blur: float) -> Area:
    """The pixels that a blurred shape may reach: OpenCV's kernel ends at four standard deviations."""
    reach = 4 * blur + 3 / SIDE
    spans = ((top - reach, bottom + reach), (left - reach, right + reach))
    rows, columns = (slice(max(0, math.floor(SIDE * low)), max(0, math.ceil(SIDE * high))) for low, high in spans)
    return rows, columns


class Painter:
    """A linear-light canvas [SIDE, SIDE, 3] and a few soft brushes; coordinates and lengths are shares of SIDE."""

    def __init__(self, seed: int, top: Colour, bottom: Colour):
        self.random = np.random.Generator(np.random.PCG64(seed))
        self.rows, self.columns = np.mgrid[:SIDE, :SIDE].astype(np.float32) / SIDE
        down = self.rows[..., None]
        self.canvas: Canvas = (np.array(top) * (1 - down) + np.array(bottom) * down).astype(np.float32)

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour, blur: float = 0.0) -> None:
        """A rectangle over the canvas."""
        near = _near(left, top, right, bottom, blur)
        columns, rows = self.columns[near], self.rows[near]
        inside = (columns > left) & (columns < right) & (rows > top) & (rows < bottom)
        self._mix(near, inside.astype(np.float32), colour, blur)

    def disc(self, x: float, y: float, radius: float, colour: Colour, blur: float = 0.0, share: float = 1.0) -> None:
        """A disc over the canvas."""
        near = _near(x - radius, y - radius, x + radius, y + radius, blur)
        inside = np.hypot(self.columns[near] - x, self.rows[near] - y) < radius
        self._mix(near, inside.astype(np.float32) * share, colour, blur)

    def _mix(self, near: Area, weight: Canvas, colour: Colour, blur: float) -> None:
        """Blends a colour over an area of the canvas by a weight in 0..1 of that area's shape."""
        if weight.size == 0:
            return
        if blur > 0:
            weight = np.asarray(cv2.GaussianBlur(weight, (0, 0), blur * SIDE), np.float32)
        below = self.canvas[near]
        self.canvas[near] = below * (1 - weight[..., None]) + weight[..., None] * np.array(colour, np.float32)

    def glow(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """Light added around a point."""
        weight = np.exp(-((self.columns - x) ** 2 + (self.rows - y) ** 2) / (2 * radius**2))
        self.canvas = self.canvas + weight[..., None] * np.array(colour, np.float32)

    def noise(self, cells: int, amount: float) -> None:
        """Multiplies by smooth noise of so many cells a side."""
        grid = self.random.standard_normal((cells, cells)).astype(np.float32)
        field = cv2.resize(grid, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        self.canvas = self.canvas * np.exp(amount * field)[..., None]

    def bokeh(self, count: int, area: tuple[float, float, float, float], colours: list[Colour], radius: float) -> None:
        """Discs of light in an area (left, top, right, bottom)."""
        left, top, right, bottom = area
        for _ in range(count):
            x, y = self.random.uniform(left, right), self.random.uniform(top, bottom)
            colour = colours[int(self.random.integers(len(colours)))]
            self.disc(
                x, y, radius * self.random.uniform(0.5, 1.2), colour, blur=0.003, share=self.random.uniform(0.4, 0.9)
            )

    def finish(self, blur: float) -> NDArray[np.uint8]:
        """Out of focus, tone-mapped and as sRGB levels."""
        out = cv2.GaussianBlur(self.canvas, (0, 0), blur * SIDE)
        out = 1 - np.exp(-1.4 * np.clip(out, 0, None))
        grain = self.random.standard_normal((SIDE, SIDE, 1)) * 0.004
        return (255 * np.clip(out + grain * out, 0, 1) ** (1 / 2.2) + 0.5).astype(np.uint8)


def window_room() -> NDArray[np.uint8]:
    """A living room, daylight from a large window at the left."""
    p = Painter(1, (0.16, 0.13, 0.11), (0.10, 0.075, 0.055))
    p.box(0.0, 0.72, 1.0, 1.0, (0.13, 0.075, 0.04), 0.01)
    p.box(0.05, 0.08, 0.40, 0.66, (1.9, 2.1, 2.4))
    for x in (0.05, 0.16, 0.28, 0.40):
        p.box(x - 0.008, 0.06, x + 0.008, 0.68, (0.35, 0.32, 0.3))
    p.box(0.0, 0.02, 0.055, 0.80, (0.55, 0.50, 0.44), 0.01)
    p.box(0.40, 0.02, 0.46, 0.80, (0.42, 0.38, 0.33), 0.01)
    p.box(0.58, 0.22, 0.74, 0.42, (0.20, 0.07, 0.04))
    p.box(0.60, 0.24, 0.72, 0.40, (0.24, 0.22, 0.14))
    p.box(0.52, 0.60, 0.98, 0.86, (0.05, 0.07, 0.10), 0.012)
    p.disc(0.88, 0.40, 0.07, (0.05, 0.11, 0.04), 0.01)
    p.glow(0.2, 0.4, 0.30, (0.30, 0.34, 0.40))
    p.noise(9, 0.10)
    return p.finish(0.011)


def golden_street() -> NDArray[np.uint8]:
    """A street at the golden hour, low sun at the right."""
    p = Painter(2, (0.55, 0.42, 0.36), (0.20, 0.13, 0.08))
    p.box(0.0, 0.62, 1.0, 1.0, (0.16, 0.105, 0.07), 0.03)
    for left, right, top, colour in (
        (0.0, 0.18, 0.02, (0.16, 0.09, 0.055)),
        (0.16, 0.33, 0.20, (0.24, 0.14, 0.08)),
        (0.32, 0.44, 0.34, (0.30, 0.19, 0.11)),
        (0.80, 1.0, 0.12, (0.10, 0.06, 0.045)),
    ):
        p.box(left, top, right, 0.66, colour, 0.004)
        for x in np.arange(left + 0.03, right - 0.02, 0.05):
            for y in np.arange(top + 0.05, 0.58, 0.09):
                p.box(x, y, x + 0.022, y + 0.045, tuple(1.5 * np.array(colour)))  # type: ignore[arg-type]
    p.disc(0.66, 0.44, 0.055, (3.2, 2.3, 1.2), 0.01)
    p.glow(0.66, 0.44, 0.22, (1.5, 0.85, 0.32))
    p.bokeh(14, (0.4, 0.55, 0.9, 0.75), [(1.3, 0.7, 0.25), (1.0, 0.5, 0.2)], 0.02)
    p.noise(12, 0.10)
    return p.finish(0.012)


def overcast_park() -> NDArray[np.uint8]:
    """A park under an even grey sky."""
    p = Painter(3, (0.95, 1.0, 1.06), (0.70, 0.75, 0.78))
    p.box(0.0, 0.60, 1.0, 1.0, (0.13, 0.20, 0.07), 0.02)
    for _ in range(26):
        x, y = p.random.uniform(0, 1), p.random.uniform(0.30, 0.58)
        green = p.random.uniform(0.5, 1.3)
        p.disc(x, y, p.random.uniform(0.05, 0.12), (0.07 * green, 0.12 * green, 0.045 * green), 0.012, 0.92)
    for x in (0.12, 0.34, 0.71, 0.90):
        p.box(x, 0.45, x + 0.018, 0.68, (0.06, 0.05, 0.04), 0.004)
    p.box(0.36, 0.62, 0.62, 1.0, (0.34, 0.31, 0.27), 0.03)
    p.noise(24, 0.12)
    return p.finish(0.010)


def neon_night() -> NDArray[np.uint8]:
    """A city at night, magenta and cyan signs."""
    p = Painter(4, (0.012, 0.014, 0.035), (0.03, 0.02, 0.035))
    for left in np.arange(0, 1, 0.13):
        shade = p.random.uniform(0.4, 1.2)
        p.box(left, p.random.uniform(0.02, 0.3), left + 0.12, 0.75, (0.02 * shade, 0.022 * shade, 0.04 * shade), 0.003)
    p.box(0.04, 0.18, 0.16, 0.52, (2.2, 0.14, 1.2), 0.004)
    p.box(0.20, 0.34, 0.27, 0.60, (1.3, 0.25, 0.08), 0.004)
    p.box(0.78, 0.14, 0.94, 0.34, (0.06, 1.2, 1.7), 0.004)
    p.box(0.72, 0.44, 0.92, 0.50, (0.2, 0.45, 2.0), 0.004)
    p.glow(0.10, 0.36, 0.14, (0.7, 0.05, 0.42))
    p.glow(0.86, 0.26, 0.14, (0.03, 0.42, 0.62))
    p.bokeh(46, (0.0, 0.5, 1.0, 0.86), [(1.6, 0.9, 0.3), (1.5, 0.15, 0.7), (0.1, 0.9, 1.3), (1.2, 1.1, 0.9)], 0.022)
    p.noise(14, 0.12)
    return p.finish(0.008)


def candle_room() -> NDArray[np.uint8]:
    """A dark room with candles low at the left."""
    p = Painter(5, (0.030, 0.017, 0.010), (0.06, 0.028, 0.012))
    p.box(0.0, 0.68, 1.0, 1.0, (0.09, 0.04, 0.017), 0.01)
    p.box(0.60, 0.10, 0.92, 0.50, (0.05, 0.022, 0.012), 0.008)
    for x, y in ((0.14, 0.60), (0.24, 0.55), (0.36, 0.62), (0.82, 0.64)):
        p.box(x - 0.016, y, x + 0.016, y + 0.13, (0.75, 0.46, 0.20), 0.004)
        p.disc(x, y - 0.03, 0.026, (4.0, 2.3, 0.75), 0.005)
        p.glow(x, y - 0.03, 0.13, (0.62, 0.28, 0.075))
    p.noise(10, 0.16)
    return p.finish(0.010)


def clinic() -> NDArray[np.uint8]:
    """A treatment room with cold panels in the ceiling."""
    p = Painter(6, (0.62, 0.68, 0.72), (0.46, 0.50, 0.52))
    p.box(0.0, 0.0, 1.0, 0.28, (0.58, 0.63, 0.67))
    for left, width in ((0.06, 0.22), (0.40, 0.20), (0.72, 0.22)):
        p.box(left, 0.05, left + width, 0.14, (2.6, 2.9, 3.1), 0.003)
        p.glow(left + width / 2, 0.09, 0.16, (0.16, 0.19, 0.22))
    p.box(0.0, 0.74, 1.0, 1.0, (0.30, 0.34, 0.35), 0.01)
    p.box(0.10, 0.34, 0.30, 0.74, (0.72, 0.76, 0.78), 0.004)
    p.box(0.66, 0.40, 0.94, 0.58, (0.50, 0.62, 0.62), 0.004)
    p.box(0.60, 0.62, 0.98, 0.80, (0.20, 0.40, 0.42), 0.006)
    p.box(0.40, 0.36, 0.54, 0.78, (0.38, 0.40, 0.40), 0.004)
    p.noise(8, 0.05)
    return p.finish(0.010)


def sunset_sea() -> NDArray[np.uint8]:
    """The sea at sunset, the sun low at the left."""
    p = Painter(7, (0.14, 0.16, 0.32), (0.75, 0.34, 0.16))
    p.glow(0.30, 0.52, 0.34, (0.85, 0.42, 0.12))
    p.disc(0.30, 0.50, 0.045, (4.2, 2.4, 0.9), 0.006)
    for _ in range(10):
        y = p.random.uniform(0.12, 0.44)
        x, width = p.random.uniform(0, 1), p.random.uniform(0.1, 0.4)
        p.box(x - width, y, x + width, y + 0.02, (0.60, 0.24, 0.20), 0.018)
    p.box(0.0, 0.56, 1.0, 1.0, (0.10, 0.085, 0.12), 0.004)
    for _ in range(60):
        y = p.random.uniform(0.57, 0.98)
        x = 0.30 + p.random.normal(0, 0.04 + 0.12 * (y - 0.56))
        p.box(x - 0.03, y, x + 0.03, y + 0.006, (1.3, 0.62, 0.22), 0.003)
    p.noise(30, 0.05)
    return p.finish(0.007)


def forest() -> NDArray[np.uint8]:
    """A forest, sun through the leaves from above right."""
    p = Painter(8, (0.16, 0.24, 0.06), (0.06, 0.075, 0.025))
    for x in (0.05, 0.18, 0.31, 0.47, 0.66, 0.83, 0.95):
        width = p.random.uniform(0.018, 0.045)
        p.box(x, 0.0, x + width, 0.80, (0.040, 0.030, 0.020), 0.004)
    for _ in range(70):
        green = p.random.uniform(0.4, 2.2)
        x, y = p.random.uniform(0, 1), p.random.uniform(0, 0.55)
        p.disc(x, y, p.random.uniform(0.02, 0.07), (0.09 * green, 0.17 * green, 0.03 * green), 0.008, 0.75)
    p.glow(0.80, 0.08, 0.20, (1.5, 1.5, 0.62))
    p.bokeh(50, (0.35, 0.0, 1.0, 0.5), [(2.0, 2.1, 1.0), (1.3, 1.6, 0.6)], 0.016)
    p.bokeh(16, (0.2, 0.75, 0.9, 0.95), [(0.5, 0.55, 0.2)], 0.03)
    p.noise(20, 0.12)
    return p.finish(0.009)


SCENES: tuple[Callable[[], NDArray[np.uint8]], ...] = (
    window_room,
    golden_street,
    overcast_park,
    neon_night,
    candle_room,
    clinic,
    sunset_sea,
    forest,
)


def main() -> None:
    """Writes all scenes."""
    cv2.setNumThreads(1)
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else SHIPPED
    folder.mkdir(parents=True, exist_ok=True)
    for draw in SCENES:
        write_atomic(folder / f"{draw.__name__}.jpg", encode(draw(), ".jpg"))


if __name__ == "__main__":
    main()
