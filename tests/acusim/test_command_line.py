"""What every command's help shows, how a command calls itself, and what a missing package leads to."""

import argparse
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from acusim.command_line import USAGE, missing_packages_explained
from tests.support import ROOT

PARSERS = {
    "controller": ("controller.options", "build_parser"),
    "evaluation": ("evaluation.cli", "build_parser"),
    "training": ("training.cli.main", "build_parser"),
    "synthetic": ("synthetic.cli", "parser"),
    "synthetic hands": ("synthetic.cli", "hands_parser"),
}
SCRIPTS = {
    "acusim-augment": "controller",
    "acusim-evaluate": "evaluation",
    "acusim-train": "training",
    "acusim-synthetic": "synthetic",
}


def _parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of its subcommands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from _parsers(sub)


def _all_parsers() -> list[argparse.ArgumentParser]:
    tops = [getattr(importlib.import_module(module), name)() for module, name in PARSERS.values()]
    return [parser for top in tops for parser in _parsers(top)]


def _entry(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """What --help prints for one option, in one line."""
    formatter = parser._get_formatter()
    formatter.add_argument(action)
    return " ".join(formatter.format_help().split())


@pytest.mark.parametrize("parser", _all_parsers(), ids=lambda parser: parser.prog)
def test_help_shows_every_default_and_every_choice(parser: argparse.ArgumentParser):
    for action in parser._actions:
        if not action.option_strings or action.help is argparse.SUPPRESS:
            continue
        assert action.help, action.option_strings
        entry = _entry(parser, action)
        assert entry.count("(default") <= 1, entry
        if action.default not in (None, False, "", argparse.SUPPRESS) and action.default != []:
            assert f"(default: {action.default})" in entry or "(default: one a CPU)" in entry, entry
        for choice in action.choices or ():
            assert str(choice) in entry, entry


def _run(words: list[str], **how: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60, **how)  # type: ignore[call-overload]


@pytest.mark.parametrize("module", ["controller", "evaluation", "training", "synthetic"])
def test_a_module_calls_itself_by_what_was_typed(module: str):
    help_text = _run([sys.executable, "-m", module, "--help"]).stdout
    assert help_text.startswith(f"usage: python -m {module} ")
    assert "%(prog)s" not in help_text


def test_the_script_of_the_controller_calls_itself_by_what_was_typed():
    script = "controller/controller.py"
    shown = _run([sys.executable, script, "--help"]).stdout
    assert shown.startswith(f"usage: python {script} ")
    assert f"python {script} --status --output OUT" in shown
    assert _run([sys.executable, script, "--nonsense"]).stderr.rstrip().startswith(f"usage: python {script} ")


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_console_script_calls_itself_by_its_own_name(script: str, tmp_path: Path):
    file = tmp_path / script
    file.write_text(f"import sys\nfrom {SCRIPTS[script]}.__main__ import main\nsys.exit(main())\n")
    run = _run([sys.executable, str(file), "--help"], env={"PYTHONPATH": str(ROOT)})
    assert run.stdout.startswith(f"usage: {script} "), run.stderr
    assert "python -m" not in run.stdout


WITHOUT = """
import importlib.abc, runpy, sys
lacking = set(sys.argv[1].split(","))
class Lacking(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in lacking:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name in lacking else real(name, *rest)
sys.meta_path.insert(0, Lacking())
sys.argv = sys.argv[2:]
sys.path.insert(0, ".")
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    ("lacking", "words", "advice"),
    [
        ("numpy,cv2", ["controller", "--batch", "--dataset", "x", "--output", "y"], "run `make demo` first"),
        ("numpy,cv2", ["synthetic", "--out", "x"], "run `make demo` first"),
        ("numpy,rich", ["evaluation", "drift", "--original", ".", "--augmented", ".", "--out", "x"], "run `make demo`"),
        ("torch", ["training", "describe"], "run `make install`"),
        ("fastapi", ["training", "serve", "--head", "x"], "run `make install`"),
        ("torch", ["training", "predict", "RUN", "a.png", "--out", "x"], "run `make install`"),
    ],
)
def test_a_missing_package_is_named_with_what_installs_it(lacking, words, advice, tmp_path):
    run = _run([sys.executable, "-c", WITHOUT, lacking, *words], env={"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)})
    assert run.returncode == USAGE
    assert advice in run.stderr
    assert any(repr(name) in run.stderr for name in lacking.split(","))
    assert "Traceback" not in run.stderr


def test_a_module_of_our_own_that_is_missing_is_a_fault_of_ours():
    with pytest.raises(ModuleNotFoundError), missing_packages_explained():
        importlib.import_module("acusim.no_such_module")
