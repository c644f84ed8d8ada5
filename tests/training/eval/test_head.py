"""What an evaluation writes, and that its tables agree with scores of the parts."""

import csv
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from acusim import acupoints
from acusim.errors import ConfigError, OutputError, PictureError
from tests.training.eval.scoring import noisy, pictures, some_truth
from training.eval import breakdown
from training.eval.baselines import ALL_OCCLUDED, BASELINES, PER_POINT_AND_FRAME, fit_baselines
from training.eval.head import evaluate
from training.eval.predictions import Predictions
from training.eval.score import score

COUNT = 18
PERSONS = ["anna", "bert", "<img src=x onerror=alert(1)>"] * 6
NASTY = '"><script>alert(1)</script>'


def _part(targets, predictions, keep):
    arrays = {name: getattr(targets, name)[keep] for name in targets.__dataclass_fields__}
    return replace(targets, **arrays), Predictions(predictions.probability[keep], predictions.xy[keep])


def _picture(row: int) -> np.ndarray:
    if row % 5 == 0:
        raise PictureError(f"picture {row} is damaged")
    return np.full((96, 96, 3), 40, np.uint8)


def _evaluate(out: Path):
    targets = some_truth(COUNT)
    predictions, baselines = noisy(targets), fit_baselines(some_truth(COUNT, seed=1)).predict(targets.frame)
    records = pictures(targets, PERSONS)
    results = evaluate(
        *(predictions, targets, records, baselines, out),
        size=96,
        title=f"Test {NASTY}",
        metadata={"run": NASTY, "epoch": 3},
        groups={"light": [NASTY if k % 2 else "=cmd()" for k in range(COUNT)]},
        picture=_picture,
    )
    return targets, predictions, records, out, results


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return _evaluate(tmp_path_factory.mktemp("evaluation") / "new")


def test_everything_is_written_and_says_the_same(written):
    targets, predictions, _, out, results = written
    names = {"results.json", "overall.csv", "by_group.csv", "by_acupoint.csv", "reliability.png", "report.html"}
    assert {path.name for path in out.iterdir()} == names

    def refuse(name: str):
        raise AssertionError(f"{name} is not JSON")

    assert json.loads((out / "results.json").read_text(), parse_constant=refuse) == results
    alone = score(predictions, targets, PERSONS, 96)["figures"]
    overall = {row["figure"]: row for row in csv.DictReader((out / "overall.csv").open())}
    assert set(overall) == set(alone)
    for name, figure in alone.items():
        assert results["model"]["figures"][name]["value"] == pytest.approx(figure.value)
        assert float(overall[name]["value"]) == pytest.approx(figure.value, rel=1e-5)
        assert set(BASELINES) < set(overall[name])
    page = (out / "report.html").read_text()
    micro = alone["micro"]
    assert f"{100 * micro.value:.2f}<span" in page and f"[{100 * micro.low:.2f}, {100 * micro.high:.2f}]" in page
    assert "constant" in page and "not pixels" in page


def test_the_page_holds_all_it_shows_and_escapes_names(written):
    page = (written[3] / "report.html").read_text()
    assert NASTY not in page and "<img src=x" not in page
    assert "&lt;script&gt;alert(1)" in page and "&lt;img src=x" in page
    assert not re.findall(r"(?:src|href)\s*=\s*[\"'](?!data:)", page)
    assert page.count('<img alt="') >= 4 + 4 and "width=device-width" in page
    assert "is damaged" in page, "a picture that cannot be read says so and stops nothing"


def test_spreadsheets_get_texts_not_formulas(written):
    values = [row["value"] for row in csv.DictReader((written[3] / "by_group.csv").open())]
    assert "'=cmd()" in values and NASTY in values


def test_baselines_stand_beside_every_figure_they_can_speak_of(written):
    results = written[4]
    camera = results["baselines"][PER_POINT_AND_FRAME]["figures"]
    assert set(camera) == set(results["model"]["figures"])
    silent = results["baselines"][ALL_OCCLUDED]["figures"]
    assert "micro" in silent and "official_soft_wing" in silent and "mean_px" not in silent
    for rows in (*results["by_group"].values(), results["by_acupoint"]):
        for row in rows:
            assert set(row["baselines"]) == set(BASELINES) and set(row["baselines"][PER_POINT_AND_FRAME]) == set(
                row["figures"]
            )


def test_a_groups_figures_are_those_of_its_pictures_alone(written):
    targets, predictions, records, _, results = written
    groups = breakdown.groups_of(records)
    assert list(results["by_group"]) == ["meridian", *groups, "light"]
    for title, labels in groups.items():
        rows = results["by_group"][title]
        assert sorted(row["value"] for row in rows) == sorted(set(labels))
        for row in rows:
            keep = np.array(labels) == row["value"]
            persons = [person for person, kept in zip(PERSONS, keep, strict=True) if kept]
            part, answers = _part(targets, predictions, keep)
            alone = score(answers, part, persons, 96)
            assert (row["pictures"], row["persons"]) == (alone["pictures"], alone["persons"])
            assert (row["points"], row["visible_points"]) == (alone["points"], alone["visible_points"])
            for name, figure in row["figures"].items():
                wanted = alone["figures"][name].value
                assert figure["value"] == (None if math.isnan(wanted) else pytest.approx(wanted)), (title, name)


def test_a_group_of_one_person_has_no_interval(written):
    women = next(row for row in written[4]["by_group"]["gender"] if row["value"] == "female")
    assert women["persons"] == 1 and women["figures"]["micro"]["value"] is not None
    assert women["figures"]["micro"]["low"] is None


def test_points_and_meridians_add_up(written):
    targets, predictions, _, _, results = written
    rows = results["by_acupoint"]
    assert [row["value"] for row in rows] == list(acupoints.NAMES)
    right = (predictions.probability >= 0.5) == targets.visible
    assert [row["figures"]["micro"]["value"] for row in rows] == pytest.approx(right.mean(0))
    meridians = results["by_group"]["meridian"]
    assert [row["value"] for row in meridians] == list(acupoints.MERIDIANS)
    accuracies = [row["figures"]["micro"]["value"] for row in meridians]
    assert np.mean(accuracies) == pytest.approx(results["model"]["figures"]["macro"]["value"])
    assert [row["points"] for row in meridians] == [COUNT * n for n in (10, 20, 12, 22, 18, 42, 31, 2, 17)]


def test_angles_stand_in_their_order(written):
    rows = written[4]["by_group"]["azimuth"]
    angles = [int(row["value"].removesuffix("°")) for row in rows]
    assert angles == sorted(angles) and 0 in angles


def test_the_worst_pictures_come_first(written):
    targets, predictions, _, out, _ = written
    error = np.linalg.norm(predictions.xy - targets.xy, axis=-1)
    order = np.argsort(-np.array([row[seen].mean() for row, seen in zip(error, targets.visible, strict=True)]))
    shown = re.findall(r"_N_H[AB]_(\d{4})[,:]", (out / "report.html").read_text().split("<h2>Pictures")[1])
    frames = list(dict.fromkeys(int(frame) for frame in shown))
    expected = [*order[:3], *order[7:10], *order[::-1][:3]]
    assert frames == [int(targets.frame[row]) for row in expected]


def test_the_same_again_is_the_same_bytes(written, tmp_path):
    _evaluate(tmp_path)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (written[3] / path.name).read_bytes()


def test_nothing_visible_makes_a_page_all_the_same(tmp_path):
    targets = some_truth(4)
    blind = replace(targets, visible=np.zeros_like(targets.visible))
    results = evaluate(*(noisy(targets), blind, pictures(blind, list("abcd")), {}, tmp_path), size=96, title="dark")
    assert results["model"]["figures"]["mean_px"]["value"] is None
    page = (tmp_path / "report.html").read_text()
    assert "Nothing to show" in page and "<h2>Pictures" not in page


def test_wrong_arguments_are_refused(tmp_path):
    targets = some_truth(4)
    records = pictures(targets, list("abcd"))
    with pytest.raises(ConfigError, match="3 pictures have a light, 4 have"):
        evaluate(noisy(targets), targets, records, {}, tmp_path, size=96, title="t", groups={"light": ["x"] * 3})
    with pytest.raises(ConfigError, match="3 pictures have a ring"):
        evaluate(noisy(targets), targets, records[:3], {}, tmp_path, size=96, title="t")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        evaluate(noisy(targets), targets, records, {}, tmp_path / "file", size=96, title="t")
