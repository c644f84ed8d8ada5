"""The wire of the fake server: HTTP routes and websocket frames, with answers as a real server gave them."""

import base64
import hashlib
import json
import socket
import struct
import threading
from contextlib import suppress
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from acusim.files import sha256
from tests.support import ROOT

if TYPE_CHECKING:
    from tests.engines.comfyui.fake_server import FakeServer

DATA = ROOT / "tests" / "data" / "comfyui"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def recorded(name: str) -> Any:
    """A recorded answer of a real server."""
    return json.loads((DATA / f"recorded_{name}.json").read_text(encoding="utf-8"))


def recorded_classes() -> dict[str, Any]:
    """What a real server reported of the node classes of the shipped workflows."""
    return json.loads((DATA / "object_info.json").read_text(encoding="utf-8"))


class Socket:
    """The server's end of one websocket."""

    def __init__(self, connection: socket.socket):
        self.connection = connection
        self.lock = threading.Lock()

    def send(self, data: bytes, opcode: int = 1) -> None:
        """One unmasked frame; a broken connection is the reader's business."""
        size = len(data)
        head = bytes([0x80 | opcode])
        head += bytes([size]) if size < 126 else bytes([126]) + struct.pack("!H", size)
        with suppress(OSError), self.lock:
            self.connection.sendall(head + data)

    def drop(self) -> None:
        """Cuts the connection without a word."""
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


class Server(ThreadingHTTPServer):
    """Threads that nobody waits for, on a port that a later life can have again."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 32

    def __init__(self, address: tuple[str, int], fake: "FakeServer"):
        self.fake = fake
        super().__init__(address, Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Broken connections are what tests are for."""


class Handler(BaseHTTPRequestHandler):
    """The routes."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def setup(self) -> None:
        """Notes the connection, so that kill can cut it."""
        super().setup()
        self.fake = self.server.fake
        self.fake._connections.add(self.connection)

    def finish(self) -> None:
        """Forgets it."""
        self.fake._connections.discard(self.connection)
        super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def reply(self, body: Any = b"", status: int = 200, headers: dict[str, str] | None = None) -> None:
        """An answer; anything but bytes becomes JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        if self.dead:
            self.cut()
            return
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    @property
    def dead(self) -> bool:
        """Whether the life that this connection belongs to is over."""
        return self.fake._server is not self.server

    def cut(self) -> None:
        """Ends the connection without an answer."""
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def do_GET(self) -> None:
        """Questions."""
        self._route("GET", b"")

    def do_POST(self) -> None:
        """Orders."""
        self._route("POST", self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def _route(self, method: str, body: bytes) -> None:
        parts = urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        first = f"{method} /{parts.path.split('/')[1]}"
        name = first if parts.path.count("/") == 2 and parts.path.startswith("/history") else f"{method} {parts.path}"
        self.fake.requests.append(f"{method} {self.path}")
        if self.dead:
            self.cut()
            return
        if self.fake.guard(self):
            return
        hook = self.fake.hooks.get(name)
        if hook and hook(self, body):
            return
        answer = getattr(self, name.lower().replace(" /", "_").replace("/", "_"), None)
        if answer is None:
            self.reply(b"404: Not Found", 404)
        else:
            answer(body)

    def get_ws(self, body: bytes) -> None:
        """The handshake, then the socket."""
        key = self.headers["Sec-WebSocket-Key"].encode()
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()
        self.send_response(101)
        for name, value in {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept}.items():
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        self.fake.listen(self.query["clientId"], Socket(self.connection))

    def get_system_stats(self, body: bytes) -> None:
        """Version."""
        self.reply({"system": {"comfyui_version": self.fake.comfy_version}, "devices": []})

    def get_object_info(self, body: bytes) -> None:
        """Node classes."""
        self.reply(self.fake.info)

    def get_queue(self, body: bytes) -> None:
        """What runs and waits."""
        with self.fake._lock:
            running = [self.fake.running.entry()] if self.fake.running else []
            self.reply({"queue_running": running, "queue_pending": [p.entry() for p in self.fake.pending]})

    def get_history(self, body: bytes) -> None:
        """One entry or all."""
        wanted = self.path.split("/")[2] if self.path.startswith("/history/") else None
        with self.fake._lock:
            found = {k: v for k, v in self.fake.history.items() if wanted in (None, k)}
        self.reply(found)

    def post_prompt(self, body: bytes) -> None:
        """Queues a prompt if its classes and choices are known."""
        order = json.loads(body)
        refusal = self._refusal(order["prompt"])
        if refusal:
            self.fake.refused += 1
            self.reply(refusal, 400)
            return
        prompt = self.fake.accept(order)
        self.reply({"prompt_id": prompt.id, "number": prompt.number, "node_errors": {}})

    def _refusal(self, graph: dict[str, Any]) -> Any:
        forms = recorded("rejections")
        for node in graph.values():
            if node["class_type"] not in self.fake.info:
                return forms["unknown_class"]["body"]
            for name, spec in self.fake.info[node["class_type"]]["input"].get("required", {}).items():
                if name not in node["inputs"]:
                    return forms["required_input_missing"]["body"]
                uploaded = len(spec) > 1 and spec[1].get("image_upload")  # the real one looks for the file
                if isinstance(spec[0], list) and not uploaded and node["inputs"][name] not in spec[0]:
                    return forms["value_not_in_list"]["body"]
        return None

    def post_queue(self, body: bytes) -> None:
        """Deletes prompts that wait."""
        wanted = json.loads(body)["delete"]
        with self.fake._lock:
            self.fake.deleted += [p.id for p in self.fake.pending if p.id in wanted]
            self.fake.pending = [p for p in self.fake.pending if p.id not in wanted]
        self.reply()

    def post_interrupt(self, body: bytes) -> None:
        """Stops the prompt of an id."""
        self.fake.interrupted.append(json.loads(body)["prompt_id"])
        self.reply()

    def post_free(self, body: bytes) -> None:
        """Counts."""
        self.fake.freed += 1
        self.reply()

    def post_upload_image(self, body: bytes) -> None:
        """Keeps a file; other bytes under a used name get a new name."""
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        fields: dict[str, Any] = {}
        name = ""
        for part in BytesParser().parsebytes(head + body).get_payload():
            fields[str(part.get_param("name", header="content-disposition"))] = part.get_payload(decode=True)
            name = part.get_filename() or name
        folder, data = fields["subfolder"].decode(), fields["image"]
        path = self.fake.roots["input"] / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        number = 0
        while path.exists() and path.read_bytes() != data:
            number += 1
            path = path.with_name(f"{Path(name).stem} ({number}){Path(name).suffix}")
        path.write_bytes(data)
        self.reply({"name": path.name, "subfolder": folder, "type": "input"})

    def get_view(self, body: bytes) -> None:
        """A file of the output folder."""
        path = self.fake.roots["output"] / self.query["subfolder"] / self.query["filename"]
        if path.is_file():
            self.reply(path.read_bytes())
        else:
            self.reply(b"", 404)

    def get_acusim_info(self, body: bytes) -> None:
        """Version and roots."""
        roots = {
            name: {"path": str(path), "writable": name != "input", "free_bytes": 10 << 30}
            for name, path in self.fake.roots.items()
        }
        self.reply({"version": self.fake.version, "roots": roots})

    def get_acusim_file(self, body: bytes) -> None:
        """Hash of a file."""
        path = self.fake.roots[self.query["root"]] / self.query["path"]
        if path.is_file():
            self.reply({"size": path.stat().st_size, "sha256": sha256(path.read_bytes())})
        else:
            self.reply({"error": "no such file"}, 404)

    def get_acusim_model(self, body: bytes) -> None:
        """Telling tensors."""
        found = self.fake.tensors.get(self.query["name"])
        self.reply({"error": "no such model"} if found is None else {"tensors": found}, 404 if found is None else 200)
