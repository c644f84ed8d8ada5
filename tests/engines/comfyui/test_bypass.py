"""What a recipe leaves out of a graph: known graphs, and the shipped ones as they were before they held more."""

import pytest

from engines.comfyui.bypass import unused_titles, without
from engines.comfyui.workflow import Workflow, load_workflow
from engines.recipe import Recipe


def _node(kind: str, **inputs: object) -> dict[str, object]:
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}


GRAPH = {
    "1": _node("Text"),
    "2": _node("Text"),
    "3": _node("Loader", file="a.safetensors"),
    "4": _node("Apply", positive=["1", 0], negative=["2", 0], net=["3", 0], strength=1.0),
    "5": _node("Sample", positive=["4", 0], negative=["4", 1], other=["4", 7]),
    "6": _node("Idle"),
}


def test_consumers_get_what_went_into_a_bypassed_node():
    left = without(GRAPH, [("4", "controlnet")])
    assert left["5"]["inputs"] == {"positive": ["1", 0], "negative": ["2", 0]}
    # Its loader goes with it; what nothing needed before stays as it was.
    assert list(left) == ["1", "2", "5", "6"]
    assert GRAPH["5"]["inputs"]["positive"] == ["4", 0], "the given graph is not changed"


def test_a_chain_of_bypassed_nodes_is_followed_to_its_start():
    graph = {
        "1": _node("Model"),
        "2": _node("A", model=["1", 0], image=["4", 0]),
        "3": _node("B", model=["2", 0], image=["4", 0]),
        "4": _node("Image"),
        "5": _node("Sample", model=["3", 0]),
    }
    both = [("2", "ip-adapter"), ("3", "ip-adapter sample")]
    for order in (both, both[::-1]):
        assert without(graph, order) == {"1": graph["1"], "5": _node("Sample", model=["1", 0])}
    assert without(graph, both[:1])["3"]["inputs"] == {"model": ["1", 0], "image": ["4", 0]}


@pytest.mark.parametrize(
    ("settings", "wiring", "unused"),
    [
        ({}, "fc", {"controlnet", "ip-adapter scene", "ip-adapter sample"}),
        ({"control_strength": 0.5}, "fbc", {"ip-adapter scene", "ip-adapter sample"}),
        ({"reference": "scene"}, "fc", {"controlnet", "ip-adapter scene", "ip-adapter sample"}),
        ({"reference": "sample"}, "fc", {"controlnet", "ip-adapter", "ip-adapter scene"}),
        ({"reference": "scene"}, "fbc", {"controlnet", "ip-adapter", "ip-adapter sample"}),
        ({"reference": "both"}, "fbc", {"controlnet", "ip-adapter sample"}),
        ({"reference": "both"}, None, {"controlnet", "ip-adapter"}),
    ],
)
def test_titles_that_a_recipe_leaves_out(settings: dict[str, object], wiring: str | None, unused: set[str]):
    assert unused_titles(Recipe(wiring=wiring or "fc", **settings), wiring) == unused


@pytest.mark.parametrize(
    ("wiring", "digest"),
    [
        ("fc", "0aa3ed4a3da3"),
        ("fbc", "61b99e480beb"),
    ],
)
def test_the_default_recipes_graphs_are_those_of_before_they_held_depth(wiring: str, digest: str):
    """So an OUT that was created with them can be continued."""
    assert load_workflow(None, wiring).adapted(Recipe(wiring=wiring)).sha256[:12] == digest


@pytest.mark.parametrize("wiring", ["fc", "fbc"])
@pytest.mark.parametrize("reference", ["auto", "scene", "sample", "both"])
@pytest.mark.parametrize("strength", [0.0, 0.7])
def test_every_recipe_has_a_whole_graph(wiring: str, reference: str, strength: float):
    recipe = Recipe(wiring=wiring, reference=reference, control_strength=strength)
    found = load_workflow(None, wiring).adapted(recipe)
    assert not found.faults and found.wiring == wiring
    kinds = [node.kind for node in found.nodes.values()]
    assert kinds.count("ControlNetApplyAdvanced") == kinds.count("AcuSimDepth") == (strength > 0)
    adapters = {"IPAdapterAdvanced": "scene", "IPAdapterBatch": "sample"}
    looks_at = {seen: {"scene": "AcuSimLoadScene", "sample": "AcuSimLoadSamples"}[seen] for seen in recipe.references}
    nodes = [node for node in found.nodes.values() if node.kind in adapters]
    assert sorted(adapters[node.kind] for node in nodes) == sorted(recipe.references)
    for node in nodes:
        assert found.nodes[node.inputs["image"][0]].kind == looks_at[adapters[node.kind]]


def test_an_own_graph_without_such_titles_is_as_it_was():
    graph = b'{"1": {"class_type": "KSampler", "inputs": {"seed": 1}, "_meta": {"title": "Sampler"}}}'
    own = Workflow(graph, "own.json")
    assert own.adapted(Recipe()) is own and own.adapted(Recipe(reference="both", control_strength=1.0)) is own
