"""One ComfyUI server: prompts in, outcomes and files out.

The queue and the history are the authority on a prompt; the socket only says when to ask. A prompt is sent at most
once: where a POST breaks off, both are looked at before it is sent again.
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
    words,
)
from engines.comfyui.http import MAX_JSON, Http, normal_url
from engines.comfyui.listener import Listener, Watch
from engines.comfyui.times import Times

State = Literal["done", "failed", "running", "pending", "unknown"]
MARK = "acusim"
"""Key of ``extra_data`` under which a prompt carries the token of the OUT that it works for."""
POSTS = 3
DEFAULT_TIMES = Times()
DOWNLOADS = 3
REFUSED_FILE = (400, 413, 415, 422)
"""What an upload is answered by where the fault lies in the file, or in its size."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the server knows of a prompt."""

    state: State
    outputs: Mapping[str, Any] = field(default_factory=dict)
    """Node id -> what the node answered, if done."""
    error: ServerError | None = None
    """If failed."""
    idle: bool = False
    """True if it waits although the server runs nothing."""


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

    # Questions

    def system_stats(self) -> Mapping[str, Any]:
        """Version and machine."""
        return self.http.object("GET", "/system_stats")

    def object_info(self) -> Mapping[str, Any]:
        """All node classes with their inputs."""
        return self.http.object("GET", "/object_info")

    def pack_info(self) -> Mapping[str, Any] | None:
        """Version and roots of this project's nodes; None if the server lacks them."""
        return self._maybe("/acusim/info")

    def file_facts(self, root: str, path: str) -> Mapping[str, Any] | None:
        """Size and hash of a file that the server sees; None if it does not."""
        return self._maybe("/acusim/file", root=root, path=path)

    def model_facts(self, folder: str, name: str) -> Mapping[str, Any] | None:
        """Size and telling tensors of a model file; None, or an "error", if the server does not say."""
        return self._maybe("/acusim/model", folder=folder, name=name)

    def _maybe(self, route: str, **params: str) -> Mapping[str, Any] | None:
        status, body = self.http.request("GET", route, MAX_JSON, (200, 400, 404), params=params)
        if status == 404 and not body.lstrip().startswith(b"{"):
            return None
        return self.http.parsed(route, status, body)

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
            BadAnswer: it answers nonsense.
        """
        finished = self._finished(prompt_id)
        if finished:
            return finished
        queue = self.queue()
        for entry in queue:
            if entry.prompt_id == prompt_id:
                idle = not any(other.running for other in queue)
                return Outcome("running" if entry.running else "pending", idle=idle)
        # It may have ended between the two questions.
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
        return ExecutionFailed(self.url, "unknown", "no reason given", words(messages, 200))

    # Orders

    def submit(self, prompt: Mapping[str, Any], prompt_id: str, sampling: frozenset[str] = frozenset()) -> Watch:
        """Queues a prompt; once, whatever happens on the way.

        Raises:
            Rejected: the server does not take it.
            Unreachable: the server is gone; the prompt may or may not have reached it.
            ServerError: it fails on the request.
        """
        self.listener.start()
        # Who posts before its socket is there misses the messages.
        self.listener.settled.wait(self.times.socket)
        watch = self.listener.watch(prompt_id, sampling)
        failure: ServerError | None = None
        for _ in range(POSTS):
            if failure is not None and self._arrived(prompt_id, failure):
                return watch
            try:
                self._post(prompt, prompt_id)
                return watch
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
            return watch
        raise failure

    def _post(self, prompt: Mapping[str, Any], prompt_id: str) -> None:
        body = {
            "prompt": prompt,
            "prompt_id": prompt_id,
            "client_id": self.listener.client_id,
            "extra_data": {MARK: self.token},
        }
        status, answer = self.http.json("POST", "/prompt", (200, 400), json=body)
        if status == 400:
            raise rejection(self.url, status, answer, self.titles)
        if answer.get("prompt_id") != prompt_id:
            said = words(repr(answer.get("prompt_id")), 80)
            self.drop([str(answer.get("prompt_id"))])
            told = f"/prompt: the server took the prompt under the id {said}, not {prompt_id}; update ComfyUI"
            raise ServerError(self.url, told)
        if answer.get("node_errors"):
            # Some outputs were refused and the rest is queued: what would come is not what was asked for.
            self.drop([prompt_id])
            raise rejection(self.url, status, answer, self.titles)

    def _arrived(self, prompt_id: str, failure: ServerError) -> bool:
        """Whether a prompt whose POST broke off has reached the server after all."""
        deadline = time.monotonic() + (self.times.look if isinstance(failure, Unreachable) else 0)
        while True:
            try:
                state = self.outcome(prompt_id).state
            except Unreachable as error:
                error.sent = True  # not this question, but the prompt
                raise
            if state != "unknown":
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(min(0.2, self.times.look / 5))

    def drop(self, prompt_ids: Sequence[str]) -> None:
        """Takes prompts of ours out of the queue, and interrupts the one that runs."""
        self.http.request("POST", "/queue", MAX_JSON, json={"delete": list(prompt_ids)})
        # Older servers ignore the id and interrupt whatever runs: so it must be ours that does.
        for entry in self.queue():
            if entry.running and entry.prompt_id in prompt_ids:
                self.http.request("POST", "/interrupt", MAX_JSON, json={"prompt_id": entry.prompt_id})

    def free(self) -> None:
        """Makes the server let go of its models and of what it has cached."""
        self.http.request("POST", "/free", MAX_JSON, json={"unload_models": True, "free_memory": True})

    # Files

    def upload(self, folder: str, name: str, data: bytes) -> None:
        """Puts a file below the server's input folder.

        Raises:
            BadAnswer: the server does not take this file, or keeps it under another name, because this one is taken
                by other bytes.
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
                told = f"upload of {folder}/{name} ({len(data)} bytes): the server does not take it"
                raise BadAnswer(self.url, told, error.status, error.said) from None
            raise
        if answer.get("name") != name or answer.get("subfolder") != folder or answer.get("type") != "input":
            kept = words(f"{answer.get('subfolder')}/{answer.get('name')}", 200)
            raise BadAnswer(self.url, f"upload of {folder}/{name}: the server keeps it as {kept!r}")

    def view(self, folder: str, name: str, limit: int) -> bytes:
        """Fetches a file below the server's output folder.

        Raises:
            BadAnswer: it is not there, larger than the limit, or breaks off time and again.
            LoginRequired: a login answers in the server's place.
        """
        params = {"filename": name, "subfolder": folder, "type": "output"}
        for _ in range(DOWNLOADS):
            try:
                return self.http.request("GET", "/view", limit, params=params)[1]
            except BrokenOff:
                continue
            except ServerError as error:
                # ComfyUI itself refuses a place outside its folders by a 403 without a word.
                if error.status in (400, 404) or (error.status == 403 and not error.said):
                    raise BadAnswer(self.url, f"{folder}/{name} is not on the server", error.status) from None
                raise
        raise BadAnswer(self.url, f"the download of {folder}/{name} broke off {DOWNLOADS} times")


def _queued(entry: Any, running: bool = False, succeeded: bool = False) -> Queued:
    """A queue entry ``[number, prompt id, graph, extra data, outputs]``, whatever it really is."""
    parts = entry if isinstance(entry, list) else []
    graph = parts[2] if len(parts) > 2 and isinstance(parts[2], dict) else {}
    extra = parts[3] if len(parts) > 3 and isinstance(parts[3], dict) else {}
    return Queued(str(parts[1]) if len(parts) > 1 else "", graph, str(extra.get(MARK) or ""), running, succeeded)
