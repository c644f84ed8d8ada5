"""The web server: a socket, uvicorn, and an orderly end."""

import signal
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Any

import uvicorn
from fastapi import FastAPI

from acusim.errors import ConfigError
from training.inference.model import Model
from training.settings import TaskName
from training.web.app import create_app
from training.web.connections import HEAD_BYTES, ConnectionLimits, protocol
from training.web.guard import is_loopback
from training.web.live_connection import FRAME_BYTES, live_protocol
from training.web.quiet import terminal_for_errors

GRACE_SECONDS = 10
"""For requests that are being answered when the server is stopped."""


def listening_socket(host: str, port: int, allow_remote: bool) -> socket.socket:
    """A socket that listens.

    Args:
        host: name or address.
        port: 0 takes any free one.
        allow_remote: whether others than this machine may reach it.

    Raises:
        ConfigError: the host is not this machine alone and that is not allowed, or the port is not available.
    """
    if not is_loopback(host) and not allow_remote:
        raise ConfigError(
            f"--host {host} can be reached by other machines, without a password or encryption; "
            "add --allow-remote if you want that"
        )
    if not 0 <= port <= 65535:
        raise ConfigError(f"--port {port} is not within 0..65535")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        out = socket.socket(family, socket.SOCK_STREAM)
        out.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        out.bind(address)
        out.listen(128)  # from here on visitors wait rather than fail
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"--host {host} --port {port} is not available: {reason}; name another --port") from None
    return out


class PageServer(uvicorn.Server):
    """uvicorn's server for an application; calls ``ready`` once it answers.

    Args:
        app: the application.
        ready: called once.
        limits: of its connections.
        config: further settings of uvicorn.
    """

    def __init__(
        self,
        app: FastAPI,
        ready: Callable[[], None] = lambda: None,
        limits: ConnectionLimits = ConnectionLimits(),  # noqa: B008  frozen
        **config: Any,
    ):
        settings = uvicorn.Config(
            app,
            http=protocol(limits),
            h11_max_incomplete_event_size=HEAD_BYTES,
            log_level="error",  # its warnings are about what visitors send
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws=live_protocol(limits),
            ws_max_size=FRAME_BYTES,
            ws_per_message_deflate=False,  # frames are compressed
            timeout_graceful_shutdown=GRACE_SECONDS,
            timeout_keep_alive=15,
            **config,
        )
        super().__init__(settings)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts to listen."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends; a second signal shortens the wait for answers, but not the one for the model's thread."""
        await super().shutdown(sockets)
        if self.force_exit:
            await self.lifespan.shutdown()


def serve(models: Mapping[TaskName, Model], sock: socket.socket, host: str, names: tuple[str, ...] = ()) -> None:
    """Serves until SIGINT or SIGTERM; what is being answered then is finished.

    The page's address is the last line that it prints, once it answers.

    Args:
        models: the models.
        sock: see listening_socket; closed at the end.
        host: as in --host.
        names: further names that the server answers to, see guard.checked_name.
    """
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{sock.getsockname()[1]}/  (Ctrl-C stops it)"
    if not is_loopback(host):
        print("warning: other machines can reach this page; nothing is encrypted or protected", file=sys.stderr)
    # uvicorn raises the signal again once it has ended; ending by one is what is meant to happen here.
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with terminal_for_errors():
            app = create_app(models, host=host, names=names)
            PageServer(app, lambda: print(address, file=sys.stderr, flush=True)).run(sockets=[sock])
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
        sock.close()
