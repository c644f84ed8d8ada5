"""One ComfyUI server: prompts in, outcomes and files out.

The queue and the history decide what became of a prompt; the socket only shortens the wait between polls. A prompt is
sent at most once: where a POST breaks off, both are checked before it is sent again.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from engines.comfyui.access import Access
from engines.comfyui.errors import (
    BadAnswer,
    BrokenOff,
    ExecutionFailed,
    Interrupted,
    ServerError,
    Unreachable,
    execution_error,
    rejection,
    safe_text,
)
from engines.comfyui.http import MAX_JSON, Http, normal_url
from engines.comfyui.listener import Listener, PromptProgress
from engines.comfyui.times import Times

State = Literal["done", "failed", "running", "pending", "unknown"]
MARK = "acusim"
"""Key of ``extra_data`` under which a prompt carries the token of the OUT that it works for."""
POSTS = 3
DEFAULT_TIMES = Times()
DOWNLOADS = 3
REFUSED_FILE = (400, 413, 415, 422)
"""Statuses of an upload that is refused because of the file, or its size."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the server knows of a prompt."""

    state: State
    outputs: Mapping[str, Any] = field(default_factory=dict)
    """Node id -> what the node answered, if done."""
    error: ServerError | None = None
    """If failed."""
    idle: bool = False
    """True if it waits while the server runs nothing."""


@dataclass(frozen=True, slots=True)
class Queued:
    """A prompt in the server's queue or history, ours or not."""

    prompt_id: str
    graph: Mapping[str, Any]
    token: str
    """Of the OUT that it works for, "" where it is not ours."""
    running: bool = False
    succeeded: bool = False


class Client:
    """Talks to one server, from any thread."""

    def __init__(self, url: str, token: str = "", times: Times = DEFAULT_TIMES, access: Access | None = None):
        self.url = normal_url(url)
        self.access = access or Access()
        self.token = token
        self.times = times
        self.http = Http(self.url, times.connect, times.read, self.access)
        self.listener = Listener(self.url, times, self.access)
        self.titles: Mapping[str, str] = {}
        """Node id -> title, for messages."""

    def close(self) -> None:
        """Ends the socket and all connections."""
        self.listener.close()
        self.http.close()

    def system_stats(self) -> Mapping[str, Any]:
        """Version and machine."""
        return self.http.object("GET", "/system_stats")

    def object_info(self) -> Mapping[str, Any]:
        """All node classes with their inputs."""
        return self.http.object("GET", "/object_info")

    def pack_info(self) -> Mapping[str, Any] | None:
        """Version and roots of this project's nodes; None if the server lacks them."""
        return self._facts("/acusim/info")

    def file_facts(self, root: str, path: str) -> Mapping[str, Any] | None:
        """Size and hash of a file that the server sees; None if it does not."""
        return self._facts("/acusim/file", root=root, path=path)

    def model_facts(self, folder: str, name: str) -> Mapping[str, Any] | None:
        """Size and some tensor shapes of a model file; None, or an "error", where they are unknown."""
        return self._facts("/acusim/model", folder=folder, name=name)

    def _facts(self, route: str, **params: str) -> Mapping[str, Any] | None:
        status, body = self.http.request("GET", route, MAX_JSON, (200, 400, 404), params=params)
        if status == 404 and not body.lstrip().startswith(b"{"):
            return None
        return self.http.parse(route, status, body)

    def queue(self) -> list[Queued]:
        """All prompts that run or wait."""
        answer = self.http.object("GET", "/queue")
        found: list[Queued] = []
        for name in ("queue_running", "queue_pending"):
            entries = answer.get(name)
            if not isinstance(entries, list):
                raise BadAnswer(self.url, f"/queue: {name} is not a list")
            found += [_queued(entry, running=name == "queue_running") for entry in entries]
        return found

    def recent(self, count: int = 64) -> list[Queued]:
        """The latest prompts of the history, oldest first."""
        answer = self.http.object("GET", "/history", params={"max_items": str(count)})
        found: list[Queued] = []
        for entry in answer.values():
            if isinstance(entry, dict):
                status = entry.get("status")
                done = isinstance(status, dict) and status.get("status_str") == "success"
                found.append(_queued(entry.get("prompt"), succeeded=done))
        return found

    def outcome(self, prompt_id: str) -> Outcome:
        """What became of a prompt.

        Raises:
            Unreachable: the server does not answer.
            BadAnswer: its answer is invalid.
        """
        finished = self._finished(prompt_id)
        if finished:
            return finished
        queue = self.queue()
        for entry in queue:
            if entry.prompt_id == prompt_id:
                idle = not any(other.running for other in queue)
                return Outcome("running" if entry.running else "pending", idle=idle)
        # It may have ended between the two requests.
        return self._finished(prompt_id) or Outcome("unknown")

    def _finished(self, prompt_id: str) -> Outcome | None:
        entry = self.http.object("GET", f"/history/{prompt_id}").get(prompt_id)
        if entry is None:
            return None
        status = entry.get("status") if isinstance(entry, dict) else None
        if not isinstance(status, dict):
            raise BadAnswer(self.url, f"the history entry of prompt {prompt_id} has no status")
        if status.get("status_str") == "success":
            outputs = entry.get("outputs")
            return Outcome("done", outputs if isinstance(outputs, dict) else {})
        return Outcome("failed", error=self._failure(status.get("messages")))

    def _failure(self, messages: Any) -> ServerError:
        for message in messages if isinstance(messages, list) else []:
            if not (isinstance(message, list) and len(message) == 2 and isinstance(message[1], dict)):
                continue
            kind, data = message
            if kind == "execution_error":
                return execution_error(self.url, data, self.titles)
            if kind == "execution_interrupted":
                return Interrupted(self.url, "the prompt was interrupted on the server")
        return ExecutionFailed(self.url, "unknown", "no reason given", safe_text(messages, 200))

    def submit(
        self, prompt: Mapping[str, Any], prompt_id: str, sampling: frozenset[str] = frozenset()
    ) -> PromptProgress:
        """Queues a prompt exactly once, whatever happens on the way.

        Raises:
            Rejected: the server refuses it.
            Unreachable: the server is gone; the prompt may or may not have reached it.
            ServerError: the request fails in another way.
        """
        self.listener.start()
        # Messages that are sent before the socket is open are lost.
        self.listener.settled.wait(self.times.socket)
        progress = self.listener.watch(prompt_id, sampling)
        failure: ServerError | None = None
        for _ in range(POSTS):
            if failure is not None and self._arrived(prompt_id, failure):
                return progress
            try:
                self._post(prompt, prompt_id)
                return progress
            except Unreachable as error:
                if failure is None and not error.sent:
                    raise
                error.sent = True
                failure = error
            except ServerError as error:
                if error.status != 500:
                    raise
                failure = error
        assert failure is not None
        if self._arrived(prompt_id, failure):
            return progress
        raise failure

    def _post(self, prompt: Mapping[str, Any], prompt_id: str) -> None:
        body = {
            "prompt": prompt,
            "prompt_id": prompt_id,
            "client_id": self.listener.client_id,
            "extra_data": {MARK: self.token},
        }
        status, data = self.http.request("POST", "/prompt", MAX_JSON, (200, 400), json=body)
        answer = self.http.parse("/prompt", status, data)
        if status == 400:
            raise rejection(self.url, status, answer, self.titles)
        if answer.get("prompt_id") != prompt_id:
            other = answer.get("prompt_id")
            self.drop([str(other)])
            message = f"the server took the prompt under the id {safe_text(repr(other), 80)}, not {prompt_id}"
            raise ServerError(self.url, f"/prompt: {message}; update ComfyUI")
        if answer.get("node_errors"):
            # Some outputs were refused and the rest is queued: the result would not be what was requested.
            self.drop([prompt_id])
            raise rejection(self.url, status, answer, self.titles)

    def _arrived(self, prompt_id: str, failure: ServerError) -> bool:
        """Whether a prompt whose POST broke off has reached the server after all."""
        deadline = time.monotonic() + (self.times.confirm if isinstance(failure, Unreachable) else 0)
        while True:
            try:
                state = self.outcome(prompt_id).state
            except Unreachable as error:
                error.sent = True  # the prompt, not this request
                raise
            if state != "unknown":
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(min(0.2, self.times.confirm / 5))

    def drop(self, prompt_ids: Sequence[str]) -> None:
        """Removes prompts of ours from the queue, and interrupts the one that runs."""
        self.http.request("POST", "/queue", MAX_JSON, json={"delete": list(prompt_ids)})
        # Older servers ignore the id and interrupt whatever runs: make sure that it is ours.
        for entry in self.queue():
            if entry.running and entry.prompt_id in prompt_ids:
                self.http.request("POST", "/interrupt", MAX_JSON, json={"prompt_id": entry.prompt_id})

    def free(self) -> None:
        """Makes the server release its models and its cache."""
        self.http.request("POST", "/free", MAX_JSON, json={"unload_models": True, "free_memory": True})

    def upload(self, folder: str, name: str, data: bytes) -> None:
        """Puts a file below the server's input folder.

        Raises:
            BadAnswer: the server refuses this file, or stores it under another name, because other bytes have this
                one already.
        """
        files = {
            "image": (name, data, "application/octet-stream"),
            "subfolder": (None, folder),
            "type": (None, "input"),
        }
        try:
            answer = self.http.object("POST", "/upload/image", files=files)
        except ServerError as error:
            if error.status in REFUSED_FILE:
                message = f"upload of {folder}/{name} ({len(data)} bytes): the server does not take it"
                raise BadAnswer(self.url, message, error.status, error.response) from None
            raise
        if answer.get("name") != name or answer.get("subfolder") != folder or answer.get("type") != "input":
            stored = safe_text(f"{answer.get('subfolder')}/{answer.get('name')}", 200)
            raise BadAnswer(self.url, f"upload of {folder}/{name}: the server keeps it as {stored!r}")

    def view(self, folder: str, name: str, limit: int) -> bytes:
        """Fetches a file below the server's output folder.

        Raises:
            BadAnswer: it does not exist, is larger than the limit, or its download breaks off repeatedly.
            LoginRequired: a login answers in the server's place.
        """
        params = {"filename": name, "subfolder": folder, "type": "output"}
        for _ in range(DOWNLOADS):
            try:
                return self.http.request("GET", "/view", limit, params=params)[1]
            except BrokenOff:
                continue
            except ServerError as error:
                # ComfyUI itself refuses a path outside its folders by a 403 without a text.
                if error.status in (400, 404) or (error.status == 403 and not error.response):
                    raise BadAnswer(self.url, f"{folder}/{name} is not on the server", error.status) from None
                raise
        raise BadAnswer(self.url, f"the download of {folder}/{name} broke off {DOWNLOADS} times")


def _queued(entry: Any, running: bool = False, succeeded: bool = False) -> Queued:
    """A queue entry ``[number, prompt id, graph, extra data, outputs]``, whatever it really is."""
    parts = entry if isinstance(entry, list) else []
    graph = parts[2] if len(parts) > 2 and isinstance(parts[2], dict) else {}
    extra = parts[3] if len(parts) > 3 and isinstance(parts[3], dict) else {}
    return Queued(str(parts[1]) if len(parts) > 1 else "", graph, str(extra.get(MARK) or ""), running, succeeded)
