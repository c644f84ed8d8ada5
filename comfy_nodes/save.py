"""AcuSim Save Samples: writes the batch as files of a dataset, with labels, records and hashes."""

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
from .widgets import choice, link, switch, text
from .writing import FORMATS, Saved, save_batch

_MAX_RECORD_BYTES = 50_000
_MAX_PREVIEWS = 16
_PREVIEW_SIDE = 384


class AcuSimSaveSamples:
    """Writes images to their places in a dataset."""

    CATEGORY = "AcuSim"
    DESCRIPTION = (
        "Writes the images as a dataset: each to its sample's own path below the folder, at its true size, rounded to "
        "the nearest level, with label, depth map and map.txt. Reports path and hash of each file."
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
                "images": link("IMAGE", "One image per sample, still with the padding of AcuSim Load Samples."),
                "samples": link(samples.TYPE, samples.TOOLTIP),
                "root": choice("Folder of the server to write below; the operator adds more.", roots.names(write=True)),
                "folder": text(
                    "The new dataset's folder below root. It must not be the dataset of the samples.",
                    default="acusim",
                ),
                "format": choice(
                    "as sample: PNG or JPEG like the sample's own file; png: lossless; jpg: quality "
                    f"{JPEG_QUALITY}, without the graph.",
                    FORMATS,
                    default=FORMATS[0],
                ),
                "labels": switch("Also copies label, depth map and map.txt."),
                "preview": switch(f"Shows the saved images in the editor, at most {_MAX_PREVIEWS}."),
                "record": text(
                    "For programs: a JSON object that is added to each image's record. The graph is then not stored in "
                    "the images."
                ),
            },
            "hidden": {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"},
        }

    @classmethod
    def VALIDATE_INPUTS(cls, root: Any = None, folder: Any = None, record: Any = None) -> Any:
        """Refuses invalid roots, paths and records when a graph is queued; linked inputs are None."""
        if (reason := roots.refusal(root, folder, write=True)) is not None:
            return reason
        try:
            _parse_record(record or "")
        except AcuSimError as error:
            return str(error)
        return True

    @classmethod
    def IS_CHANGED(cls, **inputs: Any) -> float:
        """NaN: always executes, so that a cached graph still restores deleted files."""
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
            AcuSimError: names what is wrong and what is allowed; files written before it stay.
        """
        if format not in FORMATS:
            raise ConfigError(f"format {format!r} is not one of {', '.join(FORMATS)}")
        pictures = tensors.to_numpy(images, "images", 4)
        fields = _parse_record(record)
        texts = {} if fields else _graph_texts(prompt, extra_pnginfo)
        place = roots.find_root(root, write=True)
        target = roots.inside(place, folder)
        saved = save_batch(pictures, samples, target, format, labels, fields, texts)
        for entry in saved:
            if not entry.finite:
                logging.warning("AcuSim Save Samples: %s holds NaN or infinity and was not written", entry.sample)
        return {
            "ui": {
                "images": _previews(saved, target) if preview else [],
                "acusim": [entry.report(PurePosixPath(folder)) for entry in saved],
            }
        }


def _parse_record(text: str) -> dict[str, Any]:
    """Reads the record widget."""
    if not text.strip():
        return {}
    if len(text.encode("utf-8", "replace")) > _MAX_RECORD_BYTES:
        raise ConfigError(f"record has {len(text)} characters; allowed are {_MAX_RECORD_BYTES} bytes")
    try:
        fields = json.loads(text, parse_constant=_no_constant)
        json.dumps(fields, ensure_ascii=False, allow_nan=False).encode()  # 1e999, or half of a surrogate pair
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"record is not a JSON object: {error}") from None
    if not isinstance(fields, dict):
        raise ConfigError(f"record is not a JSON object such as {{}}, but {shown(fields)}")
    return fields


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _graph_texts(prompt: Any, extra_pnginfo: Any) -> dict[str, str]:
    """The graph as text chunks that ComfyUI's editor can open; none if the server forbids it."""
    arguments = getattr(sys.modules.get("comfy.cli_args"), "args", None)
    if getattr(arguments, "disable_metadata", False):
        return {}
    texts = {} if prompt is None else {"prompt": json.dumps(prompt)}
    if isinstance(extra_pnginfo, dict):
        texts |= {key: json.dumps(value) for key, value in extra_pnginfo.items() if _is_keyword(key)}
    return texts


def _is_keyword(key: Any) -> bool:
    return isinstance(key, str) and 0 < len(key) < 80 and key.isascii() and key.isprintable() and key != KEY


def _previews(saved: list[Saved], target: Path) -> list[dict[str, str]]:
    """Entries for the editor: files in ComfyUI's output themselves, others as small copies in its temp folder."""
    folder_paths = importlib.import_module("folder_paths")
    output = os.path.realpath(folder_paths.get_output_directory())
    entries: list[dict[str, str]] = []
    for entry in [entry for entry in saved if entry.finite][:_MAX_PREVIEWS]:
        path = os.path.realpath(target / entry.image)
        if is_inside(output, path):
            subfolder, filename = os.path.split(os.path.relpath(path, output))
            kind = "output"
        else:
            subfolder, filename, kind = "", f"acusim_{entry.sha256[:24]}.jpg", "temp"
            _write_small(entry.pixels, Path(folder_paths.get_temp_directory()) / filename)
        entries.append({"filename": filename, "subfolder": subfolder.replace(os.sep, "/"), "type": kind})
    return entries


def _write_small(pixels: NDArray[np.uint8] | None, path: Path) -> None:
    if pixels is None or path.exists():
        return
    image = Image.fromarray(pixels, "RGB")
    image.thumbnail((_PREVIEW_SIDE, _PREVIEW_SIDE))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=85)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, out.getvalue())
