"""Headers of safetensors files, whole, damaged, and of files that only bear the name."""

import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from acusim.errors import LayoutError
from acusim.tensor_files import MAX_HEADER_BYTES, Tensor, read_header


def framed(header: bytes, data: int = 0) -> bytes:
    """A file of this header and so many bytes of data."""
    return len(header).to_bytes(8, "little") + header + bytes(data)


def entry(shape: Any = (2, 3), place: Any = (0, 12), dtype: Any = "F16") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": place}


def refusal(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(LayoutError) as caught:
        read_header(path)
    return str(caught.value)


def test_a_file_of_the_library_is_read(tmp_path: Path):
    path = tmp_path / "x.safetensors"
    arrays = {"b": np.zeros((2, 3), np.float16), "a": np.zeros((4,), np.int64), "none": np.zeros((0, 5), np.float32)}
    save_file({**arrays, "one": np.array(1.0, np.float32)}, path, {"made": "here"})
    assert read_header(path) == {
        "a": Tensor("I64", (4,)),
        "b": Tensor("F16", (2, 3)),
        "none": Tensor("F32", (0, 5)),
        "one": Tensor("F32", ()),
    }


def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path):
    path = tmp_path / "x.safetensors"
    save_file({"a": np.ones((8, 8), np.float32), "b": np.ones((3,), np.float16)}, path)
    whole = path.read_bytes()
    for size in range(len(whole)):
        assert "'x.safetensors' is" in refusal(path, whole[:size])
    assert f"{len(whole) - 1} of {len(whole)} bytes (cut off" in refusal(path, whole[:-1])
    assert f"{len(whole) + 3} of {len(whole)} bytes (too many)" in refusal(path, whole + b"abc")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is empty"),
        (b"1234567", "it has 7 bytes"),
        (pickle.dumps({"state_dict": [1.0] * 9}), "pickled PyTorch file"),
        (b"PK\x03\x04" + bytes(100), "pickled PyTorch file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:6ce0\nsize 4265146304\n", "Git LFS pointer"),
        (b"\n<!DOCTYPE html><html>Access denied</html>", "web page"),
        (b"<HTML><head></head></HTML>", "web page"),
        (b"GGUF\x03\x00\x00\x00" + bytes(64), "GGUF"),
        (bytes(5000), "zeros only"),
        (b"Entry not found", "text that starts with 'Entry not found'"),
        (b'{"error":"Invalid credentials"}', "text that starts with"),
        (bytes([9, 1, 0, 0, 0, 0, 0, 0]) + b"\xff\x00" * 300, "its header claims 265 of 608 bytes"),
        ((MAX_HEADER_BYTES + 1).to_bytes(8, "little") + b"{" + bytes(64), "at most"),
        (framed(b"{" + b" " * 40)[:20], "within its header"),
    ],
)
def test_what_only_bears_the_name_is_reported(tmp_path: Path, data: bytes, words: str):
    message = refusal(tmp_path / "x.safetensors", data)
    assert message.startswith("'x.safetensors' is ") and words in message


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b"{" + b"[" * 99, "cannot be read"),
        (b'{"a": ' + b'{"a":' * 50_000, "cannot be read"),
        (b'{"a": "\xff\xfe"}', "cannot be read"),
        (b'{"a": 1}', "tensor 'a' is not a JSON object"),
        (json.dumps({"a": entry(dtype="F99")}).encode(), "type 'F99'; known are"),
        (json.dumps({"a": entry(dtype=["F16"])}).encode(), "known are"),
        (json.dumps({"a": entry(shape=[2, -3])}).encode(), "has shape"),
        (json.dumps({"a": entry(shape=[2, True])}).encode(), "has shape"),
        (json.dumps({"a": entry(shape=None)}).encode(), "has shape"),
        (json.dumps({"a": entry(shape=[10**30])}).encode(), "has shape"),
        (json.dumps({"a": entry(place=[0])}).encode(), "has shape"),
        (json.dumps({"a": entry(place=[0, 11])}).encode(), "has the place"),
        (json.dumps({"a": entry(place=[12, 0])}).encode(), "has the place"),
        (json.dumps({"a": entry(), "b": entry()}).encode(), "belong to no tensor, or to two"),
        (json.dumps({"a": entry(), "__metadata__": {"steps": 3}}).encode(), "__metadata__ is {'steps': 3}"),
        (json.dumps({"a": entry(), "__metadata__": "x"}).encode(), "not texts by name"),
        (json.dumps({"a\ud800": entry()}).encode(), "cannot be read"),
        (b'{"a": {"dtype": "F16", "dtype": "F32", "shape": [3], "data_offsets": [0, 12]}}', "'dtype' occurs twice"),
        (json.dumps({"a": entry(place=[4, 16])}).encode(), "bytes 0 to 4 belong to no tensor"),
    ],
)
def test_headers_that_lie_are_refused(tmp_path: Path, header: bytes, words: str):
    message = refusal(tmp_path / "x.safetensors", framed(header, 12))
    assert "is damaged" in message and words in message and len(message) < 500


def test_a_zip_and_a_missing_file(tmp_path: Path):
    path = tmp_path / "x.safetensors"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
    assert "pickled PyTorch file" in refusal(path, path.read_bytes())
    os.mkfifo(tmp_path / "pipe")
    for name in ("gone", ".", "pipe", os.fsdecode(b"b\xff")):
        with pytest.raises(LayoutError, match="cannot be read"):
            read_header(tmp_path / name)
