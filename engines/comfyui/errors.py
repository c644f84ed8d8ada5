"""What can go wrong with a ComfyUI server; each error has its address, status and own words.

    EngineError
    └── ServerError          any of those below; an unexpected status
        ├── Unreachable      refused, cut off, timed out: the server may be gone
        │   └── BrokenOff    the answer is incomplete
        ├── LoginRequired    a login in front of the server blocks requests (401, 403, a redirect, a web page)
        ├── Rejected         it refuses the prompt (400, or 200 with node errors)
        ├── ExecutionFailed  a node raised while the prompt ran
        │   └── OutOfMemory
        ├── Interrupted      somebody stopped the prompt
        ├── Lost             the prompt is neither queued nor in the history: the server was restarted
        ├── Stalled          the server answers, but runs no prompt
        └── BadAnswer        the answer is not what was requested

A server's text is untrusted: it is cut, control characters are escaped, and secrets that it was sent are hidden.
"""

from collections.abc import Mapping
from typing import Any

from acusim.errors import EngineError, few
from acusim.files import printable
from engines.comfyui.access import hide_secrets

TEXT_LENGTH = 600
REASONS_SHOWN = 5


def safe_text(text: object, length: int = TEXT_LENGTH) -> str:
    """A server's text on one line, printable, without secrets, cut to a length."""
    flat = printable(" ".join(hide_secrets(str(text)).split()))
    return flat if len(flat) <= length else f"{flat[:length]}…"


class ServerError(EngineError):
    """Something went wrong with one server."""

    advice: str = ""
    """What to do about it, where that follows from the error alone."""

    def __init__(self, url: str, message: str, status: int | None = None, response: str = "", advice: str = ""):
        self.url = url
        self.status = status
        self.advice = advice or self.advice
        self.response = safe_text(response)
        """The server's own words; "" where there are none."""
        code = f" (HTTP {status})" if status is not None else ""
        super().__init__(f"{url}: {message}{code}" + (f": {self.response}" if self.response else ""))


class Unreachable(ServerError):
    """No connection, or it broke before the answer was complete."""

    def __init__(self, url: str, message: str, status: int | None = None, response: str = "", sent: bool = True):
        super().__init__(url, message, status, response)
        self.sent = sent
        """False if the request surely never reached the server."""


class BrokenOff(Unreachable):
    """The answer is incomplete."""


class LoginRequired(ServerError):
    """A login in front of the server blocks requests."""

    advice = (
        "put the header that the login accepts into a file, such as 'Authorization: Bearer TOKEN', and add "
        "--server-header-file FILE (or set ACUSIM_SERVER_HEADER); docs/guide/comfyui.md shows more"
    )


class Rejected(ServerError):
    """The server refuses a prompt; ``nodes`` names the ids of the nodes that are at fault."""

    def __init__(self, url: str, status: int, message: str, nodes: frozenset[str] = frozenset()):
        super().__init__(url, f"the server refuses the workflow: {message}", status)
        self.nodes = nodes


class ExecutionFailed(ServerError):
    """A node raised."""

    def __init__(self, url: str, node: str, kind: str, message: str, node_id: str = ""):
        super().__init__(url, f"node {safe_text(node, 100)} failed", response=f"{kind}: {message}")
        self.node_id = node_id
        self.kind = kind
        self.text = message


class OutOfMemory(ExecutionFailed):
    """A node raised because memory ran out."""


class Interrupted(ServerError):
    """The prompt was stopped by somebody else."""


class Lost(ServerError):
    """The server knows nothing of the prompt."""


class Stalled(ServerError):
    """The server takes prompts and runs none."""

    advice = "restart ComfyUI there"


class BadAnswer(ServerError):
    """The answer, or a file that it names, is not what was requested."""


_MEMORY_KINDS = ("torch.OutOfMemoryError", "torch.cuda.OutOfMemoryError", "OutOfMemoryError", "MemoryError")
_MEMORY_WORDS = ("out of memory", "allocation on device", "defaultcpuallocator: can't allocate")


def execution_error(url: str, details: Mapping[str, Any], titles: Mapping[str, str]) -> ExecutionFailed:
    """The typed error of an ``execution_error`` message.

    Args:
        url: the server.
        details: the message's data.
        titles: node id -> what the workflow calls it.
    """
    node_id, node_type = str(details.get("node_id")), safe_text(details.get("node_type"), 60)
    title = titles.get(node_id)
    node = f"{title!r} ({node_type})" if title else f"{node_type} (id {safe_text(node_id, 20)})"
    kind, message = safe_text(details.get("exception_type"), 100), safe_text(details.get("exception_message"))
    memory = kind.endswith(_MEMORY_KINDS) or any(word in message.lower() for word in _MEMORY_WORDS)
    return (OutOfMemory if memory else ExecutionFailed)(url, node, kind, message, node_id)


def rejection(url: str, status: int, answer: Mapping[str, Any], titles: Mapping[str, str]) -> Rejected:
    """The typed error of a refused prompt, from the server's JSON.

    Args:
        url: the server.
        status: 400, or 200 where only some outputs were refused.
        answer: ``{"error": {...}, "node_errors": {id: {"errors": [...], "class_type": ...}}}``.
        titles: node id -> what the workflow calls it.
    """
    found = answer.get("node_errors")
    node_errors = found if isinstance(found, dict) else {}
    reasons: list[str] = []
    for node_id, entry in node_errors.items():
        if not isinstance(entry, dict):
            continue
        name = titles.get(str(node_id)) or f"id {safe_text(node_id, 20)}"
        node = f"node {name!r} ({safe_text(entry.get('class_type'), 60)})"
        errors = entry.get("errors")
        for error in errors if isinstance(errors, list) else []:
            if isinstance(error, dict):
                reasons.append(f"{node}: {_complaint(error)}")
    if not reasons:
        error = answer.get("error")
        reasons = [_complaint(error) if isinstance(error, dict) else safe_text(error or "no reason given")]
    return Rejected(url, status, few(reasons, REASONS_SHOWN, "; "), frozenset(map(str, node_errors)))


def _complaint(error: Mapping[str, Any]) -> str:
    """One entry of the server's list of errors: what is wrong, at which input, the value, what is allowed."""
    extra = error.get("extra_info")
    extra = extra if isinstance(extra, dict) else {}
    text = safe_text(error.get("message") or error.get("type") or "no reason given", 200)
    if extra.get("input_name"):
        text += f" at input {safe_text(extra['input_name'], 60)!r}"
    if "received_value" in extra:
        text += f", received {safe_text(repr(extra['received_value']), 120)}"
    details = safe_text(error.get("details") or "", 300)
    return f"{text} [{details}]" if details else text
