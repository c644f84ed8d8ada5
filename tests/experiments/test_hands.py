"""The experiment that compares hand networks: which epoch and rate it takes, and the columns of its tables."""

import argparse
from pathlib import Path

import pytest

from experiments.hands import best_rate, best_row, report

HEADER = "epoch,train_loss,loss,error_px"


def _figures(value: float) -> dict[str, dict[str, float | None]]:
    none = {"low": None, "high": None}
    shares = {name: {"value": value, **none} for name in ("pck", "iou", "precision", "oks")}
    return {**shares, "error_px": {"value": 3.0, "low": 2.5, "high": 4.0}}


def _row(text: str, first: str) -> list[str]:
    [line] = [line for line in text.splitlines() if line.startswith(f"| {first} |")][:1]
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.fixture
def options() -> argparse.Namespace:
    sizes = {"count": 10, "subjects": 5, "size": 112, "epochs": 2, "tune_epochs": 1, "batch_size": 4, "seed": 0}
    return argparse.Namespace(data=None, set=[], **sizes)


def test_the_best_epoch_has_the_smallest_validation_loss_not_error(tmp_path: Path):
    lines = [HEADER, "0,,0.9,1.0", "1,0.4,0.30,5.5", "2,0.3,0.25,6.5", "3,0.2,0.26,5.0", "4,0.1,,"]
    (tmp_path / "metrics.csv").write_text("\n".join(lines))
    assert best_row(tmp_path) == {"epoch": 2, "train_loss": 0.3, "loss": 0.25, "error_px": 6.5}


def test_a_run_that_was_never_validated_is_the_worst(tmp_path: Path):
    (tmp_path / "metrics.csv").write_text(f"{HEADER}\n1,0.4,,\n")
    found = {2e-4: {"error_px": 70.0}, 5e-4: best_row(tmp_path)}
    assert best_rate(found) == 2e-4


def test_the_tables_have_the_loss_beside_the_paper_s(options: argparse.Namespace):
    common = {"figures": _figures(0.5), "trained_on": 6, "pictures": 2, "subjects": 1, "best_epoch": 2}
    results = {
        "hand_hrnet": {**common, "validation_loss": 0.00123456, "baselines": {"mean pose": _figures(0.25)}},
        "hand_vgg16": {**common, "validation_loss": None},
    }
    trials = {
        "hand_hrnet": {2e-4: {"error_px": 9.0}, 5e-4: {"error_px": 7.5}},
        "hand_vgg16": {2e-5: {"error_px": 8.0}},
    }
    text = report(options, trials, results)
    shares = ["50.0", "50.0", "50.0", "50.0", "6.00 [5.00, 8.00]"]  # of a square of 224
    assert _row(text, "HRNet-W32") == ["HRNet-W32", *shares, "0.00123", "0.0005", "2"]
    assert _row(text, "VGG-16") == ["VGG-16", *shares, "–", "2e-05", "2"]
    assert _row(text, "mean pose (no picture looked at)")[5:] == ["6.00 [5.00, 8.00]", "", "", ""]
    assert "0.0002: 18.00, 0.0005: 15.00" in text
    paper = text[text.index("The paper's own test table") :]
    assert _row(paper, "VGG-16") == ["VGG-16", "78.94", "60.47", "69.37", "67.60", "7.17"]
    assert _row(paper, "HRNet-W32")[-1] == "1.92e-05"
    assert _row(text, "model")[5:7] == ["error px", "loss"] and _row(paper, "model")[-1] == "loss"
