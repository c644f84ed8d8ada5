"""What the preflight finds, and that nothing is queued by it."""

import dataclasses
import json

import pytest

from acusim.errors import ConfigError, EngineError
from engines.comfyui import roots, workflow
from tests.engines.comfyui.conftest import QUICK
from tests.engines.comfyui.test_engine import plain_graph
from tests.engines.comfyui.wire import recorded, recorded_classes


def lines(engine):
    """Name -> line."""
    return {check.name: check for check in engine.check()}


def wrong(engine):
    """Names of the lines that fail."""
    return [check.name for check in engine.check() if check.ok is False]


def combo(server, kind, name):
    """The list of choices of an input."""
    return server.info[kind]["input"]["required"][name][0]


def test_a_good_server_passes_and_nothing_is_queued_or_left(server, new_engine, output):
    engine = new_engine(server, opened=False)
    checks = engine.check()
    assert all(check.ok for check in checks), [check for check in checks if not check.ok]
    assert all(check.fix == "" for check in checks)
    names = {check.name for check in checks}
    assert {"workflow", "wiring", "ComfyUI", "AcuSim nodes", "nodes", "checkpoint", "ic_light"} <= names
    assert {"ip_adapter", "clip_vision", "transport", "queue", "disk of OUT"} <= names
    assert server.posts == [] and not any(request.startswith("POST") for request in server.requests)
    assert list(output.iterdir()) == []


def test_a_failing_preflight_queues_nothing_and_names_every_line(server, new_engine):
    server.version = "9.9"
    combo(server, "CheckpointLoaderSimple", "ckpt_name").clear()
    with pytest.raises(EngineError) as caught:
        new_engine(server)
    message = str(caught.value)
    assert "version 9.9" in message and "v1-5-pruned-emaonly.safetensors is not on the server" in message
    assert server.posts == []


def test_no_server_at_all(server, new_engine):
    server.kill()
    engine = new_engine(server, opened=False)
    checks = lines(engine)
    assert checks["ComfyUI"].ok is False and "does ComfyUI run there" in checks["ComfyUI"].found
    assert "--server" in checks["ComfyUI"].fix
    assert checks["workflow"].ok and checks["wiring"].ok and checks["disk of OUT"].ok, "what can be checked is checked"


def test_something_else_than_comfyui(server, new_engine):
    server.hooks["GET /system_stats"] = lambda handler, body: handler.reply(b"<html>hello</html>") or True
    check = lines(new_engine(server, opened=False))["ComfyUI"]
    assert check.ok is False and "is this ComfyUI?" in check.found


def test_an_older_comfyui_is_a_warning(server, new_engine):
    server.comfy_version = "0.3.9"
    engine = new_engine(server)
    assert any("0.3.9" in note for note in engine.notes)


@pytest.mark.parametrize(
    ("kind", "fix"),
    [
        ("LoadAndApplyICLightUnet", "kijai/ComfyUI-IC-Light"),
        ("ICLightConditioning", "kijai/ComfyUI-IC-Light"),
        ("IPAdapterAdvanced", "cubiq/ComfyUI_IPAdapter_plus"),
        ("AcuSimNoise", "comfy_nodes"),
        ("CFGGuider", "update ComfyUI"),
    ],
)
def test_missing_nodes_name_their_pack(server, new_engine, kind, fix):
    del server.info[kind]
    engine = new_engine(server, opened=False)
    assert wrong(engine) == [f"node {kind}"]
    assert fix in lines(engine)[f"node {kind}"].fix


@pytest.mark.parametrize("found", [None, "0.0.1"])
def test_missing_or_other_pack(server, new_engine, found):
    if found is None:
        server.hooks["GET /acusim/info"] = lambda handler, body: handler.reply(b"404: Not Found", 404) or True
    else:
        server.version = found
    check = lines(new_engine(server, opened=False))["AcuSim nodes"]
    assert check.ok is False
    assert "custom_nodes" in check.fix


@pytest.mark.parametrize(
    ("setting", "kind", "name", "folder", "origin"),
    [
        ("checkpoint", "CheckpointLoaderSimple", "ckpt_name", "checkpoints", "Comfy-Org/stable-diffusion-v1-5-archive"),
        ("ic_light", "LoadAndApplyICLightUnet", "model_path", "diffusion_models", "lllyasviel/ic-light"),
        ("ip_adapter", "IPAdapterModelLoader", "ipadapter_file", "ipadapter", "h94/IP-Adapter"),
        ("clip_vision", "CLIPVisionLoader", "clip_name", "clip_vision", "models/image_encoder/model.safetensors"),
    ],
)
@pytest.mark.parametrize("form", ["V1", "V3"])
def test_missing_models_name_folder_and_origin(server, new_engine, setting, kind, name, folder, origin, form):
    inputs = server.info[kind]["input"]["required"]
    inputs[name] = [["other.safetensors"], {}] if form == "V1" else ["COMBO", {"options": ["other.safetensors"]}]
    engine = new_engine(server, opened=False)
    assert wrong(engine) == [setting]
    fix = lines(engine)[setting].fix
    assert f"models/{folder}" in fix and origin in fix and "other.safetensors" in fix


def test_models_in_the_newer_form_of_choices_and_with_backslashes(server, new_engine, requests):
    inputs = server.info["CheckpointLoaderSimple"]["input"]["required"]
    inputs["ckpt_name"] = ["COMBO", {"options": ["sd15\\model.safetensors"]}]
    server.tensors["sd15\\model.safetensors"] = server.tensors["v1-5-pruned-emaonly.safetensors"]
    engine = new_engine(server, opened=False, recipe={"checkpoint": "sd15/model.safetensors"})
    assert wrong(engine) == []
    binding = engine._preflight(engine_clients(engine))[1][0].binding
    assert binding.value(engine.workflow.place("checkpoint")) == "sd15\\model.safetensors"


def engine_clients(engine):
    """Clients as the engine makes them."""
    from engines.comfyui.client import Client

    engine._clients = [Client(url, times=QUICK) for url in engine._urls]
    return engine._clients


@pytest.mark.parametrize(
    ("setting", "file", "tensors", "message"),
    [
        ("ic_light", "iclight_sd15_fc.safetensors", {"conv_in.weight": [320, 12, 3, 3]}, r"12 input channels \(fbc\)"),
        ("ic_light", "iclight_sd15_fc.safetensors", {"conv_in.weight": [320, 4, 3, 3]}, "neither fc nor fbc"),
        ("ic_light", "iclight_sd15_fc.safetensors", {}, "not an IC-Light model"),
        (
            "checkpoint",
            "v1-5-pruned-emaonly.safetensors",
            {"model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": [320, 1024]},
            "context width 1024; SD 1.5 has 768",
        ),
        ("checkpoint", "v1-5-pruned-emaonly.safetensors", {}, "not a single-file"),
        ("ip_adapter", "ip-adapter_sd15.safetensors", {"ip_adapter.1.to_k_ip.weight": [640, 2048]}, "2048"),
        ("ip_adapter", "ip-adapter_sd15.safetensors", {"x": "y"}, "not an IP-Adapter"),
        (
            "clip_vision",
            "CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors",
            {"visual_projection.weight": [768, 1024]},
            "width 768, the IP-Adapter takes 1024",
        ),
        ("clip_vision", "CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors", {}, "not a CLIP vision model"),
    ],
)
def test_models_of_another_kind(server, new_engine, setting, file, tensors, message):
    server.tensors[file] = tensors
    engine = new_engine(server, opened=False)
    assert wrong(engine) == [setting]
    import re

    assert re.search(message, lines(engine)[setting].found)


def test_a_model_whose_kind_is_unknown_is_a_warning(server, new_engine):
    server.hooks["GET /acusim/model"] = lambda handler, body: handler.reply({"error": "no safetensors"}, 400) or True
    checks = lines(new_engine(server, opened=False))
    assert checks["checkpoint"].ok is None and "no safetensors" in checks["checkpoint"].found


def test_wrong_wiring(server, new_engine, tmp_path):
    engine = new_engine(server, opened=False, workflow=workflow.shipped_workflow("fbc"))
    assert wrong(engine) == ["wiring"]
    assert lines(engine)["wiring"].fix.startswith("--set wiring=fbc")
    assert server.posts == []


def test_an_unknown_sampler_names_the_choices(server, new_engine):
    combo(server, "KSamplerSelect", "sampler_name")[:] = ["euler", "heun"]
    engine = new_engine(server, opened=False)
    assert wrong(engine) == ["sampler"]
    assert "'dpmpp_2m'" in lines(engine)["sampler"].found
    assert lines(engine)["sampler"].fix == "it allows euler, heun"


def test_a_server_that_shares_nothing_is_shown_the_exact_setting(far_server, new_engine, dataset, output):
    engine = new_engine(far_server, opened=False)
    check = lines(engine)["transport"]
    assert check.ok is None, "on this machine folders would be quicker"
    assert f"ACUSIM_ROOTS=data@ro={dataset}:out={output}" in check.fix
    assert wrong(engine) == []
    forced = new_engine(far_server, opened=False, transport="shared")
    assert wrong(forced) == ["transport"]
    assert f"ACUSIM_ROOTS=data@ro={dataset}:out={output}" in lines(forced)["transport"].fix


def test_roots_of_the_same_path_on_another_machine_are_found_out(server, new_engine, tmp_path):
    message = {name: str(path) for name, path in server.roots.items()}
    (tmp_path / "elsewhere").mkdir()

    def info(handler, body):
        roots = {name: {"path": path, "writable": True, "free_bytes": 1 << 40} for name, path in message.items()}
        handler.reply({"version": server.version, "roots": roots})
        return True

    server.hooks["GET /acusim/info"] = info
    server.roots["out"] = tmp_path / "elsewhere"
    engine = new_engine(server, opened=False)
    assert "sees another folder at its root 'out'" in lines(engine)["transport"].found


def test_the_narrowest_root_is_taken(tmp_path):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    known = [roots.Root(n, str(p), w, None) for n, p, w in (("wide", tmp_path, True), ("read", inner, False))]
    assert roots.locate(known, inner / "c", True) == (known[0], "a/b/c")
    assert roots.locate(known, inner / "c", False) == (known[1], "c")
    assert roots.locate(known, inner, False) == (known[1], "")
    assert roots.locate(known, tmp_path.parent, False) is None


def test_prompts_of_others_are_a_warning(server, new_engine):
    server.works = False
    server.accept({"prompt_id": "foreign", "prompt": {}})
    check = lines(new_engine(server, opened=False))["queue"]
    assert check.ok is None and "1 prompts of others" in check.found


def test_little_space_is_reported(server, new_engine, monkeypatch):
    import shutil
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1, 1, 10 << 20))
    assert wrong(new_engine(server, opened=False)) == ["disk of OUT"]


def test_several_servers_are_distinguished(new_server, new_engine):
    first, second = new_server(), new_server()
    del second.info["CFGGuider"]
    engine = new_engine(first, second, opened=False)
    assert wrong(engine) == [f"{second.url} node CFGGuider"]


def ic_light_prompt(model):
    """Somebody's prompt with an IC-Light model."""
    return {"prompt": {"1": {"class_type": "LoadAndApplyICLightUnet", "inputs": {"model_path": model}}}}


def test_the_other_wiring_in_the_history_is_freed(server, new_engine):
    entry = recorded("run")["success"]["history"]
    entry["prompt"][2] = ic_light_prompt("iclight_sd15_fbc.safetensors")["prompt"]
    server.history["old"] = entry
    engine = new_engine(server)
    assert server.freed == 1
    assert any("another IC-Light model" in note for note in engine.notes)


def test_the_same_wiring_in_the_history_is_left_alone(server, new_engine, requests):
    new_engine(server).augment(requests[:1])
    new_engine(server)
    assert server.freed == 0


def test_the_other_wiring_in_the_queue_is_noted_not_freed(server, new_engine):
    server.works = False
    server.accept({"prompt_id": "foreign", **ic_light_prompt("iclight_sd15_fbc.safetensors")})
    engine = new_engine(server)
    assert server.freed == 0
    assert any("wait until theirs have finished" in note for note in engine.notes)
    assert [prompt.id for prompt in server.pending] == ["foreign"]


def broken(change):
    """The plain graph with a change."""
    graph = json.loads(plain_graph())
    change(graph)
    return json.dumps(graph)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: g["s"]["_meta"].update(title="Other"), "no node is titled 'Samples'"),
        (lambda g: g["o"]["_meta"].update(title="Other"), "no node is titled 'Save'"),
        (lambda g: g["k"]["_meta"].update(title="Other"), "no node takes the seeds"),
        (lambda g: g["e"]["_meta"].update(title="save"), "2 nodes are titled"),
        (lambda g: g["o"].update(class_type="SaveImage"), "it must be a AcuSimSaveSamples"),
        (lambda g: g["d"]["inputs"].update(samples=["zz", 0]), "linked to node 'zz', which is not in the file"),
        (lambda g: g["d"]["inputs"].pop("vae"), "input 'vae' is missing"),
    ],
)
def test_graphs_that_cannot_be_driven(server, new_engine, tmp_path, change, message):
    path = tmp_path / "mine.json"
    path.write_text(broken(change))
    checks = new_engine(server, opened=False, workflow=path).check()
    assert any(message in check.found for check in checks if check.ok is False), checks


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"nodes": [], "links": []}', r"Export \(API\)"),
        ("{", "not JSON"),
        ("[]", "has no nodes"),
        ("{}", "has no nodes"),
        ('{"1": {"inputs": {}}}', "no class_type"),
        ('{"1": 5}', "no class_type"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_files_that_are_no_workflow(server, new_engine, tmp_path, text, message):
    path = tmp_path / "mine.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        new_engine(server, opened=False, workflow=path).identity()
    with pytest.raises(ConfigError, match="cannot be read"):
        new_engine(server, opened=False, workflow=tmp_path / "absent.json").identity()


def test_a_missing_shipped_workflow_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(workflow, "FOLDER", tmp_path)
    with pytest.raises(ConfigError, match="--workflow"):
        workflow.load_workflow(None, "fc")


def test_settings_without_a_title_are_reported(server, new_engine, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(plain_graph())
    check = lines(new_engine(server, opened=False, workflow=path))["settings"]
    assert check.ok is None
    for setting in ("ic_light", "ip_adapter_weight", "background"):
        assert setting in check.found
    assert "steps" not in check.found


@pytest.mark.parametrize("wiring", ["fc", "fbc"])
def test_recorded_classes_and_shipped_workflows_fit(wiring):
    graph = workflow.load_workflow(None, wiring)
    assert graph.faults == [] and graph.wiring == wiring
    assert {node.kind for node in graph.nodes.values()} <= set(recorded_classes())
    assert all(graph.place(setting) for setting in workflow.BOUND)
    [sampling] = graph.sampling
    assert graph.nodes[sampling].kind == "SamplerCustomAdvanced"


def test_check_waits_no_longer_than_configured(server, new_engine):
    import time

    def slow(handler, body):
        time.sleep(0.5)
        return False

    server.hooks["GET /system_stats"] = slow
    engine = new_engine(server, opened=False, times=dataclasses.replace(QUICK, read=0.1))
    assert "no answer within 0.1 s" in lines(engine)["ComfyUI"].found
