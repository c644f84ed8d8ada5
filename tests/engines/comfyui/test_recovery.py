"""Prompts that fail, and answers that are not what was asked for."""

import json

import pytest

from acusim.errors import AcuSimError, EngineError, PictureError
from tests.engines.comfyui.conftest import assert_created
from tests.engines.comfyui.fake_server import Interruption, NodeError
from tests.engines.comfyui.wire import recorded

OUT_OF_MEMORY = [
    ("torch.OutOfMemoryError", "Allocation on device"),
    ("torch.cuda.OutOfMemoryError", "CUDA out of memory. Tried to allocate 2.00 GiB"),
    ("RuntimeError", "[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory"),
    ("RuntimeError", "Allocation on device 0 would exceed allowed memory. (out of memory)"),
]


def failing(server, sample, error):
    """Makes every prompt fail that holds a sample."""

    def before(prompt):
        if any(str(sample) in image for image in prompt.samples):
            raise error

    server.before = before


@pytest.mark.parametrize(("kind", "message"), OUT_OF_MEMORY)
def test_out_of_memory_halves_the_batch_and_remembers(server, new_engine, requests, kind, message):
    engine = new_engine(server, batch=8)

    def before(prompt):
        if len(prompt.samples) > 2:
            raise NodeError(kind, message)

    server.before = before
    assert_created(engine.augment(requests), requests)
    assert [len(prompt.samples) for prompt in server.posts] == [8, 4, 2, 2, 2, 2]
    assert server.freed == 2
    assert_created(engine.augment(requests), requests)
    assert [len(prompt.samples) for prompt in server.posts[6:]] == [2, 2, 2, 2], "remembered"


def test_out_of_memory_for_one_picture_skips_it(server, new_engine, requests):
    engine = new_engine(server, batch=2)
    failing(server, requests[0].sample, NodeError("torch.OutOfMemoryError", "Allocation on device"))
    first, second = engine.augment(requests[:2])
    assert isinstance(first, AcuSimError) and not isinstance(first, EngineError)
    assert "Allocation on device" in str(first)
    assert_created([second], requests[1:2])


def test_one_bad_sample_costs_no_other_picture(server, new_engine, requests):
    engine = new_engine(server)
    failing(server, requests[2].sample, NodeError("RuntimeError", "toy boom"))
    answers = engine.augment(requests[:4])
    assert_created(answers[:2] + answers[3:], [*requests[:2], requests[3]])
    assert "node 'Sample' (SamplerCustomAdvanced) failed: RuntimeError: toy boom" in str(answers[2])
    assert [len(prompt.samples) for prompt in server.posts] == [4, 1, 1, 1, 1, 1], "alone, it is tried twice"


def test_a_sample_that_cannot_be_loaded_is_not_tried_again(server, new_engine, requests):
    engine = new_engine(server)
    failing(server, requests[0].sample, NodeError("PictureError", "no foreground found", "1", "AcuSimLoadSamples"))
    [answer] = engine.augment(requests[:1])
    assert "no foreground found" in str(answer)
    assert len(server.posts) == 1


def test_a_passing_error_is_overcome(server, new_engine, requests):
    engine = new_engine(server)

    def before(prompt):
        if len(server.posts) == 1:
            raise NodeError("RuntimeError", "toy boom")

    server.before = before
    assert_created(engine.augment(requests[:1]), requests[:1])
    assert len(server.posts) == 2


def test_a_full_disk_is_no_fault_of_the_samples(server, new_engine, requests):
    engine = new_engine(server)

    def before(prompt):
        raise NodeError("acusim.errors.OutputError", "cannot write: No space left", "20", "AcuSimSaveSamples")

    server.before = before
    with pytest.raises(EngineError, match="No space left"):
        engine.augment(requests[:4])


def test_models_patched_for_the_other_wiring_are_freed_once(server, new_engine, requests):
    engine = new_engine(server)

    def before(prompt):
        if not server.freed:
            raise NodeError("ValueError", "Input channels 12 does not match model in_channels 8")

    server.before = before
    assert_created(engine.augment(requests[:4]), requests[:4])
    assert (server.freed, len(server.posts)) == (1, 2)


def test_interrupted_by_somebody_once_is_tried_again(server, new_engine, requests):
    engine = new_engine(server)

    def before(prompt):
        if len(server.posts) == 1:
            raise Interruption

    server.before = before
    assert_created(engine.augment(requests[:2]), requests[:2])
    assert len(server.posts) == 2


def test_interrupted_twice_is_skipped(server, new_engine, requests):
    engine = new_engine(server)
    failing(server, requests[0].sample, Interruption())
    answers = engine.augment(requests[:2])
    assert all("interrupted" in str(answer) for answer in answers)
    assert len(server.posts) == 2


def refusing(server, form, times=10**9):
    """Answers prompts with a recorded refusal."""
    answer = recorded("rejections")[form]
    seen = []

    def post(handler, body):
        seen.append(body)
        if len(seen) > times:
            return False
        sent = answer["body"]
        if answer["status"] == 200:
            prompt = server.accept(json.loads(body))
            sent = {**sent, "prompt_id": prompt.id}
        handler.reply(sent if isinstance(sent, dict) else sent.encode(), answer["status"])
        return True

    server.hooks["POST /prompt"] = post
    return seen


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("unknown_class", r"node NoSuchNode does not exist.*Node ID '#6'"),
        ("value_not_in_list", r"node 'Checkpoint' \(CheckpointLoaderSimple\): Value not in list at input 'ckpt_name'"),
        ("value_not_in_list", r"received 'absent\.safetensors'.*not in \['sd15_random\.safetensors'\]"),
        ("required_input_missing", r"node 'Schedule' \(BasicScheduler\): Required input is missing at input 'steps'"),
        ("return_type_mismatch", r"received_type\(VAE\) mismatch input_type\(LATENT\)"),
        ("custom_validation_failed", r"'\.\./out' is not a plain relative path"),
        ("value_smaller_than_min", r"smaller than min of 1.*received 0"),
        ("prompt_no_outputs", "Prompt has no outputs"),
        ("no_prompt", "No prompt provided"),
    ],
)
def test_each_form_of_refusal_is_reported_in_readable_words(server, new_engine, requests, form, message):
    engine = new_engine(server)
    seen = refusing(server, form)
    with pytest.raises(EngineError, match=message) as caught:
        engine.augment(requests[:2])
    assert "HTTP 400" in str(caught.value)
    assert len(str(caught.value)) < 4000
    assert len(seen) == 1, "a refusal is final"


def test_a_prompt_taken_only_in_part_is_a_refusal_and_is_dropped(server, new_engine, requests):
    engine = new_engine(server)
    server.works = False
    refusing(server, "partly_refused")
    with pytest.raises(EngineError, match=r"Required input is missing at input 'filename_prefix'.*HTTP 200"):
        engine.augment(requests[:2])
    assert server.deleted == [server.posts[0].id]
    assert server.executed == []


def test_a_sample_that_is_refused_costs_no_other_picture(server, new_engine, requests):
    engine = new_engine(server, batch=2)

    def post(handler, body):
        if str(requests[0].sample) in body.decode():
            handler.reply(recorded("rejections")["samples_refused"]["body"], 400)
            return True
        return False

    server.hooks["POST /prompt"] = post
    first, second = engine.augment(requests[:2])
    assert "grammar" in str(first) and not isinstance(first, EngineError)
    assert_created([second], requests[1:2])


def test_a_refusing_server_leaves_the_work_to_the_other(new_server, new_engine, requests):
    first, second = new_server(), new_server()
    engine = new_engine(first, second)
    refusing(first, "unknown_class")
    assert_created(engine.augment(requests[:2]), requests[:2])
    assert any("left out" in note and "NoSuchNode" in note for note in engine.notes)


def test_a_prompt_taken_under_another_id_is_dropped(server, new_engine, requests):
    engine = new_engine(server)
    server.works = False

    def post(handler, body):
        prompt = server.accept({**json.loads(body), "prompt_id": f"own{len(server.posts)}"})
        handler.reply({"prompt_id": prompt.id, "number": 0, "node_errors": {}})
        return True

    server.hooks["POST /prompt"] = post
    with pytest.raises(EngineError, match=r"under the id 'own0', not .*update ComfyUI"):
        engine.augment(requests[:1])
    assert server.pending == []


@pytest.mark.parametrize("body", [b"[]", b"<html>", b"", b"[" * 100_000, b'{"queue_running": 1}'])
def test_answers_that_are_no_answers(server, new_engine, requests, body):
    engine = new_engine(server)
    server.hooks["GET /history"] = lambda handler, _: handler.reply(body) or True
    server.hooks["GET /queue"] = lambda handler, _: handler.reply(body) or True
    [found] = engine.augment(requests[:1])
    assert isinstance(found, AcuSimError)


def test_a_history_entry_without_a_status(server, new_engine, requests):
    engine = new_engine(server)
    server.hooks["GET /history"] = lambda handler, _: (
        handler.reply({handler.path.split("/")[2]: {"status": None, "outputs": {}}}) or True
    )
    [found] = engine.augment(requests[:1])
    assert "no status" in str(found)


def test_a_scene_that_was_changed_skips_the_batch(server, new_engine, requests, tmp_path):
    import dataclasses

    from engines.scenes import Scene

    path = tmp_path / "scene.jpg"
    path.write_bytes(b"other bytes")
    batch = [dataclasses.replace(request, scene=Scene("scene.jpg", path, "0" * 64)) for request in requests[:2]]
    engine = new_engine(server)
    for found in engine.augment(batch):
        assert isinstance(found, PictureError) and "was changed" in str(found)
    assert server.posts == []
