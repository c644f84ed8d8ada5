"""Figures of hand points, all at once, against a plain Python loop over points.

    python -m benchmarks.hand_metrics_speed [--pictures 1000] [--points 7] [--rounds 7]

Peer, in the same run: the same seven figures of each point by Python's own numbers, one point after the other, then
their means. Both must agree to 1e-9. One thread; the best of the rounds, in turn, with five calls a round.
"""

import argparse
import math

import numpy as np

from benchmarks.timing import best_of
from training.eval.hand_metrics import FIGURES, MIN_AREA_PX, MetricSettings, point_estimates, point_terms

Points = list[list[list[float]]]


def loop(predicted: Points, true: Points, visible: list[list[bool]], settings: MetricSettings) -> dict[str, float]:
    """Every figure over all visible points, OKS over pictures."""
    sums, oks = dict.fromkeys(FIGURES, 0.0), []
    count, box = 0, settings.box_px
    for guess, there, seen in zip(predicted, true, visible, strict=True):
        xs = [point[0] for point, is_seen in zip(there, seen, strict=True) if is_seen]
        ys = [point[1] for point, is_seen in zip(there, seen, strict=True) if is_seen]
        if not xs:
            continue
        area = max((max(xs) - min(xs)) * (max(ys) - min(ys)), MIN_AREA_PX)
        of_picture = 0.0
        for (px, py), (tx, ty), is_seen in zip(guess, there, seen, strict=True):
            if not is_seen:
                continue
            dx, dy = px - tx, py - ty
            squared = dx * dx + dy * dy
            distance = math.sqrt(squared)
            sums["mse_px2"] += squared / 2
            sums["mse"] += squared / 2 / settings.size**2
            sums["error_px"] += distance
            sums["pck"] += distance < settings.pck * settings.size
            sums["precision"] += distance < settings.precision_px
            shared = max(0.0, box - abs(dx)) * max(0.0, box - abs(dy))
            sums["iou"] += shared / (2 * box * box - shared)
            of_picture += math.exp(-squared / (2 * area * settings.k**2))
            count += 1
        oks.append(of_picture / len(xs))
    return {name: value / count for name, value in sums.items()} | {"oks": sum(oks) / len(oks)}


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--points", type=int, default=7)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    settings, random = MetricSettings(), np.random.default_rng(0)
    true = random.uniform(0, settings.size, (options.pictures, options.points, 2))
    predicted = true + random.normal(0, 5, true.shape)
    visible = random.random(true.shape[:2]) < 0.9
    lists = predicted.tolist(), true.tolist(), visible.tolist()
    at_once = point_estimates(point_terms(predicted, true, visible, settings))
    one_by_one = loop(*lists, settings)
    for name in FIGURES:
        assert math.isclose(at_once[name], one_by_one[name], rel_tol=1e-9), name
    ours = looped = float("inf")
    for _ in range(options.rounds):
        ours = min(ours, best_of(5, lambda: point_estimates(point_terms(predicted, true, visible, settings))))
        looped = min(looped, best_of(5, lambda: loop(*lists, settings)))
    print(f"{len(FIGURES)} figures of {options.pictures} x {options.points} points: {1e3 * ours:.2f} ms, "
          f"loop {1e3 * looped:.2f} ms: {looped / ours:.1f} x")  # fmt: skip


if __name__ == "__main__":
    main()
