"""Textured pictures whose geometry is known, and a small data set with a real enough face."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from evaluation.copies import Second
from evaluation.deciding import Figures
from evaluation.trials import LADDER, Kind, Trial
from synthetic.generate import generate
from synthetic.settings import HeadSettings

SIDE = 256


def draw_skin(seed: int = 0, side: int = SIDE) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A disc of mottled skin on black, [side, side, 3] uint8, and its mask."""
    random = np.random.default_rng(seed)
    texture = sum(
        cv2.resize(
            random.standard_normal((side // scale + 2, side // scale + 2)).astype(np.float32),
            (side, side),
            interpolation=cv2.INTER_CUBIC,
        )
        for scale in (1, 2, 4, 8)
    )
    v, u = np.mgrid[:side, :side] + 0.5 - side / 2
    mask = np.hypot(u, v) < 0.42 * side
    levels = 130 + 6 * np.asarray(texture)[..., None] * np.array([1.0, 0.9, 0.8]) + np.array([30, 0, -20])
    return (np.clip(levels, 0, 255) * mask[..., None]).astype(np.uint8), mask


def relit(pixels: NDArray[np.uint8], seed: int = 1) -> NDArray[np.uint8]:
    """The same pixels under another, smooth, coloured light."""
    side = pixels.shape[0]
    random = np.random.default_rng(seed)
    angle = random.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    gain = 0.9 + 0.4 * (x * np.cos(angle) + y * np.sin(angle))
    return np.clip(pixels * gain[..., None] * random.uniform(0.8, 1.1, 3) + 0.5, 0, 255).astype(np.uint8)


@pytest.fixture
def skin() -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """draw_skin with its first seed."""
    return draw_skin()


@pytest.fixture(scope="session")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root of a data set: two rendered persons in four views at 256 pixels, with depth."""
    root = tmp_path_factory.mktemp("heads") / "data"
    generate(HeadSettings(out=root, identities=2, views="1,4,10,34", size=256))
    return root


@pytest.fixture
def augment(tmp_path: Path) -> Callable[..., Path]:
    """Makes an augmented root: every picture of a data set through a function of pixels."""
    from acusim import layout
    from acusim.pictures import encode, read_rgb

    def make(
        original: Path,
        change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] = relit,
        name: str = "augmented",
        labels: bool = True,
    ) -> Path:
        root = tmp_path / name
        for sample in layout.scan(original).samples:
            target = root / sample.image
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(encode(change(read_rgb(original / sample.image).pixels), target.suffix))
            if labels:
                (root / sample.label).parent.mkdir(parents=True, exist_ok=True)
                (root / sample.label).write_bytes((original / sample.label).read_bytes())
        return root

    return make


def make_trial(
    kind: Kind = "nothing",
    moved: float = 0.0,
    strength: float = 0.0,
    bound: float = 3.0,
    outline_px: float = 1.0,
    band: float = 0.05,
    kept: float = 1.0,
    alike: float = 1.0,
    contrast: float | NDArray[np.float32] = 1.0,
    copy: float = 0.0,
    visible: int = 40,
    person: str = "one",
    look: str = "relit",
) -> Trial:
    """A trial with two acupoints, the second one moved by some pixels of 0.5 mm; its bound grows with the ladder."""
    bounds = np.outer(np.array(LADDER) / 8, [2.0, bound]).astype(np.float32)
    one, zero = np.ones(2, np.float32), np.zeros(2, np.float32)
    return Trial(
        person=person,
        frame=1,
        look=look,
        kind=kind,
        size_px=moved,
        figures=Figures(
            structure=0.9,
            texture=0.9,
            shift_px=(0.0, 0.0),
            shift_gain=0.0,
            strength=np.array([0, strength], np.float32),
            outline_moved_px=outline_px * one,
            second=Second(one, band * one, -band * one, kept * one, alike * one, contrast * one, zero, copy),
            visible=visible,
        ),
        moved_px=np.array([0, moved], np.float32),
        bounds_px=bounds,
        still_px=bounds,
        mm_per_px=np.full(2, 0.5, np.float32),
    )
