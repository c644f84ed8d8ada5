"""The shipped graphs: whole, titled, and the editor's graph says the same as the one for the API.

tests/data/comfyui/object_info.json is what ComfyUI 0.3.64 told about the node classes in use.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from engines.recipe import Recipe

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = ROOT / "workflows"
CLASSES: dict[str, Any] = json.loads((ROOT / "tests/data/comfyui/object_info.json").read_text(encoding="utf-8"))
WIRINGS = ("fc", "fbc")
NOTES = {"Note", "MarkdownNote"}
"""Nodes that only the editor knows."""
WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
TITLES = (
    *("Samples", "Scene", "Prompts", "Positive", "Negative", "Checkpoint", "IC-Light", "IC-Light conditioning"),
    *(
        "IP-Adapter model",
        "CLIP Vision",
        "IP-Adapter",
        "Noise",
        "Guidance",
        "Sampler",
        "Schedule",
        "Light transfer",
        "Background",
        "Save",
    ),
)
SETTINGS = {
    "checkpoint": ("Checkpoint", "ckpt_name"),
    "ic_light_multiplier": ("IC-Light conditioning", "multiplier"),
    "ip_adapter": ("IP-Adapter model", "ipadapter_file"),
    "clip_vision": ("CLIP Vision", "clip_name"),
    "ip_adapter_weight": ("IP-Adapter", "weight"),
    "sampler": ("Sampler", "sampler_name"),
    "scheduler": ("Schedule", "scheduler"),
    "steps": ("Schedule", "steps"),
    "denoise": ("Schedule", "denoise"),
    "cfg": ("Guidance", "cfg"),
    "light_transfer": ("Light transfer", "amount"),
    "background": ("Background", "background"),
}
"""Where each setting of a recipe lives in a graph."""


def editor_graph(wiring: str) -> dict[str, Any]:
    return json.loads((WORKFLOWS / f"{wiring}.json").read_text(encoding="utf-8"))


def api_graph(wiring: str) -> dict[str, Any]:
    return json.loads((WORKFLOWS / "api" / f"{wiring}.json").read_text(encoding="utf-8"))


def by_title(graph: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {node["_meta"]["title"]: node for node in graph.values()}


def declared(class_type: str) -> dict[str, list[Any]]:
    """Input declarations in the order in which the editor stores widget values."""
    message = CLASSES[class_type]["input"]
    return {**message["required"], **message.get("optional", {})}


def is_widget(declaration: list[Any]) -> bool:
    return isinstance(declaration[0], list) or declaration[0] in WIDGETS


def widget_values(node: dict[str, Any]) -> dict[str, Any]:
    """Values by name. Seeds may be followed by what to do after a run, which has no name."""
    values = list(node.get("widgets_values", []))
    out: dict[str, Any] = {}
    for name, declaration in declared(node["type"]).items():
        if not is_widget(declaration):
            continue
        out[name] = values.pop(0)
        options = declaration[1] if len(declaration) > 1 else {}
        if options.get("control_after_generate", name in ("seed", "noise_seed") and declaration[0] == "INT"):
            values.pop(0)
    assert not values, f"{node['title']}: {values} belong to no widget"
    return out


def as_prompt(graph: dict[str, Any]) -> dict[str, Any]:
    """What the editor would queue for a graph without subgraphs, muted or bypassed nodes."""
    links = {link[0]: [str(link[1]), link[2]] for link in graph["links"]}
    prompt: dict[str, Any] = {}
    for node in graph["nodes"]:
        if node["type"] in NOTES:
            continue
        inputs = widget_values(node)
        inputs |= {plug["name"]: links[plug["link"]] for plug in node["inputs"] if plug["link"] is not None}
        prompt[str(node["id"])] = {"inputs": inputs, "class_type": node["type"], "_meta": {"title": node["title"]}}
    return prompt


@pytest.mark.parametrize("wiring", WIRINGS)
def test_every_link_resolves_from_both_ends_with_equal_types(wiring: str):
    graph = editor_graph(wiring)
    nodes = {node["id"]: node for node in graph["nodes"]}
    assert len(nodes) == len(graph["nodes"]) and len({link[0] for link in graph["links"]}) == len(graph["links"])
    for number, source, outlet, target, inlet, kind in graph["links"]:
        start, end = nodes[source]["outputs"][outlet], nodes[target]["inputs"][inlet]
        assert number in start["links"] and end["link"] == number
        assert start["type"] == end["type"] == kind
        assert CLASSES[nodes[source]["type"]]["output"][outlet] == kind
        assert declared(nodes[target]["type"])[end["name"]][0] == kind
    held = [plug["link"] for node in graph["nodes"] for plug in node.get("inputs", []) if plug["link"] is not None]
    message = [link for node in graph["nodes"] for plug in node.get("outputs", []) for link in plug["links"] or []]
    assert sorted(held) == sorted(message) == sorted(link[0] for link in graph["links"])


@pytest.mark.parametrize("wiring", WIRINGS)
def test_the_editor_queues_what_the_api_file_says(wiring: str):
    assert as_prompt(editor_graph(wiring)) == api_graph(wiring)


@pytest.mark.parametrize("wiring", WIRINGS)
def test_every_required_input_is_given_and_no_unknown_one(wiring: str):
    for node in api_graph(wiring).values():
        required = CLASSES[node["class_type"]]["input"]["required"]
        assert set(required) <= set(node["inputs"]) <= set(declared(node["class_type"])), node["_meta"]["title"]
        for name, value in node["inputs"].items():
            declaration = declared(node["class_type"])[name]
            limits = declaration[1] if len(declaration) > 1 and not isinstance(value, list) else {}
            assert limits.get("min", value) <= value <= limits.get("max", value), name


@pytest.mark.parametrize("wiring", WIRINGS)
def test_titles_that_the_controller_binds_to_are_there_once(wiring: str):
    titles = Counter(node["_meta"]["title"].casefold() for node in api_graph(wiring).values())
    assert {title: count for title, count in titles.items() if count > 1} == {}
    assert {title.casefold() for title in TITLES} <= set(titles)


@pytest.mark.parametrize("wiring", WIRINGS)
def test_values_are_the_defaults_of_the_recipe(wiring: str):
    nodes, recipe = by_title(api_graph(wiring)), Recipe().as_dict()
    found = {setting: nodes[title]["inputs"][name] for setting, (title, name) in SETTINGS.items()}
    assert found == {setting: recipe[setting] for setting in SETTINGS}
    assert nodes["IC-Light"]["inputs"]["model_path"] == recipe["ic_light"].replace("fc", wiring)


def test_fbc_takes_the_scene_as_background_and_each_sample_by_itself():
    fc, fbc = (by_title(api_graph(wiring)) for wiring in WIRINGS)
    keys = {title: key for key, node in api_graph("fbc").items() for title in [node["_meta"]["title"]]}
    assert "opt_background" not in fc["IC-Light conditioning"]["inputs"]
    assert fbc["IC-Light conditioning"]["inputs"]["opt_background"] == [keys["Encode scene"], 0]
    assert fbc["IP-Adapter"]["inputs"]["image"] == [keys["Samples"], 0]
    assert fbc["IP-Adapter"]["class_type"] == "IPAdapterBatch", "others mix all samples of a batch"


@pytest.mark.parametrize("wiring", WIRINGS)
def test_nodes_lie_inside_their_groups_and_do_not_overlap(wiring: str):
    graph = editor_graph(wiring)
    bar = 30
    boxes: dict[str, tuple[float, float, float, float]] = {}
    for node in graph["nodes"]:
        (x, y), (width, height) = node["pos"], node["size"]
        boxes[node["title"]] = x, y - bar, x + width, y + height
    for first, (left, top, right, bottom) in boxes.items():
        assert any(
            x <= left and y <= top and right <= x + width and bottom <= y + height
            for x, y, width, height in (group["bounding"] for group in graph["groups"])
        ), first
        for second, other in boxes.items():
            apart = right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
            assert first == second or apart, f"{first} and {second} overlap"


@pytest.mark.parametrize("wiring", WIRINGS)
def test_a_newcomer_is_reported_what_to_set(wiring: str):
    notes = [node["widgets_values"][0] for node in editor_graph(wiring)["nodes"] if node["type"] in NOTES]
    assert len(notes) == 1
    for word in ("root", "folder", "Samples", "Scene", "Run"):
        assert word in notes[0]


@pytest.mark.parametrize("wiring", WIRINGS)
def test_files_name_no_place_on_a_disk_and_have_a_thumbnail(wiring: str):
    for path in (WORKFLOWS / f"{wiring}.json", WORKFLOWS / "api" / f"{wiring}.json"):
        text = path.read_text(encoding="utf-8")
        for word in ('"/', "/home/", "/tmp/", "C:", "127.0.0.1", "random"):
            assert word not in text
    with Image.open(WORKFLOWS / f"{wiring}.jpg") as picture:
        assert picture.format == "JPEG" and max(picture.size) == 512
