"""Figures of predictions against answers worked out by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest

from acusim import acupoints, rig
from acusim.errors import ConfigError
from tests.training.eval.scoring import POINTS, noisy, perfect, some_truth, truth
from training.eval import metrics
from training.eval.predictions import Predictions
from training.eval.score import compare, score
from training.eval.summary import DEFINITIONS

pytestmark = pytest.mark.numeric

LI, ST = acupoints.meridian_slice("LI"), acupoints.meridian_slice("ST")


def _figures(predictions, targets, persons=None, size=512, **options):
    result = score(predictions, targets, persons or [f"p{k}" for k in range(len(predictions))], size, **options)
    return {name: figure.value for name, figure in result["figures"].items()}


def _predicted(targets, seen) -> Predictions:
    return Predictions(np.where(seen, 0.9, 0.1).astype(np.float32), targets.xy.copy())


def test_rates_worked_out_by_hand():
    # LI's ten points are visible; eight of them and four of ST's twenty are predicted: TP 8, FN 2, FP 4, TN 160.
    visible, seen = np.zeros((1, POINTS), bool), np.zeros((1, POINTS), bool)
    visible[0, LI] = True
    seen[0, :8] = True
    seen[0, ST.start : ST.start + 4] = True
    targets = truth(visible)
    got = _figures(_predicted(targets, seen), targets)
    assert got["micro"] == pytest.approx(168 / 174)
    assert got["macro"] == pytest.approx((0.8 + 0.8 + 7) / 9)
    assert got["fpr"] == pytest.approx(4 / 164)
    assert got["fnr"] == pytest.approx(2 / 10)
    assert got["precision"] == pytest.approx(8 / 12)
    assert got["recall"] == pytest.approx(8 / 10)
    assert got["f1"] == pytest.approx(2 * (2 / 3) * 0.8 / (2 / 3 + 0.8))
    # Wrong by .9 at six points, by .1 at all others.
    assert got["brier"] == pytest.approx((6 * 0.81 + 168 * 0.01) / 174)
    counts = score(_predicted(targets, seen), targets, ["p"], 512)
    names = ("true_positives", "false_positives", "false_negatives", "true_negatives")
    assert [counts[name] for name in names] == [8, 4, 2, 160]


def test_a_probability_at_the_threshold_is_visible():
    targets = truth(np.ones((1, POINTS), bool))
    even = Predictions(np.full((1, POINTS), 0.5, np.float32), targets.xy)
    assert _figures(even, targets)["recall"] == 1
    assert _figures(even, targets, threshold=0.51)["recall"] == 0


def test_millimetres_come_from_the_known_depth():
    # At 768.6 mm, the nose's tip in frame 1, a pixel of 512 spans 0.5405 mm.
    targets = truth(np.ones((2, POINTS), bool), depth_mm=0.5405 * 512 * 100 / 36)
    xy = targets.xy.astype(np.float64)
    xy[0] += np.array([6, 8]) / 512  # 10 px
    got = _figures(Predictions(perfect(targets).probability, xy.astype(np.float32)), targets)
    assert got["mean_px"] == pytest.approx(5, abs=1e-4)
    assert got["mean_mm"] == pytest.approx(5 * 0.5405, abs=1e-4)
    assert got["p95_px"] == pytest.approx(10, abs=1e-4)
    assert got["within_5_mm"] == 0.5 and got["generic_depth"] == 0


@pytest.mark.parametrize(("mm", "within"), [(4.99, 1), (5.01, 0)])
def test_five_millimetres_are_five(mm, within):
    targets = truth(np.ones((1, POINTS), bool), depth_mm=900)
    xy = (targets.xy + [mm / 900 * 100 / 36, 0]).astype(np.float32)  # f is 100/36 of the picture's width
    got = _figures(Predictions(perfect(targets).probability, xy), targets)
    assert got["within_5_mm"] == got["pck_5_mm_seen"] == within and got["median_mm"] == pytest.approx(mm, abs=1e-3)


def test_pixels_are_those_of_the_size_and_millimetres_do_not_depend_on_it():
    targets = some_truth()
    small, large = (_figures(noisy(targets), targets, size=size) for size in (128, 512))
    assert large["mean_px"] == pytest.approx(4 * small["mean_px"])
    assert large["mean_mm"] == pytest.approx(small["mean_mm"])


def test_millimetres_are_those_of_the_pictures_own_focal_length():
    targets = truth(np.ones((2, POINTS), bool), depth_mm=900)
    targets = replace(targets, focal=np.array([3.0, 4.0]))
    xy = targets.xy + np.array([0.01, 0], np.float32)
    result = metrics.measure(Predictions(perfect(targets).probability, xy), targets, 512)
    mm = result[..., metrics.TERMS.index("mm")]
    assert mm[0] == pytest.approx(0.01 * 900 / 3, rel=1e-4) and mm[1] == pytest.approx(0.01 * 900 / 4, rel=1e-4)


def test_the_generic_head_stands_before_the_pictures_own_camera():
    targets = truth(np.ones((1, POINTS), bool), frames=[1])
    targets = replace(targets, translation_mm=np.array([[0.0, 0.0, 1000.0]]))
    targets.depth_mm[:] = np.nan
    depth, generic = metrics.depths_mm(targets)
    # Camera 1 looks along +y.
    assert generic.all() and depth[0] == pytest.approx(acupoints.positions_mm()[:, 1] + 1000)


def test_without_a_depth_the_generic_head_in_that_camera_is_taken():
    visible = np.zeros((1, POINTS), bool)
    visible[0, :4] = True
    targets = truth(visible, frames=[1], depth_mm=800)
    targets.depth_mm[0, 0] = np.nan
    xy = targets.xy + np.array([10 / 512, 0], np.float32)
    result = metrics.measure(Predictions(perfect(targets).probability, xy), targets, 512)
    mm = result[0, :4, metrics.TERMS.index("mm")]
    # Camera 1 stands on the -y axis and looks along +y.
    depth = acupoints.positions_mm()[0, 1] + rig.ORBIT_RADIUS_MM
    assert mm[0] == pytest.approx(10 * depth * 36 / 100 / 512, rel=1e-4)
    assert mm[1:] == pytest.approx(10 * 800 * 36 / 100 / 512, rel=1e-4)
    assert _figures(Predictions(perfect(targets).probability, xy), targets)["generic_depth"] == 0.25


def test_only_visible_points_with_trusted_labels_have_errors():
    targets = some_truth()
    xy = np.where(targets.visible[..., None], targets.xy, 0.9).astype(np.float32)
    assert _figures(Predictions(perfect(targets).probability, xy), targets)["mean_px"] == 0
    moved = targets.visible & (np.arange(POINTS) < 40)
    xy = (targets.xy + 0.1 * moved[..., None]).astype(np.float32)
    doubtful = replace(targets, trusted=~moved)
    result = score(Predictions(perfect(targets).probability, xy), doubtful, ["p"] * 12, 512)
    assert result["figures"]["mean_px"].value == 0
    assert result["untrusted"] == moved.sum() and result["located"] == (targets.visible & ~moved).sum()
    assert result["figures"]["micro"].value == 1  # the visibility is as the label says


def test_pck_counts_only_points_that_are_also_predicted_visible():
    visible = np.zeros((1, POINTS), bool)
    visible[0, :4] = True
    targets = truth(visible)
    seen = visible.copy()
    seen[0, :2] = False
    xy = targets.xy.copy()
    xy[0, 0] += 0.3
    got = _figures(Predictions(seen.astype(np.float32), xy), targets)
    assert got["within_5_mm"] == 0.75 and got["pck_5_mm_seen"] == 1


def test_a_threshold_chosen_elsewhere_is_applied_as_it_is():
    visible = np.zeros((1, POINTS), bool)
    visible[0, :10] = True
    targets = truth(visible)
    p = np.full((1, POINTS), 0.1, np.float32)
    p[0, :8], p[0, 20] = 0.8, 0.7
    predictions = Predictions(p, targets.xy)
    here, elsewhere = (score(predictions, targets, ["p"], 512, zero_fpr=given) for given in (None, 0.65))
    assert here["zero_fpr_threshold_from"] == "these pictures" and here["zero_fpr_threshold"] == pytest.approx(0.7)
    assert here["figures"]["precision_at_zero_fpr"].value == 1 and here["figures"]["recall_at_zero_fpr"].value == 0.8
    assert elsewhere["zero_fpr_threshold_from"] == "other pictures" and elsewhere["zero_fpr_threshold"] == 0.65
    assert elsewhere["figures"]["precision_at_zero_fpr"].value == pytest.approx(8 / 9)
    assert elsewhere["figures"]["fpr_at_zero_fpr"].value == pytest.approx(1 / 164)
    assert elsewhere["figures"]["fnr_at_zero_fpr"].value == pytest.approx(0.2)


def test_points_that_never_change_do_not_enter_the_informative_accuracy():
    visible = np.zeros((4, POINTS), bool)
    visible[:2, :10] = True  # seen in two of four pictures
    visible[:, 10] = True  # seen in all
    targets = truth(visible)
    nothing = Predictions(np.zeros((4, POINTS), np.float32), targets.xy)
    result = score(nothing, targets, ["a", "b", "c", "d"], 512)
    assert result["figures"]["micro"].value == pytest.approx(1 - 24 / (4 * POINTS))
    assert result["figures"]["informative"].value == 0.5
    counts = ("informative_points", "always_occluded_points", "always_visible_points")
    assert [result[name] for name in counts] == [10, POINTS - 11, 1]


def test_official_soft_wing_by_hand():
    # Nothing is visible, so all targets are (0, 0); one point of LI is put at (1, .5), one of RN at (0, .01).
    targets = truth(np.zeros((1, POINTS), bool))
    xy = np.zeros((1, POINTS, 2), np.float32)
    xy[0, 0] = 1, 0.5
    xy[0, acupoints.meridian_slice("RN").start] = 0, 0.01
    got = _figures(Predictions(np.zeros((1, POINTS), np.float32), xy), targets)
    assert got["official_soft_wing"] == pytest.approx(((99 + math.log(51)) / 20 + math.log(2) / 4) / 9, rel=1e-5)
    assert math.isnan(got["mean_px"]) and math.isnan(got["within_5_mm"])


def test_a_perfect_prediction():
    targets = some_truth()
    got = _figures(perfect(targets), targets)
    best = {"higher": 1.0, "lower": 0.0, "": 0.0}
    assert got == {entry.name: best[entry.better] for entry in DEFINITIONS}


def test_over_nothing_a_figure_is_nan():
    got = _figures(perfect(truth(np.zeros((2, POINTS), bool))), truth(np.zeros((2, POINTS), bool)))
    for name in ("fnr", "precision", "recall", "f1", "mean_px", "median_mm", "pck_5_mm_seen", "informative"):
        assert math.isnan(got[name]), name
    assert got["micro"] == 1 and got["fpr"] == 0


def test_alike_persons_have_intervals_without_width():
    one = some_truth(1)
    targets = replace(one, **{name: np.repeat(getattr(one, name), 5, axis=0) for name in one.__dataclass_fields__})
    p = noisy(one)
    predictions = Predictions(np.repeat(p.probability, 5, axis=0), np.repeat(p.xy, 5, axis=0))
    figures = score(predictions, targets, list("abcde"), 512)["figures"]
    for name in ("micro", "macro", "fpr", "mean_mm", "median_mm", "official_soft_wing"):
        assert figures[name].low == pytest.approx(figures[name].value) == figures[name].high, name


def test_intervals_are_over_persons_and_hold_the_value():
    targets = some_truth(40)
    predictions = noisy(targets)
    figures = score(predictions, targets, [f"p{k % 10}" for k in range(40)], 512)["figures"]
    alone = score(predictions, targets, ["one"] * 40, 512)["figures"]
    for name in ("micro", "fpr", "mean_mm", "p95_px"):
        assert figures[name].low < figures[name].value < figures[name].high
        assert figures[name].value == pytest.approx(alone[name].value) and math.isnan(alone[name].low)


def test_models_are_compared_on_the_same_persons():
    targets = some_truth(30)
    persons = [f"p{k % 6}" for k in range(30)]
    good, bad = noisy(targets, shift=0.005), noisy(targets, shift=0.02)
    same = compare(good, good, targets, persons, 512)
    assert all((figure.value, figure.low, figure.high) == (0, 0, 0) for figure in same.values())
    apart = compare(good, bad, targets, persons, 512)
    one, other = (score(side, targets, persons, 512)["figures"] for side in (good, bad))
    for name, figure in apart.items():
        assert figure.value == pytest.approx(one[name].value - other[name].value), name
    assert apart["mean_px"].high < 0 < apart["within_5_mm"].low
    assert (apart["micro"].low, apart["micro"].high) == (0, 0), "both say the same of visibility"


def test_numbers_that_do_not_belong_together_are_refused():
    targets = some_truth(3)
    with pytest.raises(ConfigError, match="4 predictions of 3 pictures"):
        score(perfect(some_truth(4)), targets, ["a"] * 4, 512)
    with pytest.raises(ConfigError, match="2 persons of 3"):
        score(perfect(targets), targets, ["a", "b"], 512)
    with pytest.raises(ConfigError, match="at least one"):
        score(perfect(some_truth(0)), some_truth(0), [], 512)
    with pytest.raises(ValueError, match="finite"):
        Predictions(np.zeros((1, POINTS), np.float32), np.full((1, POINTS, 2), np.inf, np.float32))
