"""AcuSim Load Samples: a batch of a dataset's images with their foreground masks."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from acusim.errors import AcuSimError, ConfigError, PictureError
from acusim.files import safe_join, sha256
from acusim.float_images import from_levels, pad_mask, pad_picture
from acusim.foreground import Foreground, find_foreground
from acusim.pictures import decode_rgb, read_file

from . import roots, samples, tensors
from .finding import MAX_COUNT, Found, check_lines, find_samples, selected
from .samples import LoadedSample, Samples
from .widgets import choice, integer, text

MAX_BATCH_PIXELS = MAX_COUNT << 20
"""64 images of 1024²: 800 MB as tensors."""
_MAX_SIZE = 8192
_THREADS = 4


class AcuSimLoadSamples:
    """Loads samples; never crops or scales them."""

    CATEGORY = "AcuSim"
    DESCRIPTION = (
        "Loads a batch of images of an AcuSim dataset with their foreground masks, by sample IDs, image paths or a "
        "selection. Images are never cropped or scaled; sides that are not multiples of 16 are padded, and AcuSim Save "
        "Samples removes the padding."
    )
    FUNCTION = "load"
    RETURN_TYPES = ("IMAGE", "MASK", samples.TYPE, "INT")
    RETURN_NAMES = ("images", "mask", "samples", "count")
    OUTPUT_TOOLTIPS: ClassVar[tuple[str, ...]] = (
        "The images, padded on the right and below to multiples of 16 by repeating their edge.",
        "The heads: 1 inside, 0 in the background and the padding, soft at the rim. From the depth map where there is "
        "one, else from the uniform background.",
        "The samples' IDs and paths, for the other AcuSim nodes.",
        "How many samples were loaded.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """The widgets."""
        return {
            "required": {
                "root": choice("Folder of the server with the dataset; the operator adds more.", roots.names()),
                "folder": text("The dataset's folder below root; empty: root itself."),
                "samples": text(
                    "One sample ID (F_Ann_N_HA_O_0001) or image path below the dataset "
                    "(train/image/img_512/F_Ann_N_HA_O_0001.png) per line. If not empty, selection, index and count "
                    "are ignored.",
                    multiline=True,
                ),
                "selection": text(
                    "Conditions that samples must meet, such as gender=F,hair=HA,HC,frame=1-36. Keys: gender, name, "
                    "size, hair, eye, frame, split. Empty: all samples."
                ),
                "index": integer("Which batch of the selected samples; 0 is the first.", 0, 0, 10_000_000),
                "count": integer("Samples in a batch; the last batch may be smaller.", 4, 1, MAX_COUNT),
                "size": integer(
                    "Image size as in the folder's name: 512 reads img_512. 0: 512 where available, else the largest. "
                    "Ignored for image paths.",
                    0,
                    0,
                    _MAX_SIZE,
                ),
            }
        }

    @classmethod
    def VALIDATE_INPUTS(cls, root: Any = None, folder: Any = None, samples: Any = None, selection: Any = None) -> Any:
        """Refuses invalid roots, paths, sample lines and selections when a graph is queued; linked inputs are None."""
        if (reason := roots.refusal(root, folder)) is not None:
            return reason
        try:
            if samples:
                check_lines(samples)
            elif selection:
                selected(selection)
        except AcuSimError as error:
            return str(error)
        return True

    @classmethod
    def IS_CHANGED(cls, **inputs: Any) -> Any:
        """A digest of the bytes that would be loaded, so that an edited file counts and a touched one does not."""
        if None in inputs.values():
            return float("nan")
        try:
            root, found = _found(**inputs)
            parts: list[str | None] = [str(root)]
            for entry in found:
                image = sha256(read_file(safe_join(root, entry.image)))
                depth = sha256(read_file(safe_join(root, entry.depth), "depth")) if entry.depth else None
                parts += [entry.image, image, entry.label, entry.depth, depth]
        except AcuSimError:
            return float("nan")
        return sha256("\n".join(str(part) for part in parts).encode())

    def load(self, **inputs: Any) -> tuple[Any, Any, Samples, int]:
        """The batch.

        Raises:
            AcuSimError: names what is wrong and what is allowed.
        """
        pictures, mask, batch = _load_batch(*_found(**inputs))
        return tensors.to_tensor(pictures), tensors.to_tensor(mask), batch, len(batch.samples)


def _found(
    root: str, folder: str, samples: str, selection: str, index: int, count: int, size: int
) -> tuple[Path, list[Found]]:
    dataset = Path(os.path.realpath(roots.inside(roots.find_root(root), folder)))
    return dataset, find_samples(dataset, samples, selection, index, count, size)


def _load_batch(root: Path, found: list[Found]) -> tuple[NDArray[np.float32], NDArray[np.float32], Samples]:
    """Reads samples.

    Returns:
        Images [B, H, W, 3] in 0..1, their masks [B, H, W] in 0..1, and their samples.
    """
    with ThreadPoolExecutor(min(_THREADS, len(found))) as pool:
        loaded = list(pool.map(lambda entry: _load(root, entry), found))
    height, width = loaded[0][0].shape[:2]
    for entry, (pixels, _, _) in zip(found, loaded, strict=True):
        if pixels.shape[:2] != (height, width):
            raise PictureError(
                f"images of one batch must have the same size: {found[0].image} is {width} x {height}, {entry.image} "
                f"is {pixels.shape[1]} x {pixels.shape[0]}; load them separately or select one size"
            )
    if len(found) * height * width > MAX_BATCH_PIXELS:
        raise ConfigError(
            f"{len(found)} images of {width} x {height} are more than {MAX_BATCH_PIXELS >> 20} megapixels; reduce count"
        )
    batch = Samples(root, tuple(sample for _, _, sample in loaded), height, width)
    shape = len(found), batch.padded_height, batch.padded_width
    pictures, masks = np.empty((*shape, 3), np.float32), np.empty(shape, np.float32)
    for position, (pixels, alpha, _) in enumerate(loaded):
        pictures[position] = pad_picture(from_levels(pixels), *shape[1:])
        masks[position] = pad_mask(alpha, *shape[1:])
    return pictures, masks, batch


def _load(root: Path, found: Found) -> tuple[NDArray[np.uint8], NDArray[np.float32], LoadedSample]:
    try:
        data, pixels, head = read_head(root, found.image, found.depth)
    except PictureError as error:
        raise PictureError(f"sample {found.id}: {error}") from None
    where = found.id, found.image, found.label, found.depth
    sample = LoadedSample(*where, sha256(data), head.source, head.doubts, found.unused_depth)
    return pixels, head.alpha, sample


def read_head(root: Path, image: str, depth: str | None) -> tuple[bytes, NDArray[np.uint8], Foreground]:
    """A sample's file, its pixels [H, W, 3], and the head in them, by the depth map where there is one.

    Raises:
        PictureError: a file cannot be read, or no head can be found.
    """
    data = read_file(safe_join(root, image))
    picture = decode_rgb(data, image)
    depth_data = read_file(safe_join(root, depth), "depth") if depth else None
    return data, picture.pixels, find_foreground(picture.pixels, depth_data, picture.alpha)
