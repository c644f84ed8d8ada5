"""AcuSim Load Scene: an image that sets the light, unchanged or fitted to a batch.

Where it need not be fitted it should not depend on the batch: ComfyUI then caches what is computed from it, such as
the IP-Adapter's embedding, across batches.
"""

import os
from pathlib import Path
from typing import Any, ClassVar

from acusim.errors import AcuSimError, PictureError
from acusim.files import sha256
from acusim.float_images import from_levels, pad_picture
from acusim.folders import list_folder
from acusim.foreground import fitted
from acusim.pictures import read_file
from acusim.scene_pictures import SCENE_EXTENSIONS, decode_scene

from . import roots, samples, tensors
from .samples import Samples
from .widgets import choice, link, text

DEFAULT = "window_room.jpg"


class AcuSimLoadScene:
    """Loads a scene."""

    CATEGORY = "AcuSim"
    DESCRIPTION = (
        "Loads a scene that sets the light, and the background if wanted: unchanged, so that ComfyUI caches what is "
        "computed from it across batches; or, with samples connected, fitted to their batch: scaled to cover the true "
        "size, centred and cropped, never stretched, then padded like them."
    )
    FUNCTION = "load"
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("scene",)
    OUTPUT_TOOLTIPS: ClassVar[tuple[str, ...]] = ("One image, of its own size or of the batch's.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """The widgets."""
        names = roots.names(scenes=True)
        return {
            "required": {
                "root": choice("Folder of the server that contains the scene.", names),
                "file": text(
                    "The photograph below root, .png, .jpg or .webp, turned upright. Shipped are candle_room, clinic, "
                    "forest, golden_street, neon_night, overcast_park, sunset_sea and window_room, each .jpg.",
                    default=DEFAULT if roots.SHIPPED_SCENES in names else "",
                ),
            },
            "optional": {
                "samples": link(
                    samples.TYPE,
                    "From AcuSim Load Samples, if the scene must have the size of its images: for a VAE Encode.",
                ),
            },
        }

    @classmethod
    def VALIDATE_INPUTS(cls, root: Any = None, file: Any = None) -> Any:
        """Refuses invalid roots and paths when a graph is queued; linked inputs are None."""
        reason = roots.refusal(root, file, scenes=True)
        if reason is None and file == "":
            reason = "file is empty; enter a scene below root"
        return True if reason is None else reason

    @classmethod
    def IS_CHANGED(cls, **inputs: Any) -> Any:
        """A digest of the file."""
        try:
            return sha256(read_file(_path(inputs["root"], inputs["file"]), "scene"))
        except (AcuSimError, OSError, TypeError):
            return float("nan")

    def load(self, root: str, file: str, samples: Samples | None = None) -> tuple[Any]:
        """[1, H, W, 3] the scene.

        Raises:
            AcuSimError: the path is not allowed or the file is unreadable.
        """
        return (tensors.to_tensor(load_scene(_path(root, file), file, samples)),)


def load_scene(path: Path, name: str, batch: Samples | None = None) -> samples.Floats:
    """[1, H, W, 3] in 0..1: a scene file, at a batch's padded size if there is one.

    Raises:
        PictureError: it is unreadable.
    """
    pixels = decode_scene(read_file(path, "scene"), name).pixels
    if batch is not None:
        pixels = fitted(pixels, batch.height, batch.width)
    picture = from_levels(pixels)
    if batch is not None:
        picture = pad_picture(picture, batch.padded_height, batch.padded_width)
    return picture[None]


def _path(root: str, file: str) -> Path:
    place = roots.find_root(root, scenes=True)
    path = roots.inside(place, file)
    if not os.path.isfile(path):
        entries = [entry.name for entry in list_folder(place.path) if entry.kind == "file"]
        pictures = [name for name in entries if os.path.splitext(name)[1].lower() in SCENE_EXTENSIONS]
        names = f"; it holds {', '.join(pictures[:12])}" if pictures else ""
        raise PictureError(f"scene {file!r} is not in root {root!r}{names}")
    return path
