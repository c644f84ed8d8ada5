"""A workflow file in ComfyUI's API format: its nodes by title, and its faults."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acusim.errors import ConfigError
from acusim.files import sha256
from acusim.text_files import json_of
from engines.recipe import Wiring

FOLDER = Path(__file__).resolve().parents[2] / "workflows" / "api"
MAX_BYTES = 8 << 20

BOUND: dict[str, tuple[tuple[str, str], ...]] = {
    "checkpoint": (("checkpoint", "ckpt_name"),),
    "ic_light": (("ic-light", "model_path"),),
    "ic_light_multiplier": (("ic-light conditioning", "multiplier"),),
    "ip_adapter": (("ip-adapter model", "ipadapter_file"),),
    "clip_vision": (("clip vision", "clip_name"),),
    "ip_adapter_weight": (("ip-adapter", "weight"),),
    "sampler": (("sampler", "sampler_name"),),
    "scheduler": (("schedule", "scheduler"), ("sampler", "scheduler")),
    "steps": (("schedule", "steps"), ("sampler", "steps")),
    "denoise": (("schedule", "denoise"), ("sampler", "denoise")),
    "cfg": (("guidance", "cfg"), ("sampler", "cfg")),
    "light_transfer": (("light transfer", "amount"),),
    "background": (("background", "background"),),
}
"""Recipe setting -> the (title, input) it may be written to; the first that is in the graph is used."""
TITLES = {title for places in BOUND.values() for title, _ in places}
TITLES |= {"samples", "scene", "prompts", "positive", "negative", "noise", "save"}
"""Titles with a meaning to this program."""
CLASSES = {
    "samples": "AcuSimLoadSamples",
    "scene": "AcuSimLoadScene",
    "noise": "AcuSimNoise",
    "save": "AcuSimSaveSamples",
}
"""Title -> the class that its node must have, because all inputs are filled in."""


@dataclass(frozen=True, slots=True)
class Node:
    """One node of the graph."""

    id: str
    kind: str
    """Class type."""
    title: str
    inputs: Mapping[str, Any]
    """Values, or links ``[node id, output]``."""


class Workflow:
    """The nodes of a graph. ``faults`` lists what makes it unusable on any server."""

    def __init__(self, data: bytes, name: str):
        """Reads a workflow.

        Args:
            data: JSON.
            name: of the file, for messages.

        Raises:
            ConfigError: not JSON, a graph of the editor, or not a graph.
        """
        self.name = name
        self.data = data
        graph = _parsed(data, name)
        self.graph = graph
        """As read, in the file's order."""
        text = json.dumps(graph, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        self.sha256 = sha256(text.encode("utf-8", "surrogatepass"))
        """Of canonical JSON: indentation and order do not count."""
        self.nodes = {node_id: _node(node_id, entry, name) for node_id, entry in graph.items()}
        titled: dict[str, list[Node]] = {}
        for node in self.nodes.values():
            titled.setdefault(node.title.strip().casefold(), []).append(node)
        self.titled = {title: nodes[0] for title, nodes in titled.items() if title in TITLES}
        """Lower-case title -> node, for titles with a meaning."""
        repeated = [nodes for title, nodes in titled.items() if title in TITLES and len(nodes) > 1]
        self.faults = list(self._find_faults(repeated))

    def _find_faults(self, repeated: list[list[Node]]) -> Iterator[str]:
        for nodes in repeated:
            ids = ", ".join(node.id for node in nodes)
            yield f"{len(nodes)} nodes are titled {nodes[0].title!r} (ids {ids}); rename all but one of them"
        for title in ("samples", "save"):
            if title not in self.titled:
                yield f"no node is titled {title.title()!r}; give the {CLASSES[title]} node this title"
        if "noise" not in self.titled and not self.plain_sampler:
            yield "no node is titled 'Noise' (AcuSimNoise), nor is a KSampler titled 'Sampler': no node takes the seeds"
        for title, kind in CLASSES.items():
            node = self.titled.get(title)
            if node and node.kind != kind:
                yield f"the node titled {node.title!r} is a {node.kind}; it must be a {kind}"
        for node in self.nodes.values():
            for name, value in node.inputs.items():
                if is_link(value) and str(value[0]) not in self.nodes:
                    yield f"input {name!r} of {node.title!r} is linked to node {value[0]!r}, which is not in the file"

    @property
    def plain_sampler(self) -> Node | None:
        """The KSampler with one seed for the whole batch, in a graph without a Noise node."""
        node = self.titled.get("sampler")
        return node if node and "noise" not in self.titled and "seed" in node.inputs else None

    @property
    def wiring(self) -> Wiring | None:
        """fc or fbc by the graph's own links; None if it holds no IC-Light conditioning."""
        for node in self.nodes.values():
            if node.kind == "ICLightConditioning":
                return "fbc" if is_link(node.inputs.get("opt_background")) else "fc"
        return None

    @property
    def sampling(self) -> frozenset[str]:
        """Ids of the nodes that take sampler steps."""
        if self.plain_sampler:
            return frozenset({self.plain_sampler.id})
        noise = self.titled.get("noise")
        links = {node.id: [v[0] for v in node.inputs.values() if is_link(v)] for node in self.nodes.values()}
        return frozenset(node for node, sources in links.items() if noise and noise.id in map(str, sources))

    def place(self, setting: str) -> tuple[Node, str] | None:
        """The node and input that a recipe setting is written to; None if the graph decides it."""
        for title, name in BOUND[setting]:
            node = self.titled.get(title)
            if node and name in node.inputs:
                return node, name
        return None


def is_link(value: Any) -> bool:
    """Whether an input's value is a link to another node's output."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int) and isinstance(value[1], int)


def load_workflow(path: Path | None, wiring: Wiring) -> Workflow:
    """A user's workflow, or the shipped one of a wiring.

    Raises:
        ConfigError: it cannot be read or is not a workflow in the API format.
    """
    path = path or shipped_workflow(wiring)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"workflow {str(path)!r} has more than {MAX_BYTES >> 20} MB")
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"workflow {str(path)!r} cannot be read: {error.strerror}") from None
    return Workflow(data, path.name)


def shipped_workflow(wiring: Wiring) -> Path:
    """The file of a shipped workflow.

    Raises:
        ConfigError: this installation lacks it.
    """
    path = FOLDER / f"{wiring}.json"
    if not path.is_file():
        raise ConfigError(
            f"the shipped workflow {wiring!r} is not at {str(path)!r}: run from a checkout of the repository, "
            "or name a workflow in ComfyUI's API format with --workflow"
        )
    return path


def _parsed(data: bytes, name: str) -> dict[str, Any]:
    try:
        graph = json_of(data)
    except ValueError as error:
        raise ConfigError(f"workflow {name!r} is not JSON: {error}") from None
    if isinstance(graph, dict) and isinstance(graph.get("nodes"), list):
        raise ConfigError(
            f"workflow {name!r} is a graph of the editor; open it in ComfyUI and save it by "
            "Workflow > Export (API), then name that file"
        )
    if isinstance(graph, dict) and isinstance(graph.get("prompt"), dict):
        graph = graph["prompt"]
    if not isinstance(graph, dict) or not graph:
        raise ConfigError(f"workflow {name!r} has no nodes in ComfyUI's API format")
    return graph


def _node(node_id: str, entry: Any, name: str) -> Node:
    kind = entry.get("class_type") if isinstance(entry, dict) else None
    inputs = entry.get("inputs", {}) if isinstance(entry, dict) else None
    if not isinstance(kind, str) or not isinstance(inputs, dict):
        raise ConfigError(
            f"workflow {name!r}: node {node_id!r} has no class_type or inputs; save it by Workflow > Export (API)"
        )
    meta = entry.get("_meta")
    title = meta.get("title") if isinstance(meta, dict) else None
    return Node(node_id, kind, str(title or kind), inputs)
