"""The memory that the web page's server takes for the largest pictures, and whether it releases it.

    python -m benchmarks.web_memory [--uploads 3] [--kind rgba16]

A server of its own gets so many pictures of 64 megapixels at once, as PNG with 16 bits and alpha or as another kind
that takes much memory, once for their points and once to be drawn on. Printed is the memory of its process (Linux):
idle, at its largest, and one second after the last answer. Its model is a fake, so that all but the idle figure is due
to the server. The bounds are those of docs/guide/web.md; the exit code is 1 where one is exceeded.
"""

import argparse
import io
import re
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import requests
from PIL import Image

SIDE = 8192
"""64 megapixels: the most that the page takes."""
MOST_MIB = {"recognise": 1024, "picture": 1536}
"""Above the idle server, however many pictures come at once."""
LEFT_MIB = 160
"""Above the idle server once all is answered."""
SERVER = """
from tests.training.web.fake_recogniser import Fake
from training.web.server import listening_socket, serve
serve({"head": Fake(enough_px=1024)}, listening_socket("127.0.0.1", 0, False), "127.0.0.1")
"""


class Memory(NamedTuple):
    """Of a process, in MiB."""

    idle: float
    peak: float
    after: float


def rgba16() -> bytes:
    """A PNG of 16 bits with alpha; each row repeats the one above, so the file is small."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    row = np.random.default_rng(0).integers(0, 1 << 16, 4 * SIDE).astype(">u2").tobytes()
    packer = zlib.compressobj(1)
    data = packer.compress(b"\0" + row)
    for _ in range(SIDE - 1):
        data += packer.compress(b"\2" + bytes(len(row)))
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 16, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data + packer.flush()) + chunk(b"IEND", b"")


def _with_pillow(mode: str, format: str, side: int = SIDE, **how: object) -> bytes:
    out = io.BytesIO()
    Image.new(mode, (side, side), 99 if mode == "L" else (9, 99, 199, 50)[: len(mode)]).save(out, format, **how)
    return out.getvalue()


def _turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return _with_pillow("RGB", "PNG", exif=exif)


KINDS: dict[str, Callable[[], bytes]] = {
    "rgba16": rgba16,
    "turned": _turned,
    "grey": lambda: _with_pillow("L", "PNG"),
    # Odd sides, so that it cannot be read at a fraction of its size; progressive ones are held as coefficients, too.
    "cmyk-jpeg": lambda: _with_pillow("CMYK", "JPEG", SIDE - 1, progressive=True, quality=90, subsampling=0),
}


def _status(pid: int, field: str) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    match = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
    assert match, f"/proc has no {field}"
    return int(match[1]) / 1024


def measure(data: bytes, uploads: int, to: str) -> Memory:
    """The memory of a fresh server that gets the same picture so many times at once.

    Args:
        data: the file.
        uploads: how many.
        to: recognise or picture, of the interface.
    """
    root = Path(__file__).resolve().parents[1]
    with subprocess.Popen([sys.executable, "-c", SERVER], cwd=root, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr
            address = process.stderr.readline().split()[0]

            def ask(_: int) -> None:
                answer = requests.post(f"{address}api/{to}", files={"file": ("large", data)}, timeout=600)
                answer.raise_for_status()

            small = io.BytesIO()
            Image.new("RGB", (64, 64)).save(small, "PNG")
            requests.post(f"{address}api/{to}", files={"file": small.getvalue()}, timeout=60).raise_for_status()
            idle = _status(process.pid, "VmRSS")
            with ThreadPoolExecutor(uploads) as pool:
                list(pool.map(ask, range(uploads)))
            time.sleep(1)
            return Memory(idle, _status(process.pid, "VmHWM"), _status(process.pid, "VmRSS"))
        finally:
            process.kill()


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uploads", type=int, default=3, help="at once (default 3)")
    parser.add_argument("--kind", choices=KINDS, action="append", help="of picture, repeatable (default all)")
    options = parser.parse_args()
    failed = False
    for kind in options.kind or KINDS:
        data = KINDS[kind]()
        for to, most in MOST_MIB.items():
            memory = measure(data, options.uploads, to)
            grown, left = memory.peak - memory.idle, memory.after - memory.idle
            print(
                f"{kind} ({len(data) / 2**20:.1f} MiB) x {options.uploads} to {to}: idle {memory.idle:.0f} MiB, "
                f"largest +{grown:.0f} (bound {most}), after +{left:.0f} (bound {LEFT_MIB})",
                flush=True,
            )
            failed |= grown > most or left > LEFT_MIB
    sys.exit(failed)


if __name__ == "__main__":
    main()
