"""Does relighting hands help? Trained on studio pictures, on relit ones, on both; tested in studio and in wild light.

    python -m experiments.hand_relighting --out DIR [--seeds 3] [--epochs 30] [--set data.size=96]

DIR/train/studio   synthetic hands in one light over a grey table, as labelme files, with masks
DIR/train/relit    the same by ``controller --engine relight``: other light, other backgrounds, the same labels
DIR/test/…         persons that no training sees, in studio light and in the light of coloured lamps

Each row is trained in the same number of steps (on both, half the epochs), from the shipped model of the head. Models
are those of the last epoch: nothing is chosen by results. Brackets hold 95 % intervals over test persons x seeds, of
errors at points that are visible. It runs the public commands, all of which resume. Writes DIR/table.md.
"""

import argparse
import csv
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acusim.files import write_atomic
from acusim.markdown import table
from acusim.seed_statistics import difference_over_seeds, figures_over_seeds
from experiments.hands import run

SEED, TEST_SEED, FIRST_TEST_PERSON = 31, 32, 1000
ROWS = {"studio": ("studio", 1), "relit": ("relit", 1), "both": ("", 2)}
"""What is trained on -> its folder below DIR/train, and how many times as many pictures these are."""
TESTS = {"studio": "studio light", "wild": "wild light"}
NEAR = 0.03
"""Share of the square's side within which a point is correct (PCK)."""
Floats = NDArray[np.float64]


def make_data(options: argparse.Namespace) -> None:
    """Creates what is missing of the data."""
    train, size = options.out / "train", ["--size", options.size, "--face", "both", "--workers", options.workers]
    run("synthetic", "hands", "--out", train / "studio", "--count", options.count, "--subjects", options.subjects,
        "--seed", SEED, "--light", "studio", "--masks", *size)  # fmt: skip
    run("controller", "--batch", "--engine", "relight", "--dataset", train / "studio", "--output", train / "relit",
        "--workers", options.workers, "--seed", SEED)  # fmt: skip
    for name in TESTS:
        run("synthetic", "hands", "--out", options.out / "test" / name, "--count", options.test_count,
            "--subjects", options.test_subjects, "--first-subject", FIRST_TEST_PERSON, "--seed", TEST_SEED,
            "--light", name, *size)  # fmt: skip


def trained(options: argparse.Namespace, row: str, seed: int) -> Path:
    """The run of a row."""
    folder, times = ROWS[row]
    place = options.out / "runs" / f"{row}-{seed}"
    settings = {"data.val": 0.1, "data.test": 0, "train.epochs": options.epochs // times, "train.seed": seed}
    words = [f"{name}={value}" for name, value in (settings | {"train.keep": 1}).items()]
    words = [word for text in (*words, *options.set) for word in ("--set", text)]
    run("training", "train", "--config", "hand_light", "--init", "head", "--data", options.out / "train" / folder,
        "--out", place, "--device", options.device, "--quiet", *words)  # fmt: skip
    return place


def evaluated(options: argparse.Namespace, trained_run: Path, test: str) -> Path:
    """The report of a run on a test, or on the studio pictures that were trained on (``train``)."""
    report = options.out / "reports" / f"{trained_run.name}-{test}"
    data, part = (options.out / "train/studio", "train") if test == "train" else (options.out / "test" / test, "new")
    run("training", "evaluate", trained_run, "--checkpoint", "last", "--data", data, "--part", part, "--out", report,
        "--device", options.device, "--quiet")  # fmt: skip
    return report


def visible_points(report: Path) -> list[dict[str, str]]:
    """The lines of a report's visible points, of which the true position is known."""
    with (report / "by_point.csv").open(encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["visible"] == "1" and row["true_x"]]


def mean_pose(report: Path) -> dict[str, Floats]:
    """[2] mean true position of each point in a report, px of the square."""
    places: dict[str, list[Floats]] = {}
    for row in visible_points(report):
        places.setdefault(row["point"], []).append(np.array([float(row["true_x"]), float(row["true_y"])]))
    return {point: np.mean(found, axis=0) for point, found in places.items()}


def person_sums(report: Path, guess: dict[str, Floats] | None = None) -> tuple[list[str], Floats]:
    """Persons in ascending order, and [P, 3] each one's visible points, sum of errors in px, and correct points.

    Args:
        report: of an evaluation.
        guess: the same position of each point in all pictures, instead of those that the model found.
    """
    near = NEAR * json.loads((report / "results.json").read_text())["settings"]["size"]
    sums: dict[str, Floats] = {}
    for row in visible_points(report):
        found = guess[row["point"]] if guess else np.array([float(row["x"]), float(row["y"])])
        error = float(np.hypot(*(found - (float(row["true_x"]), float(row["true_y"])))))
        entry = sums.setdefault(row["subject"], np.zeros(3))
        entry += (1, error, error < near)
    persons = sorted(sums)
    return persons, np.array([sums[person] for person in persons])


def rates(sums: Floats) -> Floats:
    """[..., 2] mean error in px and share of correct points, of sums [..., 3]."""
    return sums[..., 1:] / sums[..., :1]


def test_table(options: argparse.Namespace, test: str) -> str:
    """The table of one test, in Markdown."""
    reports = {
        row: [evaluated(options, trained(options, row, seed), test) for seed in range(options.seeds)] for row in ROWS
    }
    sums = {row: np.array([person_sums(report)[1] for report in found]) for row, found in reports.items()}
    pose = mean_pose(evaluated(options, trained(options, "studio", 0), "train"))
    guessed = figures_over_seeds(person_sums(reports["studio"][0], pose)[1][None], rates)
    lines = [["*mean pose of the training pictures*", guessed[0].text(2), guessed[1].text(1, 100), "", ""]]
    for row, values in sums.items():
        own, apart = figures_over_seeds(values, rates), difference_over_seeds(values, sums["studio"], rates)
        cells = [own[0].text(2), own[1].text(1, 100)]
        cells += ["", ""] if row == "studio" else [apart[0].text(2, sign="+"), apart[1].text(1, 100, sign="+")]
        lines.append([row, *cells])
    head = ["trained on", "error, px", "PCK, %", "error − studio", "PCK − studio"]
    persons = sums["studio"].shape[1]
    return f"### {TESTS[test]}: {persons} persons\n\n{table(head, lines)}"


def main() -> None:
    """Makes data, trains, tests, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="folder of everything")
    add("--count", type=int, default=600, help="training pictures (default 600)")
    add("--subjects", type=int, default=60, help="persons of these (default 60)")
    add("--test-count", type=int, default=240, help="pictures of each test (default 240)")
    add("--test-subjects", type=int, default=40, help="persons of these (default 40)")
    add("--size", type=int, default=192, help="longer side of the pictures in pixels (default 192)")
    add("--epochs", type=int, default=30, help="of the studio pictures (default 30)")
    add("--seeds", type=int, default=3, help="runs of each row (default 3)")
    add("--set", action="append", default=[], metavar="S.N=V", help="a setting of all rows, such as data.size=96")
    add("--device", default="auto")
    add("--workers", type=int, default=2, help="processes that create data (default 2)")
    options = parser.parse_args()
    make_data(options)
    text = "\n\n".join(test_table(options, test) for test in TESTS)
    write_atomic(options.out / "table.md", text.encode() + b"\n")
    print(text)


if __name__ == "__main__":
    main()
