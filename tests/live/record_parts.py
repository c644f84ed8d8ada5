"""Records what parts of ComfyUI make of texts and pictures, for the tests of the embedded engine.

    PYTHON -m tests.live.record_parts --comfyui DIR --ip-adapter DIR --models DIR --out tests/data/embedded

PYTHON is the one that ComfyUI runs with; this needs nothing else of this project's requirements than ComfyUI has.
The code of ComfyUI (--comfyui) and of ComfyUI_IPAdapter_plus (--ip-adapter) is called where it lies; models are those
of ``tools.random_weights``, in a models folder. All on the CPU.

Written:

- ``tokens.json``: ``rows``, for each text the tokens and weights of each chunk of 77, or the error it ends with;
- ``text.npz``: NAME.positive and NAME.negative [77 n, 8] float32, each 96th channel of the conditioning;
- ``clip_vision.npz``: of each picture NAME.pixels [3, 32, 32] float32 (each 7th pixel of what the encoder sees),
  NAME.image_embeds [1, 768], NAME.tokens [1, 4, 768] (the IP-Adapter's), and no_picture.tokens [1, 4, 768];
- ``parts.json``: precisions, the IP-Adapter's layers, and versions.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tests.live.golden_cases import picture
from tests.live.golden_texts import NEGATIVE, POSITIVE, TEXTS, TRICKY
from tools.random_weights import FILES

SEEN = ("head_a.png", "scene.png", "scene_upright.png")
CHANNEL_STRIDE, PIXEL_STRIDE = 96, 7


def tokens(tokenizer: Any) -> list[dict[str, Any]]:
    """What the tokenizer makes of each text."""
    texts = {text: None for pair in TEXTS.values() for text in pair} | dict.fromkeys(TRICKY)
    out: list[dict[str, Any]] = []
    for text in texts:
        try:
            chunks = tokenizer.tokenize_with_weights(text)["l"]
        except Exception as error:  # whatever ComfyUI fails with is what is recorded
            out.append({"text": text, "error": type(error).__name__})
            continue
        pairs = [{"ids": [int(i) for i, _ in chunk], "weights": [weight for _, weight in chunk]} for chunk in chunks]
        out.append({"text": text, "chunks": pairs})
    return out


def text_conditioning(clip: Any) -> dict[str, np.ndarray]:
    """Conditioning of the texts of the cases, thinned out."""
    out: dict[str, np.ndarray] = {}
    for name, (positive, negative) in {"default": (POSITIVE, NEGATIVE), **TEXTS}.items():
        for side, text in (("positive", positive), ("negative", negative)):
            if name == "default" or text not in (POSITIVE, NEGATIVE):
                states = clip.encode_from_tokens(clip.tokenize(text))
                out[f"{name}.{side}"] = states[0, :, ::CHANNEL_STRIDE].float().numpy()
    return out


def vision(clip_vision: ModuleType, encoder: Any, pack: ModuleType, model: Any, ip_file: Path) -> dict[str, np.ndarray]:
    """What the image encoder sees and says, and the IP-Adapter's tokens."""
    import torch  # ComfyUI's own; imported late, after ComfyUI has configured it

    nodes = pack.NODE_CLASS_MAPPINGS
    (adapter,) = nodes["IPAdapterModelLoader"]().load_ipadapter_model(ip_file.name)
    out: dict[str, np.ndarray] = {}
    for name in SEEN:
        pixels = torch.from_numpy(picture(name).astype(np.float32) / 255.0)[None]
        seen = clip_vision.clip_preprocess(pixels)[0, :, ::PIXEL_STRIDE, ::PIXEL_STRIDE]
        patched = nodes["IPAdapterAdvanced"]().apply_ipadapter(model, adapter, image=pixels, clip_vision=encoder)[0]
        layers = patched.model_options["transformer_options"]["patches_replace"]["attn2"]
        settings = layers["input", 1].kwargs[0]
        stem = Path(name).stem
        out[f"{stem}.pixels"] = seen.numpy()
        out[f"{stem}.image_embeds"] = encoder.encode_image(pixels)["image_embeds"].float().numpy()
        out[f"{stem}.tokens"] = settings["cond"].numpy()
        out["no_picture.tokens"] = settings["uncond"].numpy()
    return out


def layers_of(pack: ModuleType, model: Any, encoder: Any, ip_file: Path) -> dict[str, str]:
    """Where the pack hangs which pair of the IP-Adapter's layers; only places that exist count for ComfyUI."""
    import torch

    nodes = pack.NODE_CLASS_MAPPINGS
    (adapter,) = nodes["IPAdapterModelLoader"]().load_ipadapter_model(ip_file.name)
    image = torch.zeros(1, 64, 64, 3)
    patched = nodes["IPAdapterAdvanced"]().apply_ipadapter(model, adapter, image=image, clip_vision=encoder)[0]
    places = patched.model_options["transformer_options"]["patches_replace"]["attn2"]
    return {"{} {}".format(*place): patch.kwargs[0]["module_key"] for place, patch in places.items()}


def _pack(folder: Path) -> ModuleType:
    """A node pack, imported as ComfyUI does."""
    where = [str(folder)]
    spec = importlib.util.spec_from_file_location("pack", folder / "__init__.py", submodule_search_locations=where)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["pack"] = module
    spec.loader.exec_module(module)
    return module


def _commit(folder: Path) -> str:
    line = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip()


def _write_json(path: Path, content: dict[str, Any], rows: list[dict[str, Any]] | None = None) -> None:
    """Compact JSON; ``rows``, where given, as a list of that name with a line for each entry."""
    text = json.dumps(content, allow_nan=False)
    if rows is not None:
        lines = [json.dumps(row, separators=(",", ":"), allow_nan=False) for row in rows]
        text = text[:-1] + ', "rows": [\n' + ",\n".join(lines) + "\n]}"
    path.write_text(text + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--comfyui", required=True, type=Path, metavar="DIR", help="git clone of ComfyUI")
    parser.add_argument(
        "--ip-adapter", required=True, type=Path, metavar="DIR", help="git clone of the IP-Adapter pack"
    )
    parser.add_argument("--models", required=True, type=Path, metavar="DIR", help="models folder with random weights")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="tests/data/embedded")
    options = parser.parse_args(arguments)
    source = {
        "commits": {"ComfyUI": _commit(options.comfyui), "ComfyUI_IPAdapter_plus": _commit(options.ip_adapter)},
        "versions": {name: importlib.metadata.version(name) for name in ("torch", "transformers", "tokenizers")},
    }
    files = {key: options.models / file for key, (file, _) in FILES.items()}

    # ComfyUI has a package named tests, too; ours is imported by now, so its modules are found and ours stay.
    sys.path[:0] = [str(options.comfyui), str(options.comfyui / "comfy")]
    from comfy.cli_args import args  # type: ignore[import-not-found]

    args.cpu = True
    import comfy.clip_vision  # type: ignore[import-not-found]
    import comfy.sd  # type: ignore[import-not-found]
    import folder_paths  # type: ignore[import-not-found]
    import torch

    pack = _pack(options.ip_adapter)
    folder_paths.add_model_folder_path("ipadapter", str(files["ip_adapter"].parent))
    with torch.inference_mode(), tempfile.TemporaryDirectory() as nothing:
        model, clip, vae, _ = comfy.sd.load_checkpoint_guess_config(
            str(files["checkpoint"]), embedding_directory=[nothing]
        )
        encoder = comfy.clip_vision.load(str(files["clip_vision"]))
        _write_json(options.out / "tokens.json", source, tokens(clip.tokenizer))
        np.savez_compressed(options.out / "text.npz", **text_conditioning(clip))
        seen = vision(comfy.clip_vision, encoder, pack, model, files["ip_adapter"])
        np.savez_compressed(options.out / "clip_vision.npz", **seen)
        parts = {
            **source,
            "precision": {
                "unet": str(model.model_dtype()),
                "text_encoder": str(clip.cond_stage_model.dtypes),
                "clip_vision": str(encoder.dtype),
                "vae": str(vae.vae_dtype),
            },
            "ip_adapter_layers": layers_of(pack, model, encoder, files["ip_adapter"]),
        }
        _write_json(options.out / "parts.json", parts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
