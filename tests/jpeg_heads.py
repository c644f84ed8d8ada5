"""A drawn head with dark hair, loose strands and a dark shirt before one colour, its true mask, and it as JPEG."""

import io

import cv2
import numpy as np
from PIL import Image

SIDE = 256


def drawn(background: tuple[int, int, int] = (0, 0, 0), brightness: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """[256, 256, 3] RGB and the mask [256, 256]: bright skin, hair of 15..70 levels, a shirt of 22, strands of 70."""
    random = np.random.default_rng(7)
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    picture = np.zeros((SIDE, SIDE, 3), np.float32)
    mask = np.zeros((SIDE, SIDE), np.uint8)

    def part(shape: np.ndarray, colour: np.ndarray) -> None:
        picture[shape > 0] = (colour * np.ones_like(picture))[shape > 0]
        mask[shape > 0] = 1

    def ellipse(centre: tuple[int, int], axes: tuple[int, int]) -> np.ndarray:
        return cv2.ellipse(np.zeros((SIDE, SIDE), np.uint8), centre, axes, 0, 0, 360, (1,), -1)

    fibres = np.repeat(random.uniform(15, 70, SIDE)[None], SIDE, 0)
    hair = cv2.GaussianBlur(fibres.astype(np.float32), (0, 0), 1.0)[..., None] * np.array([1.0, 0.85, 0.7])
    skin = np.array([205.0, 160, 135]) * (0.75 + 0.25 * np.cos((columns - 128) / 60))[..., None]
    part(ellipse((128, 262), (105, 60)), np.array([22.0, 22, 25]))
    part(cv2.rectangle(np.zeros((SIDE, SIDE), np.uint8), (108, 170), (148, 215), (1,), -1), 0.9 * skin)
    part(ellipse((128, 105), (72, 82)), hair)
    part(ellipse((128, 122), (50, 68)), skin)
    for x in (104, 152):
        cv2.circle(picture, (x, 112), 4, (3, 3, 3), -1)  # pupils, as black as the background
    for start, end in (((75, 60), (52, 40)), ((180, 55), (206, 38))):
        part(cv2.line(np.zeros((SIDE, SIDE), np.uint8), start, end, (1,), 2), np.array([70.0, 60, 50]))
    pixels = np.where(mask[..., None] > 0, picture * brightness, np.asarray(background, np.float32))
    return np.rint(pixels).clip(0, 255).astype(np.uint8), mask > 0


def jpeg(pixels: np.ndarray, quality: int, subsampling: int = 2) -> bytes:
    """The file of a picture; subsampling 2 is 4:2:0."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=quality, subsampling=subsampling)
    return out.getvalue()


def through_jpeg(pixels: np.ndarray, quality: int, subsampling: int = 2) -> np.ndarray:
    """A picture as it comes back from a JPEG file."""
    return np.array(Image.open(io.BytesIO(jpeg(pixels, quality, subsampling))).convert("RGB"))


def edge_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Median distance in pixels from the points of either outline to the other outline."""
    kernel = np.ones((3, 3), np.uint8)
    lines = [mask & (cv2.erode(mask.astype(np.uint8), kernel) == 0) for mask in (one, other)]
    away = [cv2.distanceTransform((~line).astype(np.uint8), cv2.DIST_L2, 5) for line in lines]
    return float(np.median(np.concatenate([away[1][lines[0]], away[0][lines[1]]])))
