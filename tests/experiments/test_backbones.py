"""Table 1's columns: counts that were worked out by hand from the layers' shapes, and a step that trains."""

import sys

import pytest
import torch

from experiments import backbones


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("resnet50", ["resnet50", "2048", "55.62", "166.92", "42.8"]),
        ("densenet201", ["densenet201", "1920", "49.03", "147.31", "44.9"]),
        ("vgg19", ["vgg19", "4096", "190.56", "571.68", "204.2"]),
    ],
)
def test_parameters_in_both_counts(name: str, cells: list[str]):
    assert backbones.counted(name) == cells


def test_the_table_has_a_row_for_each_backbone(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    words = "--backbones resnet18 --side 32 --batch 2 --rounds 1 --device cpu"
    monkeypatch.setattr(sys, "argv", ["backbones", *words.split()])
    backbones.main()
    *_, head, _, row = capsys.readouterr().out.strip().splitlines()
    assert head.endswith("steps/s at 32², batch 2, cpu |") and row.startswith("| resnet18 | 512 | 29.14 |")
    assert float(row.split("|")[-2]) > 0


def test_speed_is_of_steps_that_learn(monkeypatch: pytest.MonkeyPatch):
    trainees: list[torch.nn.Module] = []
    made = backbones.Trainee

    def remembered(config):
        trainees.append(made(config))
        return trainees[-1]

    monkeypatch.setattr(backbones, "Trainee", remembered)
    torch.manual_seed(0)
    backbones.steps_a_second("resnet18", 32, 2, 1, torch.device("cpu"))
    torch.manual_seed(0)
    fresh = made(backbones.load_config().with_settings(["model.backbone=resnet18"]))
    moved = [not torch.equal(a, b) for a, b in zip(trainees[0].parameters(), fresh.parameters(), strict=True)]
    assert sum(moved) > 0.9 * len(moved)
