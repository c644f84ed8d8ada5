"""What the preflight says of odd workflows, and of servers that answer oddly."""

import json

import pytest

from engines.comfyui import workflow
from tests.engines.comfyui.test_preflight import broken, lines, wrong


@pytest.mark.parametrize("title", ["Positive", "Negative", "Scene"])
def test_a_workflow_that_decides_texts_or_scene_itself_says_so(server, new_engine, tmp_path, title):
    path = tmp_path / "mine.json"
    graph = json.loads(workflow.shipped_workflow("fc").read_text())
    [node] = [node for node in graph.values() if node["_meta"]["title"] == title]
    node["_meta"]["title"] = "my own"
    if title == "Scene":
        node["inputs"] |= {"root": "input"}
    path.write_text(json.dumps(graph))
    engine = new_engine(server, workflow=path)
    message = f"the workflow has no node titled {title}: the graph's own"
    assert sum(note.startswith(f"{title}: {message}") for note in engine.notes) == 1
    assert lines(engine)[title].ok is None and "whatever" in lines(engine)[title].found
    assert not {"Positive", "Negative", "Scene"} - {title} & set(lines(engine))


@pytest.mark.parametrize(
    ("title", "kind", "name"),
    [
        ("Positive", "CLIPTextEncode", "text"),
        ("Negative", "CLIPTextEncode", "text"),
        ("Samples", "AcuSimLoadSamples", "root"),
        ("Samples", "AcuSimLoadSamples", "size"),
        ("Scene", "AcuSimLoadScene", "file"),
        ("Noise", "AcuSimNoise", "seeds"),
        ("Save", "AcuSimSaveSamples", "record"),
        ("Schedule", "BasicScheduler", "steps"),
    ],
)
def test_an_input_that_is_written_but_not_there_is_a_fault(server, new_engine, title, kind, name):
    for group in ("required", "optional"):
        server.info[kind]["input"].get(group, {}).pop(name, None)
    engine = new_engine(server, opened=False)
    assert f"node {title}" in wrong(engine)
    found = [check.found for check in engine.check() if check.name == f"node {title}"]
    assert f"its class {kind} has no input {name!r}, which the program writes" in found


def test_a_text_node_without_a_text_is_named(server, new_engine, tmp_path):
    server.info["CLIPTextEncodeSDXL"] = {"input": {"required": {"clip": ["CLIP"], "text_g": ["STRING", {}]}}}
    path = tmp_path / "mine.json"
    path.write_text(
        broken(lambda g: g["p"].update(class_type="CLIPTextEncodeSDXL", inputs={"clip": ["c", 1], "text_g": "mine"}))
    )
    engine = new_engine(server, opened=False, workflow=path)
    assert wrong(engine) == ["node POSITIVE"]
    assert "CLIPTextEncodeSDXL has no input 'text'" in lines(engine)["node POSITIVE"].found


@pytest.mark.parametrize("version", ["²", "9" * 5000, "0.3.²", "", "...", "0.3.64\x00", "٣.٤"])
def test_odd_versions_are_reported_not_fatal(server, new_engine, version):
    server.comfy_version = version
    check = lines(new_engine(server, opened=False))["ComfyUI"]
    assert check.ok is None
    assert len(check.found) < 200


@pytest.mark.parametrize(
    ("name", "path"),
    [("bad", "/a\x00b"), ("bad", "/a\ud800"), ("bad\ud800", "/"), ("bad\n", "/"), ("bad", "a"), ("bad", 5)],
)
def test_odd_roots_are_left_out(server, new_engine, name, path):
    good = {key: {"path": str(folder), "writable": True, "free_bytes": 10**400} for key, folder in server.roots.items()}

    def info(handler, body):
        odd = {"path": path, "writable": True, "free_bytes": 1}
        handler.reply({"version": server.version, "roots": {name: odd, **good, "worse": 7}})
        return True

    server.hooks["GET /acusim/info"] = info
    engine = new_engine(server, opened=False)
    assert wrong(engine) == []
    assert "'data' and 'out'" in lines(engine)["transport"].found


@pytest.mark.parametrize("length", ["\u00b2", "9" * 5000])
def test_odd_lengths_are_no_crash(server, new_engine, length):
    def stats(handler, body):
        handler.send_response(200)
        handler.send_header("Content-Length", length)
        handler.end_headers()
        handler.wfile.write(b'{"system": {"comfyui_version": "0.3.64"}}')
        handler.cut()
        return True

    server.hooks["GET /system_stats"] = stats
    assert "ComfyUI" in lines(new_engine(server, opened=False))
