"""One sick server among healthy ones: it costs no picture."""

import threading

import pytest

from acusim.errors import AcuSimError, EngineError, PictureError
from engines.comfyui.errors import Unreachable
from engines.comfyui.server_pool import FAILURES
from tests.engines.comfyui.conftest import assert_created, wait_for
from tests.engines.comfyui.fake_server import NodeError
from tests.engines.comfyui.test_recovery import failing
from tests.engines.comfyui.test_transport import changed


def sick(server, error=None):
    """Makes every prompt fail there."""

    def before(prompt):
        raise error or NodeError("RuntimeError", "CUDA error: device-side assert triggered")

    server.before = before


def singles(server):
    """Pictures that were tried there alone."""
    return [prompt.samples for prompt in server.posts if len(prompt.samples) == 1]


ERRORS = {
    "at the sampler": None,
    "at the samples": NodeError("LayoutError", "no such folder", "1", "AcuSimLoadSamples"),
    "out of memory": NodeError("torch.OutOfMemoryError", "Allocation on device"),
}


@pytest.mark.parametrize("how", ERRORS)
def test_a_sick_server_costs_no_picture(new_server, new_engine, requests, how):
    first, second = new_server(), new_server()
    sick(first, ERRORS[how])
    engine = new_engine(first, second)
    assert_created(engine.augment(requests), requests)
    assert first.executed == [] and second.executed


def test_a_server_that_fails_batch_after_batch_gets_no_more_work(new_server, new_engine, requests):
    first, second = new_server(), new_server()
    sick(first)
    engine = new_engine(first, second, batch=2)
    for number in range(0, 8, 2):
        batch = requests[number : number + 2]
        assert_created(engine.augment(batch), batch)
    assert len(first.posts) == FAILURES == 3, "the fourth batch went elsewhere at once"
    [note] = [note for note in engine.notes if "left out" in note]
    assert "device-side assert triggered" in note and "3 batches in a row failed there" in note


def test_a_success_in_between_makes_up_for_failures(new_server, new_engine, requests):
    first, second = new_server(), new_server()
    engine = new_engine(first, second, batch=2)
    for _ in range(FAILURES):
        sick(first)
        assert_created(engine.augment(requests[:2]), requests[:2])
        first.before = lambda prompt: None
        assert_created(engine.augment(requests[2:4]), requests[2:4])
    assert len(first.executed) == FAILURES
    assert not any("left out" in note for note in engine.notes)


def test_the_last_server_is_never_left_out_for_failures(server, new_engine, requests):
    sick(server)
    engine = new_engine(server, batch=1)
    for request in requests[:5]:
        [found] = engine.augment([request])
        assert isinstance(found, AcuSimError) and not isinstance(found, EngineError)
    assert len(server.posts) == 10, "each twice"


def test_a_bad_sample_is_skipped_after_both_servers_tried_it_alone(new_server, new_engine, requests):
    first, second = new_server(), new_server()
    for server in (first, second):
        failing(server, requests[1].sample, NodeError("RuntimeError", "toy boom"))
    engine = new_engine(first, second)
    answers = engine.augment(requests[:3])
    assert_created([answers[0], answers[2]], [requests[0], requests[2]])
    assert "toy boom" in str(answers[1])
    bad = [str(requests[1].sample) in samples[0] for server in (first, second) for samples in singles(server)]
    assert sum(bad) == 2
    for server in (first, second):
        assert sum(str(requests[1].sample) in samples[0] for samples in singles(server)) == 1


def black(server):
    """Makes pictures without light."""
    server.picture = lambda pixels: pixels * 0


def not_finite(server):
    """Makes pictures that are none."""
    nothing = {"file": None, "sha256": "", "bytes": 0, "finite": False, "minimum": None, "maximum": None}
    server.answer = lambda entries, prompt: changed(entries, **nothing)


@pytest.mark.parametrize("spoil", [black, not_finite])
def test_black_pictures_are_tried_on_another_server(new_server, new_engine, requests, spoil):
    first, second = new_server(), new_server()
    spoil(first)
    engine = new_engine(first, second)
    assert_created(engine.augment(requests[:2]), requests[:2])
    assert (len(first.posts), len(second.posts)) == (1, 1)
    spoil(second)
    found = engine.augment(requests[2:3])
    assert isinstance(found[0], PictureError)
    assert (len(first.posts), len(second.posts)) == (2, 2), "two servers are enough"


def gone(server):
    """A server that takes no more questions, but goes on working."""
    names = ("GET /history", "GET /queue", "POST /queue", "GET /system_stats")
    server.hooks = dict.fromkeys(names, lambda handler, body: handler.cut() or True)


def test_a_prompt_that_moves_away_from_a_server_just_come_back_is_dropped(new_server, new_engine, requests):
    first, second = new_server(), new_server()
    engine = new_engine(first, second)
    pool, [one, two] = engine.fleet.pool, engine.fleet.servers
    first.gate = threading.Event()
    acquire = pool.acquire

    def late(task):
        """Chooses while the first server is down; it comes back before the prompt is left there."""
        server = acquire(task)
        if task.server is one and server is two:
            first.hooks = {}
            one.retry_at = 0.0
            wait_for(lambda: pool._try_reconnect(one) or one.up)
        return server

    pool.acquire = late
    answers = []
    thread = threading.Thread(target=lambda: answers.extend(engine.augment(requests[:2])), daemon=True)
    thread.start()
    wait_for(lambda: first.running)
    gone(first)
    thread.join(10)
    assert_created(answers, requests[:2])
    assert first.interrupted == [first.posts[0].id]
    assert one.strays == set()


def test_a_prompt_that_is_left_while_the_server_is_looked_at_is_dropped(new_server, new_engine, requests):
    first, second = new_server(), new_server()
    engine = new_engine(first, second)
    pool, [one, _] = engine.fleet.pool, engine.fleet.servers
    one.up, one.strays = False, {"early"}
    drop, dropped = one.client.drop, []

    def slow(prompt_ids):
        dropped.append(list(prompt_ids))
        if len(dropped) == 1:
            one.strays.add("late")
        drop(prompt_ids)

    one.client.drop = slow
    assert pool._try_reconnect(one)
    assert dropped == [["early"], ["late"]] and one.strays == set()


def test_strays_are_dropped_when_the_engine_closes(new_server, new_engine, requests):
    first, second = new_server(), new_server()
    engine = new_engine(first, second)
    first.gate = threading.Event()
    answers = []
    thread = threading.Thread(target=lambda: answers.extend(engine.augment(requests[:2])), daemon=True)
    thread.start()
    wait_for(lambda: first.running)
    gone(first)
    thread.join(10)
    assert_created(answers, requests[:2])
    assert first.interrupted == []
    first.hooks = {}
    engine.close()
    assert first.interrupted == [first.posts[0].id]


def test_a_prompt_that_may_have_arrived_before_the_server_vanished_is_a_stray(new_server, new_engine, requests):
    import json

    first, second = new_server(), new_server()
    engine = new_engine(first, second)
    one = engine.fleet.servers[0]

    def post(handler, body):
        first.accept(json.loads(body))
        ask = one.client.outcome
        failure = Unreachable(first.url, "no connection; does ComfyUI run there?", sent=False)

        def refused(prompt_id):
            one.client.outcome = ask
            first.hooks = dict.fromkeys(("GET /system_stats",), lambda handler, body: handler.cut() or True)
            raise failure

        one.client.outcome = refused
        handler.cut()
        return True

    first.works = False
    first.hooks["POST /prompt"] = post
    assert_created(engine.augment(requests[:2]), requests[:2])
    assert one.strays == {first.posts[0].id}
    first.hooks = {}
    engine.close()
    assert first.deleted == [first.posts[0].id]
    assert len(second.executed) == 1


@pytest.mark.parametrize("status", [400, 413])
def test_a_file_that_cannot_be_uploaded_costs_no_other_picture(far_server, new_engine, requests, status):
    def upload(handler, body):
        if requests[1].source.name.encode() in body:
            handler.reply(b"too large", status)
            return True
        return False

    far_server.hooks["POST /upload/image"] = upload
    engine = new_engine(far_server)
    answers = engine.augment(requests[:4])
    assert_created([answers[0], *answers[2:]], [requests[0], *requests[2:4]])
    assert f"does not take it (HTTP {status}): too large" in str(answers[1])
    assert not isinstance(answers[1], EngineError)
    assert_created(engine.augment(requests[4:6]), requests[4:6])
    [folder] = {prompt.inputs("AcuSimLoadSamples")["folder"] for prompt in far_server.posts}
    assert not folder.endswith("-1"), "a fresh folder would not help"


def test_an_upload_that_the_server_forbids_altogether_excludes_it(far_server, new_engine, requests):
    far_server.hooks["POST /upload/image"] = lambda handler, body: handler.reply(b"", 403) or True
    engine = new_engine(far_server)
    with pytest.raises(EngineError, match="HTTP 403"):
        engine.augment(requests[:2])
