"""The experiment on relit hands: each person's sums, from the files of a report."""

import json
from pathlib import Path

import numpy as np

from experiments.hand_relighting import mean_pose, person_sums, rates


def test_sums_of_each_person(tmp_path: Path):
    (tmp_path / "results.json").write_text(json.dumps({"settings": {"size": 100}}))
    rows = ["s2,a,1,10,10,13,14", "s1,a,1,20,20,20,22", "s1,b,1,5,5,5,5", "s1,b,0,5,5,90,90"]
    lines = ["subject,point,visible,true_x,true_y,x,y", *rows]
    (tmp_path / "by_point.csv").write_text("\n".join(lines))
    persons, sums = person_sums(tmp_path)
    assert persons == ["s1", "s2"]
    np.testing.assert_allclose(sums, [[2, 2, 2], [1, 5, 0]], atol=1e-12)  # within 3 px of 100 is correct
    np.testing.assert_allclose(rates(sums), [[1, 1], [5, 0]], atol=1e-12)
    pose = mean_pose(tmp_path)
    np.testing.assert_allclose(pose["a"], [15, 15], atol=1e-12)
    _, guessed = person_sums(tmp_path, pose)
    np.testing.assert_allclose(guessed, [[2, 50**0.5, 1], [1, 50**0.5, 0]], atol=1e-12)
