"""The rooms of ARCHITECTURE: who may import whom, and what stays out of the light ones."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ALLOWED = {
    "acusim": set(),
    "synthetic": {"acusim"},
    "engines": {"acusim"},
    "comfy_nodes": {"acusim"},
    "reporting": {"acusim"},
    "training": {"acusim", "reporting"},
    "evaluation": {"acusim", "reporting"},
    "controller": {"acusim", "engines", "evaluation"},
}
LIGHT = {"acusim": {"numpy", "PIL", "pydantic"}, "controller": {"numpy", "PIL", "pydantic", "rich"}}
"""Third-party packages that these rooms may use at all."""


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.split(".")[0])
    return found


def _files(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("room", [room for room in ALLOWED if (ROOT / room).is_dir()])
def test_a_room_imports_only_the_rooms_it_may(room: str):
    files = _files(room)
    assert files
    for path in files:
        ours = _imports(path) & set(ALLOWED) - {room}
        assert ours <= ALLOWED[room], f"{path.relative_to(ROOT)} imports {sorted(ours - ALLOWED[room])}"


@pytest.mark.parametrize("room", LIGHT)
def test_light_rooms_stay_light(room: str):
    for path in _files(room):
        foreign = _imports(path) - set(sys.stdlib_module_names) - set(ALLOWED)
        assert foreign <= LIGHT[room], f"{path.relative_to(ROOT)} imports {sorted(foreign - LIGHT[room])}"


@pytest.mark.parametrize(
    "module",
    [
        *("controller.cli", "synthetic.cli", "evaluation.cli", "evaluation.thresholds", "engines.embedded.processes"),
        *("training.cli.main", "training.config", "training.data.records"),
    ],
)
def test_what_starts_does_not_pay_for_heavy_imports(module: str):
    code = (
        f"import sys, {module}; "
        "heavy = {'cv2', 'scipy', 'trimesh', 'torch', 'mediapipe', 'matplotlib', 'rich', 'requests'}; "
        "heavy &= set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


def test_every_room_on_disk_is_known():
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert rooms <= set(ALLOWED)
