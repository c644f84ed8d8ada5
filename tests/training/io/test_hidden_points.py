"""Positions of points that a picture does not show: read from synthetic hands, and from nothing else."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.labelme_files import PLACES, document
from tests.training.spots import PEOPLE, add_hand
from training.config import load_config
from training.data.hand_loader import load_hands
from training.data.hand_squares import make_squares
from training.io.hidden_points import hidden_positions
from training.io.labelme import parse_labelme
from training.tasks.hand_config import HandConfig
from training.tasks.hand_points import read_points

POINTS = read_points()


def row(label: Any, x: Any, y: Any, visible: Any = False) -> dict[str, Any]:
    return {"label": label, "x": x, "y": y, "visible": visible}


def test_hidden_points_have_positions():
    truth = {"points": [row("2", 3, 4.5), row("5", 1, 2, True), row("nobody", 1, 2)]}
    found = hidden_positions({"synthetic": truth}, POINTS)
    assert found[POINTS.index_of("2")].tolist() == [3, 4.5] and np.isnan(found).sum() == 12


@pytest.mark.parametrize("truth", [
    None, [], {"points": 3}, {"points": [3, row(2, 1, 1), row("2", "1", 1), row("2", float("nan"), 1), row("2", 1, 1e9),
                                         row("2", True, 1), row("2", 1, 1, None), {}]},
])  # fmt: skip
def test_anything_else_gives_none(truth: Any):
    assert np.isnan(hidden_positions({"synthetic": truth}, POINTS)).all()


def test_a_point_that_is_drawn_is_not_hidden():
    text = document("a.png", {"2": PLACES["2"]}, synthetic={"points": [row("2", 1, 1), row("5", 7, 8)]})
    found = parse_labelme(json.dumps(text).encode(), POINTS)
    assert found.hidden is not None and found.present.sum() == 1
    assert found.hidden[1].tolist() == [7, 8] and np.isnan(found.hidden[0]).all()


def test_squares_know_them_and_the_data_stay_the_same(tmp_path: Path):
    for number, stem in enumerate(PEOPLE):
        add_hand(tmp_path, stem, number, ("2", "5"))
    config = load_config("hand_light")
    assert isinstance(config, HandConfig)
    before = load_hands(tmp_path, config)
    path = tmp_path / f"{PEOPLE[0]}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"synthetic": {"points": [row("3", 20, 25)]}}))
    hands = load_hands(tmp_path, config)
    assert hands.digest == before.digest and before.data.known.sum() == before.data.visible.sum()
    assert hands.data.known[0].tolist() == [True, True, False, False, False, False, True]
    squares = make_squares(hands.data, np.array([0]), None, 100)
    assert np.array_equal(squares.known[0], hands.data.known[0]) and squares.visible[0].sum() == 2
    # 40 x 50 pixels become 80 x 100, with 10 on each side
    assert squares.xy[0, 6].tolist() == [50, 50] and not squares.xy[0, 2].any()
