"""What the docs quote is what the program prints, links lead somewhere, and the options in examples exist."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

OF_OTHERS = {"Input channels … does not match model in_channels"}
"""Messages of other packs."""
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md"))]
ROOMS = "controller|evaluation|synthetic|training"
COMMAND = re.compile(rf"(?:python|-m) (controller/controller\.py|{ROOMS})((?: [a-z]+)*)( [^`\n]*)")
"""An example of a command: its package, its sub-commands, its arguments."""


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _texts() -> str:
    """Every string constant of the program; an f-string gives its fixed parts."""
    files = [path for room in ("engines", "comfy_nodes", "controller") for path in (ROOT / room).rglob("*.py")]
    trees = (ast.walk(ast.parse(path.read_text(encoding="utf-8"))) for path in files)
    return "\n".join(node.value for tree in trees for node in tree if isinstance(node, ast.Constant) and _is_text(node))


def _is_text(node: ast.Constant) -> bool:
    return isinstance(node.value, str)


def _quoted() -> list[str]:
    page = (ROOT / "docs/guide/comfyui.md").read_text(encoding="utf-8")
    cells = [
        line.split("|")[1]
        for line in page.split("## Messages, and what to do")[1].splitlines()
        if line.startswith("| `")
    ]
    return [message for cell in cells for message in re.findall(r"`([^`]+)`", cell) if message not in OF_OTHERS]


def _anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and mkdocs derive them."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def _options() -> set[tuple[str, str]]:
    """(command, option) as the docs' examples name them, such as ("training train", "--data")."""
    found: set[tuple[str, str]] = set()
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for module, words, rest in COMMAND.findall(text):
            command = f"{'controller' if '/' in module else module}{words}"
            found |= {(command, option) for option in re.findall(r" (--[a-z][a-z-]+)", rest.split("#")[0])}
    return found


@pytest.mark.parametrize("message", _quoted())
def test_each_message_of_the_table_is_one_of_the_program(message: str):
    corpus = _texts()
    for part in message.split("…"):
        assert part.strip() in corpus, part


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_between_pages_lead_somewhere(page: Path):
    missing: list[str] = []
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)", page.read_text(encoding="utf-8")):
        path = (page.parent / target).resolve() if target else page
        if not path.exists() or (anchor and anchor not in _anchors(path)):
            missing.append(f"{target}#{anchor}")
    assert not missing


def test_options_in_examples_exist():
    helps: dict[str, str] = {}
    missing: list[str] = []
    for command, option in sorted(_options()):
        if command not in helps:
            call = [sys.executable, "-m", *command.split(), "--help"]
            helps[command] = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, timeout=120).stdout
        if not re.search(rf"{option}\b", helps[command]):
            missing.append(f"{command} {option}")
    assert not missing


def test_files_that_pages_name_exist():
    folders = "|".join(sorted(path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()))
    named = re.compile(rf"`((?:{folders}|tests|tools|experiments|benchmarks|examples|workflows)/[\w/.-]*\w)`")
    missing = {
        f"{page.name}: {name}"
        for page in PAGES
        for name in named.findall(page.read_text(encoding="utf-8"))
        if not (ROOT / name).exists() and not re.search(r"NAME|TOPIC|\bx/", name)  # those are to be replaced
    }
    assert not missing


def test_pages_that_the_program_names_exist():
    rooms = [path.parent for path in ROOT.glob("*/__init__.py")] + [ROOT / "benchmarks", ROOT / "experiments"]
    files = [file for room in rooms for file in room.rglob("*.py")]
    named = {page for file in files for page in re.findall(r"docs/[\w/]+\.md", file.read_text(encoding="utf-8"))}
    missing = {page for page in named if not (ROOT / page).is_file()}
    assert named and not missing


def test_what_test_fast_leaves_out_exists():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    paths = text.split("SLOW_TESTS := ")[1].split("test-fast:")[0].replace("\\", " ").split()
    assert paths and not [path for path in paths if not (ROOT / "tests" / path).exists()]
