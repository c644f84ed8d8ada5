"""The rooms of docs/architecture.md: who may import whom, what stays out of the light ones, and no circles."""

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
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
    "experiments": {"acusim", "synthetic", "engines", "reporting", "training", "evaluation"},
    "examples": {"acusim", "synthetic", "engines", "training", "evaluation"},
}
NOT_INSTALLED = {"experiments", "examples", "benchmarks", "tools"}
"""Rooms of a clone alone; nothing that is installed may import them."""
LIGHT = {
    "acusim": {"numpy", "PIL", "pydantic", "filelock", "platformdirs", "ray"},  # ray only where a cluster is asked for
    "controller": {"numpy", "PIL", "pydantic", "rich"},
}
"""Third-party packages that these rooms may use at all."""


def _imports(path: Path) -> set[str]:
    """The top-level names that a file imports, inside functions too."""
    return {name.split(".")[0] for name, _ in _imported(path, path.stem)}


def _imported(path: Path, module: str) -> Iterator[tuple[str, str | None]]:
    """Each import of a file, as the module and the name taken from it (None for ``import x``)."""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((source, alias.name) for alias in node.names)


def _files(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def _graph() -> dict[str, set[str]]:
    """Module -> the modules of the project that it imports, at its top and inside functions."""
    paths = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for room in [*ALLOWED, *NOT_INSTALLED]
        for path in _files(room)
    }
    graph: dict[str, set[str]] = {}
    for module, path in paths.items():
        pairs = _imported(path, module)
        # `from package import module` depends on that module; `from module import name` on the module itself.
        found = {f"{source}.{name}" if f"{source}.{name}" in paths else source for source, name in pairs}
        graph[module] = (found & set(paths)) - {module}
    return graph


def find_circle(graph: Mapping[str, set[str]]) -> list[str]:
    """One circle of a graph, its first module repeated at the end; empty if there is none."""
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        for other in sorted(graph.get(module, ())):
            if circle := visit(other, [*path, module]):
                return circle
        done.add(module)
        return []

    return next((circle for module in sorted(graph) if (circle := visit(module, []))), [])


@pytest.mark.parametrize("room", [room for room in ALLOWED if (ROOT / room).is_dir()])
def test_a_room_imports_only_the_rooms_it_may(room: str):
    files = _files(room)
    assert files
    for path in files:
        ours = _imports(path) & (set(ALLOWED) | NOT_INSTALLED) - {room}
        assert ours <= ALLOWED[room], f"{path.relative_to(ROOT)} imports {sorted(ours - ALLOWED[room])}"


@pytest.mark.parametrize("room", LIGHT)
def test_light_rooms_stay_light(room: str):
    for path in _files(room):
        foreign = _imports(path) - set(sys.stdlib_module_names) - set(ALLOWED)
        assert foreign <= LIGHT[room], f"{path.relative_to(ROOT)} imports {sorted(foreign - LIGHT[room])}"


@pytest.mark.parametrize(
    ("graph", "circle"),
    [
        ({"a": {"b"}, "b": set()}, []),
        ({"a": {"b", "c"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"b"}, "b": {"a"}}, ["a", "b", "a"]),
        ({"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": {"b"}}, ["b", "c", "d", "b"]),
    ],
)
def test_circles_of_known_graphs_are_found(graph: dict[str, set[str]], circle: list[str]):
    assert find_circle(graph) == circle


def test_imports_are_followed_inside_functions_and_relative_ones_resolved(tmp_path: Path):
    file = tmp_path / "b.py"
    file.write_text("def f():\n    from . import c\n    from ..d import e\n    import x.y\n", encoding="utf-8")
    assert list(_imported(file, "room.a.b")) == [("room.a", "c"), ("room.d", "e"), ("x.y", None)]


def test_no_module_imports_itself_by_a_circle():
    circle = find_circle(_graph())
    assert not circle, "these modules import each other (inside functions counts): " + " -> ".join(circle)


@pytest.mark.parametrize(
    "module",
    [
        *("controller.cli", "synthetic.cli", "evaluation.cli", "evaluation.thresholds", "controller.workers"),
        *("training.cli.main", "training.config", "training.data.records"),
    ],
)
def test_what_starts_does_not_pay_for_heavy_imports(module: str):
    code = (
        f"import sys, {module}; "
        "heavy = {'ray', 'cv2', 'scipy', 'trimesh', 'torch', 'mediapipe', 'matplotlib', 'rich', 'requests'}; "
        "heavy &= set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


def test_every_room_on_disk_is_known():
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert rooms <= set(ALLOWED)
