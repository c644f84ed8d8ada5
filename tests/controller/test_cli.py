"""One command does one thing: which of them can be said together, and that a dry run fails where the batch would."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.cli import main

ACTIONS: dict[str, tuple[str, ...]] = {
    "--batch": (),
    "--dry-run": (),
    "--check": (),
    "--status": (),
    "--verify": (),
    "--repair": (),
    "--reproduce": ("a.png",),
    "--merge": ("other",),
}
TOGETHER = {("--batch", "--dry-run")}
"""A batch may be said to be a dry run; everything else is a command of its own."""


def test_every_action_of_the_help_is_in_the_table(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out.split("what to do:")[1].split("\ndata:")[0]
    assert {word for word in text.split() if word.startswith("--") and word in ACTIONS} == set(ACTIONS)
    assert {line.split()[0] for line in text.splitlines() if line.startswith("  --")} == set(ACTIONS)


@pytest.mark.parametrize("pair", list(itertools.combinations(ACTIONS, 2)), ids=" ".join)
def test_two_actions_at_once(
    pair: tuple[str, str], make_dataset: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    root, out = make_dataset(frames=(1,), models=("F_Ann_N_HA_O",)), tmp_path / "out"
    line = [word for action in pair for word in (action, *ACTIONS[action])]
    code = main([*line, "--engine", "relight", "--dataset", str(root), "--output", str(out)])
    message = capsys.readouterr()
    assert not out.exists(), "neither of them is done"
    if pair in TOGETHER:
        assert code == 0 and "would create 1 images" in message.out
    else:
        assert code == 1 and f"choose one of {', '.join(pair)}: each is a command of its own" in message.err


BAD: dict[str, tuple[tuple[str, ...], int]] = {
    "a workflow that is not there": (("--workflow", "{tmp}/none.json"), 1),
    "a workflow that is no JSON": (("--workflow", "{tmp}/text.json"), 1),
    "a workflow of the editor": (("--workflow", "{tmp}/editor.json"), 1),
    "a folder as workflow": (("--workflow", "{tmp}"), 1),
    "an address that is none": (("--server", "ftp://x"), 1),
    "models that are not there": (("--engine", "embedded", "--models", "{tmp}/none", "--device", "cpu"), 3),
    "a gate that is none": (("--engine", "relight", "--gate", "{tmp}/text.json"), 1),
    "a prompt file that is none": (("--engine", "relight", "--prompts", "{tmp}/text.json"), 1),
    "scenes that are not there": (("--engine", "relight", "--scenes", "{tmp}/none"), 1),
    "an OUT within the data set": (("--engine", "relight", "--output", "{root}/out"), 1),
    "an OUT of somebody else": (("--engine", "relight", "--output", "{tmp}"), 1),
}


@pytest.mark.parametrize("how", BAD)
def test_a_dry_run_fails_as_the_batch_does(
    how: str, make_dataset: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    root, out = make_dataset(frames=(1,), models=("F_Ann_N_HA_O",)), tmp_path / "out"
    (tmp_path / "text.json").write_text("no = json")
    (tmp_path / "editor.json").write_text(json.dumps({"nodes": [], "links": [], "version": 0.4}))
    arguments, code = BAD[how]
    filled = [text.format(tmp=tmp_path, root=root) for text in arguments]
    message: list[str] = []
    for action in ("--batch", "--dry-run"):
        got = main([action, "--dataset", str(root), "--output", str(out), *filled, "--quiet"])
        printed = capsys.readouterr()
        assert got == code and not printed.out, printed
        message.append(printed.err)
    assert message[0] == message[1] and message[0].startswith("controller: ")
    assert not list(out.glob("train/**/*.png"))


def test_a_dry_run_refuses_other_settings_as_the_batch_does(
    make_dataset: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    root, out = make_dataset(frames=(1,), models=("F_Ann_N_HA_O",)), tmp_path / "out"
    line = ["--engine", "relight", "--dataset", str(root), "--output", str(out), "--workers", "1", "--quiet"]
    assert main(["--batch", *line]) == 0
    kept = (out / ".acusim/settings.json").read_bytes()
    message: list[str] = []
    for action in ("--batch", "--dry-run"):
        capsys.readouterr()
        assert main([action, *line, "--seed", "1"]) == 1
        message.append(capsys.readouterr().err)
    assert message[0] == message[1] and "seed: 0 -> 1" in message[0]
    assert main(["--dry-run", *line]) == 0
    assert (out / ".acusim/settings.json").read_bytes() == kept
