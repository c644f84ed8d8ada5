"""What is uploaded: read into memory within limits, or refused with a reason that people understand."""

import socket
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
import requests
from PIL import Image

from tests.training.web.fake_recogniser import Fake, encoded, noise, running
from training.web.app import create_app
from training.web.uploads import Form, Limits, pixels_of

LIMIT = 1 << 20


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a server that takes 1 MiB in 2 seconds."""
    with running(create_app({"head": Fake()}, Limits(picture_bytes=LIMIT, seconds=2))) as port:
        yield port


def _post(port: int, data: bytes, name: str = "photo.png") -> requests.Response:
    files = {"file": (name, data, "image/png")}
    return requests.post(f"http://127.0.0.1:{port}/api/recognise", files=files, timeout=30)


def _error(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def _header(width: int, height: int) -> bytes:
    """A PNG that is nothing but its size."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return start + struct.pack(">I", 99) + b"IDAT"


FRAMES = [Image.fromarray(noise(seed)) for seed in range(2)]
BAD = {
    "empty": (b"", 422, "empty"),
    "text renamed": (b"This is a text.\n" * 99, 415, "not_a_picture"),
    "page renamed": (b"<svg onload='alert(1)'/>", 415, "not_a_picture"),
    "GIF": (encoded(FRAMES[0], "GIF"), 415, "other_type"),
    "animated WebP": (encoded(FRAMES[0], "WEBP", save_all=True, append_images=FRAMES[1:]), 415, "other_type"),
    "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", 415, "other_type"),
    "animated PNG": (encoded(FRAMES[0], save_all=True, append_images=FRAMES[1:]), 422, "animated"),
    "cut PNG": (encoded(noise(0))[:-2000], 422, "damaged"),
    "cut JPEG": (encoded(noise(0), "JPEG")[:-2000], 422, "damaged"),
    "signature alone": (b"\x89PNG\r\n\x1a\n", 422, "damaged"),
    "no pixels": (_header(0, 0), 422, "damaged"),
    "100 megapixels": (_header(10_000, 10_000), 413, "too_many_pixels"),
    "a bomb": (_header(2**31 - 1, 2**31 - 1), 413, "too_many_pixels"),
    "too large": (b"\xff\xd8\xff" + bytes(LIMIT), 413, "too_large"),
    "far too large": (bytes(3 * LIMIT), 413, "too_large"),
}


def test_a_size_hidden_behind_another_chunk_counts():
    lie = struct.pack(">II", 1, 1)
    chunk = struct.pack(">I", 8) + b"abCd" + lie + struct.pack(">I", zlib.crc32(b"abCd" + lie))
    data = _header(300, 200)
    assert pixels_of(Form(data[:8] + chunk + data[8:])) in (0, 60_000) and pixels_of(Form(data)) == 60_000


@pytest.mark.parametrize("case", BAD)
def test_bad_files(port: int, case: str):
    data, status, code = BAD[case]
    assert _error(_post(port, data)) == (status, code)


@pytest.mark.parametrize(
    ("image", "format", "note"),
    [
        (Image.new("CMYK", (80, 60), (0, 200, 200, 0)), "JPEG", "CMYK"),
        (Image.fromarray(np.full((60, 80), 40_000, np.uint16)), "PNG", "16 bits"),
        (Image.new("RGBA", (80, 60), (9, 9, 9, 0)), "PNG", "alpha"),
        (Image.new("1", (80, 60)), "PNG", "mode 1"),
    ],
)
def test_unusual_pictures_are_converted(port: int, image: Image.Image, format: str, note: str):
    answer = _post(port, encoded(image, format)).json()
    assert (answer["picture"]["width"], answer["picture"]["height"]) == (80, 60)
    assert any(note in message for message in answer["picture"]["notes"])


def test_a_file_of_exactly_the_limit_is_taken(port: int):
    data = encoded(noise(0), "JPEG")
    assert _post(port, data + bytes(LIMIT - len(data))).status_code == 200
    assert _error(_post(port, data + bytes(LIMIT - len(data) + 1))) == (413, "too_large")


def test_the_name_is_only_a_name(port: int):
    for name, wanted in (("../../etc/passwd", "passwd"), ("C:\\a\\b.png", "b.png"), ("x" * 999, "x" * 120)):
        assert _post(port, encoded(noise(0)), name).json()["picture"]["name"] == wanted


def test_forms_that_are_none(port: int):
    url = f"http://127.0.0.1:{port}/api/recognise"
    data = encoded(noise(0))
    assert _error(requests.post(url, data=data, headers={"content-type": "image/png"}, timeout=30)) == (
        415,
        "not_a_form",
    )
    assert _error(requests.post(url, files={"other": b"x"}, timeout=30)) == (422, "bad_value")
    assert _error(requests.post(url, files={"kind": (None, "head")}, timeout=30)) == (422, "no_picture")
    assert _error(requests.post(url, files=[("file", data), ("file", data)], timeout=30)) == (422, "repeated")
    twice = [("file", data), ("kind", (None, "head")), ("kind", (None, "hand"))]
    assert _error(requests.post(url, files=twice, timeout=30)) == (422, "repeated")
    assert _error(requests.post(url, files=[("file", data), ("kind", data)], timeout=30)) == (422, "repeated")
    many = [("kind", (None, "head"))] * 99
    assert _error(requests.post(url, files=many, timeout=30)) == (400, "bad_form")
    cut = {"content-type": "multipart/form-data; boundary=b"}
    assert _error(requests.post(url, data=b"--b\r\ncontent-dis", headers=cut, timeout=30)) == (400, "bad_form")
    assert _error(requests.post(url, data=b"nonsense", headers=cut, timeout=30)) == (400, "bad_form")


def _form(*parts: bytes) -> bytes:
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"


FILE = b'content-disposition: form-data; name="file"; filename="a.png"\r\n\r\n' + encoded(noise(0))
KIND = b'content-disposition: form-data; name="kind"\r\n\r\nhead'


@pytest.mark.parametrize(
    ("boundary", "form", "status", "code"),
    [
        (b"b", _form(FILE, KIND), 200, ""),
        (b"b", _form(*[KIND] * 10_000, FILE), 400, "bad_form"),
        (b"b", _form(b"x: " + b"a" * 500_000 + b"\r\n\r\nhead", FILE), 400, "bad_form"),
        (b"b", _form(b"x: a\r\n" * 5000 + b"\r\nhead", FILE), 400, "bad_form"),
        (b"b", _form(b"\r\nhead", FILE), 422, "bad_value"),
        (b"b", _form(KIND, KIND, FILE), 422, "repeated"),
        (b"", _form(FILE), 400, "bad_form"),
        (b'"', _form(FILE), 400, "bad_form"),
        (b"\xff", _form(FILE), 400, "bad_form"),
        (b"b" * 5000, _form(FILE), 400, "bad_form"),
        (b"c", _form(FILE), 400, "bad_form"),
    ],
)  # fmt: skip
def test_odd_forms(port: int, boundary: bytes, form: bytes, status: int, code: str):
    headers = {"content-type": b"multipart/form-data; boundary=" + boundary}
    answer = requests.post(f"http://127.0.0.1:{port}/api/recognise", data=form, headers=headers, timeout=30)
    assert (answer.status_code, answer.json().get("error", {"code": ""})["code"]) == (status, code)


HEAD = b"POST /api/recognise HTTP/1.1\r\nhost: localhost\r\ncontent-type: multipart/form-data; boundary=b\r\n"
PART = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'


def _raw(port: int, head: bytes, pieces: Iterator[bytes] | list[bytes]) -> bytes:
    """What comes back to bytes on a socket."""
    with socket.create_connection(("127.0.0.1", port), 30) as to:
        to.sendall(HEAD + head + b"\r\n")
        try:
            for piece in pieces:
                to.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = b""
        try:
            while b"\r\n\r\n" not in answer or b"}}" not in answer:
                piece = to.recv(65536)
                if not piece:
                    break
                answer += piece
        except ConnectionResetError:
            pass
        return answer


def _chunks(count: int, size: int) -> Iterator[bytes]:
    def chunk(data: bytes) -> bytes:
        return f"{len(data):x}\r\n".encode() + data + b"\r\n"

    yield chunk(PART)
    for _ in range(count):
        yield chunk(bytes(size))
    yield b"0\r\n\r\n"


def test_a_body_without_a_length_is_counted(port: int):
    answer = _raw(port, b"transfer-encoding: chunked\r\n", _chunks(40, LIMIT // 20))
    assert b" 413 " in answer and b"too_large" in answer


def test_an_endless_body_is_cut_off(port: int):
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for piece in _chunks(1000, LIMIT // 4):
            sent += len(piece)
            yield piece

    _raw(port, b"transfer-encoding: chunked\r\n", endless())
    assert sent < 60 * LIMIT  # 250 were to come; some lie in buffers


def test_a_length_that_is_far_too_large_is_refused_before_the_body(port: int):
    assert b"too_large" in _raw(port, b"content-length: 99999999999\r\n", [PART])


def test_a_length_that_is_too_small(port: int):
    answer = _raw(port, b"content-length: 80\r\n", [PART + bytes(1000)])
    assert b" 400 " in answer


def test_an_upload_that_stops_is_given_up(port: int):
    assert b"too_slow" in _raw(port, b"content-length: 9000\r\n", [PART])
