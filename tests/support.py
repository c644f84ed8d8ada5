"""Small data sets in AcuSim's layout, drawn with numpy; how far apart float32 numbers of two machines may be."""

import json
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from acusim import acupoints, rig
from acusim.sample_id import SampleId

ROOT = Path(__file__).resolve().parents[1]
FOUR_SETS = ("F_Ann_N_HA_O", "M_Bob_F_HC_C", "F_Cleo_S_HB_O", "M_Dan_N_HB_C")
"""One model for each prompt set; HB is bald in these data sets."""

UNIT = 2.0**-24
"""Unit roundoff of float32: the largest relative error of one rounding."""


def rounding(sums: Iterable[int], gain: float = 1.0) -> float:
    """How far apart two float32 results of the same arithmetic may be, as a share of the results' spread.

    Processors differ in the order in which they add (the width of their vectors) and in whether a product is rounded
    before it is added (FMA). Of a sum of n products of random signs, the k-th partial sum spreads by sqrt(k / n) of
    what the whole does, and adding to it errs evenly within a unit of it, independently of the other additions. So the
    error's variance is the sum over k of UNIT^2 / 3 * k / n of the whole's: n / 6 of UNIT^2. Adding one after the other
    is the worst order (N. Higham and T. Mary, "A new approach to probabilistic rounding error analysis", SIAM J. Sci.
    Comput. 41, 2019). Errors of sums that follow each other are independent too: their variances add. Both results
    err, which doubles the variance. Six standard deviations, as the largest of many values is meant.

    Args:
        sums: the number of terms of each sum on the way from input to result: a layer's fan-in, a count of operations.
        gain: how much more what follows a sum enlarges an error than it enlarges the numbers.
    """
    return 6 * gain * math.sqrt(2 * sum(sums) / 6) * UNIT


def label_json(frame: int, bald: bool) -> bytes:
    """A label as the dataset would hold it: facing points of the table, the scalp's only on a bald head."""
    xy, depth = rig.project(acupoints.positions_mm(), frame, 1.0)
    toward = acupoints.positions_mm() - rig.camera(frame).center_mm
    cosine = (toward * acupoints.normals()).sum(1) / np.linalg.norm(toward, axis=1)
    inside = ((xy > 0) & (xy < 1)).all(1)
    entries = [
        {
            "name": point.name,
            "coordinate": {
                "x": float(xy[point.index, 0]),
                "y": float(xy[point.index, 1]),
                "n": float(cosine[point.index]),
                "h": float(depth[point.index] / 1000),
            },
        }
        for point in acupoints.ACUPOINTS
        if cosine[point.index] < -0.2
        and inside[point.index]
        and not point.inner
        and (bald or point.index not in acupoints.SCALP)
    ]
    return json.dumps({"label": entries}, ensure_ascii=False).encode()


def draw_head(size: int, tint: float) -> tuple[np.ndarray, np.ndarray]:
    """A lit sphere with dark hair on black, [size, size, 3] uint8, and its depth in mm, [size, size] uint16."""
    v, u = (np.mgrid[:size, :size] + 0.5) / size * 2 - 1
    radius = np.hypot(u, v) / 0.7
    height = np.sqrt(np.clip(1 - radius**2, 0, 1))
    skin = np.array([0.85, 0.6, 0.45]) * (0.5 + 0.5 * tint)
    colour = np.where((v < -0.3)[..., None], [0.15, 0.1, 0.08], skin)
    texture = 0.06 * np.sin(40 * u) * np.sin(37 * v)
    picture = (colour * (0.35 + 0.6 * height + texture)[..., None]).clip(0, 1) * (radius < 1)[..., None]
    depth = np.where(radius < 1, 870 - 95 * height, 0)
    return (picture * 255 + 0.5).astype(np.uint8), (depth + 0.5).astype(np.uint16)


def add_sample(root: Path, stem: str, size: int = 64, depth: bool = True, extension: str = ".png") -> Path:
    """Adds one sample to a data set; returns its picture."""
    sample_id = SampleId.parse(stem)
    folders = [root / "train" / part for part in (f"image/img_{size}", "label/label", f"depth/img_{size}")]
    for folder in folders[: 3 if depth else 2]:
        folder.mkdir(parents=True, exist_ok=True)
    picture, distance = draw_head(size, (sample_id.frame % 7) / 7)
    path = folders[0] / f"{stem}{extension}"
    Image.fromarray(picture).save(path)
    (folders[1] / f"{stem}.json").write_bytes(label_json(sample_id.frame, sample_id.hair == "HB"))
    if depth:
        Image.fromarray(distance).save(folders[2] / f"{stem}.png")
    (root / "map.txt").write_bytes(acupoints.MAP_TXT)
    return path


def add_own_sample(root: Path, stem: str, number: int, size: int = 32) -> None:
    """As add_sample, of a place, shape and colour of the person's own: persons who are alike are refused as one."""
    picture = add_sample(root, stem, size=size)
    pixels = np.roll(np.array(Image.open(picture)), number, 1)
    pixels[..., number % 3] //= 2
    Image.fromarray(pixels).save(picture)
    path = root / "train/label/label" / f"{stem}.json"
    document = json.loads(path.read_text())
    for entry in document["label"]:
        place = entry["coordinate"]
        place["y"] = min(max(place["y"] + 0.02 * math.sin(6 * place["x"] + number), 0.0), 1.0)
        place["x"] = min(place["x"] + number / size, 1.0)
    path.write_text(json.dumps(document))
