"""The socket: lost, late, silent, or with odd messages."""

import dataclasses
import threading
import time

import pytest

from engines.comfyui.listener import PromptProgress
from tests.engines.comfyui.conftest import QUICK, assert_created, wait_for
from tests.engines.comfyui.test_fleet import start
from tests.engines.comfyui.wire import Socket


def test_progress_never_goes_back_and_counts_sampling_only():
    watch = PromptProgress(frozenset({"17"}))
    watch.handle("progress", {"node": "5", "value": 9, "max": 10})
    assert watch.fraction == 0
    watch.handle("progress", {"node": "17", "value": 3, "max": 4})
    watch.handle("progress", {"node": "17", "value": 1, "max": 4})
    assert watch.fraction == 0.75
    watch.handle("progress_state", {"nodes": {"17": {"value": 4, "max": 4}, "5": {"value": 1, "max": 1}, "6": None}})
    assert watch.fraction == 1
    assert not watch.wake.is_set()
    watch.handle("executing", {"node": "17"})
    assert not watch.wake.is_set()
    watch.handle("executing", {"node": None})
    assert watch.wake.is_set()


def test_a_dropped_socket_is_opened_again_under_a_fresh_id(server, new_engine, requests):
    engine = new_engine(server, times=dataclasses.replace(QUICK, poll=20))
    engine.augment(requests[:1])
    server.all_sockets[-1].drop()
    wait_for(lambda: len(server.client_ids) == 2 and len(server.sockets) == 1)
    started = time.monotonic()
    assert_created(engine.augment(requests[1:2]), requests[1:2])
    assert time.monotonic() - started < 5, "messages came through the new socket; polls are 20 s apart"
    assert len(set(server.client_ids)) == 2


def test_a_socket_that_closes_late_does_not_silence_the_next_one(server, new_engine, requests):
    engine = new_engine(server, times=dataclasses.replace(QUICK, poll=20))
    engine.augment(requests[:1])
    server.late_close = 0.3
    server.all_sockets[-1].drop()
    wait_for(lambda: len(server.client_ids) == 2)
    wait_for(lambda: list(server.sockets) == server.client_ids[1:])  # the late close has happened
    started = time.monotonic()
    assert_created(engine.augment(requests[1:2]), requests[1:2])
    assert time.monotonic() - started < 5


def test_a_silent_socket_is_replaced_while_a_prompt_is_out(server, new_engine, requests):
    engine = new_engine(server, times=dataclasses.replace(QUICK, silent=0.2))
    server.gate = threading.Event()
    thread, answers = start(engine, requests[:1])
    wait_for(lambda: server.running)
    wait_for(lambda: len(server.client_ids) >= 2)
    server.gate.set()
    thread.join(10)
    assert_created(answers[0], requests[:1])
    assert len(set(server.client_ids)) == len(server.client_ids)
    wait_for(lambda: "silent" in engine.fleet.servers[0].client.listener.last_error)


@pytest.mark.parametrize("head", [b"\x82\x7f" + (1 << 40).to_bytes(8, "big"), b"\x02\x7e\xff\xff"])
def test_a_message_too_large_to_hold_ends_the_socket(server, new_engine, requests, monkeypatch, head):
    monkeypatch.setattr("engines.comfyui.listener.MAX_MESSAGE", 100_000)
    engine = new_engine(server)
    engine.augment(requests[:1])
    server.all_sockets[-1].connection.sendall(head + b"x" * 65_535)
    assert len(server.client_ids) == 1
    server.all_sockets[-1].connection.sendall(b"\x00\x7e\xff\xff" + b"x" * 65_535)
    wait_for(lambda: len(server.client_ids) == 2)
    assert engine.fleet.servers[0].client.listener.last_error == "a message of more than 100000 bytes"
    assert_created(engine.augment(requests[1:2]), requests[1:2])


def test_a_message_in_fragments_and_a_ping_keep_the_socket(server, new_engine, requests):
    engine = new_engine(server)
    engine.augment(requests[:1])
    connection = server.all_sockets[-1].connection
    connection.sendall(b"\x01\x03\xff{}" + b"\x89\x02hi" + b"\x80\x02\xfe]")
    assert_created(engine.augment(requests[1:2]), requests[1:2])
    assert len(server.client_ids) == 1


def test_pictures_come_without_any_socket(server, new_engine, requests):
    server.hooks["GET /ws"] = lambda handler, body: handler.reply(b"", 403) or True
    engine = new_engine(server, times=dataclasses.replace(QUICK, socket=0.05))
    assert_created(engine.augment(requests[:4]), requests[:4])
    assert server.client_ids == []


def test_messages_dropped_on_the_way_only_cost_time(server, new_engine, requests, monkeypatch):
    monkeypatch.setattr(Socket, "send", lambda *arguments, **how: None)
    engine = new_engine(server)
    assert_created(engine.augment(requests[:4]), requests[:4])


def test_nonsense_and_foreign_messages_change_nothing(server, new_engine, requests):
    engine = new_engine(server, times=dataclasses.replace(QUICK, poll=20))
    server.gate = threading.Event()
    thread, answers = start(engine, requests[:2])
    wait_for(lambda: engine.work_in_progress() == 2)
    asked = len(server.requests)
    ours, socket = server.posts[0].id, server.all_sockets[0]
    for text in (
        b"not json",
        b"[1]",
        b'"text"',
        b'{"type": 5, "data": {"prompt_id": "%s"}}' % ours.encode(),
        b'{"type": "executing", "data": null}',
        b'{"type": "progress", "data": {"prompt_id": "foreign", "node": "17", "value": 1, "max": 2}}',
        b'{"type": "progress", "data": {"prompt_id": "%s", "node": "17", "value": "x", "max": 0}}' % ours.encode(),
        b'{"type": "progress", "data": {"prompt_id": "%s", "node": "17", "value": 1e9, "max": 2}}' % ours.encode(),
        b'{"type": "execution_success", "data": {"prompt_id": "%s"}}' % ours.encode(),
        b'{"type": "executing", "data": {"node": null, "prompt_id": "%s"}}' % ours.encode(),
    ):
        socket.send(text)
    socket.send(b"\x00" * 100, opcode=2)
    wait_for(lambda: len(server.requests) > asked)  # the last message woke the one who waits
    assert thread.is_alive(), "messages of success are no success"
    assert engine.work_in_progress() == 2
    server.gate.set()
    thread.join(10)
    assert_created(answers[0], requests[:2])
    assert len(server.client_ids) == 1, "the socket was kept"
