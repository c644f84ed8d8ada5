"""A workflow file in ComfyUI's API format: its nodes by title, and its faults."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acusim.errors import ConfigError
from acusim.files import read_regular, sha256
from acusim.text_files import json_of
from engines.comfyui.bypass import is_link, unused_titles, without
from engines.recipe import Recipe, Wiring

FOLDER = Path(__file__).resolve().parents[2] / "workflows" / "api"
MAX_BYTES = 8 << 20

BOUND: dict[str, tuple[tuple[str, str], ...]] = {
    "checkpoint": (("checkpoint", "ckpt_name"),),
    "ic_light": (("ic-light", "model_path"),),
    "ic_light_multiplier": (("ic-light conditioning", "multiplier"),),
    "ip_adapter": (("ip-adapter model", "ipadapter_file"),),
    "clip_vision": (("clip vision", "clip_name"),),
    "ip_adapter_weight": (("ip-adapter", "weight"), ("ip-adapter scene", "weight"), ("ip-adapter sample", "weight")),
    "control_net": (("controlnet model", "control_net_name"),),
    "control_strength": (("controlnet", "strength"),),
    "control_start": (("controlnet", "start_percent"),),
    "control_end": (("controlnet", "end_percent"),),
    "sampler": (("sampler", "sampler_name"),),
    "scheduler": (("schedule", "scheduler"), ("sampler", "scheduler")),
    "steps": (("schedule", "steps"), ("sampler", "steps")),
    "denoise": (("schedule", "denoise"), ("sampler", "denoise")),
    "cfg": (("guidance", "cfg"), ("sampler", "cfg")),
    "light_transfer": (("light transfer", "amount"),),
    "background": (("background", "background"),),
}
"""Recipe setting -> the (title, input) it may be written to; the first that is in the graph is used, of SHARED all."""
SHARED = ("ip_adapter_weight",)
"""Settings of which each of several nodes gets an equal share."""
CONTROL = ("control_net", "control_strength", "control_start", "control_end")
"""Settings of the ControlNet."""
TITLES = {title for places in BOUND.values() for title, _ in places}
TITLES |= {"samples", "scene", "prompts", "positive", "negative", "noise", "save", "depth"}
"""Titles with a meaning to this program."""
CLASSES = {
    "samples": "AcuSimLoadSamples",
    "scene": "AcuSimLoadScene",
    "noise": "AcuSimNoise",
    "depth": "AcuSimDepth",
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

    def __init__(self, data: bytes, name: str, graph: dict[str, Any] | None = None):
        """Reads a workflow.

        Args:
            data: JSON.
            name: of the file, for messages.
            graph: takes the place of the one that is read.

        Raises:
            ConfigError: not JSON, a graph of the editor, or not a graph.
        """
        self.name = name
        self.data = data
        graph = _parsed(data, name) if graph is None else graph
        self.graph = graph
        """In the file's order."""
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

    def places(self, setting: str) -> list[tuple[Node, str]]:
        """The nodes and inputs that a recipe setting is written to; none if the graph decides it."""
        titled = ((self.titled.get(title), name) for title, name in BOUND[setting])
        found = [(node, name) for node, name in titled if node and name in node.inputs]
        return found if setting in SHARED else found[:1]

    def place(self, setting: str) -> tuple[Node, str] | None:
        """The first of these; None if there is none."""
        return next(iter(self.places(setting)), None)

    def adapted(self, recipe: Recipe) -> "Workflow":
        """The same without what a recipe does not use; the file's bytes stay those that were read."""
        unused = unused_titles(recipe, self.wiring)
        ids = [(node.id, title) for title, node in self.titled.items() if title in unused]
        return Workflow(self.data, self.name, without(self.graph, ids)) if ids else self


def load_workflow(path: Path | None, wiring: Wiring) -> Workflow:
    """A user's workflow, or the shipped one of a wiring.

    Raises:
        ConfigError: it cannot be read or is not a workflow in the API format.
    """
    path = path or shipped_workflow(wiring)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"workflow {str(path)!r} has more than {MAX_BYTES >> 20} MB")
        data = read_regular(path, MAX_BYTES)
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
