"""What the server tells the controller."""

import asyncio
import json
import struct
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import acusim
from acusim.errors import LayoutError
from acusim.files import sha256
from comfy_nodes import routes
from tests.comfy_nodes.conftest import Server


def _safetensors(header: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header


@pytest.fixture
def models(server: Server, tmp_path: Path) -> Path:
    """A models folder that ComfyUI lists as "unet"."""
    folder = tmp_path / "models"
    folder.mkdir()
    module = sys.modules["folder_paths"]

    def listed(kind: str) -> list[str]:
        return {"unet": sorted(path.name for path in folder.iterdir())}[kind]

    module.get_filename_list = listed  # type: ignore[attr-defined]
    module.get_full_path = lambda kind, name: str(folder / name)  # type: ignore[attr-defined]
    return folder


def test_info_tells_version_and_roots(server: Server):
    message = routes.info()
    assert message["version"] == acusim.__version__
    assert message["roots"]["input"]["path"] == str(server.input) and not message["roots"]["input"]["writable"]
    assert message["roots"]["output"]["writable"] and not message["roots"]["output"]["exists"]
    assert all(root["free_bytes"] > 0 for root in message["roots"].values())


def test_file_facts_are_true_and_stay_inside(server: Server, monkeypatch: pytest.MonkeyPatch):
    (server.input / "a").mkdir()
    (server.input / "a/b.bin").write_bytes(b"abc")
    assert routes.file_facts("input", "a/b.bin") == {"size": 3, "sha256": sha256(b"abc")}
    for path, words in {
        "../x": "plain relative",
        "a": "is not in root",
        "": "is not in root",
        "c": "is not in",
    }.items():
        with pytest.raises(LayoutError, match=words):
            routes.file_facts("input", path)
    monkeypatch.setattr(routes, "MAX_FILE_BYTES", 2)
    with pytest.raises(LayoutError, match="has 3 bytes; allowed are 2"):
        routes.file_facts("input", "a/b.bin")


def test_a_model_tells_its_kind_by_shapes(models: Path):
    header = {
        "conv_in.weight": {"dtype": "F32", "shape": [320, 8, 3, 3], "data_offsets": [0, 92160]},
        "other": {"dtype": "U8", "shape": [1], "data_offsets": [92160, 92161]},
        "__metadata__": {},
    }
    (models / "fc.safetensors").write_bytes(_safetensors(json.dumps(header).encode()) + bytes(92161))
    assert routes.model_facts("unet", "fc.safetensors") == {"tensors": {"conv_in.weight": [320, 8, 3, 3]}}


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"", "x.safetensors"),
        (b"1234567", "x.safetensors"),
        (_safetensors(b"{"), "x.safetensors"),
        (_safetensors(b"[]"), "x.safetensors"),
        (_safetensors(b'{"conv_in.weight": 1}'), "x.safetensors"),
        (struct.pack("<Q", 2**60), "x.safetensors"),
        (_safetensors(b"[" * 100_000), "x.safetensors"),
        (b"pickle", "x.ckpt"),
    ],
)
def test_damaged_and_pickled_models_are_not_opened(models: Path, data: bytes, name: str):
    (models / name).write_bytes(data)
    with pytest.raises(LayoutError, match=f"{name}'.*(damaged|not a safetensors file)"):
        routes.model_facts("unet", name)


def test_only_listed_models_are_opened(models: Path):
    for folder, name, words in (
        ("loras", "x", "is not one of"),
        ("unet", "../../x", "it holds"),
        ("ipadapter", "x", "it"),
    ):
        with pytest.raises(LayoutError, match=words):
            routes.model_facts(folder, name)


def test_routes_answer_errors_as_json(server: Server, monkeypatch: pytest.MonkeyPatch):
    web = SimpleNamespace(json_response=lambda message, status=200: (status, message))
    monkeypatch.setitem(sys.modules, "aiohttp.web", web)  # type: ignore[arg-type]
    handlers: dict[str, Any] = {}

    class Table(list[Any]):
        def get(self, path: str) -> Any:
            return lambda handler: handlers.setdefault(path, handler)

    instance = SimpleNamespace(routes=Table())
    fake = SimpleNamespace(PromptServer=SimpleNamespace(instance=instance))
    monkeypatch.setitem(sys.modules, "server", fake)  # type: ignore[arg-type]
    routes.register()

    def get(route: str, **query: str) -> tuple[int, dict[str, Any]]:
        return asyncio.run(handlers[route](SimpleNamespace(query=query)))

    assert get("/acusim/info")[0] == 200
    assert get("/acusim/file", root="input") == (400, {"error": "parameter path is missing"})
    assert get("/acusim/file", root="input", path="none")[0] == 404
    status, message = get("/acusim/file", root="input", path="../x")
    assert status == 400 and "allowed are" in message["error"]
