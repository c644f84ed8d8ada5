"""Leaves out of a graph what a recipe does not use, as the editor does with bypassed nodes.

The shipped graphs hold a ControlNet for depth, and an IP-Adapter for the scene and one for the samples. Whoever would
get a bypassed node's output gets what went into it; a node that only such nodes needed, such as their loader, goes with
them.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from engines.recipe import USUAL_REFERENCE, Recipe, Reference, Wiring

CONTROL_NET = "controlnet"
ADAPTER = "ip-adapter"
ADAPTERS: Mapping[Reference, str] = {"scene": "ip-adapter scene", "sample": "ip-adapter sample"}
"""What an IP-Adapter looks at -> its title, unless it is the one that the wiring has by default."""
PASSED: Mapping[str, tuple[str, ...]] = {
    CONTROL_NET: ("positive", "negative"),
    **dict.fromkeys((ADAPTER, *ADAPTERS.values()), ("model",)),
}
"""Title -> for each output the input that takes its place."""


def adapter_title(kind: Reference, wiring: Wiring | None) -> str:
    """The title of the IP-Adapter that looks at something, in a graph of some wiring."""
    usual = wiring is not None and kind == USUAL_REFERENCE[wiring]
    return ADAPTER if usual else ADAPTERS[kind]


def unused_titles(recipe: Recipe, wiring: Wiring | None) -> set[str]:
    """Titles of the nodes that a recipe leaves out of a graph."""
    used = {adapter_title(kind, wiring) for kind in recipe.references}
    unused = {ADAPTER, *ADAPTERS.values()} - used if recipe.reference != "auto" else set(ADAPTERS.values())
    return unused | ({CONTROL_NET} if recipe.control_strength == 0 else set())


def without(graph: Mapping[str, Any], ids: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """A graph without some nodes.

    Args:
        graph: in the API format.
        ids: (id, title) of each node that is left out; titles of PASSED.
    """
    out = {key: {**entry, "inputs": dict(entry.get("inputs", {}))} for key, entry in graph.items()}
    before = _sources(out)
    for key, title in ids:
        inputs = out.pop(key)["inputs"]
        for entry in out.values():
            for name, value in list(entry["inputs"].items()):
                if is_link(value) and str(value[0]) == key:
                    passed = PASSED[title][value[1]] if value[1] < len(PASSED[title]) else ""
                    if passed in inputs:
                        entry["inputs"][name] = inputs[passed]
                    else:
                        del entry["inputs"][name]
    while idle := (before - _sources(out)) & out.keys():
        for key in idle:
            del out[key]
    return out


def is_link(value: Any) -> bool:
    """Whether an input's value is a link to another node's output."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int) and isinstance(value[1], int)


def _sources(graph: Mapping[str, Any]) -> set[str]:
    """Ids of the nodes whose outputs others take."""
    return {str(value[0]) for entry in graph.values() for value in entry["inputs"].values() if is_link(value)}
