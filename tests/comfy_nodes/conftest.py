"""Stand-ins for what ComfyUI gives its nodes: ``folder_paths`` and the few functions of torch that convert arrays."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from comfy_nodes import NODE_CLASS_MAPPINGS
from tests.support import add_sample


@dataclass(frozen=True)
class Server:
    """The folders of a pretended server."""

    input: Path
    output: Path
    temp: Path


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A server with an input and an output folder; torch hands arrays through."""
    folders = Server(*(tmp_path / name for name in ("input", "output", "temp")))
    folders.input.mkdir()
    folder_paths = SimpleNamespace(
        get_input_directory=lambda: str(folders.input),
        get_output_directory=lambda: str(folders.output),
        get_temp_directory=lambda: str(folders.temp),
    )
    monkeypatch.setitem(sys.modules, "folder_paths", folder_paths)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(from_numpy=np.asarray))  # type: ignore[arg-type]
    monkeypatch.delenv("ACUSIM_ROOTS", raising=False)
    return folders


@pytest.fixture
def node() -> Callable[..., Any]:
    """Calls a node as ComfyUI does: defaults of its widgets, then what the test says."""

    def call(name: str, **inputs: Any) -> Any:
        cls = NODE_CLASS_MAPPINGS[name]
        kinds = cls.INPUT_TYPES()
        values: dict[str, Any] = {}
        for key, (kind, how) in {**kinds["required"], **kinds.get("optional", {})}.items():
            if "default" in how:
                values[key] = how["default"]
            elif isinstance(kind, list):
                values[key] = kind[0]
        return getattr(cls(), cls.FUNCTION)(**{**values, **inputs})

    return call


@pytest.fixture
def dataset(server: Server) -> Iterator[Path]:
    """A data set below input: two haired women and a bald man, three pictures, 40 x 40."""
    root = server.input / "heads"
    for stem in ("F_Ann_N_HA_O_0001", "F_Ann_N_HA_O_0008", "M_Dan_N_HB_C_0001"):
        add_sample(root, stem, size=40)
    yield root
