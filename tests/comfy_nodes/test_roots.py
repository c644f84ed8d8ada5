"""Paths stay inside the roots that the operator allowed."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from acusim.errors import LayoutError
from comfy_nodes import NODE_CLASS_MAPPINGS, roots
from tests.comfy_nodes.conftest import Server

ESCAPES = {
    "parent": "../secret",
    "parent inside": "a/../../secret",
    "only parent": "..",
    "absolute": "/etc",
    "backslash": "a\\..\\secret",
    "NUL": "a\x00b",
    "newline": "a\nb",
    "lone surrogate": "a\ud800",
    "link": "out/secret",
}


@pytest.fixture(params=ESCAPES.values(), ids=ESCAPES.keys())
def escape(request: pytest.FixtureRequest, server: Server, tmp_path: Path) -> str:
    """A path that would leave input and output; "out" is a link in both."""
    (tmp_path / "secret").mkdir()
    server.output.mkdir()
    for folder in (server.input, server.output):
        (folder / "out").symlink_to(tmp_path)
    return request.param


def test_a_path_that_leads_out_is_refused_and_the_message_helps(escape: str):
    with pytest.raises(LayoutError) as caught:
        roots.inside(roots.find_root("input"), escape)
    message = str(caught.value)
    assert (
        "root 'input'" in message
        and "allowed are 'input', 'output'" in message
        and "ACUSIM_ROOTS=name=/path" in message
    )


def test_every_node_with_a_path_refuses_it_when_the_graph_is_queued(escape: str):
    for name, where in {
        "AcuSimLoadSamples": {"root": "input", "folder": escape},
        "AcuSimPromptSet": {"root": "input", "file": escape},
        "AcuSimLoadScene": {"root": "input", "file": escape},
        "AcuSimSaveSamples": {"root": "output", "folder": escape},
    }.items():
        assert "allowed are" in NODE_CLASS_MAPPINGS[name].VALIDATE_INPUTS(**where), name


def test_every_node_with_a_path_refuses_it_when_it_runs(escape: str, dataset: Path, node: Callable[..., Any]):
    images, _, batch, _ = node("AcuSimLoadSamples", root="input", folder="heads", count=2)
    for name, how in {
        "AcuSimLoadSamples": {"root": "input", "folder": escape},
        "AcuSimPromptSet": {"root": "input", "file": escape, "samples": batch},
        "AcuSimLoadScene": {"root": "input", "file": escape, "samples": batch},
        "AcuSimSaveSamples": {"root": "output", "folder": escape, "samples": batch, "images": images},
    }.items():
        with pytest.raises(LayoutError, match="allowed are"):
            node(name, **how)


def test_linked_widgets_are_checked_only_when_the_graph_runs(server: Server):
    assert NODE_CLASS_MAPPINGS["AcuSimLoadSamples"].VALIDATE_INPUTS(root=None, folder="../x") is True


def test_input_may_not_be_written_and_output_is_made(server: Server):
    assert "is read-only" in str(roots.refusal("input", "x", write=True))
    assert not server.output.exists()
    assert roots.find_root("output", write=True).path.is_dir()
    assert roots.names() == ["input", "output"] and roots.names(write=True) == ["output"]


def test_the_operator_names_more_roots(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    entries = [
        f"a={tmp_path}/link",
        str(tmp_path / "real"),
        f"old@ro={tmp_path}",
        f"gone={tmp_path}/gone",
        "relative=x",
        f"input={tmp_path}",
        f"a={tmp_path}",
        "",
    ]
    monkeypatch.setenv("ACUSIM_ROOTS", os.pathsep.join(entries))
    found, problems = roots.all_roots()
    assert {name: (str(root.path), root.writable) for name, root in list(found.items())[2:]} == {
        "a": (str(tmp_path / "real"), True),
        "real": (str(tmp_path / "real"), True),
        "old": (str(tmp_path), False),
        "gone": (str(tmp_path / "gone"), True),
    }
    assert len(problems) == 3 and "not an absolute path" in problems[0]
    assert all("is taken" in problem for problem in problems[1:])
    with pytest.raises(LayoutError, match="'gone': .* is not a folder on the machine that runs ComfyUI"):
        roots.find_root("gone")
    with pytest.raises(LayoutError, match=r"root 'other' is not allowed; allowed are .*'relative=x' is ignored"):
        roots.find_root("other")
    assert roots.inside(roots.find_root("a"), "x/y.png") == tmp_path / "real/x/y.png"


def test_shipped_scenes_are_for_scenes_only(server: Server):
    assert roots.names(scenes=True)[0] == "shipped scenes"
    assert roots.refusal("shipped scenes", "forest.jpg", scenes=True) is None
    assert "is not allowed" in str(roots.refusal("shipped scenes", "x"))
    assert "is read-only" in str(roots.refusal("shipped scenes", "x", write=True, scenes=True))
