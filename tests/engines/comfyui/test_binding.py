"""Choices as servers list them: names of files with either path separator, uploads, several at once."""

import json
from pathlib import Path
from typing import Any

import pytest

from engines.comfyui.binding import Binding
from engines.comfyui.workflow import Workflow
from engines.recipe import Recipe
from tests.engines.comfyui.conftest import assert_created
from tests.engines.comfyui.test_engine import plain_graph
from tests.engines.comfyui.test_preflight import broken, lines, wrong

CHECKPOINT = "v1-5-pruned-emaonly.safetensors"
LORA = {"model": ["MODEL"], "clip": ["CLIP"], "strength_model": ["FLOAT", {}], "strength_clip": ["FLOAT", {}]}


def listed(form: str, *options: Any, **config: Any) -> list[Any]:
    """A list input as servers of either age describe it."""
    return [list(options), config] if form == "V1" else ["COMBO", {"options": list(options), **config}]


def with_lora(graph: dict[str, Any], name: str) -> None:
    """A loader of the user's own between checkpoint and sampler, without a title of ours."""
    inputs = {"model": ["c", 0], "clip": ["c", 1], "lora_name": name, "strength_model": 1.0, "strength_clip": 1.0}
    graph["l"] = {"class_type": "LoraLoader", "inputs": inputs, "_meta": {"title": "my style"}}
    graph["k"]["inputs"]["model"] = ["l", 0]


@pytest.mark.parametrize("form", ["V1", "V3"])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("sd15/deep/a.safetensors", "sd15\\deep\\a.safetensors"),
        ("sd15\\deep\\a.safetensors", "sd15/deep/a.safetensors"),
        ("sd15\\deep/a.safetensors", "sd15/deep/a.safetensors"),
    ],
)
def test_models_of_the_recipe_are_sent_as_the_server_spells_them(server, new_engine, requests, form, ours, theirs):
    server.info["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"] = listed(form, "b.safetensors", theirs)
    server.tensors[theirs] = server.tensors[CHECKPOINT]
    engine = new_engine(server, recipe={"checkpoint": ours})
    assert_created(engine.augment(requests[:2]), requests[:2])
    assert server.posts[0].inputs("CheckpointLoaderSimple")["ckpt_name"] == theirs
    assert f"GET /acusim/model?folder=checkpoints&name={quoted(theirs)}" in server.requests


def quoted(name: str) -> str:
    """As in a query."""
    return name.replace("\\", "%5C").replace("/", "%2F")


@pytest.mark.parametrize(("ours", "theirs"), [("x/y.safetensors", "x\\y.safetensors"), ("x\\y.pt", "x/y.pt")])
def test_so_are_other_list_inputs_of_a_workflow(server, new_engine, requests, tmp_path, ours, theirs):
    server.info["LoraLoader"] = {"input": {"required": {**LORA, "lora_name": listed("V1", theirs)}}}
    path = tmp_path / "mine.json"
    path.write_text(broken(lambda graph: with_lora(graph, ours)))
    engine = new_engine(server, workflow=path)
    assert_created(engine.augment(requests[:1]), requests[:1])
    assert server.posts[0].inputs("LoraLoader")["lora_name"] == theirs


def test_each_server_gets_its_own_spelling(new_server, new_engine, requests):
    windows, linux = new_server(), new_server()
    for each, name in ((windows, "sd\\a.safetensors"), (linux, "sd/a.safetensors")):
        each.info["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"] = listed("V3", name)
        each.tensors[name] = each.tensors[CHECKPOINT]
    engine = new_engine(windows, linux, recipe={"checkpoint": "sd/a.safetensors"})
    place = engine.workflow.place("checkpoint")
    names = [server.binding.value(place) for server in engine.fleet.servers]
    assert names == ["sd\\a.safetensors", "sd/a.safetensors"]


def test_the_exact_name_is_taken_before_another_spelling(server, new_engine):
    names = ["a/b.safetensors", "a\\b.safetensors"]
    server.info["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"] = listed("V1", *names)
    server.tensors["a\\b.safetensors"] = server.tensors[CHECKPOINT]
    engine = new_engine(server, recipe={"checkpoint": "a\\b.safetensors"})
    [each] = engine.fleet.servers
    assert each.binding.value(engine.workflow.place("checkpoint")) == "a\\b.safetensors"


def test_a_name_in_another_folder_is_not_taken_but_listed_first(server, new_engine):
    others = [f"{number}.safetensors" for number in range(20)]
    combo = listed("V1", *others, "deep\\Mine.safetensors")
    server.info["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"] = combo
    engine = new_engine(server, opened=False, recipe={"checkpoint": "mine.safetensors"})
    assert wrong(engine) == ["checkpoint"]
    assert "it allows deep\\Mine.safetensors, 0.safetensors" in lines(engine)["checkpoint"].fix


def binding_with(spec: list[Any], value: Any) -> Binding:
    """The plain graph with one more list input, at its encoder."""
    graph = json.loads(plain_graph())
    graph["e"]["inputs"]["extra"] = value
    info = json.loads((Path(__file__).parents[2] / "data/comfyui/object_info.json").read_text(encoding="utf-8"))
    info["VAEEncode"]["input"]["required"]["extra"] = spec
    return Binding(Workflow(json.dumps(graph).encode(), "mine.json"), Recipe(), info)


@pytest.mark.parametrize("form", ["V1", "V3"])
@pytest.mark.parametrize(
    ("config", "judged"),
    [
        ({"image_upload": True}, False),
        ({"image_upload": True, "image_folder": "output"}, False),
        ({"audio_upload": True}, False),
        ({"video_upload": True}, False),
        ({"file_upload": True}, False),
        ({"remote": {"route": "/internal/files/output"}}, False),
        ({"image_upload": False}, True),
        ({"tooltip": "image_upload"}, True),
        ({}, True),
    ],
)
def test_upload_inputs_are_never_judged_by_their_list(form, config, judged):
    binding = binding_with(listed(form, "present.png", **config), "sub/other.png [output]")
    message = [fault.found for fault in binding.faults if "sub/other.png" in fault.found]
    assert bool(message) == judged


def test_a_picture_of_an_upload_input_reaches_the_server(server, new_engine, requests, tmp_path):
    server.info["LoadImage"] = {"input": {"required": {"image": listed("V1", "a.png", image_upload=True)}}}

    def change(graph: dict[str, Any]) -> None:
        inputs = {"image": "elsewhere/b.png"}
        graph["i"] = {"class_type": "LoadImage", "inputs": inputs, "_meta": {"title": "reference"}}
        graph["e"]["inputs"]["pixels"] = ["i", 0]

    path = tmp_path / "mine.json"
    path.write_text(broken(change))
    engine = new_engine(server, workflow=path)
    assert_created(engine.augment(requests[:1]), requests[:1])
    assert server.posts[0].inputs("LoadImage")["image"] == "elsewhere/b.png"


@pytest.mark.parametrize("wrap", [lambda names: names, lambda names: {"__value__": names}])
def test_several_choices_are_judged_and_spelled_one_by_one(wrap):
    spec = listed("V3", "x\\a.pt", "x\\b.pt", "c.pt", multiselect=True)
    binding = binding_with(spec, wrap(["x/a.pt", "c.pt", "x/b.pt"]))
    assert not [fault for fault in binding.faults if "extra" in fault.found]
    assert binding._base["e"]["inputs"]["extra"] == wrap(["x\\a.pt", "c.pt", "x\\b.pt"])
    assert [fault for fault in binding_with(spec, wrap(["x/a.pt", "d.pt", "c.pt"])).faults if "'d.pt'" in fault.found]


def test_the_recipe_s_separator_does_not_make_another_ic_light_model(server, new_engine, requests):
    name = "sub\\iclight_sd15_fc.safetensors"
    server.info["LoadAndApplyICLightUnet"]["input"]["required"]["model_path"] = listed("V1", name)
    server.tensors[name] = server.tensors["iclight_sd15_fc.safetensors"]
    new_engine(server, recipe={"ic_light": "sub\\iclight_sd15_fc.safetensors"}).augment(requests[:1])
    new_engine(server, recipe={"ic_light": "sub/iclight_sd15_fc.safetensors"}).augment(requests[1:2])
    new_engine(server, recipe={"ic_light": name})
    assert server.freed == 0
