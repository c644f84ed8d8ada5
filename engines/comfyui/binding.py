"""Binds a workflow to a recipe on one server: reports what does not fit, and fills in the prompt of each batch."""

import copy
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from acusim.errors import few
from engines.base import Request
from engines.comfyui.bypass import is_link
from engines.comfyui.errors import safe_text
from engines.comfyui.workflow import BOUND, CONTROL, SHARED, Node, Workflow
from engines.recipe import Recipe

PACKS = {
    "AcuSim": "this project's comfy_nodes: link it into ComfyUI's custom_nodes",
    "ICLight": "ComfyUI-IC-Light: git clone https://github.com/kijai/ComfyUI-IC-Light in custom_nodes",
    "IPAdapter": "ComfyUI_IPAdapter_plus: git clone https://github.com/cubiq/ComfyUI_IPAdapter_plus in custom_nodes",
}
"""Start of a node class, but for "LoadAndApply" -> the pack it comes from."""
WRITTEN = {
    "samples": ("root", "folder", "samples", "selection", "index", "count", "size"),
    "scene": ("root", "file"),
    "positive": ("text",),
    "negative": ("text",),
    "noise": ("seeds",),
    "save": ("root", "folder", "format", "labels", "preview", "record"),
}
"""Title -> the inputs that are written for each batch."""
LOAD = {"selection": "", "index": 0, "size": 0}
SAVE = {"format": "png", "labels": False, "preview": False, "record": '{"staged":true}'}
"""Inputs that are the same in all batches."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where a server reads a batch from and saves it to: names of roots, and paths below them."""

    samples_root: str
    samples_folder: str
    scene_root: str
    scene_file: str
    save_root: str
    save_folder: str


@dataclass(frozen=True, slots=True)
class Fault:
    """Workflow, recipe and server do not fit together."""

    name: str
    found: str
    fix: str
    setting: str = ""
    """The recipe setting at fault, if any."""


class Binding:
    """A workflow, a recipe, and the node classes of one server."""

    def __init__(self, workflow: Workflow, recipe: Recipe, object_info: Mapping[str, Any]):
        self.workflow = workflow
        self.recipe = recipe
        self._info = object_info
        self.faults: list[Fault] = []
        self._places = {setting: places for setting in BOUND if (places := workflow.places(setting))}
        unused = CONTROL if recipe.control_strength == 0 else ()
        self.free_settings = [setting for setting in BOUND if setting not in self._places and setting not in unused]
        """Settings without an input in the graph, which therefore decides them."""
        self._base = self._base_prompt()
        self._check_classes()
        self._check_written()
        self._check_values()

    @property
    def batches(self) -> bool:
        """Whether a prompt may hold several samples: each must have a seed of its own."""
        return self.workflow.plain_sampler is None

    @property
    def titles(self) -> dict[str, str]:
        """Node id -> title."""
        return {node.id: node.title for node in self.workflow.nodes.values()}

    @property
    def save_id(self) -> str:
        """Id of the node whose output names the files."""
        return self.workflow.titled["save"].id

    @property
    def item_nodes(self) -> frozenset[str]:
        """Ids of the nodes whose errors concern the samples or the scene, not the server."""
        titled = self.workflow.titled
        about_items = ("samples", "scene", "depth", "light transfer")
        return frozenset(titled[title].id for title in about_items if title in titled)

    def bind(self, batch: Sequence[Request], images: Sequence[str], places: Places) -> dict[str, Any]:
        """The prompt for a batch.

        Args:
            batch: requests of equal scene, texts and settings.
            images: each sample's image, relative to the data set root.
            places: where the server reads and saves.
        """
        prompt = copy.deepcopy(self._base)
        titled = self.workflow.titled
        first = batch[0]
        for setting, value in first.changes.items():
            self._write(prompt, setting, value)

        def write(title: str, **values: Any) -> None:
            assert values.keys() == set(WRITTEN[title])
            if title in titled:
                prompt[titled[title].id]["inputs"].update(values)

        names = "\n".join(images)
        write(
            "samples", root=places.samples_root, folder=places.samples_folder, samples=names, count=len(images), **LOAD
        )
        write("scene", root=places.scene_root, file=places.scene_file)
        write("positive", text=first.positive)
        write("negative", text=first.negative)
        write("noise", seeds=",".join(str(request.seed) for request in batch))
        if self.workflow.plain_sampler:
            prompt[self.workflow.plain_sampler.id]["inputs"]["seed"] = first.seed
        write("save", root=places.save_root, folder=places.save_folder, **SAVE)
        return self._pruned(prompt)

    def _base_prompt(self) -> dict[str, Any]:
        """The graph with the recipe's settings written in; same order as in the file."""
        base = {
            node.id: {"class_type": node.kind, "inputs": dict(node.inputs), "_meta": {"title": node.title}}
            for node in self.workflow.nodes.values()
        }
        for setting in self._places:
            self._write(base, setting, getattr(self.recipe, setting))
        for node in base.values():
            for name, value in node["inputs"].items():
                options = self.options(node["class_type"], name)
                if options is not None and not is_link(value):
                    node["inputs"][name] = _server_spelling(value, options)
        return base

    def _write(self, prompt: dict[str, Any], setting: str, value: Any) -> None:
        """Writes a setting wherever the graph has it."""
        places = self._places.get(setting, [])
        for node, name in places:
            prompt[node.id]["inputs"][name] = value / len(places) if setting in SHARED else value

    def _pruned(self, prompt: dict[str, Any]) -> dict[str, Any]:
        """Only the nodes that some output depends on: a Prompts node whose texts were replaced is not run."""
        keep: set[str] = set()
        todo = [node for node, entry in prompt.items() if self._is_output(entry["class_type"])]
        while todo:
            node = todo.pop()
            if node not in keep and node in prompt:
                keep.add(node)
                todo += [str(value[0]) for value in prompt[node]["inputs"].values() if is_link(value)]
        return {node: entry for node, entry in prompt.items() if node in keep}

    def _is_output(self, kind: str) -> bool:
        return kind == "AcuSimSaveSamples" or bool(self._class(kind).get("output_node"))

    def _class(self, kind: str) -> Mapping[str, Any]:
        found = self._info.get(kind)
        return found if isinstance(found, dict) else {}

    def _inputs(self, kind: str, group: str) -> Mapping[str, Any]:
        inputs = self._class(kind).get("input")
        found = inputs.get(group) if isinstance(inputs, dict) else None
        return found if isinstance(found, dict) else {}

    @property
    def known_classes(self) -> frozenset[str]:
        """Node classes on the server."""
        return frozenset(self._info)

    def value(self, place: tuple[Node, str]) -> Any:
        """The value of a setting in the graph, in the server's spelling."""
        return self._base[place[0].id]["inputs"][place[1]]

    def options(self, kind: str, name: str) -> list[Any] | None:
        """The values that a server allows at an input; None if it is not a list of choices.

        There are two forms: ``[[choices], {...}]`` and ``["COMBO", {"options": [choices]}]``.
        """
        kinds, config = self._spec(kind, name)
        if isinstance(kinds, list):
            return kinds
        choices = config.get("options")
        return choices if kinds == "COMBO" and isinstance(choices, list) else None

    def _spec(self, kind: str, name: str) -> tuple[Any, Mapping[str, Any]]:
        """Type and configuration of an input; (None, {}) where the class does not have it."""
        spec = self._inputs(kind, "required").get(name) or self._inputs(kind, "optional").get(name)
        if not isinstance(spec, list) or not spec:
            return None, {}
        return spec[0], spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}

    def _allowed(self, kind: str, name: str, value: Any) -> bool:
        """Whether a server accepts a value at an input, as far as its list of choices decides that.

        It does not for uploaded files (``image_upload``, ``audio_upload``, …): the list has the present files, without
        sub-folders, and the server looks for the file itself. Nor for lists that the editor fetches (``remote``).
        """
        options = self.options(kind, name)
        _, config = self._spec(kind, name)
        open_ended = config.get("remote") or any(str(key).endswith("_upload") and config[key] for key in config)
        if options is None or open_ended:
            return True
        return all(item in options for item in _items(value))

    def _check_classes(self) -> None:
        missing = sorted({node.kind for node in self.workflow.nodes.values() if node.kind not in self._info})
        for kind in missing:
            name = kind.removeprefix("LoadAndApply")
            pack = next((text for start, text in PACKS.items() if name.startswith(start)), "")
            fix = f"install {pack}, then restart ComfyUI" if pack else "update ComfyUI, or install its node pack"
            self.faults.append(Fault(f"node {safe_text(kind, 60)}", "the server does not have it", fix))

    def _check_written(self) -> None:
        """The server would silently ignore a value written to an input that its node does not have."""
        written = [(self.workflow.titled[t], name) for t in WRITTEN if t in self.workflow.titled for name in WRITTEN[t]]
        if self.workflow.plain_sampler:
            written.append((self.workflow.plain_sampler, "seed"))
        written += itertools.chain(*self._places.values())
        fix = "give this title to a node that has the input; see the list in docs/guide/comfyui.md"
        for node, name in written:
            known = self._inputs(node.kind, "required"), self._inputs(node.kind, "optional")
            if node.kind in self._info and not any(name in group for group in known):
                found = f"its class {safe_text(node.kind, 60)} has no input {name!r}, which the program writes"
                self.faults.append(Fault(f"node {safe_text(node.title, 60)}", found, fix))

    def _check_values(self) -> None:
        settings = {(node.id, name): setting for setting, places in self._places.items() for node, name in places}
        for node in self.workflow.nodes.values():
            if node.kind not in self._info:
                continue
            inputs = self._base[node.id]["inputs"]
            for name in self._inputs(node.kind, "required"):
                if name not in inputs:
                    fix = "save the workflow again from this server by Workflow > Export (API)"
                    self.faults.append(Fault(f"node {node.title}", f"input {name!r} is missing", fix))
            for name, value in inputs.items():
                if is_link(value) or self._filled_later(node, name) or self._allowed(node.kind, name, value):
                    continue
                setting, options = settings.get((node.id, name), ""), self.options(node.kind, name) or []
                found = f"{safe_text(repr(value), 120)} is not on the server's list for {name!r}"
                fix = f"it allows {_listed(options, value)}"
                self.faults.append(Fault(setting or f"node {node.title}", found, fix, setting))

    def _filled_later(self, node: Node, name: str) -> bool:
        """Whether the value is written for each batch, or the node is not sent at all."""
        title = node.title.strip().casefold()
        return title == "prompts" or (title in ("samples", "scene", "save") and name in ("root", "format"))


def _items(value: Any) -> list[Any]:
    """The choices in a value: several where an input accepts several, with or without the wrapper for lists."""
    if isinstance(value, dict) and "__value__" in value:
        value = value["__value__"]
    return value if isinstance(value, list) else [value]


def _server_spelling(value: Any, options: Sequence[Any]) -> Any:
    """A choice as the server spells it: names of files have backslashes on Windows and slashes elsewhere."""
    if isinstance(value, list):
        return [_server_spelling(item, options) for item in value]
    if isinstance(value, dict) and "__value__" in value:
        return value | {"__value__": _server_spelling(value["__value__"], options)}
    if value in options or not isinstance(value, str):
        return value
    same = [option for option in options if isinstance(option, str) and slashed(option) == slashed(value)]
    return same[0] if same else value


def slashed(name: str) -> str:
    """A path with forward slashes, also from a server on Windows."""
    return name.replace("\\", "/")


def _listed(options: Sequence[Any], value: Any) -> str:
    """Some choices; first those that name the same file in another folder."""
    wanted = file_name(value)
    near_first = sorted(options, key=lambda option: file_name(option) != wanted)
    return few([safe_text(option, 60) for option in near_first], 8) if options else "nothing: the folder is empty"


def file_name(choice: Any) -> str:
    """The last component of a choice, in lower case."""
    return slashed(str(choice)).rsplit("/", 1)[-1].casefold()
