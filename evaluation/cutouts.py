"""What a labelled picture shows in front of its background, for data sets that have no depth and no studio background.

In this order: the image's own alpha channel, a mask beside the data set, outlines in the label, a uniform background,
and MediaPipe's segmentation of persons, refined by GrabCut (C. Rother et al., 2004) where it is unsure. Each is
accepted only if the labelled points are on it.
"""

import io
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from acusim.errors import AcuSimError, PictureError
from acusim.foreground import find_foreground, soft_edge
from acusim.keypoints import KeypointPicture, Keypoints
from acusim.labelled_files import FOREGROUND_FOLDER
from acusim.labelme import check_size
from acusim.photo_decoding import TURNED, decode_photograph
from acusim.pictures import MAX_PIXELS, decode_rgb, load_image, open_image
from acusim.silhouette import MAX_SHARE

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

LEAST_ON = 0.8
"""Share of the visible points that must be on what was cut out."""
NEAR = 0.02
"""How far beside it a point may be, as a share of the longer side: outlines and labels are not exact."""
_SURE, _SIDE = 0.9, 512
"""Confidence beyond which the segmentation is believed, and the side at which GrabCut works."""
_ROUNDS = 3
_ONE_AT_A_TIME = threading.Lock()
"""MediaPipe's graph is for one thread; engines for servers read samples in several."""


@dataclass(frozen=True, slots=True, eq=False)
class Cutout:
    """A picture with what it shows cut out."""

    pixels: Pixels
    """[H, W, 3] upright, over black where alpha is 0."""
    alpha: Pixels
    """[H, W]"""
    data: bytes
    """The same as a PNG with alpha, or the file itself where it has its own."""
    source: str
    """How it was found: alpha, mask, label, uniform background, or segmentation."""
    notes: tuple[str, ...]
    """Conversions that were needed."""


def cut_out_subject(picture: KeypointPicture, image: bytes, mask: bytes | None) -> Cutout:
    """Cuts out what a picture's points are on.

    Args:
        picture: with its points.
        image: its file.
        mask: the file of its mask, None if there is none.

    Raises:
        PictureError: the image or the mask is unreadable, or nothing was found that holds the points.
        LabelError: the label is for a picture of another size.
    """
    decoded = decode_photograph(image, picture.image, MAX_PIXELS, with_alpha=True)
    height, width = decoded.pixels.shape[:2]
    check_size(picture.size, (width, height))
    if TURNED in decoded.notes and not picture.own_label and open_image(image, picture.image).size == (width, height):
        # labelme shows pictures upright; of COCO's tools some do not, and here the sizes do not tell.
        raise PictureError("its EXIF tag turns it, which leaves open which way up its labels are; save it upright")
    alpha = decoded.alpha
    if alpha is not None and 0 < (alpha >= 128).mean() <= MAX_SHARE:
        if TURNED in decoded.notes:
            raise PictureError("it has an alpha channel and is turned by its EXIF tag; save it upright")
        _check(alpha >= 128, picture.points, "its alpha channel")
        return Cutout(decoded.pixels, alpha, decoded.data, "alpha", decoded.notes)
    try:
        found, source = _found(picture, decoded.pixels, mask)
    except PictureError as error:
        stem = picture.image.rpartition(".")[0]
        raise PictureError(f"{error}; draw a mask and save it as {FOREGROUND_FOLDER}/{stem}.png") from None
    layer = np.round(255 * soft_edge(found)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(np.dstack([decoded.pixels, layer])).save(buffer, "PNG", compress_level=1)
    data = buffer.getvalue()
    return Cutout(decode_rgb(data, picture.image).pixels, layer, data, source, decoded.notes)


def _found(picture: KeypointPicture, pixels: Pixels, mask: bytes | None) -> tuple[Mask, str]:
    points, (height, width) = picture.points, pixels.shape[:2]
    if mask is not None:
        given, source = read_mask(mask, width, height, picture.mask or "mask"), "mask"
    else:
        given, source = points.covered(width, height), "label"
    if given is not None:
        _check(given, points, f"its {source}")
        return given, source
    ways: dict[str, Callable[[Pixels], Mask]] = {
        "uniform background": _uniform,
        "segmentation": segmented,
    }
    reasons: list[str] = []
    for source, way in ways.items():
        try:
            found = way(pixels)
            _check(found, points, f"what was found by {source}")
            return found, source
        except AcuSimError as error:
            reasons.append(str(error))
    raise PictureError(f"its foreground was not found: {'; '.join(reasons)}")


def read_mask(data: bytes, width: int, height: int, name: str = "mask") -> Mask:
    """[height, width] the pixels of a mask file, called so in messages, that are brighter than half of its brightest.

    Raises:
        PictureError: it is unreadable, empty, or of another size.
    """
    image = open_image(data, name, "mask")
    load_image(image, name, "mask")
    if image.size != (width, height):
        raise PictureError(f"its mask is {image.width} x {image.height}, the picture {width} x {height}")
    values = np.asarray(image.convert("L") if not image.mode.startswith("I") else image, np.float32)
    if values.max() <= 0:
        raise PictureError("its mask is empty: every pixel is 0")
    return values > values.max() / 2


def _check(found: Mask, points: Keypoints, what: str) -> None:
    """Makes sure that the visible points are on a mask.

    Raises:
        PictureError: it is empty, or too few are.
    """
    if not found.any():
        raise PictureError(f"{what} is empty")
    if found.mean() > MAX_SHARE:
        raise PictureError(f"{what} covers the whole picture")
    height, width = found.shape
    seen = points.xy[points.visible]
    near = round(NEAR * max(height, width))
    wide = cv2.dilate(found.astype(np.uint8), np.ones((2 * near + 1, 2 * near + 1), np.uint8))
    at = np.clip(np.floor(seen).astype(int), 0, (width - 1, height - 1))
    on = int(wide[at[:, 1], at[:, 0]].sum())
    if on < LEAST_ON * len(seen):
        raise PictureError(f"{what} holds {on} of {len(seen)} visible points")


def _uniform(pixels: Pixels) -> Mask:
    try:
        found = find_foreground(pixels, None)
    except PictureError:
        raise PictureError("its background is not of one colour") from None
    if found.doubts:
        raise PictureError(f"a uniform background is doubtful ({'; '.join(found.doubts)})")
    return found.mask


@cache
def _segmenter() -> Any:
    """MediaPipe's segmentation of persons, one for each process."""
    from evaluation.landmarks import native_log_silenced

    with native_log_silenced():
        from mediapipe.python.solutions.selfie_segmentation import SelfieSegmentation  # type: ignore[import-untyped]

        segmenter = SelfieSegmentation(model_selection=0)
        segmenter.process(np.zeros((64, 64, 3), np.uint8))  # what starts at the first image is silent, too
    return segmenter


def segmented(pixels: Pixels) -> Mask:
    """[H, W] the person, or part of one, in a picture [H, W, 3].

    Raises:
        PictureError: there is none.
    """
    with _ONE_AT_A_TIME:
        confidence: NDArray[np.float32] = _segmenter().process(pixels).segmentation_mask
    if confidence.max() < _SURE:
        raise PictureError("MediaPipe's segmentation sees no person")
    height, width = confidence.shape
    scale = min(1.0, _SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    sure = np.asarray(cv2.resize(confidence, size, interpolation=cv2.INTER_AREA), np.float32)
    labels = np.where(sure > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[sure > _SURE] = cv2.GC_FGD
    labels[sure < 1 - _SURE] = cv2.GC_BGD
    if (labels == cv2.GC_BGD).any():  # else there is nothing to learn the background from
        cv2.setRNGSeed(0)
        models = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.grabCut(small, labels, (0, 0, 1, 1), *models, _ROUNDS, cv2.GC_INIT_WITH_MASK)
    found = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
    return np.asarray(cv2.resize(found, (width, height), interpolation=cv2.INTER_LINEAR)) > 0.5
