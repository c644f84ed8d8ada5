"""Several servers and the prompts on them: who gets what, and what happens when something goes wrong.

Each server holds at most two of our prompts, one running and one waiting, so that it never idles between them. A task
is a batch on its way; whatever befalls it, it ends in a Result or an error for each of its pictures.

Nothing runs twice at the same time: a task is sent again only when the server no longer knows its prompt (it was
restarted), when the prompt has ended, or when the server itself is unreachable and another one takes over. In that
last case the prompt may still be running behind a broken network; it is noted and dropped once the server is back.
"""

import itertools
import json
import threading
import time
import uuid
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from acusim.errors import AcuSimError, EngineError
from engines.comfyui.client import Client
from engines.comfyui.errors import (
    BadAnswer,
    ExecutionFailed,
    Interrupted,
    Lost,
    OutOfMemory,
    Rejected,
    ServerError,
    Stalled,
    Unreachable,
)
from engines.comfyui.tasks import TRIES, Server, Task
from engines.comfyui.times import Times
from engines.comfyui.transport import Asked, Remote, image_path, received
from engines.engine import Request, Result

NAMESPACE = uuid.UUID("5d0c63d1-5c2b-5f6e-9d0b-0b1c7a6a1f52")
HELD = 2
"""Prompts of ours on one server."""
LOSSES = 10
"""A server that is lost so often in a row without making a picture gets no more work."""
MIXED_WIRING = ("does not match", "but got")
"""With "channels": what the sampler says where a model was patched for the other wiring."""


class Fleet:
    """Runs batches on servers, from as many threads as there are."""

    def __init__(self, servers: Sequence[Server], dataset: Path, times: Times, notes: list[str] | None = None):
        """Takes servers that passed preflight, and where to note what a user should know."""
        self.servers = list(servers)
        self.notes: list[str] = [] if notes is None else notes
        self._dataset = dataset
        self._run = uuid.uuid4().hex
        self.times = times
        self._count = itertools.count()
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._down_since: float | None = None
        self._tasks: set[Task] = set()

    def run(self, requests: Sequence[Request]) -> list[Result | AcuSimError]:
        """One answer for each request; they have equal scene, texts and size, and no picture is there twice.

        Raises:
            EngineError: no server is left, none came back in time, or the fleet was stopped.
        """
        answers: dict[int, Result | AcuSimError] = {}
        todo = deque([Task(tuple(range(len(requests))))])
        while todo:
            task = todo.popleft()
            server = self._acquire(task)
            if task.server is not server:
                self._leave(task)
                if len(task.positions) > server.limit:
                    task, *rest = task.parts(server.limit)
                    todo.extendleft(reversed(rest))
            todo.extendleft(reversed(self._attempt(server, task, requests, answers)))
        return [answers[position] for position in range(len(requests))]

    def stop(self) -> None:
        """Makes ``run`` end soon, in all threads; each takes its own prompt off its server."""
        self._stopping.set()
        for server in self.servers:
            server.client.listener.wake_all()
        with self._changed:
            self._changed.notify_all()

    def in_work(self) -> float:
        """Work done on the prompts in hand, in pictures."""
        return sum(task.watch.fraction * len(task.positions) for task in list(self._tasks) if task.watch)

    # Which server

    def _acquire(self, task: Task) -> Server:
        """A slot on the server that holds the task's prompt if that is up, else on the least busy one."""
        while True:
            if self._stopping.is_set():
                raise EngineError("stopped")
            with self._changed:
                usable = [server for server in self.servers if not server.bad]
                if not usable:
                    raise EngineError("no server is left: " + "; ".join(server.bad for server in self.servers))
                up = [server for server in usable if server.up]
                if up:
                    self._down_since = None
                candidates = [task.server] if task.server in up else up
                free = [server for server in candidates if server and server.held < HELD]
                chosen = min(free, key=lambda server: server.held, default=None)
                if chosen is not None:
                    chosen.held += 1
                    return chosen
                if not up:
                    self._check_patience(usable)
                if all(server.up for server in usable):
                    self._changed.wait(1.0)
                    continue
            if not any([self._revive(server) for server in usable if not server.up]):
                with self._changed:
                    self._changed.wait(min(0.1, self.times.backoff[0] / 2))

    def _check_patience(self, usable: Sequence[Server]) -> None:
        now = time.monotonic()
        if self._down_since is None:
            self._down_since = now
        if now - self._down_since > self.times.patience:
            told = "; ".join(server.trouble for server in usable)
            raise EngineError(f"no ComfyUI server could be reached for {self.times.patience:.0f} s: {told}")

    def _release(self, server: Server) -> None:
        with self._changed:
            server.held -= 1
            self._changed.notify_all()

    def _lose(self, server: Server, error: Unreachable) -> None:
        """The server is down until it answers again."""
        with self._changed:
            if server.up:
                server.up, server.trouble, server.wait = False, str(error), self.times.backoff[0]
                server.retry_at = time.monotonic() + server.wait
                server.losses += 1
                self.notes.append(f"server lost: {error}")
                if server.losses > LOSSES:
                    server.bad = f"{error}; lost {server.losses} times in a row"
            self._changed.notify_all()

    def _revive(self, server: Server) -> bool:
        """Looks, if it is time to, whether a server is back."""
        if time.monotonic() < server.retry_at or not server.probing.acquire(blocking=False):
            return False
        try:
            server.client.system_stats()
            strays = set(server.strays)
            if strays:
                server.client.drop(sorted(strays))
                server.strays -= strays
        except ServerError as error:
            server.trouble = str(error)
            server.wait = min(2 * server.wait, self.times.backoff[1])
            server.retry_at = time.monotonic() + server.wait
            return False
        finally:
            server.probing.release()
        if isinstance(server.transport, Remote):
            server.transport.forget()
        server.client.listener.hurry()
        with self._changed:
            server.up = True
            self.notes.append(f"{server.client.url}: back again")
            self._changed.notify_all()
        return True

    def _condemn(self, server: Server, error: ServerError, advice: str) -> None:
        """The server gets no more work in this run."""
        with self._changed:
            if not server.bad:
                server.bad = f"{error}; {advice}" if advice else str(error)
                self.notes.append(f"server left out from now on: {server.bad}")
            self._changed.notify_all()

    @staticmethod
    def _leave(task: Task) -> None:
        """The task goes to another server than the one that holds, or held, its prompt."""
        if task.server is not None:
            task.server.strays.add(task.prompt_id)
            task.server.client.listener.forget(task.prompt_id)
        task.server, task.watch, task.asked = None, None, None

    # One prompt

    def _attempt(
        self, server: Server, task: Task, requests: Sequence[Request], answers: dict[int, Result | AcuSimError]
    ) -> list[Task]:
        """Sends the task's prompt or goes on waiting for it; puts down what it made.

        Returns:
            What is still to be done, as tasks.
        """
        unreachable = False
        try:
            self._tasks.add(task)
            try:
                outputs = self._outputs(server, task, [requests[position] for position in task.positions])
            finally:
                # Its place in the queue is free before the pictures are read.
                self._release(server)
            assert task.asked is not None
            results = received(server.transport, task.asked, outputs, server.binding.save_id)
            server.losses = 0
        except Unreachable as error:
            unreachable = True
            self._lose(server, error)
            return [task]
        except ServerError as error:
            return self._after(server, task, error, answers)
        except EngineError:
            raise
        except AcuSimError as error:  # the scene cannot be read
            answers.update(dict.fromkeys(task.positions, error))
            return []
        finally:
            self._tasks.discard(task)
            if not unreachable:
                self._drop_traces(server, task)
        spoiled: list[int] = []
        for position, result in zip(task.positions, results, strict=True):
            if isinstance(result, BadAnswer) and task.faults.get("answer", 0) < TRIES - 1:
                spoiled.append(position)
            else:
                answers[position] = _aside(result) if isinstance(result, ServerError) else result
        if not spoiled:
            return []
        task.again("answer")
        return [Task(tuple(spoiled), dict(task.faults))]

    def _outputs(self, server: Server, task: Task, batch: Sequence[Request]) -> Any:
        """What the prompt's nodes answered, once it is done."""
        client = server.client
        if task.server is None:
            images = [image_path(self._dataset, request) for request in batch]
            prompt_id = self._prompt_id(images, batch)
            places = server.transport.send(batch, images, prompt_id)
            prompt = server.binding.bind(batch, images, places)
            task.asked = Asked(batch, images, prompt_id, places, server.facts)
            task.prompt_id, task.server, task.ran = prompt_id, server, False
            try:
                task.watch = client.submit(prompt, prompt_id, server.binding.workflow.sampling)
            except Unreachable as error:
                if not error.sent:
                    task.server = None
                raise
        return self._wait(server, task)

    def _prompt_id(self, images: Sequence[str], batch: Sequence[Request]) -> str:
        """Never the same twice: a server that is given an id again runs both and mixes up their histories."""
        pictures = [(image, request.seed) for image, request in zip(images, batch, strict=True)]
        return str(uuid.uuid5(NAMESPACE, json.dumps([self._run, pictures, next(self._count)])))

    def _wait(self, server: Server, task: Task) -> Any:
        """Asks for the prompt until it has ended; the socket says when it is worth to ask early."""
        client, watch = server.client, task.watch or server.client.listener.watch(task.prompt_id, frozenset())
        idle_since: float | None = None
        begun = time.monotonic()
        while True:
            if self._stopping.is_set():
                client.drop([task.prompt_id])
                raise EngineError("stopped")
            watch.wake.clear()
            outcome = self._asked(client, task.prompt_id)
            now = time.monotonic()
            if outcome.state == "done":
                return outcome.outputs
            if outcome.error is not None:
                raise outcome.error
            if outcome.state == "unknown":
                raise Lost(client.url, "the server no longer knows the prompt; it was restarted")
            if outcome.state == "running" and not task.ran:
                task.ran, begun = True, now
            idle_since = (idle_since or now) if outcome.idle else None
            if idle_since is not None and (server.bad or now - idle_since > self.times.stall):
                raise Stalled(client.url, f"prompts wait for {self.times.stall:g} s and none runs")
            if task.ran and now - max(begun, watch.heard) > self.times.progress:
                raise Stalled(client.url, f"a prompt runs for {self.times.progress:g} s without a sign of progress")
            watch.wake.wait(self.times.poll)

    def _asked(self, client: Client, prompt_id: str) -> Any:
        try:
            return client.outcome(prompt_id)
        except Unreachable:
            self._stopping.wait(self.times.blink)
            return client.outcome(prompt_id)

    def _drop_traces(self, server: Server, task: Task) -> None:
        """The task's prompt has ended here, one way or the other."""
        if task.prompt_id:
            server.client.listener.forget(task.prompt_id)
            server.transport.discard(task.prompt_id)
        task.server, task.watch, task.asked = None, None, None

    # What went wrong

    def _after(
        self, server: Server, task: Task, error: ServerError, answers: dict[int, Result | AcuSimError]
    ) -> list[Task]:
        """What is to be done after a prompt that made no pictures."""
        client, alone = server.client, len(task.positions) == 1

        def aside() -> list[Task]:
            answers.update({position: _aside(error) for position in task.positions})
            return []

        if isinstance(error, OutOfMemory):
            self._free(server)
            if alone:
                return aside()
            with self._changed:
                server.limit = max(1, min(server.limit, len(task.positions) // 2))
            self.notes.append(f"{client.url}: memory ran out; batches of {server.limit} from now on")
            return task.parts(server.limit)
        if isinstance(error, ExecutionFailed):
            mixed = "channels" in error.text and any(word in error.text for word in MIXED_WIRING)
            if mixed and task.again("wiring"):
                self._free(server)
                return [task]
            if error.node_id == server.binding.save_id and error.kind.endswith("OutputError"):
                self._condemn(server, error, "nothing can be saved there")
                return [task]
            if not alone:
                return task.parts(1)
            # A sample that cannot be loaded fails the same way each time.
            lasting = error.node_id in server.binding.item_nodes
            return [task] if not lasting and task.again("execution") else aside()
        if isinstance(error, Interrupted):
            return [task] if task.again("interruption") else aside()
        if isinstance(error, Lost):
            if isinstance(server.transport, Remote):
                server.transport.forget()
            # Only a prompt that was at work can be what brought the server down.
            if not task.ran or task.again("loss"):
                return [task]
            return aside() if alone else task.parts(1)
        if isinstance(error, BadAnswer):
            self._drop_quietly(client, task.prompt_id)
            return [task] if task.again("answer") else aside()
        if isinstance(error, Stalled):
            self._condemn(server, error, "restart ComfyUI there")
            self._drop_quietly(client, task.prompt_id)
            return [task]
        if isinstance(error, Rejected) and error.nodes and error.nodes <= server.binding.item_nodes:
            return aside() if alone else task.parts(1)
        self._condemn(server, error, "")
        self._drop_quietly(client, task.prompt_id)
        return [task]

    def _free(self, server: Server) -> None:
        try:
            server.client.free()
        except ServerError as error:
            self.notes.append(str(error))
        self._stopping.wait(self.times.settle)

    def _drop_quietly(self, client: Client, prompt_id: str) -> None:
        try:
            client.drop([prompt_id])
        except ServerError as error:
            self.notes.append(str(error))


def _aside(error: ServerError) -> AcuSimError:
    """A server's error as one that concerns a single picture: the batch goes on."""
    reason = AcuSimError(str(error))
    reason.__cause__ = error
    return reason
