"""What the docs quote is what the program says."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OF_OTHERS = {"Input channels … does not match model in_channels"}
"""Messages of other packs."""


def _texts() -> str:
    """Every string constant of the program; an f-string gives its fixed parts."""
    files = [path for room in ("engines", "comfy_nodes", "controller") for path in (ROOT / room).rglob("*.py")]
    trees = (ast.walk(ast.parse(path.read_text(encoding="utf-8"))) for path in files)
    return "\n".join(node.value for tree in trees for node in tree if isinstance(node, ast.Constant) and _is_text(node))


def _is_text(node: ast.Constant) -> bool:
    return isinstance(node.value, str)


def _quoted() -> list[str]:
    table = (ROOT / "docs/comfyui.md").read_text(encoding="utf-8").split("## Messages, and what to do")[1]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return [message for cell in cells for message in re.findall(r"`([^`]+)`", cell) if message not in OF_OTHERS]


@pytest.mark.parametrize("message", _quoted())
def test_each_message_of_the_table_is_one_of_the_program(message: str):
    corpus = _texts()
    for part in message.split("…"):
        assert part.strip() in corpus, part


@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / "docs").glob("*.md")) + ["../README.md"])
def test_links_between_pages_lead_somewhere(page: str):
    path = ROOT / "docs" / page
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8"))
    missing = [target for target in targets if not (path.parent / target).exists()]
    assert not missing
