"""Heads that differ, drawn with numpy."""

from pathlib import Path

import numpy as np
from PIL import Image

from acusim import acupoints
from acusim.labels import dump_label, read_label
from tests.support import label_json

SIZE = 64


def head(seed: int, size: int = SIZE) -> np.ndarray:
    """[size, size, 3] smooth colours that depend on a number, on black."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(30, 255, (6, 6, 3), np.uint8))
    picture = np.array(coarse.resize((size, size), Image.Resampling.BICUBIC))
    v, u = (np.mgrid[:size, :size] + 0.5) / size * 2 - 1
    return picture * (np.hypot(u, v) < 0.8)[..., None].astype(np.uint8)


def add(root: Path, stem: str, seed: int, *, size: int = SIZE, shift: float = 0.0, extension: str = ".png") -> Path:
    """Adds a picture that depends on seed and frame, with a label moved by shift, each one to another shape."""
    frame = int(stem[-4:])
    image = root / "train" / "image" / f"img_{size}" / f"{stem}{extension}"
    label = root / "train" / "label" / "label" / f"{stem}.json"
    for path in (image, label):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(head(1000 * seed + frame, size)).save(image)
    label.write_bytes(label_json(frame, bald=False))
    if shift:
        moved = read_label(label)
        bent = 0.02 * np.sin(6 * moved.xy[moved.listed][:, ::-1] + 50 * shift)
        moved.xy[moved.listed] = (moved.xy[moved.listed] + shift + bent).clip(0, 1)
        label.write_bytes(dump_label(moved))
    (root / "map.txt").write_bytes(acupoints.MAP_TXT)
    return image
