r"""Trains the four hand networks of Xu et al. 2025 on synthetic hands, with one budget, and prints their table.

    python -m experiments.hands --out hands          # over an hour on two cores
    python -m experiments.hands --out full --count 1100 --size 224 --batch-size 32 \
        --epochs 300 --tune-epochs 30    # for a GPU; has not been run
    python -m experiments.hands --data FOLDER --out OUT      # labelme files of your own
    python -m experiments.hands --out smoke --count 24 --size 64 --epochs 1 --batch-size 4   # does it run?

Each network is first trained for --tune-epochs with every rate of RATES, and with others beyond them as long as the
best is the highest or the lowest; with the one that has the smallest validation error it is trained for --epochs and
measured on subjects that no choice depends on. The same command resumes where it was interrupted: every step is a
command that does so itself. What it prints is written to OUT/table.md, too.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from acusim.markdown import table

RATES = {
    "hand_hrnet": (2e-4, 5e-4, 2e-3),
    "hand_simplebaseline": (2e-4, 5e-4, 2e-3),
    "hand_resnet50": (5e-5, 2e-4, 1e-3),
    "hand_vgg16": (2e-5, 1e-4, 5e-4),
}
"""Learning rates that are tried first. The paper's cannot be read."""
BEYOND = 4
"""How many times higher or lower the next rate is, where the best is at an end of those tried."""
MOST_RATES = 6
PAPER = {
    "hand_hrnet": (95.37, 80.04, 94.89, 90.07, 1.92e-5),
    "hand_simplebaseline": (94.12, 79.78, 92.34, 89.19, 1.89e-5),
    "hand_resnet50": (28.86, 30.40, 23.28, 27.45, 20.64),
    "hand_vgg16": (78.94, 60.47, 69.37, 67.60, 7.17),
}
"""Table 2 of the paper, test set: PCK, IoU, precision, OKS in %, loss."""
SHARES = ("pck", "iou", "precision", "oks")
NAMES = {
    "hand_hrnet": "HRNet-W32",
    "hand_simplebaseline": "SimpleBaseline",
    "hand_resnet50": "ResNet-50",
    "hand_vgg16": "VGG-16",
}
PAPER_SIZE = 224
SMALLEST_PICTURE = 128
OK, SET_ASIDE = 0, 2
_MAX_TUNED_BYTES = 1 << 20


def run(*command: object) -> None:
    """Runs one of the project's commands; ends the program where it fails."""
    words = [sys.executable, "-m", *map(str, command)]
    print("$ python -m " + " ".join(words[2:]), file=sys.stderr, flush=True)
    code = subprocess.run(words, stdout=sys.stderr).returncode
    if code not in (OK, SET_ASIDE):
        sys.exit(f"exit code {code}; the same command resumes from here")


def settings(options: argparse.Namespace, epochs: int, rate: float) -> list[str]:
    """What differs from the experiment's file. Lengths in pixels keep their share of the square's side."""
    share = options.size / PAPER_SIZE
    values = {
        "data.size": options.size,
        "data.split_seed": options.seed,
        "train.seed": options.seed,
        "train.epochs": epochs,
        "train.lr": rate,
        "train.batch_size": options.batch_size,
        "train.keep": 1,
        "loss.sigma_px": max(0.5, 6 * share),
        "metrics.precision_px": 2 * share,
        "metrics.box_px": 20 * share,
    }
    return [word for name, value in values.items() for word in ("--set", f"{name}={value}")] + [
        word for text in options.set for word in ("--set", text)
    ]


def common(options: argparse.Namespace) -> list[object]:
    """Arguments of train and evaluate."""
    cache = options.out / "cache"
    return ["--data", options.data or options.out / "hands", "--cache", cache, "--device", options.device, "--quiet"]


def best_row(run_folder: Path) -> dict[str, Any]:
    """The epoch with the smallest validation loss, as the run chose it."""
    import csv

    with (run_folder / "metrics.csv").open(encoding="utf-8") as file:
        rows = [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
    known = [row for row in rows if "loss" in row and "error_px" in row]
    return min(known, key=lambda row: row["loss"]) if known else {"epoch": 0, "error_px": float("inf")}


def tuned(options: argparse.Namespace, name: str) -> dict[float, dict[str, Any]]:
    """Each rate's best epoch on the validation subjects."""
    found = {rate: trial(options, name, rate) for rate in RATES[name]}
    while len(found) < MOST_RATES:
        rate = best_rate(found)
        if min(found) < rate < max(found):
            break
        rate = float(f"{rate * BEYOND if rate == max(found) else rate / BEYOND:g}")
        found[rate] = trial(options, name, rate)
    return dict(sorted(found.items()))


def best_rate(found: dict[float, dict[str, Any]]) -> float:
    """The rate with the smallest validation error."""
    return min(found, key=lambda rate: found[rate]["error_px"])


def trial(options: argparse.Namespace, name: str, rate: float) -> dict[str, Any]:
    """The best epoch of a short training with a rate; its checkpoints are removed."""
    place = options.out / "tuning" / f"{name}_{rate:g}"
    file = options.out / "tuning" / f"{name}_{rate:g}.json"
    arguments = settings(options, options.tune_epochs, rate)
    if file.is_file() and file.stat().st_size < _MAX_TUNED_BYTES:
        document = json.loads(file.read_text())
        if document["arguments"] != arguments:
            sys.exit(f"{file} has other settings; use another --out")
        return document
    run("training", "train", "--config", name, *common(options), "--out", place, *arguments)
    document = {"arguments": arguments, **best_row(place)}
    file.write_text(json.dumps(document, indent=1))
    shutil.rmtree(place / "checkpoints")
    return document


def measured(options: argparse.Namespace, name: str, rate: float) -> dict[str, Any]:
    """What evaluate reports of a network trained with a rate; and ``best_epoch``."""
    tag = f"{name}_{rate:g}"
    place, report = options.out / "runs" / tag, options.out / "reports" / tag
    run(
        "training",
        "train",
        "--config",
        name,
        *common(options),
        "--out",
        place,
        *settings(options, options.epochs, rate),
    )
    run("training", "evaluate", place, *common(options), "--out", report)
    best = best_row(place)
    return {
        **json.loads((report / "results.json").read_text()),
        "best_epoch": int(best["epoch"]),
        "validation_loss": best.get("loss"),
        "trained_on": json.loads((place / "data.json").read_text())["pictures"]["train"],
    }


def cell(figure: dict[str, float | None], factor: float, digits: int) -> str:
    """A figure with its interval."""
    if figure["value"] is None:
        return "–"
    value = f"{factor * figure['value']:.{digits}f}"
    if figure["low"] is None or figure["high"] is None:
        return value
    return f"{value} [{factor * figure['low']:.{digits}f}, {factor * figure['high']:.{digits}f}]"


def figures(entry: dict[str, Any], size: int) -> list[str]:
    """PCK, IoU, precision, OKS in %, and the error in pixels of a square of 224."""
    shares = [cell(entry[name], 100, 1) for name in SHARES]
    return [*shares, cell(entry["error_px"], PAPER_SIZE / size, 2)]


def report(options: argparse.Namespace, trials: dict[str, Any], results: dict[str, Any]) -> str:
    """The report in Markdown."""
    some = next(iter(results.values()))
    extra = f"; {' '.join(options.set)}" if options.set else ""
    made = f"{options.count} hands (left, back) of {options.subjects} subjects, seed {options.seed}"
    made = f"The hands of {options.data.name}" if options.data else made
    columns = ("model", "PCK %", "IoU %", "precision %", "OKS %")
    rows: list[list[object]] = []
    for name, entry in results.items():
        cells = figures(entry["figures"], options.size)
        loss = entry["validation_loss"]
        loss_text = "–" if loss is None else f"{loss:.3g}"
        rows.append([NAMES[name], *cells, loss_text, f"{best_rate(trials[name]):g}", entry["best_epoch"]])
    for name, entry in some.get("baselines", some.get("floors", {})).items():  # older results have floors
        rows.append([f"{name} (no picture looked at)", *figures(entry, options.size), "", "", ""])
    rates: list[list[str]] = []
    for name in results:
        errors = (f"{rate:g}: {row['error_px'] * PAPER_SIZE / options.size:.2f}" for rate, row in trials[name].items())
        rates.append([NAMES[name], ", ".join(errors)])
    papers = [
        [NAMES[name], *(f"{share:.2f}" for share in shares), f"{loss:g}"] for name, (*shares, loss) in PAPER.items()
    ]
    lines = [
        f"## Hand acupoints on {options.data.name if options.data else 'synthetic hands'}",
        "",
        f"{made}, less those that lack a point; {some['trained_on']} trained on, each with three augmented ones; input "
        f"of {options.size} x {options.size}; {options.epochs} epochs, batches of {options.batch_size}{extra}. Test: "
        f"{some['pictures']} pictures of {some['subjects']} subjects that no choice depends on. Brackets: 95 % "
        "intervals over subjects. Lengths in pixels are of a square of 224.",
        "",
        table((*columns, "error px", "loss", "learning rate", "best epoch"), rows),
        "Loss: of the validation subjects at the best epoch. Of HRNet and SimpleBaseline it is the mean squared error "
        "of heatmaps, of ResNet-50 and VGG-16 that of coordinates in 0..1: the two kinds cannot be compared, nor with "
        "the paper's, whose units it does not state.",
        "",
        f"Learning rates tried for {options.tune_epochs} epochs each; the smallest validation error was taken:",
        "",
        table(("model", "learning rate: validation error px"), rates),
        "The paper's own test table. **Its data are other data** (photographs, divided by image after augmentation), "
        "and what it leaves open (box size, scale of OKS, sigma) is ours above: the two tables cannot be compared line "
        "by line.",
        "",
        table((*columns, "loss"), papers),
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="folder of all results")
    add("--data", type=Path, metavar="FOLDER", help="labelme files (default: synthetic hands, created)")
    add("--count", type=int, default=600, help="synthetic hands (default 600)")
    add("--subjects", type=int, default=60, help="persons they are of (default 60)")
    add("--size", type=int, default=96, help="side of the networks' input, a multiple of 32 (default 96; paper 224)")
    add("--epochs", type=int, default=12, help="of each network's run (default 12; paper 300)")
    add("--tune-epochs", type=int, help="of each rate that is tried (default a quarter of --epochs, at least 1)")
    add("--batch-size", type=int, default=16, help="images per step (default 16; paper 32)")
    add("--models", nargs="+", choices=list(RATES), default=list(RATES), help="which (default all)")
    add(
        "--set",
        action="append",
        default=[],
        metavar="S.N=V",
        help="a setting of all runs, such as train.precision=bf16",
    )
    add("--seed", type=int, default=0)
    add("--device", default="auto")
    add("--workers", type=int, default=2, help="processes that make hands (default 2)")
    options = parser.parse_args()
    options.tune_epochs = options.tune_epochs or max(1, options.epochs // 4)
    picture = max(SMALLEST_PICTURE, options.size)
    hands = ["--count", options.count, "--subjects", options.subjects, "--size", picture, "--seed", options.seed]
    what = ["--side", "left", "--face", "back", "--workers", options.workers, "--quiet"]
    if options.data is None:
        run("synthetic", "hands", "--out", options.out / "hands", *hands, *what)
    (options.out / "tuning").mkdir(parents=True, exist_ok=True)
    trials: dict[str, Any] = {}
    results: dict[str, Any] = {}
    for name in options.models:
        trials[name] = tuned(options, name)
        results[name] = measured(options, name, best_rate(trials[name]))
    text = report(options, trials, results)
    (options.out / "table.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
