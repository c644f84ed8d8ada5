"""A fake ComfyUI server: replays recorded answers, and goes wrong as a test asks.

Its "execution" inverts each sample and writes it as AcuSim Save Samples would. Threads only, an ephemeral port, no
torch, no ComfyUI.
"""

import copy
import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

import acusim
from acusim.files import sha256
from acusim.pictures import decode_rgb, encode
from tests.engines.comfyui.wire import Handler, Server, Socket, recorded, recorded_classes

MODELS = {
    ("CheckpointLoaderSimple", "ckpt_name"): ["v1-5-pruned-emaonly.safetensors"],
    ("LoadAndApplyICLightUnet", "model_path"): ["iclight_sd15_fbc.safetensors", "iclight_sd15_fc.safetensors"],
    ("IPAdapterModelLoader", "ipadapter_file"): ["ip-adapter_sd15.safetensors"],
    ("CLIPVisionLoader", "clip_name"): ["CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors"],
}
"""What the server has: all that the recipe names by default."""
TENSORS = {
    "v1-5-pruned-emaonly.safetensors": {
        "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": [320, 768]
    },
    "iclight_sd15_fc.safetensors": {"conv_in.weight": [320, 8, 3, 3]},
    "iclight_sd15_fbc.safetensors": {"conv_in.weight": [320, 12, 3, 3]},
    "ip-adapter_sd15.safetensors": {
        "image_proj.proj.weight": [3072, 1024],
        "ip_adapter.1.to_k_ip.weight": [320, 768],
    },
    "CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors": {"visual_projection.weight": [1024, 1280]},
}


class NodeError(Exception):
    """What a node raises: ends the prompt with an execution_error."""

    def __init__(self, kind: str, message: str, node: str = "17", node_type: str = "SamplerCustomAdvanced"):
        super().__init__(message)
        self.kind, self.node, self.node_type = kind, node, node_type


class Interruption(Exception):
    """Ends the prompt as interrupted."""


class Prompt:
    """One prompt that was posted."""

    def __init__(self, number: int, body: dict[str, Any]):
        self.number = number
        self.id: str = body["prompt_id"]
        self.graph: dict[str, Any] = body["prompt"]
        self.client_id: str = body.get("client_id", "")
        self.extra: dict[str, Any] = {**body.get("extra_data", {}), "client_id": self.client_id}

    def entry(self) -> list[Any]:
        """As in /queue."""
        return [self.number, self.id, self.graph, self.extra, []]

    def inputs(self, kind: str) -> dict[str, Any]:
        """Of the node of a class."""
        return next(node["inputs"] for node in self.graph.values() if node["class_type"] == kind)

    def node(self, *kinds: str) -> str:
        """Id of the node of one of some classes."""
        return next(name for name, node in self.graph.items() if node["class_type"] in kinds)

    @property
    def samples(self) -> list[str]:
        """Picture paths below the data set."""
        return self.inputs("AcuSimLoadSamples")["samples"].splitlines()


class FakeServer:
    """The server. Attributes are what it knows and what it shall do; tests change them as they like."""

    def __init__(self, folder: Path, roots: dict[str, Path] | None = None):
        self.folder = folder
        self.roots = {"input": folder / "input", "output": folder / "output", **(roots or {})}
        for path in self.roots.values():
            path.mkdir(parents=True, exist_ok=True)
        self.info: dict[str, Any] = recorded_classes()
        for kind, writable in (("AcuSimLoadSamples", False), ("AcuSimLoadScene", False), ("AcuSimSaveSamples", True)):
            names = [name for name in self.roots if name != "input" or not writable]
            self.info[kind]["input"]["required"]["root"][0] = names
        for (kind, name), files in MODELS.items():
            self.info[kind]["input"]["required"][name][0] = list(files)
        self.tensors: dict[str, Any] = copy.deepcopy(TENSORS)
        self.version = acusim.__version__
        self.comfy_version = "0.3.64"
        self.run = recorded("run")
        self.steps = 2
        self.gate: threading.Event | None = None
        """If set, each prompt waits for it between its two halves."""
        self.works = True
        """False: the worker stands still."""
        self.hooks: dict[str, Callable[[Handler, bytes], bool]] = {}
        """Method and path -> who answers instead; False goes on as usual."""
        self.guard: Callable[[Handler], bool] = lambda handler: False
        """A login in front of it: True if it answered instead, to whatever came, the socket's handshake too."""
        self.before: Callable[[Prompt], None] = lambda prompt: None
        """Runs before each execution; may raise NodeError or Interruption."""
        self.picture: Callable[[np.ndarray], np.ndarray] = lambda pixels: 255 - pixels
        self.answer: Callable[[list[dict[str, Any]], Prompt], list[dict[str, Any]]] = lambda entries, prompt: entries
        """Changes what Save Samples says."""
        self.late_close = 0.0
        """How long after its end a socket takes its client id away."""
        self.posts: list[Prompt] = []
        """Accepted prompts, over all lives of the server."""
        self.executed: list[Prompt] = []
        self.refused = 0
        self.freed = 0
        self.interrupted: list[str] = []
        self.deleted: list[str] = []
        self.client_ids: list[str] = []
        self.most_queued = 0
        self.requests: list[str] = []
        self._lock = threading.RLock()
        self._number = 0
        self._address = ("127.0.0.1", 0)
        self._server: Server | None = None
        self.start()

    # Life and death

    def start(self) -> None:
        """A process with empty queue and history."""
        self.pending: list[Prompt] = []
        self.running: Prompt | None = None
        self.history: dict[str, Any] = {}
        self.sockets: dict[str, Socket] = {}
        self.all_sockets: list[Socket] = []
        self._connections: set[socket.socket] = set()
        self._alive = threading.Event()
        self._alive.set()
        self._server = server = Server(self._address, self)
        self._address = ("127.0.0.1", server.server_address[1])
        alive = self._alive
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        threading.Thread(target=self._work, args=(alive,), daemon=True).start()

    @property
    def url(self) -> str:
        """Its address, the same in every life."""
        return f"http://127.0.0.1:{self._address[1]}"

    def kill(self) -> None:
        """As kill -9: connections, queue and history are gone."""
        if self._server is None:
            return
        with self._lock:
            server, self._server = self._server, None
            self._alive.clear()
            self.pending, self.running, self.history = [], None, {}
        server.shutdown()
        server.server_close()
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    # The worker

    def _work(self, alive: threading.Event) -> None:
        while alive.is_set():
            with self._lock:
                prompt = self.pending.pop(0) if self.pending and self.works and alive.is_set() else None
                if prompt:
                    self.running = prompt
            if prompt is None:
                time.sleep(0.002)
                continue
            entry = self._execute(prompt, alive)
            with self._lock:
                if not alive.is_set():
                    return
                self.running = None
                self.history[prompt.id] = entry
            self.send(prompt.client_id, "executing", {"node": None, "prompt_id": prompt.id})

    def _execute(self, prompt: Prompt, alive: threading.Event) -> dict[str, Any]:
        """The history entry of a prompt; its messages are sent on the way, in the recorded order."""
        save = prompt.node("AcuSimSaveSamples")
        failed: NodeError | Interruption | None = None
        outputs: dict[str, Any] = {}
        try:
            self.before(prompt)
            self._play(prompt, "success", end="executed")
            if self.gate:
                while alive.is_set() and prompt.id not in self.interrupted and not self.gate.wait(0.005):
                    pass
            if prompt.id in self.interrupted:
                raise Interruption
            if not alive.is_set():
                return {}
            outputs = {save: {"images": [], "acusim": self.answer(self._save(prompt), prompt)}}
            self.executed.append(prompt)
        except OSError as error:
            failed = NodeError(type(error).__name__, str(error), save, "AcuSimSaveSamples")
        except (NodeError, Interruption) as error:
            failed = error
        name = "error" if failed else "success"
        entry = copy.deepcopy(self.run[name]["history"])
        entry["prompt"] = prompt.entry()
        entry["outputs"] = outputs
        if isinstance(failed, NodeError):
            details = entry["status"]["messages"][-1][1]
            details |= {"exception_type": failed.kind, "exception_message": f"{failed}\n", "node_id": failed.node}
            details["node_type"] = failed.node_type
        elif failed:
            entry["status"]["messages"][-1] = ["execution_interrupted", {"prompt_id": prompt.id, "executed": []}]
        self._play(prompt, name, begin="executed" if not failed else "executing", outputs=outputs.get(save))
        return entry

    def _play(self, prompt: Prompt, name: str, begin: str = "", end: str = "", outputs: Any = None) -> None:
        """Sends recorded messages with this prompt's ids in them."""
        started = not begin
        for message in self.run[name]["messages"]:
            kind = message["type"]
            started = started or kind == begin
            if not started or kind == "status" or (kind == "executing" and message["data"]["node"] is None):
                continue
            if kind == end:
                return
            text = json.dumps(message["data"]).replace(self.run[name]["prompt_id"], prompt.id)
            text = text.replace('"ks"', json.dumps(prompt.node("SamplerCustomAdvanced", "KSampler")))
            data = json.loads(text.replace('"save"', json.dumps(prompt.node("AcuSimSaveSamples"))))
            if kind == "executed":
                data["output"] = outputs
            self.send(prompt.client_id, kind, data)

    def _save(self, prompt: Prompt) -> list[dict[str, Any]]:
        load, save = prompt.inputs("AcuSimLoadSamples"), prompt.inputs("AcuSimSaveSamples")
        entries: list[dict[str, Any]] = []
        for image in prompt.samples:
            data = (self.roots[load["root"]] / load["folder"] / image).read_bytes()
            pixels = decode_rgb(data, image).pixels
            created = self.picture(pixels)
            file = f"{save['folder']}/{image.rsplit('.', 1)[0]}.png"
            content = encode(np.ascontiguousarray(created), ".png", {"staged": True})
            path = self.roots[save["root"]] / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            entries.append(
                {
                    "sample": Path(image).stem,
                    "file": file,
                    "sha256": sha256(content),
                    "bytes": len(content),
                    "width": created.shape[1],
                    "height": created.shape[0],
                    "source": image,
                    "source_sha256": sha256(data),
                    "finite": True,
                    "minimum": 0.0,
                    "maximum": 1.0,
                }
            )
        return entries

    def send(self, client_id: str, kind: str, data: dict[str, Any]) -> None:
        """A message to the socket of a client, if there is one."""
        if client_id in self.sockets:
            self.sockets[client_id].send(json.dumps({"type": kind, "data": data}).encode())

    # Orders

    def accept(self, body: dict[str, Any]) -> Prompt:
        """Queues a prompt."""
        assert "number" not in body
        with self._lock:
            prompt = Prompt(self._number, body)
            self._number += 1
            self.posts.append(prompt)
            self.pending.append(prompt)
            self.most_queued = max(self.most_queued, len(self.pending) + (self.running is not None))
        return prompt

    def listen(self, client_id: str, connection: Socket) -> None:
        """Registers a socket and reads it to its end."""
        self.client_ids.append(client_id)
        self.sockets[client_id] = connection
        self.all_sockets.append(connection)
        connection.send(json.dumps({"type": "status", "data": {"status": {}, "sid": client_id}}).encode())
        connection.send(b"\x00\x00\x00\x01preview", opcode=2)
        with suppress(OSError):
            while connection.connection.recv(4096):
                pass
        # As the real one: whoever is registered under the id by now goes, too.
        sockets = self.sockets
        threading.Timer(self.late_close, lambda: sockets.pop(client_id, None)).start()
