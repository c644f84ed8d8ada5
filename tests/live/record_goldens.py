"""Records what a ComfyUI server makes of the cases in tests.live.golden_cases, for the tests of the embedded engine.

    python -m tests.live.record_goldens --server URL --models DIR --source NAME=DIR ... --out tests/data/embedded

DIR of --models is the server's models folder with the files of ``tools.random_weights``; each --source is a git
clone of ComfyUI or of a node pack that the server runs, whose commit is noted under NAME. The graphs have nodes of
ComfyUI, ComfyUI-IC-Light and ComfyUI_IPAdapter_plus only, none of this project's. ``--check`` writes nothing: it
empties the server's caches, runs the cases in the opposite order and compares every byte with what was recorded.

Written: ``goldens.json`` with all parameters of each case, ``goldens.npz`` with NAME.latents [B, 4, h, w] float32 (as
ComfyUI's SaveLatent has them: not scaled by 0.18215) and NAME.pictures [B, H, W, 3] uint8 (as SaveImage has them: it
cuts off, it does not round), and ``pictures/`` with the pictures to start from. ``--add`` keeps what was recorded, and
records what tests.live.golden_cases has beside it.
"""

import argparse
import dataclasses
import hashlib
import io
import json
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import requests
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import load as load_safetensors

from tests.live.golden_cases import CASES, PICTURES, Case, picture_png
from tools.random_weights import FILES

Graph = dict[str, dict[str, Any]]
Arrays = dict[str, NDArray[Any]]
Link = list[Any]
"""A node's key and which of its outputs."""
FOLDER = "acusim_goldens"
"""Below the server's input and output folders."""
LIMIT_S = 300.0
"""For one case."""


def _model(key: str) -> str:
    return Path(FILES[key][0]).name


class _Builder:
    """A graph in ComfyUI's API format, node by node."""

    def __init__(self) -> None:
        self.graph: Graph = {}

    def add(self, kind: str, **inputs: Any) -> Link:
        """Adds a node and returns its first output."""
        key = str(len(self.graph) + 1)
        self.graph[key] = {"class_type": kind, "inputs": inputs}
        return [key, 0]

    def batch(self, names: tuple[str, ...]) -> Link:
        """Uploaded pictures as one batch."""
        out, *rest = [self.add("LoadImage", image=f"{FOLDER}/{name}") for name in names]
        for one in rest:
            out = self.add("ImageBatch", image1=out, image2=one)
        return out


def _output(node: Link, index: int) -> Link:
    return [node[0], index]


def graph_of(case: Case) -> Graph:
    """The graph of a case; SaveLatent and SaveImage are its outputs."""
    build = _Builder()
    model = build.add("CheckpointLoaderSimple", ckpt_name=_model("checkpoint"))
    clip, vae = _output(model, 1), _output(model, 2)
    samples = build.batch(case.pictures)
    latent = build.add("VAEEncode", pixels=samples, vae=vae)
    if case.wiring != "vae":
        latent = _sampled(build, case, model, clip, vae, samples, latent)
    build.add("SaveLatent", samples=latent, filename_prefix=f"{FOLDER}/{case.name}")
    decoded = build.add("VAEDecode", samples=latent, vae=vae)
    build.add("SaveImage", images=decoded, filename_prefix=f"{FOLDER}/{case.name}")
    return build.graph


def _sampled(
    build: _Builder,
    case: Case,
    model: Link,
    clip: Link,
    vae: Link,
    samples: Link,
    latent: Link,
) -> Link:
    if case.wiring in ("fc", "fbc"):
        model = build.add("LoadAndApplyICLightUnet", model=model, model_path=_model(f"iclight_{case.wiring}"))
    if case.ip_adapter_weight is not None:
        model = _with_ip_adapter(build, case, model, samples)
    positive = build.add("CLIPTextEncode", clip=clip, text=case.positive)
    negative = build.add("CLIPTextEncode", clip=clip, text=case.negative)
    if case.hints:
        positive = build.add(
            "ControlNetApplyAdvanced",
            positive=positive,
            negative=negative,
            control_net=build.add("ControlNetLoader", control_net_name=_model("control_net")),
            image=build.batch(case.hints),
            strength=case.control_strength,
            start_percent=case.control_start,
            end_percent=case.control_end,
        )
        negative = _output(positive, 1)
    if case.wiring in ("fc", "fbc"):
        inputs = {"foreground": latent, "multiplier": case.ic_light_multiplier, "vae": vae}
        if case.wiring == "fbc":
            inputs["opt_background"] = build.add("VAEEncode", pixels=build.batch((case.background,)), vae=vae)
        positive = build.add("ICLightConditioning", positive=positive, negative=negative, **inputs)
        negative = _output(positive, 1)
    settings = {name: getattr(case, name) for name in ("seed", "steps", "cfg", "scheduler", "denoise")}
    return build.add(
        "KSampler",
        model=model,
        positive=positive,
        negative=negative,
        latent_image=latent,
        sampler_name=case.sampler,
        **settings,
    )


def _with_ip_adapter(build: _Builder, case: Case, model: Link, samples: Link) -> Link:
    assert case.ip_adapter_weight is not None
    inputs = {
        "ipadapter": build.add("IPAdapterModelLoader", ipadapter_file=_model("ip_adapter")),
        "clip_vision": build.add("CLIPVisionLoader", clip_name=_model("clip_vision")),
        "weight": case.ip_adapter_weight / len(case.references),
        "weight_type": "linear",
        "start_at": 0.0,
        "end_at": 1.0,
        "embeds_scaling": "V only",
    }
    for seen in case.references:
        if seen == "sample":
            model = build.add("IPAdapterBatch", model=model, image=samples, encode_batch_size=0, **inputs)
        else:
            scene = build.batch((case.scene,))
            model = build.add("IPAdapterAdvanced", model=model, image=scene, combine_embeds="concat", **inputs)
    return model


class Server:
    """A ComfyUI server that runs nothing else meanwhile."""

    def __init__(self, url: str):
        self.url = url.rstrip("/")

    def get(self, path: str, **query: Any) -> requests.Response:
        """An answer.

        Raises:
            requests.HTTPError: a status of 400 or more.
        """
        answer = requests.get(self.url + path, params=query, timeout=60)
        answer.raise_for_status()
        return answer

    def forget(self) -> None:
        """Unloads models and drops the outputs of nodes, so that what follows is computed, not remembered."""
        requests.post(f"{self.url}/free", json={"unload_models": True, "free_memory": True}, timeout=60)
        time.sleep(2.0)  # the worker sees it between prompts, once a second

    def upload(self, name: str) -> None:
        """Uploads one of the pictures, over the one of that name."""
        form = {"overwrite": "true", "subfolder": FOLDER, "type": "input"}
        files = {"image": (name, picture_png(name), "image/png")}
        answer = requests.post(f"{self.url}/upload/image", data=form, files=files, timeout=60).json()
        if answer["name"] != name:
            raise RuntimeError(f"{name} was stored as {answer['name']}")

    def run(self, case: Case) -> Arrays:
        """Runs a case: ``latents`` [B, 4, h, w] float32 and ``pictures`` [B, H, W, 3] uint8.

        Raises:
            RuntimeError: the server rejects the graph or fails in it, or takes too long.
        """
        key = str(uuid.uuid4())
        answer = requests.post(f"{self.url}/prompt", json={"prompt": graph_of(case), "prompt_id": key}, timeout=60)
        if not answer.ok or answer.json()["node_errors"]:
            raise RuntimeError(f"{case.name} was rejected: {answer.text[:2000]}")
        deadline = time.monotonic() + LIMIT_S
        while not (entry := self.get(f"/history/{key}").json().get(key)):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{case.name}: no answer in {LIMIT_S:.0f} s")
            time.sleep(0.05)
        if entry["status"]["status_str"] != "success":
            raise RuntimeError(f"{case.name} failed: {json.dumps(entry['status'])[:4000]}")
        found = {kind: files for output in entry["outputs"].values() for kind, files in output.items()}
        latents = load_safetensors(self.get("/view", **found["latents"][0]).content)["latent_tensor"]
        shown = [Image.open(io.BytesIO(self.get("/view", **file).content)) for file in found["images"]]
        pictures = np.stack([np.asarray(one.convert("RGB")) for one in shown])
        if latents.dtype != np.float32 or len(latents) != len(pictures) or not np.isfinite(latents).all():
            raise RuntimeError(f"{case.name}: latents {latents.dtype} {latents.shape}, pictures {pictures.shape}")
        return {f"{case.name}.latents": latents, f"{case.name}.pictures": pictures}


def _commit(source: str) -> tuple[str, str]:
    """Name and commit of NAME=DIR."""
    name, _, folder = source.partition("=")
    line = ["git", "-C", folder, "rev-parse", "HEAD"]
    return name, subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _joined(known: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The description of what was recorded, with cases that were added later, by a server that is named with them."""
    added = {"server": new["server"], "cases": [case["name"] for case in new["cases"]]}
    cases = {"cases": [*known["cases"], *new["cases"]], "added": [*known.get("added", []), added]}
    return {**known, **{name: new[name] for name in ("weights", "pictures")}, **cases}


def _description(
    server: Server, arrays: Arrays, models: Path, sources: list[str], recorded: Sequence[Case]
) -> dict[str, Any]:
    system = server.get("/system_stats").json()
    about = {name: system["system"][name] for name in ("comfyui_version", "pytorch_version", "python_version")}
    cases = []
    for case in recorded:
        shapes = {name: list(arrays[f"{case.name}.{name}"].shape) for name in ("latents", "pictures")}
        cases.append({**dataclasses.asdict(case), "shapes": shapes})
    return {
        "server": {**about, "device": system["devices"][0]["type"], "commits": dict(map(_commit, sources))},
        "weights": {file: _sha256(models / file) for file, _ in FILES.values()},
        "pictures": {name: {"size": list(size)} for name, size in PICTURES.items()},
        "ip_adapter": {"weight_type": "linear", "start_at": 0.0, "end_at": 1.0, "embeds_scaling": "V only"},
        "cases": cases,
    }


def _write(out: Path, arrays: Arrays, description: dict[str, Any]) -> None:
    (out / "pictures").mkdir(parents=True, exist_ok=True)
    for name in PICTURES:
        (out / "pictures" / name).write_bytes(picture_png(name))
    np.savez_compressed(out / "goldens.npz", **arrays)
    text = json.dumps(description, indent=1, ensure_ascii=False)
    (out / "goldens.json").write_text(text + "\n", encoding="utf-8")


def _differences(out: Path, arrays: Arrays) -> list[str]:
    with np.load(out / "goldens.npz") as recorded:
        return [name for name, array in arrays.items() if not np.array_equal(array, recorded[name])]


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--server", required=True, metavar="URL", help="a ComfyUI server on a CPU, with both packs")
    parser.add_argument("--models", required=True, type=Path, metavar="DIR", help="its models folder")
    parser.add_argument("--source", nargs="+", default=[], metavar="NAME=DIR", help="git clones that it runs")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="tests/data/embedded")
    parser.add_argument("--check", action="store_true", help="compare with what was recorded, in the opposite order")
    parser.add_argument("--add", action="store_true", help="record the cases alone that were not yet recorded")
    options = parser.parse_args(arguments)
    server = Server(options.server)
    for name in PICTURES:
        server.upload(name)
    server.forget()
    known = json.loads((options.out / "goldens.json").read_text(encoding="utf-8")) if options.add else {"cases": []}
    recorded = {case["name"] for case in known["cases"]}
    cases = [case for case in CASES if case.name not in recorded]
    arrays: Arrays = {}
    for case in reversed(cases) if options.check else cases:
        began = time.perf_counter()
        arrays |= server.run(case)
        print(f"{case.name}  {time.perf_counter() - began:.1f} s", flush=True)
    if options.check:
        different = _differences(options.out, arrays)
        print(f"{len(arrays)} arrays, {len(different)} differ: {different}")
        return int(bool(different))
    description = _description(server, arrays, options.models, options.source, cases)
    if options.add:
        description = _joined(known, description)
        with np.load(options.out / "goldens.npz") as before:
            arrays = {**before, **arrays}
    _write(options.out, arrays, description)
    return 0


if __name__ == "__main__":
    sys.exit(main())
