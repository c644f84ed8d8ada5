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

from acusim.errors import AcuSimError, EngineError, PictureError
from engines.base import Request, Result
from engines.comfyui.client import Client
from engines.comfyui.errors import (
    BadAnswer,
    ExecutionFailed,
    Interrupted,
    LoginRequired,
    Lost,
    OutOfMemory,
    Rejected,
    ServerError,
    Stalled,
    Unreachable,
    words,
)
from engines.comfyui.listener import Watch
from engines.comfyui.pool import Pool
from engines.comfyui.tasks import TRIES, Server, Task
from engines.comfyui.times import Times
from engines.comfyui.transport import Asked, Remote, image_path, received

NAMESPACE = uuid.UUID("5d0c63d1-5c2b-5f6e-9d0b-0b1c7a6a1f52")
MIXED_WIRING = ("does not match", "but got")
"""With "channels": what the sampler says where a model was patched for the other wiring."""


class Fleet:
    """Runs batches on servers, from as many threads as there are."""

    def __init__(self, servers: Sequence[Server], dataset: Path, times: Times, notes: list[str] | None = None):
        """Takes servers that passed preflight, and where to note what a user should know."""
        self.notes: list[str] = [] if notes is None else notes
        self.pool = Pool(servers, times, self.notes)
        self.servers = self.pool.servers
        self._dataset = dataset
        self._run = uuid.uuid4().hex
        self.times = times
        self._count = itertools.count()
        self._limits = threading.Lock()
        self._tasks: set[Task] = set()
        self._sampled = ""
        """What was last said of a prompt that has ended since."""

    def run(self, requests: Sequence[Request]) -> list[Result | AcuSimError]:
        """One answer for each request; they have equal scene, texts and size, and no picture is there twice.

        Raises:
            EngineError: no server is left, none came back in time, or the fleet was stopped.
        """
        answers: dict[int, Result | AcuSimError] = {}
        todo = deque([Task(tuple(range(len(requests))))])
        while todo:
            task = todo.popleft()
            server = self.pool.acquire(task)
            if task.server is not server:
                self.pool.leave(task)
                if len(task.positions) > server.limit:
                    task, *rest = task.parts(server.limit)
                    todo.extendleft(reversed(rest))
            todo.extendleft(reversed(self._attempt(server, task, requests, answers)))
        return [answers[position] for position in range(len(requests))]

    def stop(self) -> None:
        """Makes ``run`` end soon, in all threads; each takes its own prompt off its server."""
        self.pool.stop()
        for server in self.servers:
            server.client.listener.wake_all()

    def close(self) -> None:
        """Takes off servers what of ours may still be there; nothing runs any more."""
        self.pool.close()

    def work_in_progress(self) -> float:
        """Work done on the prompts in hand, in pictures."""
        return sum(task.watch.fraction * len(task.positions) for task in list(self._tasks) if task.watch)

    def is_waiting(self) -> bool:
        """Whether no server can be reached at the moment."""
        return not any(server.up and not server.bad for server in self.servers)

    def activity(self) -> str:
        """What is going on, by the prompt that is furthest: which step of the sampler, or what comes before that."""
        if self.is_waiting():
            return f"no server can be reached: waiting up to {self.times.patience:.0f} s for one to come back"
        watched = [(task, task.watch) for task in list(self._tasks) if task.watch]
        sampling = [(task, watch) for task, watch in watched if watch.steps]
        if sampling:
            return self._step(*max(sampling, key=lambda entry: entry[1].fraction))
        if self._sampled or not watched:
            return self._sampled
        started = [(task, watch) for task, watch in watched if watch.node]
        for task, watch in started:
            title = task.server.client.titles.get(watch.node) if task.server else None
            return f"server prepares: node {words(title or watch.node, 60)!r}{self._at(task)}"
        return f"server queues: the prompt waits{self._at(watched[0][0])}"

    def _step(self, task: Task, watch: Watch) -> str:
        done, most = watch.steps or (0, 0)
        return f"server samples: step {done} of {most}{self._at(task)}"

    def _at(self, task: Task) -> str:
        several = len(self.servers) > 1 and task.server is not None
        return f" ({task.server.client.url})" if several and task.server else ""

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
                if task.watch and task.watch.steps:
                    self._sampled = self._step(task, task.watch)
                # Its place in the queue is free before the pictures are read.
                self.pool.release(server)
            assert task.asked is not None and task.transport is not None
            results = received(task.transport, task.asked, outputs, server.binding.save_id)
        except Unreachable as error:
            unreachable = True
            self.pool.lose(server, error)
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
        return self._answered(server, task, results, answers)

    def _answered(
        self,
        server: Server,
        task: Task,
        results: Sequence[Result | AcuSimError],
        answers: dict[int, Result | AcuSimError],
    ) -> list[Task]:
        """Puts down the pictures of a prompt; those that are none are made once more, if that may help."""
        if any(isinstance(result, Result) for result in results):
            self.pool.made(server)
        tried = task.after(server)
        again: dict[str, list[int]] = {}
        for position, result in zip(task.positions, results, strict=True):
            wrong = isinstance(result, BadAnswer) and task.faults.get("answer", 0) < TRIES - 1
            # The same seed gives the same picture there; elsewhere the arithmetic may be better.
            dark = isinstance(result, PictureError) and "picture" not in task.faults and self.pool.has_other(tried)
            if wrong or dark:
                again.setdefault("answer" if wrong else "picture", []).append(position)
            else:
                answers[position] = _aside(result) if isinstance(result, ServerError) else result
        return [
            Task(tuple(positions), {**task.faults, fault: task.faults.get(fault, 0) + 1}, tried, origin=task.origin)
            for fault, positions in again.items()
        ]

    def _outputs(self, server: Server, task: Task, batch: Sequence[Request]) -> Any:
        """What the prompt's nodes answered, once it is done."""
        client = server.client
        if task.server is None:
            images = [image_path(self._dataset, request) for request in batch]
            prompt_id = self._prompt_id(images, batch)
            task.transport = transport = server.transport
            places = transport.send(batch, images, prompt_id)
            prompt = server.binding.bind(batch, images, places)
            task.asked = Asked(batch, images, prompt_id, places, server.facts)
            task.prompt_id, task.server, task.ran = prompt_id, server, False
            try:
                task.watch = client.submit(prompt, prompt_id, server.binding.workflow.sampling)
                self._note_refused_socket(server)
            except Unreachable as error:
                if not error.sent:
                    task.server = None
                raise
        return self._wait(server, task)

    def _note_refused_socket(self, server: Server) -> None:
        """Notes once that a server takes prompts, but no socket."""
        if server.client.listener.refused and not server.socket_noted:
            server.socket_noted = True
            reason = f"{server.client.listener.refused}: no progress is shown; the pictures are made all the same"
            self.notes.append(f"{server.client.url}: {reason}")

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
            if self.pool.stopping.is_set():
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
            self.pool.stopping.wait(self.times.blink)
            return client.outcome(prompt_id)

    def _drop_traces(self, server: Server, task: Task) -> None:
        """The task's prompt has ended here, one way or the other."""
        if task.prompt_id:
            server.client.listener.forget(task.prompt_id)
            if task.transport:
                task.transport.discard(task.prompt_id)
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

        def elsewhere(fault: str, tries: int = TRIES) -> list[Task]:
            """One picture is set aside when it failed often enough, and on two servers if there are two."""
            task.alone.add(server)
            task.again(fault)
            other = len(task.alone) < TRIES and self.pool.has_other(list(task.alone))
            return [task] if task.faults[fault] < (2 * TRIES if other else tries) else aside()

        if isinstance(error, ExecutionFailed | BadAnswer | Rejected) and not (
            isinstance(error, OutOfMemory) and not alone
        ):
            task.tried = task.after(server)
        if isinstance(error, OutOfMemory):
            self._free(server)
            if alone:
                return elsewhere("memory", 1)
            with self._limits:
                server.limit = max(1, min(server.limit, len(task.positions) // 2))
            self.notes.append(f"{client.url}: memory ran out; batches of {server.limit} from now on")
            return task.parts(server.limit)
        if isinstance(error, ExecutionFailed):
            mixed = "channels" in error.text and any(word in error.text for word in MIXED_WIRING)
            if mixed and task.again("wiring"):
                self._free(server)
                return [task]
            if error.node_id == server.binding.save_id and error.kind.endswith("OutputError"):
                if not self.pool.reroute(server, task, error):
                    self.pool.condemn(server, error, "nothing can be saved there")
                return [task]
            # A sample that cannot be loaded fails the same way each time.
            lasting = error.node_id in server.binding.item_nodes
            if not lasting:
                self.pool.failed(server, task, error)
            return elsewhere("execution", 1 if lasting else TRIES) if alone else task.parts(1)
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
            if task.server is None:  # a file could not be sent: nobody knows yet which picture's
                return elsewhere("answer") if alone else task.parts(1)
            self.pool.drop_quietly(client, task.prompt_id)
            return [task] if task.again("answer") else aside()
        if isinstance(error, Stalled):
            self.pool.condemn(server, error, "restart ComfyUI there")
            self.pool.drop_quietly(client, task.prompt_id)
            return [task]
        if isinstance(error, Rejected) and error.nodes and error.nodes <= server.binding.item_nodes:
            return elsewhere("refusal", 1) if alone else task.parts(1)
        self.pool.condemn(server, error, error.advice)
        if not isinstance(error, LoginRequired):
            self.pool.drop_quietly(client, task.prompt_id)
        return [task]

    def _free(self, server: Server) -> None:
        try:
            server.client.free()
        except ServerError as error:
            self.notes.append(str(error))
        self.pool.stopping.wait(self.times.settle)


def _aside(error: ServerError) -> AcuSimError:
    """A server's error as one that concerns a single picture: the batch goes on."""
    reason = AcuSimError(str(error))
    reason.__cause__ = error
    return reason
