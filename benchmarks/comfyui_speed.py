"""The controller on a live ComfyUI server against a naive driver, in one run.

    python -m benchmarks.comfyui_speed [--server URL] [--sizes 128,256,512] [--samples 24] [--steps 4] [--scenes 1]

Peer: one picture a prompt, LoadImage -> the same models, settings and plain KSampler -> SaveImage, in the order of the
data set, each waited for before the next is sent. Both create the same samples with the same texts and scenes, as the
controller's plan draws them; one phrasing for each prompt set. With few samples, one scene lets batches fill as a large
data set does; more scenes show what grouping by scene saves. Ours is timed as a user would: the whole command, start of
Python, preflight and manifest included.

Idle is the share of time, from the server's first start to its last end, in which no prompt ran, by the time stamps in
its history. ComfyUI itself pauses between prompts (it collects garbage); how long, is measured by posting the same
prompts all at once. The rest is the controller's.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import requests
import websocket

from acusim import bald
from acusim.layout import scan
from acusim.prompt_sets import load_prompt_sets
from acusim.seeds import derive_seed
from engines.recipe import Recipe
from engines.scenes import SHIPPED, load_scenes, pick_scene

ROOT = Path(__file__).resolve().parents[1]
FULL_QUEUE = 6
PAUSE_SIDE = 128
"""The server's own pause does not depend on the size of pictures; it is measured where they are quick."""
SETS = (
    ("female", "F", "false", "woman", "cartoon"),
    ("male", "M", "false", "man", "cartoon"),
    ("bald_female", "F", "true", "bald woman", "hair"),
    ("bald_male", "M", "true", "bald man", "hair"),
)
PROMPTS = "".join(
    f'[[set]]\nname = "{name}"\ngender = "{gender}"\nbald = {hairless}\n'
    f'positive = "photograph of a {person}"\nnegative = "{negative}"\n'
    for name, gender, hairless, person, negative in SETS
)


class Naive:
    """One image a prompt, each waited for."""

    def __init__(self, server: str, recipe: Recipe):
        self.server, self.recipe = server, recipe
        self.session = requests.Session()

    def upload(self, path: Path, name: str) -> str:
        """Uploads an image to the server's input folder; returns its name there."""
        files = {"image": (name, path.read_bytes())}
        answer = self.session.post(f"{self.server}/upload/image", files=files, data={"overwrite": "true"}, timeout=60)
        return answer.json()["name"]

    def graph(self, image: str, scene: str, positive: str, negative: str, seed: int) -> dict[str, Any]:
        """The plain graph of wiring fc."""
        r = self.recipe
        nodes: dict[str, tuple[str, dict[str, Any]]] = {
            "ckpt": ("CheckpointLoaderSimple", {"ckpt_name": r.checkpoint}),
            "light": ("LoadAndApplyICLightUnet", {"model": ["ckpt", 0], "model_path": r.ic_light}),
            "adapter": ("IPAdapterModelLoader", {"ipadapter_file": r.ip_adapter}),
            "vision": ("CLIPVisionLoader", {"clip_name": r.clip_vision}),
            "scene": ("LoadImage", {"image": scene}),
            "image": ("LoadImage", {"image": image}),
            "positive": ("CLIPTextEncode", {"clip": ["ckpt", 1], "text": positive}),
            "negative": ("CLIPTextEncode", {"clip": ["ckpt", 1], "text": negative}),
            "latent": ("VAEEncode", {"pixels": ["image", 0], "vae": ["ckpt", 2]}),
            "decoded": ("VAEDecode", {"samples": ["sampled", 0], "vae": ["ckpt", 2]}),
            "save": ("SaveImage", {"images": ["decoded", 0], "filename_prefix": "naive/picture"}),
        }
        nodes["styled"] = (
            "IPAdapterAdvanced",
            {
                **{"model": ["light", 0], "ipadapter": ["adapter", 0], "image": ["scene", 0]},
                **{"clip_vision": ["vision", 0], "weight": r.ip_adapter_weight, "weight_type": "linear"},
                **{"combine_embeds": "concat", "start_at": 0.0, "end_at": 1.0, "embeds_scaling": "V only"},
            },
        )
        nodes["lit"] = (
            "ICLightConditioning",
            {
                **{"positive": ["positive", 0], "negative": ["negative", 0], "vae": ["ckpt", 2]},
                **{"foreground": ["latent", 0], "multiplier": r.ic_light_multiplier},
            },
        )
        nodes["sampled"] = (
            "KSampler",
            {
                **{"model": ["styled", 0], "positive": ["lit", 0], "negative": ["lit", 1]},
                **{"latent_image": ["latent", 0], "seed": seed, "steps": r.steps, "cfg": r.cfg},
                **{"sampler_name": r.sampler, "scheduler": r.scheduler, "denoise": r.denoise},
            },
        )
        return {key: {"class_type": kind, "inputs": inputs} for key, (kind, inputs) in nodes.items()}

    def run(self, graph: dict[str, Any]) -> None:
        """Queues a graph and waits for it."""
        prompt_id = str(uuid.uuid4())
        answer = self.session.post(f"{self.server}/prompt", json={"prompt": graph, "prompt_id": prompt_id}, timeout=60)
        answer.raise_for_status()
        while True:
            entry = self.session.get(f"{self.server}/history/{prompt_id}", timeout=60).json().get(prompt_id)
            if entry:
                assert entry["status"]["status_str"] == "success", entry["status"]
                return
            time.sleep(0.01)


def history(server: str) -> dict[str, Any]:
    """Prompt id -> entry of the server's history."""
    return requests.get(f"{server}/history", timeout=60).json()


def spans(server: str, known: set[str]) -> list[tuple[float, float]]:
    """(start, end) in seconds of the prompts that were not known before, in their order."""
    found: list[tuple[float, float]] = []
    for prompt_id, entry in history(server).items():
        if prompt_id not in known:
            times = {kind: data["timestamp"] / 1000 for kind, data in entry["status"]["messages"]}
            found.append((times["execution_start"], times["execution_success"]))
    return sorted(found)


def busy(ran: list[tuple[float, float]]) -> float:
    """Seconds in which a prompt ran."""
    return sum(end - start for start, end in ran)


@dataclass(frozen=True)
class Workload:
    """What both drivers create."""

    heads: Path
    prompts: Path
    scenes: Path
    graphs: list[dict[str, Any]]
    """Of the naive driver, one for each sample."""


@dataclass(frozen=True)
class Timing:
    """One driver's run, in seconds."""

    wall: float
    ran: list[tuple[float, float]]
    """Start and end of each prompt."""
    cpu: float = 0.0


def create_workload(options: argparse.Namespace, size: int, folder: Path, naive: Naive) -> Workload:
    """Draws synthetic heads; texts and scenes as the controller's plan draws them."""
    heads, scene_folder, prompts = folder / f"heads{size}", folder / "scenes", folder / "prompts.toml"
    line = [sys.executable, "-m", "synthetic", "--out", str(heads), "--identities", "4", "--size", str(size), "--quiet"]
    views = ",".join(str(frame) for frame in range(1, 1 + -(-options.samples // 4)))
    subprocess.run([*line, "--views", views], cwd=ROOT, check=True)
    scene_folder.mkdir(exist_ok=True)
    for path in sorted(SHIPPED.glob("*.jpg"))[: options.scenes]:
        (scene_folder / path.name).write_bytes(path.read_bytes())
    scenes, _ = load_scenes(scene_folder)
    prompts.write_text(PROMPTS)

    sets, samples = load_prompt_sets(prompts), scan(heads).samples
    bald_codes = {entry.code for entry in bald.gather_evidence(heads, samples) if entry.bald}
    scene_names = {scene: naive.upload(scene.path, f"bench_{scene.name}") for scene in scenes}
    images = [naive.upload(heads / s.image, f"bench_{size}_{number}.png") for number, s in enumerate(samples)]
    naive.run(naive.graph(images[0], scene_names[scenes[0]], "warm", "up", 99))  # loads the models
    graphs: list[dict[str, Any]] = []
    for sample, image in zip(samples, images, strict=True):
        chosen = sets.choose(sample.id, sample.id.hair in bald_codes)
        seed = derive_seed(0, sample.id, variant=0, attempt=0)
        scene = scene_names[pick_scene(scenes, seed)]
        graphs.append(naive.graph(image, scene, *sets.texts(chosen, sample.id, seed), seed))
    return Workload(heads, prompts, scene_folder, graphs)


def time_naive(naive: Naive, graphs: list[dict[str, Any]]) -> Timing:
    """Runs one graph after another."""
    known, started = set(history(naive.server)), time.perf_counter()
    for graph in graphs:
        naive.run(graph)
    return Timing(time.perf_counter() - started, spans(naive.server, known))


def time_controller(options: argparse.Namespace, work: Workload, folder: Path, known: set[str]) -> Timing:
    """Runs the whole command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, str(ROOT / "controller/controller.py"), "--batch", "--json", "--server", options.server]
    command += ["--dataset", str(work.heads), "--output", str(folder / f"out_{work.heads.name}")]
    command += ["--prompts", str(work.prompts), "--scenes", str(work.scenes)]
    command += ["--recipe", str(folder / "recipe.toml"), "--batch-size", str(options.batch_size)]
    command += ["--transport", options.transport]
    started = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["created"] == len(work.graphs), report
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Timing(wall, spans(options.server, known), cpu)


def measure(options: argparse.Namespace, size: int, folder: Path, recipe: Recipe) -> None:
    """Prints the figures of one size."""
    naive = Naive(options.server, recipe)
    work = create_workload(options, size, folder, naive)
    count = len(work.graphs)
    peer = time_naive(naive, work.graphs)
    known = set(history(options.server))
    ours = time_controller(options, work, folder, known)
    largest, pictures = largest_prompt(options.server, known)
    own_pause = pause_with_a_full_queue(options.server, largest, pictures) if size <= PAUSE_SIDE else None

    span = ours.ran[-1][1] - ours.ran[0][0]
    pause = (span - busy(ours.ran)) / max(len(ours.ran) - 1, 1)
    print(
        f"\n{size} x {size}, {count} samples, {recipe.steps} steps, {options.scenes} scenes, "
        f"batches of up to {options.batch_size}"
    )
    for name, run in (("naive driver", peer), ("controller", ours)):
        print(
            f"  {name:14} {count / run.wall:6.2f} images/s, {1000 * run.wall / count:6.0f} ms an image,"
            f" server busy {1000 * busy(run.ran) / count:.0f}; {len(run.ran)} prompts"
        )
    server_ratio = busy(peer.ran) / busy(ours.ran)
    print(f"  ratio          {peer.wall / ours.wall:6.2f} x for the whole command, {server_ratio:.2f} x server time")
    own = f", {1000 * own_pause:.0f} with all of them posted at once" if own_pause is not None else ""
    idle = 1 - busy(ours.ran) / span
    print(f"  server idle    {100 * idle:6.2f} % of the time; {1000 * pause:.0f} ms between prompts{own}")
    if own_pause is not None:
        overhead = max(0.0, pause - own_pause) * len(ours.ran) / count
        print(f"  overhead       {1000 * overhead:6.1f} ms an image while it ran")
    print(
        f"  start and end  {1000 * (ours.wall - span):6.0f} ms in all: Python, preflight, plan; manifest, contact sheet"
    )
    print(f"  controller CPU {1000 * ours.cpu / count:6.1f} ms an image, start of Python and imports included")
    print_node_times(options.server, work.graphs[0], 1, "naive prompt")
    print_node_times(options.server, largest, pictures, f"our prompt of {pictures}")


def largest_prompt(server: str, known: set[str]) -> tuple[dict[str, Any], int]:
    """The graph of the controller's largest batch, and how many images it creates."""
    found: list[tuple[int, dict[str, Any]]] = []
    for prompt_id, entry in history(server).items():
        graph = entry["prompt"][2]
        for node in graph.values() if prompt_id not in known else ():
            if node["class_type"] == "AcuSimLoadSamples":
                found.append((len(node["inputs"]["samples"].split()), graph))
    pictures, graph = max(found, key=lambda entry: entry[0])
    for node in graph.values():
        if node["class_type"] == "AcuSimLoadScene":  # the controller removed its own copy
            node["inputs"] |= {"root": "shipped scenes", "file": "window_room.jpg"}
    return graph, pictures


def pause_with_a_full_queue(server: str, graph: dict[str, Any], pictures: int) -> float:
    """Seconds between prompts where the next one is always queued."""
    known = set(history(server))
    for number in range(FULL_QUEUE):
        body = {"prompt": reseeded(graph, 100 * number, pictures)}
        requests.post(f"{server}/prompt", json=body, timeout=60).raise_for_status()
    while len(ran := spans(server, known)) < FULL_QUEUE:
        time.sleep(0.5)
    return sum(after[0] - before[1] for before, after in pairwise(ran)) / (FULL_QUEUE - 1)


def seconds_by_node(server: str, graph: dict[str, Any]) -> dict[str, float]:
    """Class of node -> seconds, by the server's messages while it runs a graph."""
    client = uuid.uuid4().hex
    socket = websocket.create_connection(f"{server.replace('http', 'ws', 1)}/ws?clientId={client}", timeout=600)
    spent: dict[str, float] = defaultdict(float)
    try:
        answer = requests.post(f"{server}/prompt", json={"prompt": graph, "client_id": client}, timeout=60).json()
        node, since = None, time.perf_counter()
        while True:
            message = socket.recv()
            if not isinstance(message, str):
                continue
            event = json.loads(message)
            if event["type"] != "executing" or event["data"].get("prompt_id") != answer["prompt_id"]:
                continue
            now = time.perf_counter()
            if node is not None:
                spent[graph[node]["class_type"]] += now - since
            node, since = event["data"]["node"], now
            if node is None:
                return dict(spent)
    finally:
        socket.close()


def reseeded(graph: dict[str, Any], seed: int, pictures: int) -> dict[str, Any]:
    """The same graph with other noise, so that the server samples again."""
    again = json.loads(json.dumps(graph))
    for node in again.values():
        if node["class_type"] == "AcuSimNoise":
            node["inputs"]["seeds"] = ",".join(str(seed + number) for number in range(pictures))
        if node["class_type"] == "KSampler":
            node["inputs"]["seed"] = seed
    return again


def print_node_times(server: str, graph: dict[str, Any], pictures: int, name: str) -> None:
    """Prints milliseconds a picture by class of node, once models and scene are in the server's cache."""
    seconds_by_node(server, reseeded(graph, 1000, pictures))
    spent = seconds_by_node(server, reseeded(graph, 2000, pictures))
    kinds = sorted(spent.items(), key=lambda entry: -entry[1])
    times = ", ".join(f"{kind} {seconds / pictures * 1000:.0f}" for kind, seconds in kinds if seconds > 0.002)
    print(f"  {name}: {times} ms an image")


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="http://127.0.0.1:8188")
    parser.add_argument("--sizes", default="128,256,512")
    parser.add_argument("--samples", type=int, default=24)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--scenes", type=int, default=1, help="how many of the shipped scenes (1..8)")
    parser.add_argument("--transport", default="auto")
    parser.add_argument("--recipe", type=Path, default=ROOT / "tools/random_weights.toml", help="model files")
    parser.add_argument("--folder", type=Path, help="where to work: below a root of the server for shared folders")
    options = parser.parse_args()
    recipe = Recipe.from_dict({"steps": options.steps}, Recipe.from_toml(options.recipe))
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        (Path(folder) / "recipe.toml").write_text(recipe.to_toml())
        for size in options.sizes.split(","):
            measure(options, int(size), Path(folder), recipe)


if __name__ == "__main__":
    main()
