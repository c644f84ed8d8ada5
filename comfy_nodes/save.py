"""AcuSim Save Samples: the batch as files of a data set, with labels, records and hashes."""

import importlib
import io
import json
import logging
import os
import sys
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from acusim.errors import AcuSimError, ConfigError, shown
from acusim.files import is_inside, write_atomic
from acusim.pictures import JPEG_QUALITY
from acusim.provenance import KEY

from . import roots, samples, tensors
from .samples import Samples
from .writing import FORMATS, Saved, save_batch

MAX_RECORD_BYTES = 50_000
MAX_PREVIEWS = 16
PREVIEW_SIDE = 384


class AcuSimSaveSamples:
    """Writes pictures where a data set has them."""

    CATEGORY = "AcuSim"
    DESCRIPTION = (
        "Writes the pictures as a data set: each at its sample's own path below the folder, at its true size, rounded "
        "to the nearest level, with label, depth map and map.txt. Reports path and hash of each file."
    )
    FUNCTION = "save"
    OUTPUT_NODE = True
    RETURN_TYPES: ClassVar[tuple[str, ...]] = ()
    RETURN_NAMES: ClassVar[tuple[str, ...]] = ()
    OUTPUT_TOOLTIPS: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """The widgets."""
        return {
            "required": {
                "images": (
                    "IMAGE",
                    {"tooltip": "The pictures, one per sample, still with the padding of AcuSim Load Samples."},
                ),
                "samples": (samples.TYPE, {"tooltip": samples.TOOLTIP}),
                "root": (
                    roots.names(write=True),
                    {"tooltip": "The folder of the server to write below; the operator adds more."},
                ),
                "folder": (
                    "STRING",
                    {
                        "default": "acusim",
                        "tooltip": "The new data set's folder below root. It may not be the data set that the samples "
                        "were loaded from.",
                    },
                ),
                "format": (
                    list(FORMATS),
                    {
                        "default": FORMATS[0],
                        "tooltip": "as sample: PNG or JPEG as the sample's own file; png: without loss; jpg: quality "
                        f"{JPEG_QUALITY}, without the graph.",
                    },
                ),
                "labels": (
                    "BOOLEAN",
                    {"default": True, "tooltip": "Copies label, depth map and map.txt beside the pictures, too."},
                ),
                "preview": (
                    "BOOLEAN",
                    {"default": True, "tooltip": f"Shows the saved pictures in the editor, {MAX_PREVIEWS} at most."},
                ),
                "record": (
                    "STRING",
                    {
                        "default": "",
                        "tooltip": "For programs: a JSON object that is put into each picture's record. The graph is "
                        "then left out of the pictures.",
                    },
                ),
            },
            "hidden": {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"},
        }

    @classmethod
    def VALIDATE_INPUTS(cls, root: Any = None, folder: Any = None, record: Any = None) -> Any:
        """Refuses bad roots, paths and records when a graph is queued; linked inputs are None."""
        if (reason := roots.refusal(root, folder, write=True)) is not None:
            return reason
        try:
            parse_record(record or "")
        except AcuSimError as error:
            return str(error)
        return True

    @classmethod
    def IS_CHANGED(cls, **inputs: Any) -> float:
        """Always executes, so that a graph in the cache still restores deleted files."""
        return float("nan")

    def save(
        self,
        images: Any,
        samples: Samples,
        root: str,
        folder: str,
        format: str,
        labels: bool,
        preview: bool,
        record: str,
        prompt: Any = None,
        extra_pnginfo: Any = None,
    ) -> dict[str, Any]:
        """Writes the batch and reports each file.

        Raises:
            AcuSimError: names what is wrong and what is allowed; what was written before stays.
        """
        if format not in FORMATS:
            raise ConfigError(f"format {format!r} is not one of {', '.join(FORMATS)}")
        pictures = tensors.to_numpy(images, "images", 4)
        fields = parse_record(record)
        texts = {} if fields else graph_texts(prompt, extra_pnginfo)
        place = roots.find_root(root, write=True)
        target = roots.inside(place, folder)
        saved = save_batch(pictures, samples, target, format, labels, fields, texts)
        for entry in saved:
            if not entry.finite:
                logging.warning("AcuSim Save Samples: %s holds NaN or infinity and was not written", entry.sample)
        return {
            "ui": {
                "images": previews(saved, target) if preview else [],
                "acusim": [entry.report(PurePosixPath(folder)) for entry in saved],
            }
        }


def parse_record(text: str) -> dict[str, Any]:
    """Reads the record widget.

    Raises:
        ConfigError: it is no JSON object, or too long.
    """
    if not text.strip():
        return {}
    if len(text.encode("utf-8", "replace")) > MAX_RECORD_BYTES:
        raise ConfigError(f"record is of {len(text)} characters; allowed are {MAX_RECORD_BYTES} bytes")
    try:
        fields = json.loads(text, parse_constant=_no_constant)
        text.encode()
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"record is not a JSON object: {error}") from None
    if not isinstance(fields, dict):
        raise ConfigError(f"record is not a JSON object such as {{}}, but {shown(fields)}")
    return fields


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def graph_texts(prompt: Any, extra_pnginfo: Any) -> dict[str, str]:
    """The graph as text chunks, in the form from which ComfyUI's editor opens it; none if the server forbids it."""
    arguments = getattr(sys.modules.get("comfy.cli_args"), "args", None)
    if getattr(arguments, "disable_metadata", False):
        return {}
    texts = {} if prompt is None else {"prompt": json.dumps(prompt)}
    if isinstance(extra_pnginfo, dict):
        texts |= {key: json.dumps(value) for key, value in extra_pnginfo.items() if _is_keyword(key)}
    return texts


def _is_keyword(key: Any) -> bool:
    return isinstance(key, str) and 0 < len(key) < 80 and key.isascii() and key.isprintable() and key != KEY


def previews(saved: list[Saved], target: Path) -> list[dict[str, str]]:
    """What the editor shows: files in ComfyUI's output as they are, others as small pictures in its temp folder."""
    folder_paths = importlib.import_module("folder_paths")
    output = os.path.realpath(folder_paths.get_output_directory())
    shown_there: list[dict[str, str]] = []
    for entry in [entry for entry in saved if entry.finite][:MAX_PREVIEWS]:
        path = os.path.realpath(target / entry.image)
        if is_inside(output, path):
            subfolder, filename = os.path.split(os.path.relpath(path, output))
            kind = "output"
        else:
            subfolder, filename, kind = "", f"acusim_{entry.sha256[:24]}.jpg", "temp"
            _write_small(entry.pixels, Path(folder_paths.get_temp_directory()) / filename)
        shown_there.append({"filename": filename, "subfolder": subfolder.replace(os.sep, "/"), "type": kind})
    return shown_there


def _write_small(pixels: NDArray[np.uint8] | None, path: Path) -> None:
    if pixels is None or path.exists():
        return
    image = Image.fromarray(pixels, "RGB")
    image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=85)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, out.getvalue())
