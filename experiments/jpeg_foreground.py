"""Relight on compressed images without depth, beside the same images as PNG with depth, in one run.

    python -m experiments.jpeg_foreground [--dataset HEADS] [--qualities 60,75,90,95] [--background 0,0,0]

Takes the demo's heads (six persons, 14 views, 512²), or those of a data set with depth maps, writes each as JPEG
(Pillow's default, 4:2:0) and leaves the depth map out. Columns:

iou           head against the depth map's, intersection over union: the least of all pictures, and their median
edge px       distance from each outline to the other: the largest median of a picture, the largest 95th percentile
accepted      by the certificate (``python -m evaluation certify`` judges the same), relit before a scene
ring          before white: share of the pixels within 3 px of the outline that are darker, by more than 8 levels, than
              the darkest of the head within 10 px inside of it
doubtful      pictures whose mask is reported as doubtful
"""

import argparse
import dataclasses
import io
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from acusim.files import sha256
from acusim.foreground import Foreground, find_foreground
from acusim.keypoint_metrics import mask_iou
from acusim.labels import Label, read_label
from acusim.layout import scan
from acusim.pictures import read_depth, read_rgb
from acusim.sample_id import SampleId
from engines.base import Request, Result
from engines.recipe import Recipe
from engines.relight.engine import RelightEngine
from engines.scenes import Scene, load_scenes
from evaluation.certificate import Judge
from evaluation.reference import sample_reference

ROOT = Path(__file__).resolve().parents[1]
DEMO = ("--identities", "6", "--views", "1,4,7,10,19,28,31,34,37,42,73,91,109,114", "--size", "512")
RIM_PX, INSIDE_PX, DARKER = 3, 10, 8
UNCHANGED = Recipe(engine="relight", light_strength=0, hair_shift=0, tone_shift=0, background="scene")
"""Nothing but another background."""

Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class Head:
    """A picture with its true head."""

    request: Request
    """As PNG with depth."""
    label: Label
    mask: Mask


def heads(root: Path, background: Sequence[int]) -> list[Head]:
    """The pictures of a data set with depth maps, before a background of one colour."""
    scenes, _ = load_scenes()
    found: list[Head] = []
    for number, sample in enumerate(scan(root).samples):
        if sample.depth is None:
            continue
        mask = read_depth(root / sample.depth)[0] > 0
        picture = read_rgb(root / sample.image)
        pixels = np.where(mask[..., None], picture.pixels, np.asarray(background, np.uint8))
        request = Request(
            sample=sample.id,
            source=root / sample.image,
            pixels=pixels,
            source_data=picture.data,
            source_sha256=sha256(picture.data),
            depth=root / sample.depth,
            depth_data=(root / sample.depth).read_bytes(),
            scene=scenes[number % len(scenes)],
            bald=False,
            prompt_set="",
            positive="",
            negative="",
            seed=number,
        )
        found.append(Head(request, read_label(root / sample.label), mask))
    return found


def compressed(request: Request, quality: int) -> Request:
    """The same picture as JPEG without depth."""
    out = io.BytesIO()
    Image.fromarray(request.pixels).save(out, "JPEG", quality=quality)
    return dataclasses.replace(request, pixels=np.array(Image.open(out)), depth=None, depth_data=None)


def edge_distances(one: Mask, other: Mask) -> NDArray[np.float32]:
    """Pixels from each point of either outline to the other outline."""
    outlines = [mask & ~_shrunk(mask, 1) for mask in (one, other)]
    away = [cv2.distanceTransform((~outline).astype(np.uint8), cv2.DIST_L2, 5) for outline in outlines]
    return np.concatenate([away[1][outlines[0]], away[0][outlines[1]]]).astype(np.float32)


def ring(result: Bytes, original: Bytes, mask: Mask) -> float:
    """Share of the rim that is darker than the head beside it, see the module's text.

    Args:
        result: [H, W, 3] the head before white.
        original: [H, W, 3] as it was before anything was compressed.
        mask: [H, W] the true head.
    """
    near = cv2.dilate(mask.astype(np.uint8), _disc(RIM_PX)) > 0
    rim = near & ~_shrunk(mask, RIM_PX)
    inside = np.where(_shrunk(mask, RIM_PX), cv2.cvtColor(original, cv2.COLOR_RGB2GRAY), 255).astype(np.uint8)
    darkest = np.asarray(cv2.erode(inside, _disc(RIM_PX + INSIDE_PX)), np.int16)
    levels = cv2.cvtColor(result, cv2.COLOR_RGB2GRAY).astype(np.int16)
    return float((levels < darkest - DARKER)[rim].mean())


def _disc(reach: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1)), np.uint8)


def _shrunk(mask: Mask, reach: int) -> Mask:
    """Without a rim; the picture's edge takes nothing."""
    return np.asarray(cv2.erode(mask.astype(np.uint8), _disc(reach)), np.uint8) > 0


def measure(entries: Sequence[tuple[Head, Request]], white: Scene) -> str:
    """One line of figures on pictures and what they were created from."""
    judge, accepted, doubtful = Judge(), 0, 0
    ious: list[float] = []
    edges: list[tuple[float, float]] = []
    rings: list[float] = []
    with RelightEngine(Recipe(engine="relight")) as engine, RelightEngine(UNCHANGED) as composer:
        for head, request in entries:
            found: Foreground = find_foreground(request.pixels, request.depth_data)
            ious.append(mask_iou(found.mask, head.mask))
            distances = edge_distances(found.mask, head.mask)
            edges.append((float(np.median(distances)), float(np.percentile(distances, 95))))
            doubtful += bool(found.doubts)
            [result] = engine.augment([request])
            [before_white] = composer.augment([dataclasses.replace(request, scene=white)])
            assert isinstance(result, Result) and isinstance(before_white, Result), (result, before_white)
            rings.append(ring(before_white.pixels, head.request.pixels, head.mask))
            assert isinstance(request.sample, SampleId)
            reference, _ = sample_reference(request.pixels, request.depth_data, head.label, request.sample.frame)
            accepted += judge.compare(reference, result.pixels).valid
    median, far = np.max(edges, axis=0)
    return (
        f"{min(ious):.4f} {np.median(ious):.4f}  {median:5.1f} {far:5.1f}  {100 * accepted / len(entries):7.1f} %"
        f"  {100 * np.mean(rings):6.2f} %  {doubtful:5d}"
    )


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, help="heads with depth maps (default: the demo's are created)")
    parser.add_argument("--qualities", default="60,75,90,95", help="of JPEG (default 60,75,90,95)")
    parser.add_argument("--background", default="0,0,0", help="red,green,blue (default 0,0,0 as in AcuSim)")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = options.dataset or Path(folder) / "heads"
        if options.dataset is None:
            subprocess.run(
                [sys.executable, "-m", "synthetic", "--out", str(root), "--quiet", *DEMO], check=True, cwd=ROOT
            )
        (Path(folder) / "white").mkdir()
        Image.new("RGB", (64, 64), (255, 255, 255)).save(Path(folder) / "white/white.png")
        [white] = [scene for scene in load_scenes(Path(folder) / "white")[0] if scene.name == "white.png"]
        entries = heads(root, [int(level) for level in options.background.split(",")])
        print(f"{len(entries)} pictures     iou min, median  edge px  95 %   accepted      ring  doubtful")
        print(f"PNG with depth  {measure([(head, head.request) for head in entries], white)}")
        for quality in options.qualities.split(","):
            line = measure([(head, compressed(head.request, int(quality))) for head in entries], white)
            print(f"JPEG {quality}, none   {line}", flush=True)


if __name__ == "__main__":
    main()
