"""The straight path, over both transports."""

import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from acusim.errors import ConfigError, EngineError, PictureError
from acusim.files import sha256
from engines.comfyui.engine import CONCURRENCY
from engines.comfyui.workflow import load_workflow, shipped_workflow
from engines.recipe import Recipe
from tests.engines.comfyui.conftest import assert_created, in_threads, make_requests, polled, wait_for
from tests.support import add_sample


def test_a_batch_through_shared_folders(server, new_engine, requests, output):
    engine = new_engine(server)
    answers = engine.augment(requests[:4])
    assert_created(answers, requests[:4])
    assert answers[0].facts == {"workflow": engine.workflow.sha256[:12], "server": "ComfyUI 0.3.64"}
    [prompt] = server.posts
    assert prompt.inputs("AcuSimNoise")["seeds"] == "1000,1001,1002,1003"
    assert prompt.inputs("AcuSimSaveSamples")["folder"] == f"{engine._staging.below}/{prompt.id}"
    assert not (output / engine._staging.below / prompt.id).exists()
    assert not any("/upload" in request or "/view" in request for request in server.requests)
    engine.close()
    assert not (output / ".acusim/staging").exists()


def test_a_batch_by_upload_and_download(far_server, new_engine, requests, output):
    engine = new_engine(far_server)
    assert_created(engine.augment(requests[:4]), requests[:4])
    assert_created(engine.augment(requests[:4]), requests[:4])
    uploads = sum("/upload" in request for request in far_server.requests)
    assert uploads == 4 + 4 + 1, "samples, depth maps and the scene go up once"
    assert not (output / ".acusim/staging").exists()
    [token] = {prompt.extra["acusim"] for prompt in far_server.posts}
    folder = far_server.roots["input"] / "acusim" / token
    image = far_server.posts[0].samples[0]
    assert sha256((folder / image).read_bytes()) == requests[0].source_sha256
    assert (folder / image.replace("/image/", "/depth/")).is_file()


@pytest.mark.parametrize("wiring", ["fc", "fbc"])
def test_both_wirings_bind_all_settings(server, new_engine, requests, wiring):
    recipe = {"wiring": wiring, "steps": 31, "cfg": 5.5, "denoise": 0.7, "ic_light_multiplier": 0.25}
    recipe |= {"sampler": "euler", "scheduler": "karras", "ip_adapter_weight": 0.6, "background": "black"}
    engine = new_engine(server, recipe=recipe)
    assert_created(engine.augment(requests[:2]), requests[:2])
    [prompt] = server.posts
    assert prompt.inputs("BasicScheduler")["steps"] == 31
    assert prompt.inputs("BasicScheduler")["scheduler"] == "karras"
    assert prompt.inputs("BasicScheduler")["denoise"] == 0.7
    assert prompt.inputs("CFGGuider")["cfg"] == 5.5
    assert prompt.inputs("KSamplerSelect")["sampler_name"] == "euler"
    assert prompt.inputs("ICLightConditioning")["multiplier"] == 0.25
    assert prompt.inputs("LoadAndApplyICLightUnet")["model_path"] == f"iclight_sd15_{wiring}.safetensors"
    assert prompt.inputs("AcuSimBackground")["background"] == "black"
    assert ("opt_background" in prompt.inputs("ICLightConditioning")) == (wiring == "fbc")
    texts = {node["inputs"]["text"] for node in prompt.graph.values() if node["class_type"] == "CLIPTextEncode"}
    assert texts == {"a head", "a hat"}
    assert all(node["class_type"] != "AcuSimPromptSet" for node in prompt.graph.values()), "its texts were replaced"


def test_a_picture_may_have_less_freedom_than_its_batch(server, new_engine, requests):
    engine = new_engine(server, recipe={"denoise": 0.5, "ip_adapter_weight": 0.4})
    softer = engine.recipe.changed(denoise=0.375, ip_adapter_weight=0.2)
    batch = [requests[0], replace(requests[1], recipe=softer), requests[2]]
    assert_created(engine.augment(batch), batch)
    usual, soft = server.posts
    assert [len(usual.samples), len(soft.samples)] == [2, 1]
    assert [prompt.inputs("BasicScheduler")["denoise"] for prompt in (usual, soft)] == [0.5, 0.375]
    assert [prompt.inputs("IPAdapterAdvanced")["weight"] for prompt in (usual, soft)] == [0.4, 0.2]


def test_a_picture_may_have_its_light_alone(server, new_engine, requests):
    engine = new_engine(server)
    batch = [requests[0], replace(requests[1], recipe=engine.recipe.changed(light_transfer=1.0))]
    assert_created(engine.augment(batch), batch)
    assert [prompt.inputs("AcuSimLightTransfer")["amount"] for prompt in server.posts] == [0.0, 1.0]


def test_depth_is_held_where_there_is_some_and_a_sample_without_is_skipped(server, new_engine, requests):
    recipe = {"control_strength": 0.75, "control_start": 0.1, "control_end": 0.8}
    batch = [requests[0], replace(requests[1], depth=None, depth_data=None), requests[2]]
    made, refused, other = new_engine(server, recipe=recipe).augment(batch)
    assert_created([made, other], [batch[0], batch[2]])
    assert isinstance(refused, PictureError) and "synthetic fit --dataset ROOT" in str(refused)
    [prompt] = server.posts
    applied = prompt.inputs("ControlNetApplyAdvanced")
    assert (applied["strength"], applied["start_percent"], applied["end_percent"]) == (0.75, 0.1, 0.8)
    assert prompt.inputs("ControlNetLoader")["control_net_name"] == Recipe().control_net
    assert [prompt.graph[applied[name][0]]["class_type"] for name in ("image", "control_net")] == [
        "AcuSimDepth",
        "ControlNetLoader",
    ]
    conditioning = prompt.inputs("ICLightConditioning")
    kinds = [
        (prompt.graph[conditioning[name][0]]["class_type"], conditioning[name][1]) for name in ("positive", "negative")
    ]
    assert kinds == [("ControlNetApplyAdvanced", 0), ("ControlNetApplyAdvanced", 1)]


def test_without_strength_the_server_needs_no_control_net(server, new_engine, requests):
    del server.info["ControlNetLoader"], server.info["AcuSimDepth"]
    batch = [replace(requests[0], depth=None, depth_data=None)]
    assert_created(new_engine(server).augment(batch), batch)
    assert not [node for node in server.posts[0].graph.values() if "Control" in node["class_type"]]


def test_a_server_without_the_control_net_is_named_before_anything_is_queued(server, new_engine):
    server.info["ControlNetLoader"]["input"]["required"]["control_net_name"][0] = ["canny.safetensors"]
    with pytest.raises(EngineError) as error:
        new_engine(server, recipe={"control_strength": 1.0})
    text = str(error.value)
    assert "control_v11f1p_sd15_depth_fp16.safetensors is not on the server" in text
    assert "models/controlnet: from https://huggingface.co/comfyanonymous" in text and not server.posts


@pytest.mark.parametrize("wiring", ["fc", "fbc"])
def test_both_references_share_the_weight(server, new_engine, requests, wiring):
    recipe = {"wiring": wiring, "reference": "both", "ip_adapter_weight": 0.5}
    engine = new_engine(server, recipe=recipe)
    batch = [requests[0], replace(requests[1], recipe=engine.recipe.changed(ip_adapter_weight=0.2))]
    assert_created(engine.augment(batch), batch)
    for prompt, weight in zip(server.posts, (0.25, 0.1), strict=True):
        for kind, image in (("IPAdapterAdvanced", "AcuSimLoadScene"), ("IPAdapterBatch", "AcuSimLoadSamples")):
            adapter = prompt.inputs(kind)
            assert adapter["weight"] == weight and prompt.graph[adapter["image"][0]]["class_type"] == image


def test_an_own_workflow_without_what_the_recipe_asks_for_says_so(server, new_engine, tmp_path):
    path = tmp_path / "own.json"
    path.write_text(json.dumps(load_workflow(None, "fc").adapted(Recipe()).graph))
    for settings, words in (
        ({"control_strength": 1.0}, "no node titled ControlNet"),
        ({"reference": "both"}, "no node titled 'ip-adapter sample'"),
    ):
        with pytest.raises(EngineError, match=words):
            new_engine(server, workflow=path, recipe=settings)


def test_a_workflow_without_light_transfer_says_so(server, new_engine, requests, tmp_path):
    graph = json.loads(shipped_workflow("fc").read_text())
    [(number, node)] = [(n, node) for n, node in graph.items() if node["class_type"] == "AcuSimLightTransfer"]
    [background] = [node for node in graph.values() if node["class_type"] == "AcuSimBackground"]
    background["inputs"]["images"] = node["inputs"]["images"]
    del graph[number]
    path = tmp_path / "plain.json"
    path.write_text(json.dumps(graph))
    engine = new_engine(server, workflow=path)
    batch = [requests[0], replace(requests[1], recipe=engine.recipe.changed(light_transfer=1.0))]
    made, refused = engine.augment(batch)
    assert_created([made], batch[:1])
    assert isinstance(refused, PictureError) and "the workflow itself decides light_transfer" in str(refused)
    with pytest.raises(EngineError, match="no node titled Light transfer"):
        new_engine(server, workflow=path, recipe={"light_transfer": 1.0})


def test_a_prompt_holds_no_sample_twice(server, new_engine, requests):
    engine = new_engine(server, batch=8)
    batch = [requests[0], requests[1], requests[0], requests[2]]
    assert_created(engine.augment(batch), batch)
    assert [len(prompt.samples) for prompt in server.posts] == [3, 1]


def test_sizes_are_not_mixed(server, new_engine, dataset):
    big = make_requests(dataset)[:2]
    for stem in ("F_Zoe_N_HA_O_0001", "F_Zoe_N_HA_O_0002"):
        path = add_sample(dataset, stem, size=32)
        path.rename(dataset / "train/image/img_64" / path.name)
        (dataset / "train/depth/img_32" / path.name).unlink()
    small = [request for request in make_requests(dataset) if request.sample.name == "Zoe"]
    assert small[0].pixels.shape == (32, 32, 3)
    engine = new_engine(server)
    batch = [big[0], small[0], big[1], small[1]]
    assert_created(engine.augment(batch), batch)
    assert [len(prompt.samples) for prompt in server.posts] == [2, 2]


def test_two_prompts_are_queued_on_each_server_and_no_more(server, new_engine, requests):
    engine = new_engine(server, batch=1)
    assert engine.concurrency == CONCURRENCY
    server.gate = threading.Event()

    def open_gate():
        wait_for(lambda: len(server.posts) == 2)
        polled(server, 8)
        server.gate.set()

    threading.Thread(target=open_gate, daemon=True).start()
    answers = in_threads(engine, [[request] for request in requests[:5]])
    assert_created([answer for [answer] in answers], requests[:5])
    assert server.most_queued == 2


def test_the_graph_before_the_sampler_stays_the_same(server, new_engine, requests):
    engine = new_engine(server, batch=2)
    engine.augment(requests[:2])
    engine.augment(requests[2:4])
    first, second = (prompt.graph for prompt in server.posts)
    assert list(first) == list(second)
    changed = {first[node]["class_type"] for node in first if first[node] != second[node]}
    assert changed == {"AcuSimLoadSamples", "AcuSimNoise", "AcuSimSaveSamples"}


def test_progress_comes_from_step_messages(server, new_engine, requests):
    engine = new_engine(server)
    server.gate = threading.Event()
    thread = threading.Thread(target=engine.augment, args=(requests[:4],), daemon=True)
    thread.start()
    wait_for(lambda: engine.work_in_progress() == 4)  # both steps of four pictures are done, the pictures not yet there
    server.gate.set()
    thread.join(10)
    assert engine.work_in_progress() == 0


def test_what_is_going_on_is_said_before_the_first_picture(server, new_engine, requests):
    engine = new_engine(server)
    assert engine.activity() == ""
    server.works = False
    thread = threading.Thread(target=engine.augment, args=(requests[:4],), daemon=True)
    thread.start()
    wait_for(lambda: engine.activity() == "server queues: the prompt waits")
    held = threading.Event()
    server.before = lambda prompt: [
        server.send(prompt.client_id, "executing", {"node": "5", "prompt_id": prompt.id}),
        held.wait(10),
        server.send(prompt.client_id, "progress", {"node": "17", "prompt_id": prompt.id, "value": 3, "max": 12}),
    ]
    server.gate = threading.Event()
    server.works = True
    wait_for(lambda: engine.activity() == "server prepares: node 'Checkpoint'")
    held.set()
    wait_for(lambda: engine.activity() == "server samples: step 2 of 2")  # the recorded run has two
    server.gate.set()
    thread.join(10)
    assert engine.activity() == "server samples: step 2 of 2", "quick prompts are not missed"
    assert engine.work_in_progress() == 0


def test_several_servers_are_distinguished_while_they_sample(new_server, new_engine, requests):
    first, second = new_server(), new_server()
    engine = new_engine(first, second, batch=1)
    answers = in_threads(engine, [[request] for request in requests[:4]])
    assert_created([answer for [answer] in answers], requests[:4])
    assert engine.activity() in {f"server samples: step 2 of 2 ({server.url})" for server in (first, second)}
    made_at = {answer.server for [answer] in answers}
    assert made_at <= {first.url, second.url} and len(first.executed) + len(second.executed) == 4
    for server in (first, second):
        assert sum(answer.server == server.url for [answer] in answers) == len(server.executed)


def test_without_any_server_it_waits_and_says_so(server, new_engine, requests):
    engine = new_engine(server)
    assert not engine.is_waiting()
    server.kill()
    thread = threading.Thread(target=in_threads, args=(engine, [requests[:1]]), daemon=True)
    thread.start()
    wait_for(engine.is_waiting)
    assert engine.activity() == "no server can be reached: waiting up to 5 s for one to come back"
    server.start()
    wait_for(lambda: not engine.is_waiting())
    thread.join(10)


def stop_after(engine, condition):
    """Stops an engine once a condition holds."""

    def run():
        wait_for(condition)
        engine.stop()

    threading.Thread(target=run, daemon=True).start()


def test_stop_takes_only_our_own_prompts_away(server, new_engine, requests):
    engine = new_engine(server, batch=1)
    foreign = server.accept({"prompt_id": "foreign", "prompt": {}, "client_id": "other"})
    server.works = False
    stop_after(engine, lambda: len(server.posts) == 3)
    answers = in_threads(engine, [[request] for request in requests[:3]])
    assert all(isinstance(answer, EngineError) and "stopped" in str(answer) for answer in answers)
    assert [prompt.id for prompt in server.pending] == [foreign.id]
    assert server.interrupted == []
    assert sorted(server.deleted) == sorted(prompt.id for prompt in server.posts[1:])


def test_stop_interrupts_the_prompt_that_runs(server, new_engine, requests):
    engine = new_engine(server)
    server.gate = threading.Event()
    stop_after(engine, lambda: server.running)
    [answer] = in_threads(engine, [requests[:2]])
    assert isinstance(answer, EngineError)
    assert server.interrupted == [server.posts[0].id]


def test_what_a_killed_run_left_is_dropped(server, new_engine, requests):
    engine = new_engine(server)
    engine.augment(requests[:1])
    token = server.posts[0].extra["acusim"]
    engine.close()
    server.works = False
    for name, extra in (("orphan", {"acusim": token}), ("foreign", {})):
        server.accept({"prompt_id": name, "prompt": {}, "extra_data": extra})
    again = new_engine(server)
    assert [prompt.id for prompt in server.pending] == ["foreign"]
    assert any("earlier run" in note for note in again.notes)


def test_a_user_graph_with_a_plain_ksampler_makes_one_picture_at_a_time(server, new_engine, requests, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(plain_graph())
    engine = new_engine(server, workflow=path)
    assert engine.batch_size == 1
    assert_created(engine.augment(requests[:3]), requests[:3])
    assert [prompt.inputs("KSampler")["seed"] for prompt in server.posts] == [1000, 1001, 1002]
    assert any("checkpoint" not in note and "decides" in note for note in engine.notes)
    assert engine.documents() == {"workflow.json": path.read_bytes()}


def plain_graph() -> str:
    """A graph of a user's own: img2img without IC-Light."""
    import json

    def node(kind: str, title: str, **inputs: object) -> dict[str, object]:
        return {"class_type": kind, "inputs": inputs, "_meta": {"title": title}}

    load = {"root": "input", "folder": "", "samples": "", "selection": "", "index": 0, "count": 1, "size": 0}
    sampling = {"seed": 5, "steps": 9, "cfg": 3.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 0.3}
    links = {"model": ["c", 0], "positive": ["p", 0], "negative": ["n", 0], "latent_image": ["e", 0]}
    save = {"root": "output", "folder": "x", "format": "as sample", "labels": True, "preview": True, "record": ""}
    graph = {
        "s": node("AcuSimLoadSamples", "samples", **load),
        "c": node("CheckpointLoaderSimple", "Checkpoint", ckpt_name="v1-5-pruned-emaonly.safetensors"),
        "p": node("CLIPTextEncode", "POSITIVE", clip=["c", 1], text="mine"),
        "n": node("CLIPTextEncode", "Negative", clip=["c", 1], text="mine"),
        "e": node("VAEEncode", "enc", pixels=["s", 0], vae=["c", 2]),
        "k": node("KSampler", "Sampler", **links, **sampling),
        "d": node("VAEDecode", "dec", samples=["k", 0], vae=["c", 2]),
        "o": node("AcuSimSaveSamples", "Save", images=["d", 0], samples=["s", 2], **save),
    }
    return json.dumps(graph)


def test_the_engine_needs_a_setup_and_sane_addresses(dataset, new_engine, server):
    from engines.base import Setup
    from engines.comfyui.engine import ComfyUIEngine
    from engines.options import ComfyUIOptions
    from engines.recipe import Recipe

    with pytest.raises(ConfigError, match="data set"):
        ComfyUIEngine(Recipe())
    for address in ("ftp://x", "http://", "http://user:secret@host:1", "http://host:port", "http://h/?q=1"):
        with pytest.raises(ConfigError) as caught:
            ComfyUIEngine(Recipe(), Setup(dataset, options=ComfyUIOptions(server=(address,))))
        assert "secret" not in str(caught.value)
    assert ComfyUIEngine(
        Recipe(), Setup(dataset, options=ComfyUIOptions(server=("host:1", "http://host:1/")))
    )._urls == ("http://host:1",)
    with pytest.raises(ConfigError, match=r"1\.\.64"):
        ComfyUIEngine(Recipe(), Setup(dataset, options=ComfyUIOptions(batch_size=65)))


def test_closed_engines_say_so(new_engine, server, requests):
    engine = new_engine(server, opened=False)
    with pytest.raises(EngineError, match="not open"):
        engine.augment(requests[:1])
    assert engine.work_in_progress() == 0.0
    engine.stop()
    engine.close()
    engine.close()


def test_identity_is_the_graph_not_its_layout(new_engine, server, tmp_path: Path):
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    one.write_text(plain_graph())
    two.write_text(plain_graph().replace(", ", ",\n  "))
    assert one.read_bytes() != two.read_bytes()
    first, second = (new_engine(server, opened=False, workflow=path) for path in (one, two))
    assert first.identity() == second.identity() != new_engine(server, opened=False).identity()
