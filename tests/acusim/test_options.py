"""Command-line options and tables of the docs, derived from settings."""

import argparse
from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from acusim.command_line import USAGE, Parser
from acusim.options import add_options, flag_of, given_options, help_of, markdown_table
from acusim.settings import Settings


class Inner(Settings):
    depth: int = 1


class Demo(Settings):
    size: int = Field(default=512, ge=64, le=1024, json_schema_extra={"metavar": "PX"})
    """Side of the images in pixels."""
    rate: float = Field(default=0.5, ge=0)
    """Learning rate | of all groups; 100 % is the
    default of others."""
    engine: Literal["relight", "embedded"] = "relight"
    """GPU or not."""
    side: Literal[64, 128] = 64
    """Side."""
    server: tuple[str, ...] = Field(default=(), json_schema_extra={"metavar": "URL", "default": "this machine"})
    """A server; name several to share the work."""
    kinds: tuple[Literal["head", "hand"], ...] = ("head",)
    """Kinds."""
    folders: tuple[Path, ...] = ()
    """Folders."""
    models: Path | None = Field(default=None, json_schema_extra={"flag": "--model-folder", "metavar": "DIR"})
    """Model files."""
    dry_run: bool = False
    """Only print."""
    mirror: bool = True
    """Flip images."""
    title: str = Field(default="", json_schema_extra={"help": "name of the run"})
    """Title, as the docs describe it."""
    secret: int = Field(default=3, json_schema_extra={"hidden": True})
    """Not an option."""
    inner: Inner = Inner()


class Needed(Settings):
    root: Path
    """Dataset root."""


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="demo")
    add_options(parser, Demo)
    return parser


def _given(*words: str) -> dict[str, object]:
    return given_options(_parser().parse_args(words), Demo)


def test_only_what_was_given_is_returned_and_the_model_takes_it():
    assert _given() == {}
    words = ("--size", "64", "--rate", "2", "--engine", "embedded", "--side", "128", "--model-folder", "m", "--dry-run")
    given = _given(*words, "--no-mirror", "--title", "x")
    assert given == {
        **{"size": 64, "rate": 2.0, "engine": "embedded", "side": 128, "models": Path("m")},
        **{"dry_run": True, "mirror": False, "title": "x"},
    }
    demo = Demo(**given)
    assert demo.models == Path("m") and demo.dry_run and not demo.mirror


def test_options_of_tuples_may_be_given_several_times():
    given = _given("--server", "a", "--server", "b", "--kinds", "hand", "--kinds", "head", "--folders", "f")
    assert given == {"server": ("a", "b"), "kinds": ("hand", "head"), "folders": (Path("f"),)}
    assert Demo(**given).kinds == ("hand", "head")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--size", "x"], "argument --size: invalid int value: 'x'"),
        (["--engine", "other"], "argument --engine: invalid choice: 'other' (choose from 'relight', 'embedded')"),
        (["--side", "65"], "argument --side: invalid choice: 65 (choose from 64, 128)"),
        (["--model-folder", ""], "argument --model-folder: an empty path; write . for the current folder"),
        (["--kinds", "foot"], "argument --kinds: invalid choice: 'foot' (choose from 'head', 'hand')"),
        (["--secret", "1"], "unrecognized arguments: --secret 1"),
    ],
)
def test_wrong_options_end_with_usage(words: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as end:
        _given(*words)
    assert end.value.code == USAGE and message in capsys.readouterr().err


def test_the_help_shows_range_default_and_choices_once():
    shown = " ".join(_parser().format_help().split())
    for entry in (
        "--size PX side of the images in pixels (64..1024; default: 512)",
        "--rate RATE learning rate | of all groups; 100 % is the default of others (at least 0; default: 0.5)",
        "--engine {relight,embedded} GPU or not (default: relight)",
        "--side {64,128} side (default: 64)",
        "--server URL a server; name several to share the work (default: this machine)",
        "--kinds {head,hand} kinds (default: head)",
        "--folders FOLDERS folders",
        "--model-folder DIR model files",
        "--dry-run only print --mirror",
        "--mirror, --no-mirror flip images (default: True)",
        "--title TITLE name of the run",
    ):
        assert entry in shown, entry
    assert "secret" not in shown and "inner" not in shown


def test_names_choose_options_and_their_order():
    parser = argparse.ArgumentParser()
    add_options(parser.add_argument_group("group"), Demo, ["title", "size"])
    assert [action.dest for action in parser._actions] == ["help", "title", "size"]
    assert flag_of(Demo, "dry_run") == "--dry-run" and flag_of(Demo, "models") == "--model-folder"
    assert help_of(Demo.model_fields["engine"]) == "GPU or not (default: relight)"


def test_a_field_without_default_is_a_required_option(capsys: pytest.CaptureFixture[str]):
    parser = Parser(prog="demo")
    add_options(parser, Needed)
    assert given_options(parser.parse_args(["--root", "x"]), Needed) == {"root": Path("x")}
    with pytest.raises(SystemExit):
        parser.parse_args([])
    assert "the following arguments are required: --root" in capsys.readouterr().err
    parser = Parser(prog="demo")
    add_options(parser, Needed, required=False)
    assert given_options(parser.parse_args([]), Needed) == {}
    assert help_of(Needed.model_fields["root"]) == "dataset root"


def test_the_table_of_the_docs():
    assert markdown_table(Demo).splitlines() == [
        "| setting | default | allowed | description |",
        "| --- | --- | --- | --- |",
        "| `size` | `512` | 64..1024 | Side of the images in pixels. |",
        "| `rate` | `0.5` | at least 0 | Learning rate \\| of all groups; 100 % is the default of others. |",
        "| `engine` | `relight` | `relight`, `embedded` | GPU or not. |",
        "| `side` | `64` | `64`, `128` | Side. |",
        "| `server` | this machine | list of text | A server; name several to share the work. |",
        "| `kinds` | `head` | list of `head`, `hand` | Kinds. |",
        "| `folders` | none | list of path | Folders. |",
        "| `models` | none | path | Model files. |",
        "| `dry_run` | `False` | true or false | Only print. |",
        "| `mirror` | `True` | true or false | Flip images. |",
        "| `title` | none | text | Title, as the docs describe it. |",
    ]
    assert "| `root` | required | path | Dataset root. |" in markdown_table(Needed)
