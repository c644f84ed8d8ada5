"""Routes for facts that the controller needs and a graph cannot report: roots, hashes of files, and kinds of models.

Read-only GET requests; the response is JSON, or {"error": text} with a 4xx status.
"""

import asyncio
import importlib
import logging
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import acusim
from acusim.errors import AcuSimError, LayoutError, shown
from acusim.files import sha256
from acusim.tensor_files import read_header

from . import roots

MAX_FILE_BYTES = 64 << 20
_KINDS = ("checkpoints", "diffusion_models", "unet", "ipadapter", "clip_vision", "controlnet")
_KEY_TENSORS = (
    "model.diffusion_model.input_blocks.0.0.weight",
    "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",
    "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight",
    "first_stage_model.decoder.conv_in.weight",
    "conv_in.weight",
    "input_blocks.0.0.weight",
    "diffusion_model.input_blocks.0.0.weight",
    "image_proj.proj.weight",
    "image_proj.norm.weight",
    "image_proj.latents",
    "ip_adapter.1.to_k_ip.weight",
    "vision_model.embeddings.patch_embedding.weight",
    "vision_model.encoder.layers.22.layer_norm1.weight",
    "vision_model.encoder.layers.30.layer_norm1.weight",
    "vision_model.encoder.layers.47.layer_norm1.weight",
    "visual_projection.weight",
    *(
        f"{prefix}{name}"
        for prefix in ("", "control_model.")
        for name in ("input_hint_block.0.weight", "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight")
    ),
    "controlnet_cond_embedding.conv_in.weight",
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight",
)
"""Tensors whose presence and shape distinguish SD1.5, fc and fbc, the encoder that an IP-Adapter needs, ControlNets."""


class _NotFound(LayoutError):
    """There is no such file."""


def register() -> None:
    """Adds the routes to the running server; does nothing outside ComfyUI."""
    server = getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)
    if server is None:
        return
    for problem in roots.all_roots()[1]:
        logging.warning("AcuSim nodes: %s", problem)
    if any(getattr(route, "path", "") == "/acusim/info" for route in server.routes):
        logging.warning("AcuSim nodes are installed twice in custom_nodes; remove one of them")
        return
    server.routes.get("/acusim/info")(_handler(info, ()))
    server.routes.get("/acusim/file")(_handler(file_facts, ("root", "path")))
    server.routes.get("/acusim/model")(_handler(model_facts, ("folder", "name")))


def info() -> dict[str, Any]:
    """Version and roots."""
    return {"version": acusim.__version__, "roots": {root.name: _state(root) for root in roots.all_roots()[0].values()}}


def file_facts(root: str, path: str) -> dict[str, Any]:
    """Size and hash of a file below a root.

    Raises:
        LayoutError: the path is not allowed, or the file is missing or too large.
    """
    place = roots.inside(roots.find_root(root), path)
    try:
        if not place.is_file():
            raise _NotFound(f"file {path!r} is not in root {root!r}")
        size = place.stat().st_size
        if size > MAX_FILE_BYTES:
            raise LayoutError(f"file {path!r} has {size} bytes; allowed are {MAX_FILE_BYTES}")
        data = place.read_bytes()
    except OSError as error:
        raise LayoutError(f"file {path!r} cannot be read: {error.strerror or error}") from None
    return {"size": len(data), "sha256": sha256(data)}


def model_facts(folder: str, name: str) -> dict[str, Any]:
    """Shapes of the key tensors in a model file that ComfyUI lists.

    Raises:
        LayoutError: no such folder or model, or it is not a safetensors file.
    """
    if folder not in _KINDS:
        raise LayoutError(f"folder {shown(folder)} is not one of {', '.join(_KINDS)}")
    folder_paths = importlib.import_module("folder_paths")
    try:
        listed = folder_paths.get_filename_list(folder)
    except KeyError:
        listed = []
    if name not in listed:
        raise _NotFound(f"model {shown(name)} is not in folder {folder!r}; it holds {shown(listed)}")
    path = folder_paths.get_full_path(folder, name)
    if path is None or not os.path.isfile(path):
        raise _NotFound(f"model {shown(name)} was removed from folder {folder!r}")
    return {"tensors": _safetensors_shapes(Path(path))}


def _safetensors_shapes(path: Path) -> dict[str, list[int]]:
    """The shapes of the key tensors, from the file's header; no tensor is loaded."""
    if path.suffix.lower() not in (".safetensors", ".sft"):
        raise LayoutError(f"model {path.name!r} is not a safetensors file; other kinds can run code and are not opened")
    tensors = read_header(path)
    return {key: list(tensors[key].shape) for key in _KEY_TENSORS if key in tensors}


def _state(root: roots.Root) -> dict[str, Any]:
    place = root.path
    while not place.exists() and place != place.parent:
        place = place.parent
    return {
        "path": str(root.path),
        "exists": root.path.is_dir(),
        "writable": root.writable and os.access(place, os.W_OK | os.X_OK),
        "free_bytes": shutil.disk_usage(place).free,
    }


def _handler(answer: Callable[..., dict[str, Any]], parameters: tuple[str, ...]) -> Callable[[Any], Any]:
    """An aiohttp handler that responds outside the event loop."""

    async def handle(request: Any) -> Any:
        web = importlib.import_module("aiohttp.web")
        missing = [name for name in parameters if name not in request.query]
        if missing:
            return web.json_response({"error": f"parameter {missing[0]} is missing"}, status=400)
        values = {name: request.query[name] for name in parameters}
        try:
            return web.json_response(await asyncio.to_thread(answer, **values))
        except _NotFound as error:
            return web.json_response({"error": str(error)}, status=404)
        except AcuSimError as error:
            return web.json_response({"error": str(error)}, status=400)

    return handle
