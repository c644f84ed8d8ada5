"""Several servers and the prompts on them.

Each server holds at most two of our prompts, one running and one waiting, so that it never idles between them. A task
is a batch on its way; whatever happens to it, it ends in a Result or an error for each of its images.

Nothing runs twice at the same time: a task is sent again only when the server no longer knows its prompt (it was
restarted), when the prompt has ended, or when the server itself is unreachable and another one takes over. In that
last case the prompt may still be running behind a broken network; it is noted and dropped once the server is back.
"""

import time
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from acusim.errors import AcuSimError, EngineError, PictureError
from engines.base import Request, Result
from engines.comfyui.client import Client, Outcome
from engines.comfyui.errors import BadAnswer, Lost, ServerError, Stalled, Unreachable, safe_text
from engines.comfyui.listener import PromptProgress
from engines.comfyui.recovery import Recovery
from engines.comfyui.server_pool import ServerPool
from engines.comfyui.tasks import TRIES, Server, Task
from engines.comfyui.times import Times
from engines.comfyui.transport import Submission, collect_results, image_path

Answers = dict[int, Result | AcuSimError]
"""Position in the caller's list -> the image, or why there is none."""


class Fleet:
    """Runs batches on servers, from any number of threads."""

    def __init__(self, servers: Sequence[Server], dataset: Path, times: Times, notes: list[str] | None = None):
        """Takes servers that passed preflight, and the list of notes for the user."""
        self.notes: list[str] = [] if notes is None else notes
        self.times = times
        self.pool = ServerPool(servers, times, self.notes)
        self.servers = self.pool.servers
        self._recovery = Recovery(self.pool, times)
        self._dataset = dataset
        self._tasks: set[Task] = set()
        self._last_step = ""
        """The latest step of a prompt that has ended."""

    def run(self, requests: Sequence[Request]) -> list[Result | AcuSimError]:
        """One answer for each request; they have equal scene, texts and size, and no image occurs twice.

        Raises:
            EngineError: no server is left, none came back in time, or the fleet was stopped.
        """
        answers: Answers = {}
        todo = deque([Task(tuple(range(len(requests))))])
        while todo:
            task = todo.popleft()
            server = self.pool.acquire(task)
            if task.server is not server:
                self.pool.abandon_prompt(task)
                if len(task.positions) > server.limit:
                    task, *rest = task.split(server.limit)
                    todo.extendleft(reversed(rest))
            todo.extendleft(reversed(self._attempt(server, task, requests, answers)))
        return [answers[position] for position in range(len(requests))]

    def stop(self) -> None:
        """Makes ``run`` end soon, in all threads; each takes its own prompt off its server."""
        self.pool.stop()
        for server in self.servers:
            server.client.listener.wake_all()

    def close(self) -> None:
        """Drops our remaining prompts from servers; nothing runs any more."""
        self.pool.close()

    def work_in_progress(self) -> float:
        """Work done on the prompts on their way, in images."""
        return sum(task.progress.fraction * len(task.positions) for task in list(self._tasks) if task.progress)

    def is_waiting(self) -> bool:
        """Whether no server can be reached at the moment."""
        return not any(server.up and not server.excluded for server in self.servers)

    def activity(self) -> str:
        """What is going on, by the prompt that is furthest: which step of the sampler, or what comes before that."""
        if self.is_waiting():
            return f"no server can be reached: waiting up to {self.times.patience:.0f} s for one to come back"
        watched = [(task, task.progress) for task in list(self._tasks) if task.progress]
        sampling = [(task, progress) for task, progress in watched if progress.steps]
        if sampling:
            return self._step(*max(sampling, key=lambda entry: entry[1].fraction))
        if self._last_step or not watched:
            return self._last_step
        for task, progress in watched:
            if progress.node:
                title = task.server.client.titles.get(progress.node) if task.server else None
                return f"server prepares: node {safe_text(title or progress.node, 60)!r}{self._where(task)}"
        return f"server queues: the prompt waits{self._where(watched[0][0])}"

    def _step(self, task: Task, progress: PromptProgress) -> str:
        done, total = progress.steps or (0, 0)
        return f"server samples: step {done} of {total}{self._where(task)}"

    def _where(self, task: Task) -> str:
        return f" ({task.server.client.url})" if len(self.servers) > 1 and task.server else ""

    def _attempt(self, server: Server, task: Task, requests: Sequence[Request], answers: Answers) -> list[Task]:
        """Sends the task's prompt, or continues to wait for it, and takes its images.

        Returns:
            What is still to be done, as tasks.
        """
        prompt_ended = True
        try:
            outputs = self._outputs(server, task, [requests[position] for position in task.positions])
            assert task.submission is not None and task.transport is not None
            results = collect_results(task.transport, task.submission, outputs, server.binding.save_id)
        except Unreachable as error:
            prompt_ended = False
            self.pool.mark_down(server, error)
            return [task]
        except ServerError as error:
            tasks = self._recovery.tasks_after(server, task, error)
            if not tasks:
                answers.update({position: _image_error(error) for position in task.positions})
            return tasks
        except EngineError:
            raise
        except AcuSimError as error:  # the scene cannot be read
            answers.update(dict.fromkeys(task.positions, error))
            return []
        finally:
            self._tasks.discard(task)
            if prompt_ended:
                self._forget_prompt(server, task)
        return self._take_results(server, task, results, answers)

    def _take_results(
        self, server: Server, task: Task, results: Sequence[Result | AcuSimError], answers: Answers
    ) -> list[Task]:
        """Keeps the images of a prompt; invalid ones are regenerated once if that may help."""
        if any(isinstance(result, Result) for result in results):
            self.pool.count_success(server)
        tried = task.tried_with(server)
        again: dict[str, list[int]] = {}
        for position, result in zip(task.positions, results, strict=True):
            wrong = isinstance(result, BadAnswer) and task.faults.get("answer", 0) < TRIES - 1
            # The same seed gives the same image there; elsewhere the arithmetic may be better.
            dark = isinstance(result, PictureError) and "picture" not in task.faults and self.pool.has_other(tried)
            if wrong or dark:
                again.setdefault("answer" if wrong else "picture", []).append(position)
            else:
                answers[position] = _image_error(result) if isinstance(result, ServerError) else result
        return [
            Task(tuple(positions), {**task.faults, fault: task.faults.get(fault, 0) + 1}, tried, origin=task.origin)
            for fault, positions in again.items()
        ]

    # One prompt

    def _outputs(self, server: Server, task: Task, batch: Sequence[Request]) -> Mapping[str, Any]:
        """The outputs of the prompt's nodes, once it is done."""
        self._tasks.add(task)
        try:
            if task.server is None:
                self._submit(server, task, batch)
            return self._wait(server, task)
        finally:
            if task.progress and task.progress.steps:
                self._last_step = self._step(task, task.progress)
            # Its place in the queue is free before the images are read.
            self.pool.release(server)

    def _submit(self, server: Server, task: Task, batch: Sequence[Request]) -> None:
        images = [image_path(self._dataset, request) for request in batch]
        prompt_id = str(uuid.uuid4())  # a server that is given an id again mixes up the histories of both prompts
        task.transport = transport = server.transport
        places = transport.send(batch, images, prompt_id)
        prompt = server.binding.bind(batch, images, places)
        task.submission = Submission(batch, images, prompt_id, places, server.facts)
        task.prompt_id, task.server, task.ran = prompt_id, server, False
        try:
            task.progress = server.client.submit(prompt, prompt_id, server.binding.workflow.sampling)
        except Unreachable as error:
            if not error.sent:
                task.server = None
            raise
        refusal = server.client.listener.refusal
        if refusal and not server.socket_noted:
            server.socket_noted = True
            self.notes.append(f"{server.client.url}: {refusal}: no progress is shown; images are still created")

    def _wait(self, server: Server, task: Task) -> Mapping[str, Any]:
        """Polls for the prompt until it has ended; messages of the socket shorten the wait."""
        client, limit = server.client, self.times.progress
        progress = task.progress or client.listener.watch(task.prompt_id, frozenset())
        idle_since: float | None = None
        started = time.monotonic()
        while True:
            if self.pool.stopping.is_set():
                client.drop([task.prompt_id])
                raise EngineError("stopped")
            progress.wake.clear()
            outcome = self._poll(client, task.prompt_id)
            now = time.monotonic()
            if outcome.state == "done":
                return outcome.outputs
            if outcome.error is not None:
                raise outcome.error
            if outcome.state == "unknown":
                raise Lost(client.url, "the server no longer knows the prompt; it was restarted")
            if outcome.state == "running" and not task.ran:
                task.ran, started = True, now
            idle_since = (idle_since or now) if outcome.idle else None
            if idle_since is not None and (server.excluded or now - idle_since > self.times.stall):
                raise Stalled(client.url, f"prompts wait for {self.times.stall:g} s and none runs")
            if task.ran and now - max(started, progress.last_message) > limit:
                raise Stalled(client.url, f"a prompt runs for {limit:g} s without a sign of progress")
            progress.wake.wait(self.times.poll)

    def _poll(self, client: Client, prompt_id: str) -> Outcome:
        try:
            return client.outcome(prompt_id)
        except Unreachable:
            self.pool.stopping.wait(self.times.retry)
            return client.outcome(prompt_id)

    def _forget_prompt(self, server: Server, task: Task) -> None:
        """The task's prompt has ended here, one way or the other."""
        if task.prompt_id:
            server.client.listener.forget(task.prompt_id)
            if task.transport:
                task.transport.discard(task.prompt_id)
        task.clear_prompt()


def _image_error(error: ServerError) -> AcuSimError:
    """A server's error as one that concerns a single image: the batch continues."""
    reason = AcuSimError(str(error))
    reason.__cause__ = error
    return reason
