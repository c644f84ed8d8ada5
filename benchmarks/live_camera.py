"""Pictures a second of the live camera with the shipped models, by websocket, beside one POST for each frame.

    python -m benchmarks.live_camera [--rounds 4] [--seconds 5] [--threads 2]

A server of its own process (``python -m training serve``) gets frames of 640 x 480, as a browser's camera sends them: a
face that moves a little from frame to frame (NASA's photograph of scikit-image, in the public domain), each sent when
the last answer is back. Peer, in the same run and in turn: the same frames as forms to /api/recognise with quick=true,
the kind detected for every 15th as the websocket does. A browser needs further time for its camera.
"""

import argparse
import io
import itertools
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import requests
from PIL import Image
from skimage import data
from websockets.sync.client import connect

from training.web.live import DETECT

AIM = 10.0
"""Pictures a second."""


def frames(count: int = 30) -> list[bytes]:
    """JPEGs of a moving face."""
    photograph = Image.fromarray(data.astronaut())
    out: list[bytes] = []
    for turn in np.linspace(0, 2 * np.pi, count, endpoint=False):
        left, top = 20 + 15 * np.cos(turn), 5 + 5 * np.sin(turn)
        crop = photograph.resize((640, 480), Image.Resampling.BICUBIC, (left, top, left + 400, top + 300))
        stream = io.BytesIO()
        crop.save(stream, "JPEG", quality=85)
        out.append(stream.getvalue())
    return out


@contextmanager
def server(threads: int) -> Iterator[str]:
    """The address of a server with the shipped models, without http://."""
    command = [sys.executable, "-m", "training", "serve", "--port", "0", "--threads", str(threads)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr
        found = next(match for line in process.stderr if (match := re.search(r"http://([^/]+)/", line)))
        yield found[1]
    finally:
        process.terminate()
        process.wait()


def rate(ask: Callable[[bytes], object], pictures: list[bytes], seconds: float) -> float:
    """Answers a second."""
    started = time.perf_counter()
    for count, picture in enumerate(itertools.cycle(pictures), 1):
        ask(picture)
        if (passed := time.perf_counter() - started) >= seconds:
            return count / passed
    raise AssertionError


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    pictures, model_ms, counter = frames(), list[float](), itertools.count()
    with (
        server(options.threads) as address,
        requests.Session() as session,
        connect(f"ws://{address}/api/live", compression=None) as socket,
    ):

        def by_socket(frame: bytes) -> None:
            socket.send(frame)
            model_ms.append(json.loads(socket.recv())["model_ms"])

        def by_form(frame: bytes) -> None:
            fields = {"quick": "true", "kind": "head" if next(counter) % DETECT else "auto"}
            answer = session.post(f"http://{address}/api/recognise", files={"file": frame}, data=fields)
            answer.raise_for_status()
            answer.json()

        rates: dict[str, list[float]] = {"websocket": [], "POST": []}
        for turn in range(options.rounds + 1):
            for name, ask in (("websocket", by_socket), ("POST", by_form)):
                found = rate(ask, pictures, options.seconds)
                if turn:  # the first warms up
                    rates[name].append(found)
    medians = {name: statistics.median(found) for name, found in rates.items()}
    for name, found in rates.items():
        print(f"{name}: median {medians[name]:.1f} pictures/s ({min(found):.1f} to {max(found):.1f})")
    ratio = medians["websocket"] / medians["POST"]
    print(f"websocket / POST: {ratio:.2f}; model {statistics.median(model_ms):.0f} ms a frame; aim {AIM:g} pictures/s")


if __name__ == "__main__":
    main()
