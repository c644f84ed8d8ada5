"""The pack on a real server, on this machine or another: ``pytest -m comfyui --comfyui URL tests/comfy_nodes``.

Leaves a folder ``acusim/<random>`` in the server's input and output: HTTP offers no way to delete files.
"""

import io
import json
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from acusim.files import sha256
from comfy_nodes import NODE_CLASS_MAPPINGS
from tests.support import add_sample

pytestmark = pytest.mark.comfyui

STEMS = ("F_Ann_N_HA_O_0001", "F_Ann_N_HA_O_0008", "M_Dan_N_HB_C_0001")


class Live:
    """The few requests that these tests make."""

    def __init__(self, url: str):
        self.url = url.rstrip("/")

    def get(self, path: str, /, **query: str) -> bytes:
        """The body of an answer."""
        with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(query)}", timeout=30) as answer:
            return answer.read()

    def json(self, path: str, /, **query: str) -> Any:
        """The JSON of an answer."""
        return json.loads(self.get(path, **query))

    def post(self, path: str, data: bytes, kind: str) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        request = urllib.request.Request(self.url + path, data, {"Content-Type": kind})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def upload(self, folder: str, path: Path) -> None:
        """Puts a file into the server's input."""
        edge = uuid.uuid4().hex
        fields = "".join(
            f'--{edge}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in {"subfolder": folder, "type": "input", "overwrite": "true"}.items()
        )
        head = f'--{edge}\r\nContent-Disposition: form-data; name="image"; filename="{path.name}"\r\n\r\n'
        body = (fields + head).encode() + path.read_bytes() + f"\r\n--{edge}--\r\n".encode()
        status, message = self.post("/upload/image", body, f"multipart/form-data; boundary={edge}")
        assert status == 200 and message["name"] == path.name, message

    def queue(self, graph: dict[str, Any]) -> tuple[int, Any]:
        """Queues a graph."""
        return self.post("/prompt", json.dumps({"prompt": graph}).encode(), "application/json")

    def run(self, graph: dict[str, Any]) -> dict[str, Any]:
        """Queues a graph and waits for its entry in the history."""
        status, message = self.queue(graph)
        assert status == 200 and not message["node_errors"], message
        for _ in range(600):
            entry = self.json(f"/history/{message['prompt_id']}").get(message["prompt_id"])
            if entry and entry.get("status"):
                return entry
            time.sleep(0.1)
        raise AssertionError("no answer within a minute")


@pytest.fixture
def live(request: pytest.FixtureRequest) -> Live:
    """The server that ``--comfyui`` names."""
    url = request.config.getoption("--comfyui")
    assert url, "say which server: --comfyui http://127.0.0.1:8188"
    return Live(url)


def _graph(load: dict[str, Any], save: dict[str, Any]) -> dict[str, Any]:
    widgets = {"root": "input", "folder": "", "samples": "", "selection": "", "index": 0, "count": 4, "size": 0}
    kept = {"root": "output", "folder": "acusim/test", "format": "as sample", "labels": False, "preview": False}
    links = {"images": ["1", 0], "samples": ["1", 2], "record": ""}
    return {
        "1": {"class_type": "AcuSimLoadSamples", "inputs": {**widgets, **load}},
        "2": {"class_type": "AcuSimSaveSamples", "inputs": {**kept, **links, **save}},
    }


def test_the_server_explains_every_input_and_output(live: Live):
    for name in NODE_CLASS_MAPPINGS:
        message = live.json(f"/object_info/{name}")[name]
        inputs = {**message["input"].get("required", {}), **message["input"].get("optional", {})}
        assert message["category"] == "AcuSim" and message["description"]
        assert all(spec[1]["tooltip"] for spec in inputs.values())
        assert len(message["output"]) == len(message.get("output_tooltips", ()))
        pack = message["python_module"].removeprefix("custom_nodes.")
        for page in (f"{name}.md", f"{name}/zh.md"):
            assert live.get(f"/extensions/{pack}/docs/{page}").startswith(b"# AcuSim")
        assert "AcuSim" in live.json("/i18n")["zh"]["nodeDefs"][name]["display_name"]


def test_samples_come_back_bit_for_bit(live: Live, tmp_path: Path):
    token = f"acusim/{uuid.uuid4().hex}"
    pictures = [add_sample(tmp_path / "data", stem, size=40) for stem in STEMS]
    for path in pictures:
        live.upload(f"{token}/train/image/img_40", path)
        live.upload(f"{token}/train/depth/img_40", tmp_path / "data/train/depth/img_40" / path.name)
    lines = "\n".join(f"train/image/img_40/{path.name}" for path in pictures)
    graph = _graph({"folder": token, "samples": lines}, {"folder": f"{token}/new"})
    for _ in range(2):  # the second time from ComfyUI's cache
        entry = live.run(graph)
        assert entry["status"]["status_str"] == "success", entry["status"]
        message = entry["outputs"]["2"]["acusim"]
        assert [one["sample"] for one in message] == list(STEMS)
        for one, path in zip(message, pictures, strict=True):
            folder, name = one["file"].rsplit("/", 1)
            data = live.get("/view", filename=name, subfolder=folder, type="output")
            assert one["sha256"] == sha256(data) and one["source_sha256"] == sha256(path.read_bytes())
            assert (np.asarray(Image.open(io.BytesIO(data))) == np.asarray(Image.open(path))).all()
            assert live.json("/acusim/file", root="output", path=one["file"])["sha256"] == one["sha256"]


@pytest.mark.parametrize(
    ("load", "save"),
    [
        ({"folder": "../models"}, {}),
        ({"folder": "/etc"}, {}),
        ({"samples": "../../x.png"}, {}),
        ({"root": "/"}, {}),
        ({}, {"folder": "../x"}),
        ({}, {"folder": "a\\..\\..\\x"}),
        ({}, {"root": "input"}),
    ],
)
def test_paths_that_lead_out_are_refused_by_post(live: Live, load: dict[str, str], save: dict[str, str]):
    status, message = live.queue(_graph(load, save))
    assert status == 400
    errors = [error for node in message["node_errors"].values() for error in node["errors"]]
    assert {error["type"] for error in errors} == {"custom_validation_failed"}, errors
