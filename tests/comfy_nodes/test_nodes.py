"""The pack as ComfyUI and its editor see it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import acusim
from comfy_nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS, WEB_DIRECTORY
from comfy_nodes.locate import NEEDS
from tests.support import ROOT

PACK = ROOT / "comfy_nodes"
IDS = sorted(NODE_CLASS_MAPPINGS)


def _inputs(name: str) -> dict[str, tuple[Any, dict[str, Any]]]:
    kinds = NODE_CLASS_MAPPINGS[name].INPUT_TYPES()
    return {**kinds["required"], **kinds.get("optional", {})}


def test_the_nodes_are_listed():
    assert IDS == [
        "AcuSimBackground",
        "AcuSimDepth",
        "AcuSimLightTransfer",
        "AcuSimLoadSamples",
        "AcuSimLoadScene",
        "AcuSimNoise",
        "AcuSimPromptSet",
        "AcuSimSaveSamples",
    ]
    assert sorted(NODE_DISPLAY_NAME_MAPPINGS) == IDS
    assert all(title.startswith("AcuSim ") for title in NODE_DISPLAY_NAME_MAPPINGS.values())


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("name", IDS)
def test_every_input_and_output_is_explained(name: str):
    cls = NODE_CLASS_MAPPINGS[name]
    assert cls.CATEGORY == "AcuSim" and len(cls.DESCRIPTION) > 40
    assert callable(getattr(cls, cls.FUNCTION))
    assert len(cls.OUTPUT_TOOLTIPS) == len(cls.RETURN_TYPES) == len(cls.RETURN_NAMES)
    for key, (kind, how) in _inputs(name).items():
        assert len(how["tooltip"]) > 5, key
        if kind in ("INT", "FLOAT"):
            assert how["min"] <= how["default"] <= how["max"] and (how["step"] == 1) == (kind == "INT"), key


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("name", IDS)
def test_help_pages_and_chinese_names_cover_every_input_and_output(name: str):
    cls = NODE_CLASS_MAPPINGS[name]
    words = json.loads((PACK / "locales/zh/nodeDefs.json").read_text(encoding="utf-8"))[name]
    assert sorted(words["inputs"]) == sorted(_inputs(name))
    assert sorted(words["outputs"]) == [str(i) for i in range(len(cls.RETURN_TYPES))]
    for entry in (*words["inputs"].values(), *words["outputs"].values()):
        assert entry["name"] and entry["tooltip"]
    web = PACK / WEB_DIRECTORY / "docs"
    for page in (web / f"{name}.md", web / name / "zh.md"):
        text = page.read_text(encoding="utf-8")
        assert text.startswith("# AcuSim")
        for key in (*_inputs(name), *cls.RETURN_NAMES):
            assert f"\n| {key}" in text, f"{page} does not explain {key}"


def test_a_clone_of_the_repository_shows_the_chinese_names_too():
    assert (ROOT / "locales/zh/nodeDefs.json").samefile(PACK / "locales/zh/nodeDefs.json")


def test_the_registry_package_leaves_out_what_nodes_do_not_need():
    lines = (ROOT / ".comfyignore").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in lines if not line.startswith("#")]
    assert all(pattern.startswith("/") for pattern in patterns), "else it would match at any depth"
    dropped = {pattern.strip("/") for pattern in patterns}
    assert dropped >= {"requirements.txt", "tests", "training", "controller", "synthetic", "docs"}
    kept = {"__init__.py", "acusim", "comfy_nodes", "engines", "engines/scene_pictures", "locales", "workflows"}
    assert not dropped & kept
    assert not (ROOT / "install.py").exists(), "ComfyUI's package manager would run it"


def test_the_version_that_nodes_need_is_the_one_beside_them():
    assert acusim.__version__ == NEEDS


LOADER = """
import importlib.util, json, sys, types
from pathlib import Path
place = sys.argv[1]
routes = []
class Table(list):
    def get(self, path):
        def add(handler):
            self.append(types.SimpleNamespace(path=path))
            return handler
        return add
instance = types.SimpleNamespace(routes=Table())
sys.modules["server"] = types.SimpleNamespace(PromptServer=types.SimpleNamespace(instance=instance))
base = Path(place).parents[1]
sys.modules["folder_paths"] = types.SimpleNamespace(
    get_input_directory=lambda: str(base / "input"), get_output_directory=lambda: str(base / "output")
)
COPIES = 1
for copy in range(COPIES):
    name = place.replace(".", "_x_") + "_copy" * copy
    spec = importlib.util.spec_from_file_location(name, place + "/__init__.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
for node in module.NODE_CLASS_MAPPINGS.values():
    node.INPUT_TYPES()
import acusim
print(json.dumps({
    "ids": sorted(module.NODE_CLASS_MAPPINGS),
    "web": str(Path(place, module.WEB_DIRECTORY, "docs").is_dir()),
    "routes": [route.path for route in instance.routes],
    "acusim": str(Path(acusim.__file__).parent),
}))
"""


def _load(place: Path, code: str = LOADER, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Loads a pack as ComfyUI does, by its path, in a fresh process that knows nothing of the repository."""
    line = [sys.executable, "-P", "-c", code, str(place)]
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        line, capture_output=True, text=True, timeout=60, env={**clean, **environment}, cwd=place.parent
    )


@pytest.fixture
def custom_nodes(tmp_path: Path) -> Path:
    """An empty custom_nodes folder, below a path with a dot as in ~/.local."""
    folder = tmp_path / "comfy.d" / "custom_nodes"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("what", ["comfy_nodes", "."])
def test_a_linked_pack_and_a_linked_repository_load(custom_nodes: Path, what: str):
    place = custom_nodes / "acusim-augment"
    place.symlink_to(ROOT / what)
    done = _load(place)
    assert done.returncode == 0, done.stderr
    message = json.loads(done.stdout)
    assert message["ids"] == IDS and message["web"] == "True"
    assert message["routes"] == ["/acusim/info", "/acusim/file", "/acusim/model"]
    assert Path(message["acusim"]) == ROOT / "acusim"


def _copied(custom_nodes: Path) -> Path:
    place = custom_nodes / "comfy_nodes"
    place.mkdir()
    for path in PACK.glob("*.py"):
        (place / path.name).write_bytes(path.read_bytes())
    return place


def test_a_pack_copied_alone_says_what_to_do(custom_nodes: Path):
    done = _load(_copied(custom_nodes))
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: AcuSim nodes: the Python package 'acusim' was not found.")
    for way in ("link comfy_nodes into custom_nodes", "the whole repository", "pip install"):
        assert way in last


def test_a_pack_copied_alone_takes_an_installed_acusim(custom_nodes: Path, tmp_path: Path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "acusim").symlink_to(ROOT / "acusim")
    done = _load(_copied(custom_nodes), PYTHONPATH=str(tmp_path / "site"))
    assert done.returncode == 0, done.stderr


def test_another_version_of_acusim_is_not_mixed_in(custom_nodes: Path, tmp_path: Path):
    other = tmp_path / "site" / "acusim"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text('__version__ = "9.9"\n')
    (custom_nodes / "comfy_nodes").symlink_to(PACK)
    done = _load(custom_nodes / "comfy_nodes", "import acusim\n" + LOADER, PYTHONPATH=str(tmp_path / "site"))
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert f"acusim {NEEDS} is required, but acusim 9.9 is loaded from {other}" in last


def test_two_copies_of_the_pack_do_not_stop_the_server(custom_nodes: Path):
    (custom_nodes / "comfy_nodes").symlink_to(PACK)
    done = _load(custom_nodes / "comfy_nodes", LOADER.replace("COPIES = 1", "COPIES = 2"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["routes"] == ["/acusim/info", "/acusim/file", "/acusim/model"]
    assert "installed twice" in done.stderr
