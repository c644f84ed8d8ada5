"""COCO results: round trips, and files one should not believe."""

import json

import numpy as np
import pytest

from acusim.errors import LabelError
from training.io.coco_results import dump_results, parse_results, result_of

XY = np.array([(10.5, 20.25), (0, 0), (30, 60)], np.float64)


def test_results_come_back():
    results = [result_of(4, XY, [0.9, 0.2, 0.7]), result_of(7, XY + 1, [0.1, 0.2, 0.3])]
    assert results[0].score == pytest.approx(0.8) and results[1].score == 0
    assert json.loads(dump_results(results))[0] == {
        "image_id": 4,
        "category_id": 1,
        "keypoints": [10.5, 20.25, 0.9, 0, 0, 0.2, 30, 60, 0.7],
        "score": results[0].score,
    }
    back, problems = parse_results(dump_results(results), 3)
    assert not problems and [result.image_id for result in back] == [4, 7]
    assert (back[1].xy_px == XY + 1).all() and back[1].probability.tolist() == [0.1, 0.2, 0.3]


def test_bad_results_are_skipped():
    good = json.loads(dump_results([result_of(4, XY, [0.9, 0.2, 0.7])]))[0]
    bad = [{**good, "image_id": "x"}, good, {**good, "image_id": 5, "score": None}]
    bad += [{**good, "image_id": 6, "keypoints": [1, 2, 2] * 3}, {**good, "image_id": 7, "keypoints": []}]
    results, problems = parse_results(json.dumps([good, *bad]).encode(), 3)
    assert len(results) == 1 and len(problems) == 5
    with pytest.raises(LabelError, match="not a COCO results file"):
        parse_results(b"{}", 3)
