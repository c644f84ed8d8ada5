"""Servers that die, come back or stand still."""

import dataclasses
import threading
import time

import pytest

from acusim.errors import EngineError
from tests.engines.comfyui.conftest import QUICK, assert_created, in_threads, polled, wait_for


def start(engine, batch):
    """A batch in a thread of its own, and where its answers will be."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(in_threads(engine, [batch])[0]), daemon=True)
    thread.start()
    return thread, answers


def test_killed_and_restarted_prompts_are_sent_once_more_and_nothing_runs_twice(server, new_engine, requests):
    engine = new_engine(server, batch=2)
    server.gate = threading.Event()
    results = []
    thread = threading.Thread(
        target=lambda: results.extend(in_threads(engine, [requests[:2], requests[2:4], requests[4:6]])), daemon=True
    )
    thread.start()
    wait_for(lambda: server.running and server.pending)
    server.kill()
    server.gate.set()
    wait_for(lambda: not engine.fleet.servers[0].up)
    server.start()
    thread.join(15)
    for answers, batch in zip(results, (requests[:2], requests[2:4], requests[4:6]), strict=True):
        assert_created(answers, batch)
    assert len(server.executed) == 3, "each batch was created once"
    lost = len(server.posts) - 3
    assert lost == 2, "what ran and what waited was sent again, once each"
    assert len({prompt.id for prompt in server.posts}) == len(server.posts), "no id is used twice"


def test_a_server_that_blinks_keeps_its_prompt(server, new_engine, requests):
    engine = new_engine(server)
    server.gate = threading.Event()
    thread, answers = start(engine, requests[:2])
    wait_for(lambda: server.running)
    server.hooks["GET /history"] = lambda handler, body: handler.cut() or True
    wait_for(lambda: not engine.fleet.servers[0].up)
    server.hooks.clear()
    wait_for(lambda: engine.fleet.servers[0].up)
    server.gate.set()
    thread.join(15)
    assert_created(answers[0], requests[:2])
    assert len(server.posts) == 1, "it was still running: not sent again"


def test_of_two_servers_the_living_one_takes_over(new_server, new_engine, requests):
    first, second = new_server(), new_server()
    engine = new_engine(first, second, batch=2)
    assert engine.concurrency == 6
    first.gate = second.gate = threading.Event()
    results = []
    batches = [requests[i : i + 2] for i in range(0, 8, 2)]
    thread = threading.Thread(target=lambda: results.extend(in_threads(engine, batches)), daemon=True)
    thread.start()
    wait_for(lambda: len(first.posts) == 2 and len(second.posts) == 2)
    first.kill()
    first.gate.set()
    thread.join(15)
    for answers, batch in zip(results, batches, strict=True):
        assert_created(answers, batch)
    assert first.executed == []
    assert len(second.executed) == 4
    assert any("server lost" in note for note in engine.notes)


def test_a_server_that_comes_back_drops_what_moved_away(new_server, new_engine, requests):
    first, second = new_server(), new_server()
    engine = new_engine(first, second)
    first.gate = threading.Event()
    thread, answers = start(engine, requests[:2])
    wait_for(lambda: first.running)
    cut = {"GET /history", "GET /queue", "GET /system_stats"}
    first.hooks = dict.fromkeys(cut, lambda handler, body: handler.cut() or True)
    thread.join(15)
    assert_created(answers[0], requests[:2])
    assert len(second.executed) == 1
    first.hooks = {}
    second.kill()
    thread, answers = start(engine, requests[2:4])
    wait_for(lambda: len(first.posts) == 2)
    assert first.interrupted == [first.posts[0].id], "the stray was dropped before anything new was sent"
    first.gate.set()
    thread.join(10)
    assert_created(answers[0], requests[2:4])
    assert [prompt.id for prompt in first.executed] == [first.posts[1].id]


def test_patience_ends_when_no_server_comes_back(server, new_engine, requests):
    engine = new_engine(server, times=dataclasses.replace(QUICK, patience=0.3))
    server.kill()
    started = time.monotonic()
    with pytest.raises(EngineError, match=r"no ComfyUI server could be reached for 0 s.*does ComfyUI run there"):
        engine.augment(requests[:2])
    assert 0.3 < time.monotonic() - started < 3


def test_a_prompt_that_brings_the_server_down_twice_is_skipped(server, new_engine, requests):
    engine = new_engine(server, batch=2)
    deadly = requests[1].sample

    def before(prompt):
        if any(str(deadly) in image for image in prompt.samples):
            life = server._alive
            threading.Thread(target=die, daemon=True).start()
            wait_for(lambda: not life.is_set())

    def die():
        wait_for(lambda: any(task.ran for task in engine.fleet._tasks))
        server.kill()
        server.start()

    server.before = before
    good, bad = engine.augment(requests[:2])
    assert_created([good], requests[:1])
    assert "restarted" in str(bad)
    assert not isinstance(bad, EngineError), "it concerns one picture"
    assert len(server.executed) == 1


def test_a_queue_that_stands_still_excludes_the_server(new_server, new_engine, requests):
    first, second = new_server(), new_server()
    engine = new_engine(first, second, times=dataclasses.replace(QUICK, stall=0.2))
    first.works = False
    assert_created(engine.augment(requests[:2]), requests[:2])
    assert [prompt.id for prompt in first.posts] == first.deleted, "ours was taken out of the dead queue"
    assert any("restart ComfyUI" in note for note in engine.notes)
    assert_created(engine.augment(requests[2:4]), requests[2:4])
    assert len(first.posts) == 1, "no more work for it"


def test_when_the_only_server_stands_still_the_message_says_what_to_do(server, new_engine, requests):
    engine = new_engine(server, times=dataclasses.replace(QUICK, stall=0.1))
    server.works = False
    with pytest.raises(EngineError, match="none runs; restart ComfyUI there"):
        engine.augment(requests[:2])


def test_waiting_behind_prompts_of_others_is_no_stall(server, new_engine, requests):
    engine = new_engine(server, times=dataclasses.replace(QUICK, stall=0.1))
    server.works = False
    server.running = server.accept({"prompt_id": "foreign", "prompt": {}})
    server.pending.clear()
    thread, answers = start(engine, requests[:2])
    wait_for(lambda: server.posts[-1].id != "foreign")
    polled(server, 8)
    assert thread.is_alive()
    server.running, server.works = None, True
    thread.join(10)
    assert_created(answers[0], requests[:2])


def test_a_prompt_without_any_sign_of_life_moves_on(new_server, new_engine, requests):
    first, second = new_server(), new_server()
    engine = new_engine(first, second, times=dataclasses.replace(QUICK, progress=0.3))
    first.gate = threading.Event()
    assert_created(engine.augment(requests[:2]), requests[:2])
    assert first.interrupted == [first.posts[0].id]
    assert len(second.executed) == 1


def test_an_evicted_history_entry_means_once_more(server, new_engine, requests):
    engine = new_engine(server)
    evicted = []

    def history(handler, body):
        wanted = handler.path.split("/")[2]
        if not evicted and wanted in server.history:
            evicted.append(server.history.pop(wanted))
        return False

    server.hooks["GET /history"] = history
    assert_created(engine.augment(requests[:2]), requests[:2])
    assert len(server.posts) == 2
    assert len({prompt.id for prompt in server.posts}) == 2


def test_a_post_that_times_out_after_it_was_accepted_is_not_sent_again(server, new_engine, requests):
    import json

    engine = new_engine(server, times=dataclasses.replace(QUICK, read=0.3))
    seen = []

    def post(handler, body):
        seen.append(body)
        server.accept(json.loads(body))
        time.sleep(0.6)
        handler.cut()
        return True

    server.hooks["POST /prompt"] = post
    assert_created(engine.augment(requests[:2]), requests[:2])
    assert len(seen) == len(server.posts) == len(server.executed) == 1


@pytest.mark.parametrize("accepted", [True, False])
def test_a_connection_that_breaks_in_the_post(server, new_engine, requests, accepted):
    import json

    engine = new_engine(server)
    seen = []

    def post(handler, body):
        seen.append(body)
        if len(seen) > 1:
            return False
        if accepted:
            server.accept(json.loads(body))
        handler.cut()
        return True

    server.hooks["POST /prompt"] = post
    assert_created(engine.augment(requests[:2]), requests[:2])
    assert len(server.executed) == 1
    assert len(seen) == (1 if accepted else 2)


def test_a_500_is_tried_again_and_then_excludes_the_server(server, new_engine, requests):
    engine = new_engine(server)
    seen = []

    def post(handler, body):
        seen.append(body)
        if len(seen) > 1 and server.works:
            return False
        handler.reply(b"500 Internal Server Error\n\nServer got itself in trouble", 500)
        return True

    server.hooks["POST /prompt"] = post
    assert_created(engine.augment(requests[:2]), requests[:2])
    assert len(server.executed) == 1
    server.works = False
    with pytest.raises(EngineError, match=r"HTTP 500.*got itself in trouble"):
        engine.augment(requests[2:4])
