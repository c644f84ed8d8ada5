"""Commands and cards of the models that come with the package."""

import json
from pathlib import Path
from typing import Any

import pytest

from controller.options import build_parser as controller_parser
from synthetic.cli import hands_parser
from synthetic.cli import parser as heads_parser
from tools import make_models
from training.cli.main import build_parser as training_parser
from training.eval.baselines import PER_POINT_AND_FRAME, THROUGH_CAMERA


def _figure(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.01, "high": value + 0.01}


def _write(report: Path, results: dict[str, Any]) -> None:
    report.mkdir(parents=True)
    (report / "results.json").write_text(json.dumps(results))


def _head_results(mm: float, baseline: str) -> dict[str, Any]:
    figures = {"micro": _figure(0.98), "mean_mm": _figure(mm), "median_mm": _figure(mm), "within_5_mm": _figure(0.9)}
    known = {"micro": _figure(0.94), "mean_mm": _figure(4.0), "median_mm": {"value": None, "low": None, "high": None}}
    return {
        "model": {"figures": figures, "persons": 39},
        "baselines": {"all visible": {"figures": {}}, baseline: {"figures": known}},
    }


HAND_RESULTS: dict[str, Any] = {
    "pictures": 234,
    "subjects": 38,
    "figures": {"pck": _figure(0.9), "error_px": _figure(2.0), "precision": _figure(0.5)},
    "baselines": {"mean pose": {"pck": _figure(0.03), "error_px": _figure(20.0), "precision": _figure(0.01)}},
    "visibility": {"accuracy": _figure(0.95), "baselines": {"majority of each point": _figure(0.52)}},
    "hand_type": {
        "side": {"accuracy": _figure(0.97), "baselines": {"always left": _figure(0.5)}},
        "face": {"accuracy": _figure(0.99), "baselines": {"always back": _figure(0.5)}},
    },
}


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that would run, in order, with the reports that they would write."""
    for name in make_models.TESTS:
        baseline = THROUGH_CAMERA if name.startswith("around") else PER_POINT_AND_FRAME
        _write(tmp_path / f"head/report_{name}", _head_results(2.0, baseline))
        _write(tmp_path / f"head/report_{name}_network", _head_results(3.0, baseline))
    (tmp_path / "head/run").mkdir()
    (tmp_path / "head/run/data.json").write_text(
        json.dumps({"persons": {"ann": "train", "bob": "val", "cleo": "train"}})
    )
    _write(tmp_path / "hand/report", HAND_RESULTS)
    given: list[list[str]] = []
    monkeypatch.setattr(make_models, "run", lambda *words: given.append([str(word) for word in words]))
    return given


def test_every_command_is_one_of_the_project(commands: list[list[str]], tmp_path: Path) -> None:
    assert make_models.main(["--out", str(tmp_path)]) == 0
    for program, *words in commands:
        if program == "synthetic":
            parser, given = (heads_parser if words[0] == "heads" else hands_parser)(), words[1:]
        else:
            parser, given = (controller_parser if program == "controller" else training_parser)(), words
        parser.parse_args(given)  # would exit
    trained = [words for words in commands if words[:2] == ["training", "train"]]
    assert len(trained) == 2
    head, hand = trained
    assert "--init" not in head and hand[hand.index("--init") + 1] == "head"
    shipped = next(number for number, words in enumerate(commands) if "ship" in words and "head" in words)
    assert shipped < commands.index(hand)  # it starts from the head's model of the same run
    train_seeds, test_seeds = (
        {words[words.index("--seed") + 1] for words in commands if "--seed" in words and split in words}
        for split in ("train", "test")
    )
    assert len(train_seeds) == 2 and len(test_seeds) == 1 and not train_seeds & test_seeds
    firsts = {words[words.index("--first-subject") + 1] for words in commands if "--first-subject" in words}
    assert firsts == {"0", "1000"}
    assert [words[-2:] for words in commands if "ship" in words] == [
        ["--card", str(tmp_path / "head/card.md")],
        ["--card", str(tmp_path / "hand/card.md")],
    ]


@pytest.mark.parametrize("only", ["head", "hand"])
def test_one_of_them(commands: list[list[str]], tmp_path: Path, only: str) -> None:
    assert make_models.main(["--out", str(tmp_path), "--only", only]) == 0
    assert [words[words.index("--name") + 1] for words in commands if "ship" in words] == [only]
    card = (tmp_path / only / "card.md").read_text()
    assert (
        "39 persons that it never saw" in card and "(3 by name)" in card
        if only == "head"
        else "234 pictures of 38 " in card
    )


def test_cards_show_figures_beside_trivial_answers(commands: list[list[str]], tmp_path: Path) -> None:
    head = make_models.head_table(tmp_path / "head").splitlines()
    assert head[2].startswith("| studio | 98.00 (97.00 … 99.00) | 2.00 (1.99 … 2.01) |")
    assert "| 3.00 (2.99 … 3.01) |" in head[3] and "baseline" in head[4] and "| 4.00 (3.99 … 4.01) | – | – |" in head[4]
    assert len(head) == 2 + 3 * len(make_models.TESTS)
    hand = make_models.hand_table(tmp_path / "hand/report").splitlines()
    assert hand[2] == "| PCK % | 90.00 (89.00 … 91.00) | mean pose | 3.00 (2.00 … 4.00) |"
    assert hand[-2] == "| side of the hand % | 97.00 (96.00 … 98.00) | always left | 50.00 (49.00 … 51.00) |"
