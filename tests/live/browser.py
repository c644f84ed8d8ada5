"""A headless Chromium, driven through its DevTools protocol."""

import base64
import itertools
import json
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests
import websocket

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync", "--disable-quic"),
    *("--disable-background-networking", "--disable-component-update", "--window-size=1800,1100"),
    "--remote-debugging-port=0",
)


def chromium() -> str | None:
    """Where Chromium is, None if it is not installed."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Page:
    """One page of a browser of its own. Use it as a context manager."""

    def __init__(self, url: str, profile: Path):
        program = chromium()
        assert program
        self._process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        port_file = profile / "DevToolsActivePort"
        deadline = time.monotonic() + 60
        while not (port_file.is_file() and port_file.read_text().count("\n")):
            assert time.monotonic() < deadline, "Chromium does not start"
            time.sleep(0.05)
        port = port_file.read_text().split("\n")[0]
        pages = requests.get(f"http://127.0.0.1:{port}/json/list", timeout=10).json()
        [address] = [page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page"]
        self._socket = websocket.create_connection(address, timeout=120, suppress_origin=True)
        self._ids = itertools.count(1)
        self.call("Page.navigate", url=url)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait(20)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the protocol and its answer."""
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == number:
                assert "error" not in message, message["error"]
                return message["result"]

    def run(self, script: str) -> Any:
        """What an expression comes to, promises awaited; it must be JSON."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, script: str, seconds: float = 60) -> Any:
        """Waits until an expression is true."""
        deadline = time.monotonic() + seconds
        while True:
            value = self.run(f"(() => {{ try {{ return {script} }} catch {{ return null }} }})()")
            if value:
                return value
            assert time.monotonic() < deadline, f"never true: {script}"
            time.sleep(0.1)

    def screenshot(self, path: Path) -> None:
        """Writes a PNG of the window."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))
