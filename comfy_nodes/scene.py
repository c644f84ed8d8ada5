"""AcuSim Load Scene: a picture that sets the light, as it is or fitted to a batch.

Where it need not be fitted it should not depend on the batch: ComfyUI then keeps what was made of it, such as the
IP-Adapter's embedding, from one batch to the next.
"""

import os
from pathlib import Path
from typing import Any, ClassVar

from acusim.errors import AcuSimError, PictureError
from acusim.files import sha256
from acusim.folders import list_folder
from acusim.foreground import fitted
from acusim.pictures import read_file
from acusim.scene_pictures import SCENE_EXTENSIONS, decode_scene
from acusim.unit import from_levels, pad_picture

from . import roots, samples, tensors
from .samples import Samples

DEFAULT = "window_room.jpg"


class AcuSimLoadScene:
    """Loads a scene picture."""

    CATEGORY = "AcuSim"
    DESCRIPTION = (
        "Loads a scene picture that sets the light, and the background where one is wanted: as it is, which lets "
        "ComfyUI keep what is made of it for the next batches; or, with samples connected, fitted to their batch: "
        "scaled to cover the true size, centred and cut, never stretched, then padded like them."
    )
    FUNCTION = "load"
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("scene",)
    OUTPUT_TOOLTIPS: ClassVar[tuple[str, ...]] = ("One picture: of its own size, or of the batch's.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """The widgets."""
        names = roots.names(scenes=True)
        return {
            "required": {
                "root": (names, {"tooltip": "The folder of the server that holds the scene picture."}),
                "file": (
                    "STRING",
                    {
                        "default": DEFAULT if roots.SHIPPED_SCENES in names else "",
                        "tooltip": "The photograph below root, .png, .jpg or .webp, turned upright. Shipped are "
                        "candle_room, clinic, forest, golden_street, neon_night, overcast_park, sunset_sea and "
                        "window_room, each .jpg.",
                    },
                ),
            },
            "optional": {
                "samples": (
                    samples.TYPE,
                    {"tooltip": "From AcuSim Load Samples, where the scene must be of their size: for a VAE Encode."},
                ),
            },
        }

    @classmethod
    def VALIDATE_INPUTS(cls, root: Any = None, file: Any = None) -> Any:
        """Refuses bad roots and paths when a graph is queued; linked inputs are None."""
        reason = roots.refusal(root, file, scenes=True)
        if reason is None and file == "":
            reason = "file is empty; name a scene picture below root"
        return True if reason is None else reason

    @classmethod
    def IS_CHANGED(cls, **inputs: Any) -> Any:
        """A digest of the picture file."""
        try:
            return sha256(read_file(_path(inputs["root"], inputs["file"]), "scene"))
        except (AcuSimError, OSError, TypeError):
            return float("nan")

    def load(self, root: str, file: str, samples: Samples | None = None) -> tuple[Any]:
        """[1, H, W, 3] the scene.

        Raises:
            AcuSimError: the path is not allowed or the picture is unreadable.
        """
        return (tensors.to_tensor(load_scene(_path(root, file), file, samples)),)


def load_scene(path: Path, name: str, batch: Samples | None = None) -> samples.Floats:
    """[1, H, W, 3] in 0..1: a picture file, at a batch's padded size if there is one.

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
        told = f"; it holds {', '.join(pictures[:12])}" if pictures else ""
        raise PictureError(f"scene {file!r} is not in root {root!r}{told}")
    return path
