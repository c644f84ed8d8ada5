"""Makes the models that come with the package, from synthetic data alone: ``python -m tools.make_models [--out DIR]``.

Each step is a command of the project, which creates what is missing: an interrupted run resumes where it ended. The
same version, seeds and machine give the same weights; another processor rounds differently, so its weights and figures
differ in the last digits at first and, after thousands of steps, by about what another seed would give.

    DIR/head/{rig,around}           persons under flat light, from the rig's cameras and from cameras around them
    DIR/head/relit_{rig,around}     the same, relit
    DIR/head/test_*                 persons, light and cameras that training never sees
    DIR/head/run, report_*          the trained network, and what it reaches on each test
    DIR/hand/data/{train,test}      hands, and those of persons that training never sees
    DIR/hand/run, report            the network that starts from the model head, and what it reaches
    training/shipped/{head,hand}    the models, with their cards
"""

import argparse
import json
import logging
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from acusim.command_line import add_verbosity, start_logging
from acusim.errors import AcuSimError
from acusim.files import write_atomic
from acusim.markdown import table
from training.eval.baselines import PER_POINT_AND_FRAME, THROUGH_CAMERA
from training.shipped import NAMES

_log = logging.getLogger(__name__)

VIEWS = "1,3,5,7,9,11,31,33,35,37,40,43,109,112,141"
"""Of the tests and of the rig's training pictures: all sides from which training keeps pictures."""
AROUND_VIEWS = "1,3,5,7,9,11,31,33,35,36,37,39,41,43,45,109,112,115,139,142"
SIZE = "256"
"""Side of the heads' pictures: the second pass magnifies from these."""
TESTS: dict[str, tuple[str, str]] = {
    "studio": ("studio", "rig"),
    "wild": ("wild", "rig"),
    "around_studio": ("studio", "around"),
    "around_wild": ("wild", "around"),
    "mixed": ("mixed", "rig"),
}
"""Light and cameras of each test of the head."""
TEST_SEED, TEST_PERSONS = 7001, 40
PERSONS = 80
"""Of the head: persons with each kind of cameras."""
HANDS: dict[str, dict[str, int]] = {
    "train": {"subjects": 512, "first-subject": 0, "count": 4096},
    "test": {"subjects": 40, "first-subject": 1000, "count": 240},
}
"""Persons and pictures of the hand."""
HAND_EPOCHS = 40
"""Of its training."""
FIGURES = {
    "micro": ("visibility %", 100),
    "mean_mm": ("mm, mean", 1),
    "median_mm": ("mm, median", 1),
    "within_5_mm": ("within 5 mm %", 100),
}
"""Figures of the cards, their titles and factors."""


def run(*words: str | Path) -> None:
    """Runs a command of the project; its output is this program's.

    Raises:
        SystemExit: it failed; with its exit code.
    """
    _log.info("%s", " ".join(map(str, words)))
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-m", *map(str, words)])
    if done.returncode:
        raise SystemExit(done.returncode)
    _log.info("took %.0f s", time.monotonic() - started)


def heads(out: Path, seed: int, persons: int, views: str, light: str, cameras: str, split: str, workers: int) -> None:
    """A data set of synthetic heads."""
    run("synthetic", "heads", "--out", out, "--seed", str(seed), "--identities", str(persons), "--views", views,
        "--size", SIZE, "--light", light, "--cameras", cameras, "--split", split,
        "--workers", str(workers))  # fmt: skip


def make_head(folder: Path, workers: int) -> None:
    """Data, training, tests and files of the head's model."""
    roots: list[Path] = []
    for name, seed, views in (("rig", 6001, VIEWS), ("around", 6101, AROUND_VIEWS)):
        heads(folder / name, seed, PERSONS, views, "studio", name, "train", workers)
        relit = folder / f"relit_{name}"
        run("controller", "--batch", "--engine", "relight", "--dataset", folder / name, "--output", relit,
            "--workers", str(workers))  # fmt: skip
        roots += [folder / name, relit]
    trained = folder / "run"
    data = [word for root in roots for word in ("--data", str(root))]
    run("training", "train", "--config", "heatmaps", "--set", "data.val=0.1", "--set", "data.test=0", *data,
        "--out", trained, "--device", "cpu")  # fmt: skip
    for name, (light, cameras) in TESTS.items():
        test = folder / f"test_{name}"
        heads(test, TEST_SEED, TEST_PERSONS, VIEWS, light, cameras, "test", workers)
        for fit in ("--fit", "--no-fit"):
            run("training", "evaluate", trained, "--data", folder / "rig", "--data", test, "--part", "new", fit,
                "--out", folder / f"report_{name}{'' if fit == '--fit' else '_network'}",
                "--device", "cpu")  # fmt: skip
    card = folder / "card.md"
    write_atomic(card, head_card(folder).encode())
    run("training", "ship", trained, "--name", "head", "--card", card)


def figures_of(report: Path) -> dict[str, Any]:
    """The results of one evaluation."""
    return json.loads((report / "results.json").read_text(encoding="utf-8"))


def _cell(figure: dict[str, float | None] | None, factor: float) -> str:
    """A figure with its interval."""
    if figure is None or figure["value"] is None:
        return "–"
    value, low, high = (
        "–" if one is None else f"{factor * one:.2f}" for one in (figure[name] for name in ("value", "low", "high"))
    )
    return f"{value} ({low} … {high})"


def head_table(folder: Path) -> str:
    """Figures of the head's tests: with the fit, the network alone, and the baseline that knows the camera."""
    rows = []
    for name in TESTS:
        fitted, network = figures_of(folder / f"report_{name}"), figures_of(folder / f"report_{name}_network")
        known = fitted["baselines"].get(THROUGH_CAMERA) or fitted["baselines"][PER_POINT_AND_FRAME]
        for title, figures in (
            (name, fitted["model"]["figures"]),
            ("… the network alone", network["model"]["figures"]),
            ("… *baseline: knows the camera*", known["figures"]),
        ):
            rows.append([title, *(_cell(figures.get(key), factor) for key, (_, factor) in FIGURES.items())])
    return table(["test", *(title for title, _ in FIGURES.values())], rows)


def head_card(folder: Path) -> str:
    """What the head's model was made from, what it reaches, and what it does not."""
    names = json.loads((folder / "run" / "data.json").read_text(encoding="utf-8"))["persons"]
    tested = figures_of(folder / "report_studio")["model"]["persons"]
    return f"""## Data

Synthetic persons alone (`python -m synthetic`), {PERSONS} from the rig's cameras and {PERSONS} others from cameras
around them ({len(names)} by name), under flat light, and the same pictures relit (`controller --engine relight`). It
saw no photograph, no render of AcuSim, and none of the lights `wild` and `mixed`. Its skin, hair and anatomy are those
of a generator.

## Recipe

`heatmaps`, then half precision; made again by `make models`. `predict` adds mirrored pictures, the fit of a head, and a
second pass.

## Figures

{tested} persons that it never saw, {len(VIEWS.split(","))} views each; 95 % intervals over persons. Errors are of
truly visible points. The baseline is the mean training head through the true camera.

{head_table(folder)}
The template is made from the same generator's persons, so its gain on real heads is smaller than here.

## Limits

Photographs: positions are plausible, not measured against anatomy; docs/results/detector.md has one example. Hands,
hair or clothes before the face, profile and back views of real persons, make-up and beards other than the generator's
are outside what it knows. Points inside mouth and nose are a convention.
"""


def make_hand(folder: Path, workers: int) -> None:
    """Data, training, test and files of the hand's model, which starts from the weights of the model head."""
    data, trained, report = folder / "data", folder / "run", folder / "report"
    for part, numbers in HANDS.items():
        counts = [word for name, number in numbers.items() for word in (f"--{name}", str(number))]
        run("synthetic", "hands", "--out", data / part, "--size", SIZE, "--face", "both", *counts,
            "--workers", str(workers))  # fmt: skip
    run("training", "train", "--config", "hand_light", "--init", "head", "--set", f"train.epochs={HAND_EPOCHS}",
        "--set", "data.val=0.06", "--set", "data.test=0", "--data", data / "train", "--out", trained,
        "--device", "cpu")  # fmt: skip
    # The last epoch, not the best one of validation: its few persons should not decide.
    run("training", "evaluate", trained, "--checkpoint", "last", "--data", data, "--part", "new", "--out", report,
        "--device", "cpu")  # fmt: skip
    card = folder / "card.md"
    write_atomic(card, hand_card(report).encode())
    run("training", "ship", trained, "--checkpoint", "last", "--name", "hand", "--card", card)


def hand_table(report: Path) -> str:
    """Figures of the hand's test beside those of trivial answers."""
    results = figures_of(report)
    rows = []
    for title, key, factor in (
        ("PCK %", "pck", 100),
        ("error, px", "error_px", 1),
        ("within 2 px %", "precision", 100),
    ):
        [mean_pose] = results["baselines"].values()
        rows.append([title, _cell(results["figures"][key], factor), "mean pose", _cell(mean_pose[key], factor)])
    classes = {"visibility %": results["visibility"]}
    classes.update({f"{name} of the hand %": found for name, found in results["hand_type"].items()})
    for title, found in classes.items():
        [(name, trivial)] = found["baselines"].items()
        rows.append([title, _cell(found["accuracy"], 100), name, _cell(trivial, 100)])
    return table(["", "model", "trivial answer", "its figure"], rows)


def hand_card(report: Path) -> str:
    """What the hand's model was made from, what it reaches, and what it does not."""
    train, test, found = HANDS["train"], HANDS["test"], figures_of(report)
    return f"""## Data

Synthetic hands alone (`python -m synthetic hands`): {train["count"]} pictures of {train["subjects"]} persons, left and
right, back and palm. It saw no photograph. Its skin, anatomy and poses are those of a generator.

## Recipe

`hand_light`, which starts from the weights of the model `head`; its last epoch, in half precision; made again by
`make models`. `predict` adds mirrored pictures and a second pass.

## Figures

{found["pictures"]} pictures of {found["subjects"]} persons that it never saw (of {test["count"]} of {test["subjects"]}:
who shares a picture with a training person counts as that person); 95 % intervals over persons. Points are the
visible ones; pixels are those of the square of 128; PCK counts points nearer than 3 % of its side.

{hand_table(report)}

## Limits

Photographs: not measured. Hands that hold something, gloves, jewellery, several hands, and skin or light other
than the generator's are outside what it knows. Of acupoints, it knows six on the back of the hand (seven places).
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.make_models", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path("build/models"), metavar="DIR", help="working folder")
    parser.add_argument(
        "--only", choices=NAMES, help="one of the models; the hand's starts from the one of the head that is there"
    )
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes that make data (default: 2)")
    add_verbosity(parser)
    options = parser.parse_args(arguments)
    start_logging(options)
    try:
        if options.only != "hand":
            make_head(options.out / "head", options.workers)
        if options.only != "head":
            make_hand(options.out / "hand", options.workers)
    except AcuSimError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
